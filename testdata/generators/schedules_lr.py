"""Learning rates of two groups under schedulers whose options are learning rates: PyTorch and transformers.

Writes schedules_lr.safetensors: `<case>` [groups, STEPS], the rates of the groups at each step; the metadata
holds each case's config and the `loss` that the plateau saw before each step.
"""

import torch
import transformers
from common import save
from torch.optim import lr_scheduler as torch_lr

LRS, STEPS = [0.02, 0.5], 60
losses = [1.0 / (1 + step) if step < 8 else 0.2 for step in range(STEPS)]


def rates(make, plateau=False):
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in LRS]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(params, LRS)]
    optimizer = torch.optim.SGD(groups, lr=LRS[0])
    scheduler, found = make(optimizer), []
    for step in range(STEPS):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step(losses[step]) if plateau else scheduler.step()
    return torch.tensor(found, dtype=torch.float64).T


def huggingface(name, **options):
    return lambda optimizer: transformers.get_scheduler(
        name, optimizer, num_warmup_steps=5, num_training_steps=STEPS, scheduler_specific_kwargs=options
    )


CASES = {
    "cosine_annealing": (
        lambda o: torch_lr.CosineAnnealingLR(o, T_max=STEPS, eta_min=1e-3),
        {"t_max": STEPS, "eta_min": 1e-3},
    ),
    "cosine_annealing_warm_restarts": (
        lambda o: torch_lr.CosineAnnealingWarmRestarts(o, T_0=20, eta_min=1e-3),
        {"t_0": 20, "eta_min": 1e-3},
    ),
    "one_cycle": (
        lambda o: torch_lr.OneCycleLR(o, max_lr=0.1, total_steps=STEPS + 1, cycle_momentum=False),
        {"max_lr": 0.1, "total_steps": STEPS + 1},
    ),
    "cyclic": (
        lambda o: torch_lr.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=7, cycle_momentum=False),
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7},
    ),
    "reduce_lr_on_plateau": (
        lambda o: torch_lr.ReduceLROnPlateau(o, factor=0.3, patience=2, min_lr=1e-3, eps=1e-3),
        {"factor": 0.3, "patience": 2, "min_lr": 1e-3, "eps": 1e-3},
    ),
    # transformers holds these against the optimizer's default rate, that of the first group.
    "polynomial": (
        huggingface("polynomial", lr_end=1e-3),
        {"warmup_steps": 5, "lr_end": 1e-3},
    ),
    "cosine_with_min_lr": (
        huggingface("cosine_with_min_lr", min_lr=1e-3),
        {"warmup_steps": 5, "min_lr": 1e-3},
    ),
    "cosine_warmup_with_min_lr": (
        huggingface("cosine_warmup_with_min_lr", min_lr=1e-3),
        {"warmup_steps": 5, "min_lr": 1e-3},
    ),
}
tensors, configs = {}, {}
for name, (make, config) in CASES.items():
    found = rates(make, plateau=name == "reduce_lr_on_plateau")
    whole = name not in ("polynomial", "cosine_with_min_lr", "cosine_warmup_with_min_lr")
    tensors[name] = found if whole else found[:1]
    configs[name] = {"name": name, **config}
save("schedules_lr.safetensors", tensors, {"configs": configs, "lrs": LRS, "losses": losses}, [transformers])
