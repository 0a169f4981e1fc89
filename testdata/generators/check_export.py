"""Loads a `model/` directory that rappel wrote with transformers and compares its logits. Used by hand.

    python check_export.py runs/quickstart-1/model logits.safetensors [--rtol 1e-4] [--text TEXT]

The logits file holds `input_ids` [batch, time] i64 and `logits` [batch, time, vocab_size] f32 or f64, computed
by rappel without a cache. With --text, the tokenizer must also turn TEXT into the first row of `input_ids`.
Prints the largest absolute and relative difference; exits with 1 where they are over --rtol.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="directory with config.json, model.safetensors, tokenizer.json")
    parser.add_argument("logits", help="safetensors file with input_ids and logits")
    parser.add_argument("--rtol", type=float, default=1e-4, help="allowed |difference| / max |logit| (default 1e-4)")
    parser.add_argument("--text", help="text whose tokens are input_ids[0]")
    return parser.parse_args()


def load_model(path, dtype):
    model, info = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation="eager", local_files_only=True, output_loading_info=True
    )
    problems = {key: value for key, value in info.items() if value}
    if problems:
        sys.exit(f"{path}: transformers did not find the weights it expects: {problems}")
    return model.eval()


def check_tokenizer(path, text, ids):
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    # Without a tokenizer_class in tokenizer_config.json, transformers rebuilds GPT-2's own pre-tokenizer around
    # the vocabulary and adds <|endoftext|>, whatever tokenizer.json says.
    loaded, written = (
        json.loads(tokenizer.backend_tokenizer.to_str()),
        json.loads(Path(path, "tokenizer.json").read_text()),
    )
    for part in ("model", "pre_tokenizer", "normalizer", "added_tokens"):
        if loaded.get(part) != written.get(part):
            print(f"WARNING: transformers does not use the `{part}` of tokenizer.json as written")
    print(f"tokenizer: {type(tokenizer).__name__}, {len(tokenizer)} tokens")
    print(f"input_ids[0] decoded: {tokenizer.decode(ids)!r}")
    if text is not None:
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        if tokens != ids:
            sys.exit(f"the tokenizer gives {tokens} for the text, the file holds {ids}")
        print("tokens of the text: equal")


@torch.no_grad()
def main():
    args = arguments()
    given = load_file(args.logits)
    ids, ours = given["input_ids"], given["logits"]
    model = load_model(args.model, ours.dtype)
    check_tokenizer(args.model, args.text, ids[0].tolist())
    theirs = model(input_ids=ids, use_cache=False).logits
    if theirs.shape != ours.shape:
        sys.exit(f"logits of transformers have shape {list(theirs.shape)}, those given {list(ours.shape)}")
    difference, largest = (theirs.double() - ours.double()).abs(), theirs.double().abs().max()
    relative = (difference.max() / largest).item()
    elementwise = (difference / theirs.double().abs().clamp_min(1e-3 * largest)).max().item()
    agree = (theirs.argmax(-1) == ours.argmax(-1)).double().mean().item()
    print(f"max absolute difference {difference.max().item():.3e}")
    print(f"max relative difference {relative:.3e} of the largest logit {largest.item():.4g}")
    print(f"max relative difference by element {elementwise:.3e} (elements below 1e-3 of the largest count as that)")
    print(f"same most likely token at {100 * agree:.2f} % of the positions")
    # Written so that a NaN fails.
    sys.exit(0 if relative <= args.rtol else 1)


main()
