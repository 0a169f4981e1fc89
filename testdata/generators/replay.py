"""testdata/replay_{input,expected}.safetensors: a run of torch.optim.AdamW for `rappel replay` to repeat.

Two groups (no decay where the name ends in bias), clipping by norm, transformers' linear schedule with warm-up;
one parameter has no gradient at one step, which PyTorch passes over.
"""

import torch
from transformers import get_linear_schedule_with_warmup

from common import generator, normal, save

SHAPES = {"net.weight": [4, 3], "net.bias": [3], "scale": []}
STEPS, WARMUP, LR, DECAY, MAX_NORM = 12, 4, 0.02, 0.1, 1.0

gen = generator(17)
init = {name: normal(gen, *shape) for name, shape in SHAPES.items()}
grads = [{name: normal(gen, *shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]
del grads[5]["scale"]

tensors = {f"param.{name}": value for name, value in init.items()}
tensors |= {f"grad.{step}.{name}": g for step, of in enumerate(grads) for name, g in of.items()}
save("replay_input.safetensors", tensors, {})

params = {name: torch.nn.Parameter(value.clone()) for name, value in init.items()}
optimizer = torch.optim.AdamW(
    [
        {"params": [p for name, p in params.items() if name.endswith("bias")], "weight_decay": 0.0},
        {"params": [p for name, p in params.items() if not name.endswith("bias")]},
    ],
    lr=LR, weight_decay=DECAY, foreach=False,
)
schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
after = {}
for step, of in enumerate(grads):
    for name, p in params.items():
        p.grad = of[name].clone() if name in of else None
    torch.nn.utils.clip_grad_norm_(params.values(), MAX_NORM)
    optimizer.step()
    schedule.step()
    after |= {f"param.{step}.{name}": p.detach().clone() for name, p in params.items()}
save("replay_expected.safetensors", after, {"lr": LR, "weight_decay": DECAY, "max_grad_norm": MAX_NORM, "warmup_steps": WARMUP})
