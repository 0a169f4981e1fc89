"""testdata/schedules.safetensors: the factors of transformers' get_scheduler, from step 0 to the last and one more.

`noam`, `rex` and `power` are the formulas of their papers; `scale`, `floor`, `clamp` and `restarted` change
transformers' factors.

Each tensor is one variant; the metadata `configs` holds its `[schedule]` section, which says all that
get_scheduler is told. A learning rate of 1 makes the factors readable from the optimizer.
"""

import torch
import transformers
from transformers import get_scheduler

from common import save

STEPS = 2000
CONFIGS = {
    "constant": {"name": "constant"},
    "constant_with_warmup": {"name": "constant_with_warmup", "warmup_steps": 100},
    "constant_with_warmup, of 0 steps": {"name": "constant_with_warmup"},
    "constant_with_warmup, of 1 step": {"name": "constant_with_warmup", "warmup_steps": 1},
    "constant_with_warmup, of the whole run": {"name": "constant_with_warmup", "warmup_steps": STEPS},
    "linear": {"name": "linear", "warmup_steps": 100},
    "linear, no warm-up": {"name": "linear"},
    "linear, shorter than the run": {"name": "linear", "warmup_steps": 7, "num_training_steps": 1501},
    "linear, all warm-up": {"name": "linear", "warmup_steps": STEPS},
    "cosine": {"name": "cosine", "warmup_steps": 100},
    "cosine, no warm-up": {"name": "cosine"},
    "cosine, longer than the run": {"name": "cosine", "warmup_steps": 33, "num_training_steps": 4999},
    "cosine, num_cycles": {"name": "cosine", "warmup_steps": 50, "num_cycles": 2.25},
    "cosine_with_min_lr": {"name": "cosine_with_min_lr", "warmup_steps": 100, "min_lr_rate": 0.1},
    "cosine_with_min_lr, num_cycles": {
        "name": "cosine_with_min_lr",
        "min_lr_rate": 0.37,
        "num_cycles": 1.5,
        "warmup_steps": 13,
        "num_training_steps": 2500,
    },
    "cosine_with_restarts": {"name": "cosine_with_restarts", "warmup_steps": 100, "num_cycles": 3},
    "cosine_with_restarts, once": {"name": "cosine_with_restarts", "num_training_steps": 1501},
    "polynomial": {"name": "polynomial", "warmup_steps": 100},
    "polynomial, to a floor": {"name": "polynomial", "power": 2.5, "lr_end": 0.125, "num_training_steps": 1333},
    "inverse_sqrt": {"name": "inverse_sqrt", "warmup_steps": 100},
    "inverse_sqrt, no warm-up": {"name": "inverse_sqrt"},
    "inverse_sqrt, timescale": {"name": "inverse_sqrt", "warmup_steps": 70, "timescale": 333},
    # One step more than the run: the last is then within the wave.
    "cosine_warmup_with_min_lr": {
        "name": "cosine_warmup_with_min_lr",
        "warmup_steps": 100,
        "min_lr_rate": 0.1,
        "num_training_steps": STEPS + 1,
    },
    "cosine_warmup_with_min_lr, from a rate": {
        "name": "cosine_warmup_with_min_lr",
        "warmup_steps": 77,
        "min_lr_rate": 0.25,
        "warmup_lr_rate": 0.05,
        "num_cycles": 1.5,
        "num_training_steps": 3000,
    },
    "warmup_stable_decay": {"name": "warmup_stable_decay", "warmup_steps": 100, "num_decay_steps": 400},
    "warmup_stable_decay, linear": {
        "name": "warmup_stable_decay",
        "warmup_steps": 111,
        "num_stable_steps": 900,
        "num_decay_steps": 500,
        "num_training_steps": 1511,
        "warmup_type": "cosine",
        "decay_type": "linear",
        "min_lr_ratio": 0.1,
    },
    "warmup_stable_decay, 1-sqrt": {
        "name": "warmup_stable_decay",
        "warmup_steps": 50,
        "num_decay_steps": 700,
        "warmup_type": "1-sqrt",
        "decay_type": "1-sqrt",
        "min_lr_ratio": 0.01,
    },
    "warmup_stable_decay, swinging": {
        "name": "warmup_stable_decay",
        "num_decay_steps": 1000,
        "num_cycles": 1.25,
    },
    "noam": {"name": "noam", "d_model": 512, "warmup_steps": 400},
    "rex": {"name": "rex"},
    "rex, warm-up": {"name": "rex", "warmup_steps": 120, "num_training_steps": 1900},
    "power": {"name": "power", "a": 4.6, "warmup_steps": 30},
    "scale, of another power": {
        "name": "scale",
        "factor": 0.3,
        "schedule": {"name": "power", "a": 1.5, "b": -0.25, "warmup_steps": 10},
    },
    "floor": {"name": "floor", "floor": 0.1, "schedule": {"name": "linear", "warmup_steps": 100}},
    "clamp": {"name": "clamp", "min": 0.2, "max": 0.7, "schedule": {"name": "cosine", "warmup_steps": 100}},
    "restarted": {
        "name": "restarted",
        "every": 450,
        "schedule": {"name": "floor", "floor": 0.25, "schedule": {"name": "cosine", "warmup_steps": 45}},
    },
}


def paper(step, name, **options):
    warmup = options["warmup_steps"]
    if name == "noam":
        n = step + 1
        return options["d_model"] ** -0.5 * min(n**-0.5, n * warmup**-1.5)
    if step < warmup:
        return step / warmup
    if name == "rex":
        p = min(1.0, (step - warmup) / (options["num_training_steps"] - warmup))
        return (1 - p) / (0.5 + 0.5 * (1 - p))
    return min(1.0, options["a"] * step ** options.get("b", -0.51))


def combined(name, schedule, steps, **options):
    """What the combinators make of the inner schedule's factors."""
    if name == "restarted":
        steps = options["every"]
    inner = factors(**{"num_training_steps": steps, **schedule})
    if name == "scale":
        return options["factor"] * inner
    if name == "floor":
        return inner * (1 - options["floor"]) + options["floor"]
    if name == "clamp":
        return inner.clamp(options.get("min"), options.get("max"))
    return inner[torch.arange(STEPS + 1) % steps]


def factors(name, warmup_steps=0, num_training_steps=STEPS, **specific):
    if "schedule" in specific:
        return combined(name, steps=num_training_steps, **specific)
    if name in ("noam", "rex", "power"):
        options = {"warmup_steps": warmup_steps, "num_training_steps": num_training_steps, **specific}
        return torch.tensor([paper(step, name, **options) for step in range(STEPS + 1)], dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = get_scheduler(name, optimizer, warmup_steps, num_training_steps, specific)
    values = []
    for _ in range(STEPS + 1):
        values.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    return torch.tensor(values, dtype=torch.float64)


if __name__ == "__main__":
    tensors = {variant: factors(**config) for variant, config in CONFIGS.items()}
    save(
        "schedules.safetensors",
        tensors,
        {"configs": CONFIGS, "num_training_steps": STEPS},
        modules=(transformers,),
    )
