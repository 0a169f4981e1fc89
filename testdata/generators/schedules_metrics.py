"""testdata/schedules_metrics.safetensors: learning rates that follow a metric, after each of its values.

`metric/...` are recorded sequences: `loss`, the training losses of a linear regression by SGD on batches of 4, whose
learning rate is 0.3 in its first half and 0.003 after it; `accuracy`, the fraction of the last 20 batches' samples
that it brought within 1; `waves`, a loss that falls, rises and falls again. The metadata `configs` holds the
`[schedule]` section of each variant, `metrics` the sequence that it is shown. A learning rate of 1 makes the factors
readable from the optimizer.
"""

import torch
import transformers
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers.optimization import GreedyLR

from common import save

STEPS = 2000
CLASSES = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}
# name, metric, options
VARIANTS = {
    "plateau": ("reduce_lr_on_plateau", "loss", {}),
    "plateau, patience": ("reduce_lr_on_plateau", "loss", {"factor": 0.9, "patience": 25}),
    "plateau, no patience": ("reduce_lr_on_plateau", "waves", {"factor": 0.99, "patience": 0}),
    "plateau, max": ("reduce_lr_on_plateau", "accuracy", {"mode": "max", "factor": 0.8, "patience": 40}),
    "plateau, abs": (
        "reduce_lr_on_plateau",
        "waves",
        {"factor": 0.7, "patience": 3, "threshold": 0.02, "threshold_mode": "abs"},
    ),
    "plateau, max and abs": (
        "reduce_lr_on_plateau",
        "accuracy",
        {"mode": "max", "threshold": 0.1, "threshold_mode": "abs", "factor": 0.95, "patience": 7},
    ),
    "plateau, cooldown and floor": (
        "reduce_lr_on_plateau",
        "waves",
        {"factor": 0.6, "patience": 5, "cooldown": 12, "min_lr": 0.004, "threshold": 0.05},
    ),
    "plateau, eps": ("reduce_lr_on_plateau", "loss", {"factor": 0.5, "patience": 4, "eps": 1e-3}),
    "greedy": ("greedy", "loss", {}),
    "greedy, waves": ("greedy", "waves", {"factor": 0.9, "patience": 3, "max_lr": 2.5, "min_lr": 0.05}),
    "greedy, max": ("greedy", "accuracy", {"mode": "max", "factor": 0.8, "patience": 2, "threshold_mode": "rel"}),
    "greedy, rel": ("greedy", "waves", {"threshold": 0.01, "threshold_mode": "rel", "patience": 4, "max_lr": 3.0}),
    "greedy, max and abs": ("greedy", "accuracy", {"mode": "max", "threshold": 0.05, "patience": 1}),
    "greedy, pauses": (
        "greedy",
        "waves",
        {"factor": 0.85, "patience": 2, "cooldown": 9, "warmup": 6, "max_lr": 4.0, "eps": 1e-2},
    ),
    "greedy, smooth waves": (
        "greedy",
        "waves",
        {"smooth": True, "window_size": 10, "patience": 3, "max_lr": 5.0, "factor": 0.8, "min_lr": 0.2, "reset_start": 7},
    ),
    "greedy, smooth": ("greedy", "loss", {"smooth": True, "window_size": 30, "patience": 5, "factor": 0.9}),
    "greedy, reset": (
        "greedy",
        "loss",
        {"factor": 0.5, "patience": 2, "min_lr": 0.1, "reset_start": 20, "smooth": True, "window_size": 5},
    ),
}


def recorded():
    torch.manual_seed(0)
    truth = torch.randn(8, dtype=torch.float64)
    weights = torch.zeros(8, dtype=torch.float64)
    losses, near = [], []
    for step in range(STEPS):
        x = torch.randn(4, 8, dtype=torch.float64)
        error = x @ weights - (x @ truth + 0.5 * torch.randn(4, dtype=torch.float64))
        losses.append(float((error**2).mean()))
        near.append(float((error.abs() < 1).double().mean()))
        weights -= (0.3 if step < STEPS // 2 else 0.003) * x.T @ error / 4
    window = [sum(near[max(0, i - 19) : i + 1]) / len(near[max(0, i - 19) : i + 1]) for i in range(STEPS)]
    t = torch.arange(STEPS, dtype=torch.float64)
    waves = torch.exp(-t / 700) * (1.2 + torch.sin(t / 90)) + 0.002 * torch.randn(STEPS, dtype=torch.float64)
    return {
        "loss": torch.tensor(losses, dtype=torch.float64),
        "accuracy": torch.tensor(window, dtype=torch.float64),
        "waves": waves,
    }


def curve(name, metric, options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = CLASSES[name](optimizer, **options)
    values = []
    for value in metric.tolist():
        scheduler.step(value)
        values.append(float(optimizer.param_groups[0]["lr"]))
    return torch.tensor(values, dtype=torch.float64)


if __name__ == "__main__":
    metrics = recorded()
    tensors = {f"metric/{name}": values for name, values in metrics.items()}
    for variant, (name, metric, options) in VARIANTS.items():
        tensors[variant] = curve(name, metrics[metric], options)
        assert len(set(tensors[variant].tolist())) > 2, variant
    save(
        "schedules_metrics.safetensors",
        tensors,
        {
            "configs": {variant: {"name": name, **options} for variant, (name, _, options) in VARIANTS.items()},
            "metrics": {variant: metric for variant, (_, metric, _) in VARIANTS.items()},
        },
        modules=(transformers,),
    )
