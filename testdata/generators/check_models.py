"""Loads `model/` directories that rappel wrote with transformers and prints the nats per token of a text. Used by hand.

    python check_models.py text.txt runs/llama-1/model runs/gemma2-1/model ...

The numbers are those of `rappel eval --model DIR --file text.txt`, where the text is one window. Exits with 1 where a
directory holds other tensors than transformers expects.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM


@torch.no_grad()
def nats_per_token(path, text):
    model, info = AutoModelForCausalLM.from_pretrained(
        path, attn_implementation="eager", local_files_only=True, output_loading_info=True
    )
    problems = {key: value for key, value in info.items() if value}
    if problems:
        sys.exit(f"{path}: transformers did not find the weights it expects: {problems}")
    tokenizer = Tokenizer.from_file(str(Path(path, "tokenizer.json")))
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids])
    return cross_entropy(model.eval()(input_ids=ids).logits[0, :-1], ids[0, 1:]).item()


def main():
    text = Path(sys.argv[1]).read_text()
    for path in sys.argv[2:]:
        print(f"{path}: {nats_per_token(path, text):.6f}")


main()
