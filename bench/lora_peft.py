"""Adapters that rappel trains, opened by peft: the loss of a text by both, for LoRA, rsLoRA and DoRA.

    python bench/lora_peft.py target/release/rappel

Fails where the losses are more than 1e-5 apart.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
task = "sft"
[data]
files = ["rows.jsonl"]
assistant_only_loss = true
chat_template = "template.jinja"
eos_token = "<|endoftext|>"
validation_fraction = 0.0
[model]
pretrained = "base"
lora = { r = 4, lora_alpha = 8 }
[optimizer]
name = "adamw"
lr = 2e-2
[train]
steps = 20
batch_size = 4
"""
CASES = {"LoRA": [], "rsLoRA": ["model.lora.use_rslora=true"], "DoRA": ["model.lora.use_dora=true"]}
TEXT = "fn main() {\n    let x1 = 4;\n    x1 + 1\n}\n"


def loss_by_peft(base, adapter):
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()
    ids = AutoTokenizer.from_pretrained(adapter)(TEXT, return_tensors="pt", add_special_tokens=False).input_ids
    with torch.no_grad():
        return model(ids, labels=ids).loss.item()


def main(binary):
    binary = str(Path(binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def rappel(*args):
            return subprocess.run([binary, *args], cwd=place, check=True, capture_output=True, text=True).stdout

        rappel("convert", str(ROOT / "testdata/gguf/llama.gguf"), "--to", "base")
        for name in ("rows.jsonl", "template.jinja"):
            (place / name).write_text((ROOT / "testdata/sft" / name).read_text())
        (place / "lora.toml").write_text(CONFIG)
        (place / "text.txt").write_text(TEXT)
        print("| adapter | loss by rappel | by peft | apart |\n|---|---|---|---|")
        worst = 0.0
        for name, settings in CASES.items():
            more = [word for setting in settings for word in ("--set", setting)]
            rappel("train", "lora.toml", "--out", name, *more)
            told = rappel("eval", "--model", "base", "--adapter", name, "--file", "text.txt", "--json")
            ours, peft = json.loads(told)["loss"], loss_by_peft(place / "base", place / name / "model")
            worst = max(worst, abs(ours - peft))
            print(f"| {name} | {ours:.6f} | {peft:.6f} | {abs(ours - peft):.1e} |")
        if not worst < 1e-5:
            sys.exit(f"losses are {worst} apart")


if __name__ == "__main__":
    main(*sys.argv[1:])
