"""A GGUF file against transformers' reading of it, and GGUF files that rappel writes against transformers and gguf-py.

    python bench/gguf_models.py FILE.gguf RAPPEL TEXT [WORK]

FILE.gguf is a model such as SmolLM2-135M's, RAPPEL the binary, TEXT a text file for the perplexity, WORK an empty folder
for what is written. Prints the table of docs/gguf.md; fails where a figure misses its bar.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "The capital of France is", "def fibonacci(n):", "Once upon a time, in a small village,",
    "The three laws of thermodynamics state that", "Dear Sir or Madam,", "In the beginning there was",
    "To bake a loaf of bread, you first", "The difference between a list and a tuple in Python is",
    "Water boils when", "My favourite book is about",
]
NEW, WINDOW, LENGTH = 64, 512, 24_000


def read(path):
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()


def rappel(binary, *args):
    done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{args}: {done.stderr}")
    return done.stdout


def loss_of(model, ids):
    """The mean over all tokens but the first, in windows that do not overlap."""
    nats, predicted = 0.0, len(ids) - 1
    with torch.no_grad():
        for start in range(0, predicted, WINDOW):
            end = min(start + WINDOW, predicted)
            logits = model(torch.tensor([ids[start:end]])).logits[0].double()
            targets = torch.tensor(ids[start + 1 : end + 1])
            nats += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
    return nats / predicted


def greedy(model, ids):
    out = model.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0,
                         repetition_penalty=1.0)
    return out[0, len(ids):].tolist()


def main():
    path, binary, text = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    work = Path(sys.argv[4]) if len(sys.argv) > 4 else Path(tempfile.mkdtemp())
    rows = []
    model = read(path)
    rappel(binary, "convert", path, "--to", work / "folder")
    ours, theirs = load_file(work / "folder" / "model.safetensors"), model.state_dict()
    differ = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    rows.append(("weights, bit for bit", f"{len(ours) - len(differ)} of {len(ours)} tensors"))
    assert not differ, differ

    tokenizer = AutoTokenizer.from_pretrained(work / "folder")
    (work / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    lines = rappel(binary, "generate", "--model", path, "--prompts", work / "prompts.jsonl", "--greedy",
                   "--max-new-tokens", NEW, "--json").splitlines()
    same = 0
    for prompt, line in zip(PROMPTS, lines, strict=True):
        told = json.loads(line)
        told = told.get("samples", [told])[0]
        tokens = [token if isinstance(token, int) else token["id"] for token in told["tokens"]]
        wanted = greedy(model, tokenizer.encode(prompt, add_special_tokens=False))
        # rappel ends where the text does.
        same += tokens == wanted[: len(tokens)] and (len(tokens) == NEW or tokens[-1] in (0, 2))
    rows.append((f"the same {NEW} greedy tokens", f"{same} of {len(PROMPTS)} prompts"))
    assert same == len(PROMPTS), same

    sample = "".join(c for c in text.read_text()[:LENGTH] if not c.isdigit())
    (work / "sample.txt").write_text(sample)
    ids = tokenizer.encode(sample, add_special_tokens=False)
    wanted = loss_of(model, ids)
    told = json.loads(rappel(binary, "eval", "--model", path, "--file", work / "sample.txt", "--window", WINDOW,
                             "--stride", WINDOW, "--json"))
    assert told["tokens"] == len(ids) - 1, (told, len(ids))
    ratio = abs(math.exp(told["loss"] - wanted) - 1)
    rows.append((f"perplexity over {len(ids) - 1} tokens", f"{math.exp(told['loss']):.5f}, transformers "
                 f"{math.exp(wanted):.5f}, {ratio:.1e} apart"))
    assert ratio < 1e-4, ratio

    for kind in ["F16", "BF16", "Q8_0", "Q4_0"]:
        written = work / f"{kind}.gguf"
        rappel(binary, "convert", work / "folder", "--to", written, "--dtype", kind)
        blocks = gguf.GGMLQuantizationType[kind]
        source = {t.name: dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
        matrices = [t for t in gguf.GGUFReader(written).tensors if t.tensor_type == blocks]
        equal = sum(np.array_equal(t.data.view(np.uint8).ravel(), quantize(source[t.name], blocks).view(np.uint8).ravel())
                    for t in matrices)
        assert equal == len(matrices) > 100, (kind, equal, len(matrices))
        (work / "short.txt").write_text(sample[:1500])
        again = loss_of(read(written), tokenizer.encode(sample[:1500], add_special_tokens=False))
        told = json.loads(rappel(binary, "eval", "--model", written, "--file", work / "short.txt", "--json",
                                 "--window", WINDOW, "--stride", WINDOW))
        assert abs(told["loss"] - again) < 1e-4, (kind, told, again)
        rows.append((f"{kind} written: matrices with gguf-py's bytes", f"{equal} of {len(matrices)}"))
        rows.append((f"{kind} read by transformers, by rappel: loss", f"{again:.5f}, {told['loss']:.5f}"))
    print("| what | result |\n|---|---|")
    for row in rows:
        print(f"| {row[0]} | {row[1]} |")


main()
