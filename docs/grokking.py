"""Draws grokking: python docs/grokking.py runs/grokking-1 runs/grokking-2 docs/grokking.svg (needs matplotlib).

The runs are of configs/grokking.toml, the second with `--set optimizer.weight_decay=0`.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "rappel"
from matplotlib import pyplot

*runs, out = sys.argv[1:]
NAMES = ["weight decay 1", "no weight decay"]
COLOURS = ["#1b6ca8", "#d1495b"]


def curve(run, key):
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    found = [(row["step"], row[key]) for row in map(json.loads, lines) if key in row]
    return [step for step, _ in found], [value for _, value in found]


figure, (losses, accuracies) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for run, name, colour in zip(runs, NAMES, COLOURS):
    losses.plot(*curve(run, "train/loss"), color=colour, linewidth=1.0, alpha=0.6, linestyle="--")
    losses.plot(*curve(run, "validation/loss"), color=colour, linewidth=1.6, label=name)
    accuracies.plot(*curve(run, "validation/accuracy"), color=colour, linewidth=1.6, label=name)
accuracies.axhline(1 / 97, color="#777777", linewidth=1, linestyle=":")
accuracies.annotate(
    "chance: 1 of 97", (1, 1 / 97), xycoords=("axes fraction", "data"), xytext=(-6, 5),
    textcoords="offset points", ha="right", color="#555555", fontsize=9,
)
losses.set(yscale="log", ylabel="nats", ylim=(1e-5, 30), title="loss: training dashed, validation solid")
accuracies.set(title="validation accuracy", ylim=(-0.02, 1.04))
for axis in (losses, accuracies):
    axis.set(xlabel="step", xlim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
accuracies.legend(frameon=False, loc="center right")
figure.savefig(out, dpi=150, metadata={"Date": None} if out.endswith("svg") else None)
