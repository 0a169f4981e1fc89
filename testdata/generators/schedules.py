"""testdata/schedules.safetensors: the factors of transformers' get_scheduler, from step 0 to the last and one more.

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
    },
}


def factors(name, warmup_steps=0, num_training_steps=STEPS, **specific):
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
