"""Averages of weights along random walks: torch.optim.swa_utils.AveragedModel and diffusers' EMAModel, in f64.

Writes averages.safetensors: `walk` [STEPS, 3, 5], the weights after each step; for each case
`<case>.<step>`, the average after step 1, 7 and 40.
"""

import torch
from common import generator, normal, save
import diffusers
from diffusers.training_utils import EMAModel
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

STEPS = 40
AT = [1, 7, 40]
walk = torch.cumsum(normal(generator(7), STEPS, 3, 5), 0)


def warmed(**options):
    """diffusers' EMAModel with its warm-up."""
    weight = torch.nn.Parameter(torch.zeros(3, 5, dtype=torch.float64))
    ema, found = EMAModel([weight], use_ema_warmup=True, **options), {}
    for step in range(1, STEPS + 1):
        weight.data.copy_(walk[step - 1])
        ema.step([weight])
        if step in AT:
            found[step] = ema.shadow_params[0].clone()
    return found


def averages(avg_fn, start=0, every=1):
    model = torch.nn.Linear(5, 3, bias=False, dtype=torch.float64)
    averaged, found = None, {}
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            model.weight.copy_(walk[step - 1])
        if step > start and (step - start) % every == 0:
            averaged = averaged or AveragedModel(model, avg_fn=avg_fn)
            averaged.update_parameters(model)
        if step in AT:
            now = averaged.module.weight if averaged else model.weight
            found[step] = now.detach().clone()
    return found


def latest(k, every):
    """The mean of the latest k: no package in use keeps it, so the mean by its definition."""
    found = {}
    for step in AT:
        taken = [walk[s - 1] for s in range(every, step + 1, every)][-k:]
        found[step] = torch.stack(taken).mean(0) if taken else walk[step - 1]
    return found


cases = {
    "ema": averages(get_ema_avg_fn(0.9)),
    "ema_period": averages(get_ema_avg_fn(0.75), start=5, every=3),
    "ema_warmup": warmed(decay=0.9, inv_gamma=2.0, power=0.75),
    "swa": averages(None),
    "swa_period": averages(None, start=10, every=4),
    "latest": latest(3, 5),
}
tensors = {"walk": walk}
for name, found in cases.items():
    tensors.update({f"{name}.{step}": value for step, value in found.items()})
save("averages.safetensors", tensors, {"at": AT}, [diffusers])
