"""Draws docs/loss.svg and writes that run's figures into README.md; docs/figures.sh makes the runs."""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "rappel"
from matplotlib import pyplot

runs = pathlib.Path(sys.argv[1])
report = json.loads((runs / "quickstart.json").read_text())
rows = [json.loads(line) for line in (runs / "quickstart/metrics.jsonl").read_text().splitlines()]
trigram = report["trigram_loss"]


def curve(key):
    found = [(row["step"], row[key]) for row in rows if key in row]
    return [step for step, _ in found], [value for _, value in found]


figure, axis = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
axis.plot(*curve("train/loss"), color="#1b6ca8", linewidth=1.6, label="training loss")
axis.plot(*curve("validation/loss"), "o", color="#d1495b", markersize=6, label="validation loss")
axis.axhline(trigram, color="#777777", linewidth=1, linestyle="--")
axis.annotate(
    f"byte trigram, same text: {trigram:.2f}", (1, trigram), xycoords=("axes fraction", "data"),
    xytext=(-6, 4), textcoords="offset points", ha="right", color="#555555", fontsize=9,
)
axis.set(xlabel="step", ylabel="nats per token", xlim=(0, None))
axis.spines[["top", "right"]].set_visible(False)
axis.grid(alpha=0.25)
axis.legend(frameon=False)
figure.savefig("docs/loss.svg", dpi=150, metadata={"Date": None})

commit = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"], capture_output=True, text=True, check=True)
lock = hashlib.sha256(pathlib.Path("Cargo.lock").read_bytes()).hexdigest()[:8]
told = (
    f"That run ends at a validation loss of {report['validation_loss']:.2f} nats per token; a byte trigram of the\n"
    f"same text reaches {trigram:.2f}. (Commit {commit.stdout.strip()}, `Cargo.lock` {lock}: the text is that of the\n"
    "crates in the lock file. `sh docs/figures.sh` makes the pictures and these figures again.)"
)
readme = pathlib.Path("README.md")
text, count = re.subn(
    r"(<!-- figures -->\n).*?(<!-- /figures -->)", lambda m: f"{m[1]}{told}\n{m[2]}", readme.read_text(), flags=re.S
)
assert count == 1, "README.md has one place for the figures"
readme.write_text(text)
