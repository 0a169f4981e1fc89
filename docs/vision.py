"""Draws accuracies of images: python docs/vision.py OUT.svg NAME=RUN ... (needs matplotlib).

The runs are of configs/fashion_mlp.toml, configs/fashion_cnn.toml and the like; a curve for each.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "rappel"
from matplotlib import pyplot

out, *runs = sys.argv[1:]
COLOURS = ["#1b6ca8", "#d1495b", "#4f8a5b"]

figure, axis = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
for (name, run), colour in zip((run.split("=", 1) for run in runs), COLOURS):
    rows = [json.loads(line) for line in (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()]
    last = max(row["step"] for row in rows)
    found = [(row["step"] / last, row["validation/accuracy"]) for row in rows if "validation/accuracy" in row]
    axis.plot(*zip(*found), color=colour, linewidth=1.6, marker=".", label=f"{name}: {found[-1][1]:.4f}")
axis.set(xlabel="share of the run", ylabel="accuracy on the test images", xlim=(0, 1.01))
axis.spines[["top", "right"]].set_visible(False)
axis.grid(alpha=0.25)
axis.legend(frameon=False, loc="lower right")
figure.savefig(out, dpi=150, metadata={"Date": None})
