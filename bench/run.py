"""Times this project and its peers on the same work, interleaved, and writes the table to RESULTS.md.

Each worker is a process that builds a job, warms up, and then runs steps when asked on its standard
input (`torch_worker.py`, `peers/`, `ours/`). Workers of a group are all alive and asked in turn, one
at a time, so that a drift of the machine meets all alike. Large jobs run in groups of two, each with
the reference, so that memory suffices; a ratio is always to the reference of the worker's own rounds.
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
REFERENCE = "PyTorch, fused"
OURS = "rappel"
MARKS = "<!-- table: written by run.py -->", "<!-- end of table -->"

# key: (title, steps a turn, workers alive besides the reference)
JOBS = {
    "seed": ("(a) seed program, 1000 epochs", 3, 5),
    "gpt_small": ("(b) GPT 5.3M, batch 8 x 128, one step", 3, 5),
    "gpt2": ("(c) GPT-2 124M, batch 4 x 256, one step", 1, 1),
    "gpt2_long": ("(f) GPT-2 124M, batch 1 x 1024, one step", 1, 1),
    "gpt2_short": ("(g) GPT-2 124M, batch 1 x 64, one step", 3, 1),
    "gpt_wide": ("(h) GPT 14M, 6 layers of 384, batch 12 x 256, one step", 1, 1),
    "mlp": ("(d) MLP 784-512-512-10, batch 64, one step", 100, 5),
    "adamw": ("(e) AdamW alone, 67M parameters, one step", 3, 2),
}


# Workers of other precision, and the jobs that burn and candle have no worker for.
BF16 = "rappel, medium", "rappel, bf16", "PyTorch, autocast", "PyTorch, compiled autocast", "PyTorch, bf16 weights"
NO_PEERS = "gpt2_long", "gpt2_short", "gpt_wide"


def runs(name, job):
    """Whether a worker has a job."""
    if name in BF16:
        return job.startswith("gpt")
    return job not in NO_PEERS or name not in ("burn (flex)", "candle")


def commands():
    """What starts each worker, less the job's name: (command, its arguments after the job)."""
    torch = [sys.executable, str(HERE / "torch_worker.py")]
    shared = os.environ.get("CARGO_TARGET_DIR")

    def rust(workspace, binary):
        target = pathlib.Path(shared) if shared else HERE / workspace / "target"
        return [str(target / "release" / binary)]

    found = {
        OURS: (rust("ours", "bench-rappel"), []),
        "PyTorch": (torch, ["default"]),
        REFERENCE: (torch, ["fused"]),
        "PyTorch, compiled": (torch, ["compiled"]),
        "burn (flex)": (rust("peers", "peer-burn"), []),
        "candle": (rust("peers", "peer-candle"), []),
        "rappel, medium": (rust("ours", "bench-rappel"), ["medium"]),
        "rappel, bf16": (rust("ours", "bench-rappel"), ["bf16"]),
        "PyTorch, autocast": (torch, ["autocast"]),
        "PyTorch, compiled autocast": (torch, ["autocast-compiled"]),
        "PyTorch, bf16 weights": (torch, ["bf16"]),
    }
    return {name: command for name, command in found.items() if pathlib.Path(command[0][0]).exists()}


