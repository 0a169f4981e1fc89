"""Direct preference optimization beside TRL, step by step: `python dpo_trl.py MODEL PAIRS.json [STEPS]`.

MODEL is a folder that transformers reads, such as `rappel convert SmolLM2-135M-Instruct.Q4_1.gguf --to smollm2` makes, and
PAIRS.json rows of `conversations`, `chosen` and `rejected`. Every weight is trained, in single precision, a pair a step in
the order of the file, so that both compute the same; what is left of their differences is rounding.
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
RAPPEL = Path(__file__).parent.parent / "target/release/rappel"
NAMES = ["loss", "rewards/margins", "logps/chosen", "logps/rejected", "grad_norm"]
LR, LENGTH = 1e-5, 256


def messages(said):
    said = said if isinstance(said, list) else [said]
    return [{"role": ROLES[one["from"]], "content": one["value"]} for one in said]


def trl(model, rows, steps):
    names = {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"}
    data = [{name: messages(row[of]) for name, of in names.items()} for row in rows]
    tokenizer = AutoTokenizer.from_pretrained(model)
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        args = DPOConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=1, learning_rate=LR, weight_decay=0.0,
            lr_scheduler_type="constant", max_grad_norm=1e9, max_length=LENGTH, logging_steps=1, bf16=False,
            gradient_checkpointing=False, precompute_ref_log_probs=False, train_sampling_strategy="sequential",
            report_to=[], save_strategy="no", use_cpu=True, optim="adamw_torch", disable_tqdm=True,
        )
        trainer = DPOTrainer(policy, args=args, train_dataset=Dataset.from_list(data), processing_class=tokenizer)
        since = time.time()
        trainer.train()
    logs = [log for log in trainer.state.log_history if "grad_norm" in log]
    return [[log[name] for name in NAMES] for log in logs], time.time() - since


def rappel(model, rows, steps):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "pairs.json").write_text(json.dumps(rows))
        (folder / "dpo.toml").write_text(f"""
            task = "dpo"
            data = {{ files = ["pairs.json"], max_length = {LENGTH}, shuffle = false, validation_fraction = 0.0, on_bad_row = "skip" }}
            model = {{ pretrained = "{model}" }}
            optimizer = {{ name = "adamw", lr = {LR}, weight_decay = 0.0 }}
            train = {{ steps = {steps}, batch_size = 1, max_grad_norm = 0.0, log_every = 1 }}
        """)
        since = time.time()
        subprocess.run([RAPPEL.resolve(), "train", "dpo.toml", "--out", "run"], cwd=folder, check=True)
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    found = [[line["train/" + name] for name in NAMES] for line in lines if "train/loss" in line]
    return found, time.time() - since


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    model, rows = Path(sys.argv[1]).resolve(), json.loads(Path(sys.argv[2]).read_text())
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    ours, our_time = rappel(model, rows, steps)
    theirs, their_time = trl(model, rows, steps)
    print(f"{'step':>4}" + "".join(f"{name:>26}" for name in NAMES))
    for step, (mine, other) in enumerate(zip(ours, theirs), 1):
        print(f"{step:>4}" + "".join(f"{a:>13.5f}{b:>13.5f}" for a, b in zip(mine, other)))
    for i, name in enumerate(NAMES):
        apart = max(abs(a[i] - b[i]) for a, b in zip(ours, theirs))
        print(f"{name}: at most {apart:.2e} apart, of {max(abs(b[i]) for b in theirs):.3g}")
    print(f"rappel {our_time:.0f} s, TRL {their_time:.0f} s, loading included for rappel alone")
