"""Times a step of every optimizer over 67M parameters, and writes the table to OPTIMIZERS.md.

The parameters are 64 matrices of 1024 x 1024. Each rule's worker, PyTorch's for the same rule where it has one (fused where
that exists, else foreach), the same rule over 10,000 small tensors, and a plain copy and addition of arrays are alive
together and asked in turn. Bytes are those that a step must move at the least: reads of parameter, gradient and state,
writes of parameter and state.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

import run
from torch_worker import RULES

LARGE, SMALL = ["64", "1024", "1024"], ["10000", "61", "110"]
# Beside every rule with its defaults: state in other precisions, and options that change what moves.
MORE = {
    "sgd momentum": 'name = "sgd"\nmomentum = 0.9',
    "adamw bfloat16 state": 'name = "adamw"\nstate_dtype = "bfloat16"',
    "adamw 8bit state": 'name = "adamw"\nstate_dtype = "8bit"',
    "adamw cautious": 'name = "adamw"\ncautious = true',
}
# Rules bound by matrix products, whose bytes say little.
MATRIX = {"muon", "soap", "shampoo", "galore", "apollo"}


class Worker:
    def __init__(self, command, threads):
        env = os.environ | {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
        self.seconds, self.value = [], 0.0
        self.process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise RuntimeError(f"{command} did not start: {line!r}")

    def turn(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        seconds, self.value = map(float, self.process.stdout.readline().split()[:2])
        self.seconds.append(seconds / steps)

    def finish(self):
        self.process.stdin.close()
        self.process.wait()
        return statistics.median(self.seconds)


def sections(binary):
    listed = subprocess.run([binary, "list", "optimizers"], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in listed.splitlines()[1:]]
    return {name: f'name = "{name}"' for name in names} | MORE


def measure(name, section, ours, options):
    torch = [sys.executable, str(run.HERE / "torch_worker.py"), "rule", name]
    workers = {
        "large": Worker([ours, "rule", section, *LARGE], options.threads),
        "small": None if name in MATRIX else Worker([ours, "rule", section, *SMALL], options.threads),
        "add": Worker([ours, "add"], options.threads),
        "torch": Worker(torch, options.threads) if name in RULES else None,
    }
    workers = {key: worker for key, worker in workers.items() if worker}
    for _ in range(options.rounds):
        for worker in workers.values():
            time.sleep(0.1)
            worker.turn(1)
    bytes_moved, added = workers["large"].value, workers["add"].value
    medians = {key: worker.finish() for key, worker in workers.items()}
    rate, best = bytes_moved / medians["large"] / 1e9, added / medians["add"] / 1e9
    small = f"{medians['small'] / medians['large']:.2f}" if "small" in medians else ""
    torch = f"{medians['torch'] * 1e3:.1f} | {medians['torch'] / medians['large']:.2f}" if "torch" in medians else " | "
    row = (
        f"| {name} | {bytes_moved / (1 << 26):.1f} | {medians['large'] * 1e3:.1f} | {rate:.1f} "
        f"| {100 * rate / best:.0f} % | {small} | {torch} |"
    )
    print(row, flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rappel", required=True, help="the binary, for its list of optimizers")
    parser.add_argument("--only", nargs="+", default=[], help="optimizers by name")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cores", default="0,1", help="cores to run on, such as 0,1")
    parser.add_argument("--out", type=pathlib.Path, default=run.HERE / "OPTIMIZERS.md", help="file to write to")
    options = parser.parse_args()
    os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
    ours = run.commands()[run.OURS][0][0]
    context = run.Worker(run.REFERENCE, "context", options.threads)
    context.samples = []
    rows = []
    for name, section in sections(options.rappel).items():
        if not options.only or name in options.only:
            context.turn(1)
            context.samples.append(context.values)
            rows.append(measure(name, section, ours, options))
    context.finish()
    head = (
        "| optimizer | bytes a parameter | ms | GB/s | of `a += b` | 10,000 tensors: x | PyTorch ms | PyTorch: x |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    run.write("\n".join([run.machine(options, context), head, *rows]) + "\n", options.out)


if __name__ == "__main__":
    main()