class Worker:
    def __init__(self, name, job, threads):
        command, variant = commands()[name]
        keys = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"
        env = os.environ | {key: str(threads) for key in keys}
        # burn and candle allocate through mimalloc, which is faster where it keeps what is freed.
        env |= {"MIMALLOC_PURGE_DELAY": "-1", "PYTHONWARNINGS": "ignore", "TORCH_LOGS": "-all"}
        self.name, self.seconds, self.values = name, [], []
        self.process = subprocess.Popen(
            command + [job] + variant, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.read("ready")

    def read(self, what):
        line = self.process.stdout.readline()
        if not line or (what and not line.startswith(what)):
            raise RuntimeError(f"worker {self.name!r} ended (expected {what or 'a timing'}, read {line!r})")
        return line.split()

    def turn(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        seconds, *self.values = map(float, self.read(None))
        self.seconds.append(seconds / steps)

    def finish(self):
        self.process.stdin.close()
        _, peak, before = self.read("peak")
        self.process.wait()
        return int(peak), int(before)


def run_job(job, names, options, context):
    """Interleaved rounds of all workers, in groups: one row a worker."""
    _, steps, together = JOBS[job]
    others = [name for name in names if name != REFERENCE]
    rows, reference = {}, []
    for first in range(0, max(len(others), 1), together):
        group = [REFERENCE] + others[first : first + together]
        print(f"{job}: {', '.join(group)}", file=sys.stderr)
        workers = [Worker(name, job, options.threads) for name in group]
        for _ in range(options.rounds):
            # A moment between turns: idle threads of the last one stop spinning.
            for worker in [context] + workers:
                time.sleep(0.25)
                worker.turn(1 if worker is context else steps)
                if worker is context:
                    context.samples.append(context.values)
        base = workers[0].seconds
        for worker in workers:
            ratio = statistics.median(worker.seconds) / statistics.median(base)
            rows[worker.name] = dict(
                seconds=worker.seconds, ratio=ratio, loss=worker.values[-1], memory=worker.finish()
            )
            print(f"  {worker.name}: {statistics.median(worker.seconds):.4g} s, x {ratio:.2f}", file=sys.stderr)
        reference += base
    rows[REFERENCE]["seconds"] = reference
    return {name: rows[name] for name in names}


def table(job, rows):
    title = JOBS[job][0]
    lines = [
        f"### {title}\n",
        f"| | median ms | min - max ms | x {REFERENCE} | peak MB | of these before the job | last loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        seconds = [value * 1e3 for value in row["seconds"]]
        peak, before = (size / 1e6 for size in row["memory"])
        lines.append(
            f"| {name} | {statistics.median(seconds):.4g} | {min(seconds):.4g} - {max(seconds):.4g} "
            f"| {row['ratio']:.2f} | {peak:.0f} | {before:.0f} | {row['loss']:.4g} |"
        )
    return "\n".join(lines) + "\n"


def machine(options, context):
    lscpu = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    field = lambda name: re.search(rf"^{name}:\s*(.*)$", lscpu, re.M).group(1)
    lock = (HERE / "peers/Cargo.lock").read_text()
    version = lambda crate: re.search(rf'name = "{crate}"\nversion = "(.*)"', lock).group(1)
    torch = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True
    ).stdout.strip()
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    product, copy = (statistics.median(values) for values in zip(*context.samples))
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return "\n".join([
        f"- {datetime.date.today()}; {field('Model name')} (family {field('CPU family')}, model "
        f"{field('Model')}), {os.cpu_count()} cores, run on {cores} with {options.threads} threads; "
        f"{platform.system()} {platform.release()}; load at the end {os.getloadavg()[0]:.1f}",
        f"- PyTorch {torch}, burn {version('burn')}, candle {version('candle-core')}, {rustc}",
        f"- in the same run: `torch.mm` of 2048^3 {product / 1e9:.0f} GFLOP/s; copy "
        f"{copy / 1e9:.1f} GB/s (bytes read plus bytes written); medians of {len(context.samples)}",
        f"- median of {options.rounds} rounds (the reference: of all its groups' rounds)",
    ]) + "\n"


def write(text, path):
    start, end = MARKS
    old = path.read_text() if path.exists() else f"# Results\n\n{start}\n{end}\n"
    before, after = old.split(start)[0], old.split(end)[1]
    path.write_text(f"{before}{start}\n{text}{end}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--only", nargs="+", default=[], help="workers, by a part of their name")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cores", default="0,1", help="cores to run on, such as 0,1")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "RESULTS.md", help="file to write to")
    options = parser.parse_args()
    os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})

    wanted = lambda name: not options.only or any(part.lower() in name.lower() for part in options.only)
    names = [name for name in commands() if name == REFERENCE or wanted(name)]
    context = Worker(REFERENCE, "context", options.threads)
    context.samples = []
    tables = []
    for job in options.jobs:
        tables.append(table(job, run_job(job, [name for name in names if runs(name, job)], options, context)))
        print(tables[-1])
    context.finish()
    text = machine(options, context)
    print(text)
    write("\n".join([text, *tables]), options.out)


if __name__ == "__main__":
    main()
