"""Draws a run's loss: python docs/loss_curve.py runs/quickstart-1 4.439 docs/loss.svg (needs matplotlib).

The second argument is the validation loss of the trigram model, which the run prints at its end.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "rappel"
from matplotlib import pyplot

run, trigram, out = pathlib.Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


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
figure.savefig(out, dpi=150, metadata={"Date": None} if out.endswith("svg") else None)
