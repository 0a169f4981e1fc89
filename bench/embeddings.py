"""Embeddings of an encoder against sentence-transformers' and transformers', and the time that each takes.

    python bench/embeddings.py FOLDER RAPPEL TEXTS.jsonl [THREADS]

FOLDER is a folder of sentence-transformers such as all-MiniLM-L6-v2's, RAPPEL the binary, TEXTS.jsonl records with a field
`text`, cut here into sentences. Prints the tables of docs/encoders.md; fails where an embedding is further than 1e-5 from
sentence-transformers'. Times are the best of ROUNDS, one after the other in each round, without reading the model.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = int(sys.argv[4]) if len(sys.argv) > 4 else os.cpu_count()
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

SENTENCES, ROUNDS, BATCH = 100, 5, 32
BAR = 1e-5


def rappel(binary, *args):
    done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{args}: {done.stderr}")
    return json.loads(done.stdout)


def texts_of(path):
    """Sentences of all lengths, and whole records, which are longer than the model reads."""
    records = [json.loads(line)["text"] for line in Path(path).read_text().splitlines()]
    sentences = [s for text in records for s in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if s]
    return sentences[: SENTENCES - 10] + [" ".join(text.split()) for text in records[:10]]


def plain(folder, texts, pooling):
    """transformers' states, pooled here in a line."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    made = []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
            states = model(**inputs).last_hidden_state[0]
            made.append(states.mean(0) if pooling == "mean" else states[0])
    return torch.stack(made).numpy()


def apart(ours, theirs):
    """The largest difference of a number, beside the largest number."""
    return np.abs(ours - theirs).max(), np.abs(theirs).max()


def main():
    folder, binary = sys.argv[1:3]
    torch.set_num_threads(THREADS)
    texts = texts_of(sys.argv[3])
    work = Path(tempfile.mkdtemp())
    file, out = work / "texts.jsonl", work / "out.npy"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    model = SentenceTransformer(folder, device="cpu")

    def ours(*more):
        told = rappel(binary, "embed", "--model", folder, "--file", file, "--out", out, "--json", "--threads", THREADS,
                      "--batch-size", BATCH, *more)
        return told, np.load(out)

    told, sentences = ours()
    assert sentences.dtype == np.float32 and sentences.shape == (len(texts), told["numbers"])
    print("| embeddings | compared with | largest difference | largest number |\n|---|---|---|---|")
    checks = [("as the folder says", "sentence-transformers", sentences, model.encode(texts, batch_size=BATCH))]
    for pooling in ["mean", "cls"]:
        # Not the folder's own length: a folder without its files is any encoder.
        bare = work / f"bare-{pooling}"
        bare.mkdir()
        for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]:
            (bare / name).symlink_to(Path(folder).resolve() / name)
        told = rappel(binary, "embed", "--model", bare, "--file", file, "--out", out, "--json", "--pooling", pooling)
        checks.append((f"--pooling {pooling}", "transformers", np.load(out), plain(folder, texts, pooling)))
    for what, whom, got, want in checks:
        difference, largest = apart(got, want)
        print(f"| {what} | {whom} | {difference:.1e} | {largest:.2f} |")
        assert difference <= BAR * max(1, largest), what
    many = (texts[: SENTENCES - 10] * 6)[:500]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in many))
    best = {"rappel": np.inf, "sentence-transformers": np.inf}
    for _ in range(ROUNDS):
        best["rappel"] = min(best["rappel"], ours()[0]["seconds"])
        start = time.perf_counter()
        model.encode(many, batch_size=BATCH)
        best["sentence-transformers"] = min(best["sentence-transformers"], time.perf_counter() - start)
    print(f"\n| {len(many)} sentences, {THREADS} threads | seconds | a second |\n|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} | {len(many) / seconds:.0f} |")
    print(f"\nratio {best['sentence-transformers'] / best['rappel']:.2f}")


main()
