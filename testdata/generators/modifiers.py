"""testdata/modifiers.safetensors: trajectories with what can be put around a rule; f64.

cautious: timm's AdamW with `caution`; lookahead, gradient_centralization: pytorch_optimizer around PyTorch's rules;
l1, l2: PyTorch's autograd of the penalty; l1_proximal: PyTorch's softshrink after SGD; decoupled_decay: PyTorch's AdamW
against Adam.
"""

import pytorch_optimizer
import timm
import torch
from pytorch_optimizer.optimizer.gradient_centralization import centralize_gradient
from timm.optim.adamw import AdamWLegacy
from torch.optim import SGD, Adam, AdamW

from common import generator, normal, save

SHAPES = [[], [7], [3, 5], [2, 3, 4]]
STEPS, SNAPSHOTS = 52, [1, 5, 6, 52]

gen = generator(41)
init = [normal(gen, *shape) for shape in SHAPES]
grads = [[normal(gen, *shape) for shape in SHAPES] for _ in range(STEPS)]
for step in range(20, 23):
    grads[step] = [torch.zeros_like(g) for g in grads[step]]


def penalty(l1, l2):
    def change(p, g):
        leaf = p.detach().clone().requires_grad_()
        ((leaf * g).sum() + l1 * leaf.abs().sum() + l2 / 2 * leaf.square().sum()).backward()
        return leaf.grad
    return change


def central(p, g):
    g = g.clone()
    if g.dim() > 1:
        centralize_gradient(g, gc_conv_only=False)
    return g


def shrink(threshold):
    def change(p):
        p.copy_(torch.nn.functional.softshrink(p, threshold))
    return change


# name: (our options, the optimizer, what is done to a gradient, what is done to a parameter)
same, nothing = lambda p, g: g, lambda p: None
CASES = {
    "cautious": (
        {"name": "adamw", "lr": 0.02, "weight_decay": 0.1, "cautious": True},
        lambda ps: AdamWLegacy(ps, lr=0.02, weight_decay=0.1, caution=True, foreach=False), same, nothing,
    ),
    "lookahead": (
        {"name": "adamw", "lr": 0.02, "lookahead": {"k": 5, "alpha": 0.5}},
        lambda ps: pytorch_optimizer.Lookahead(AdamW(ps, lr=0.02, foreach=False), k=5, alpha=0.5), same, nothing,
    ),
    "gradient_centralization": (
        {"name": "sgd", "lr": 0.02, "momentum": 0.9, "gradient_centralization": True},
        lambda ps: SGD(ps, lr=0.02, momentum=0.9, foreach=False), central, nothing,
    ),
    "l1": (
        {"name": "sgd", "lr": 0.02, "momentum": 0.9, "l1": 0.3},
        lambda ps: SGD(ps, lr=0.02, momentum=0.9, foreach=False), penalty(0.3, 0.0), nothing,
    ),
    "l2": (
        {"name": "adamw", "lr": 0.02, "l2": 0.3},
        lambda ps: AdamW(ps, lr=0.02, foreach=False), penalty(0.0, 0.3), nothing,
    ),
    "l1_proximal": (
        {"name": "sgd", "lr": 0.02, "l1_proximal": 0.5},
        lambda ps: SGD(ps, lr=0.02, foreach=False), same, shrink(0.02 * 0.5),
    ),
    "decoupled_decay": (
        {"name": "adam", "lr": 0.02, "decoupled_decay": 0.1},
        lambda ps: AdamW(ps, lr=0.02, weight_decay=0.1, foreach=False), same, nothing,
    ),
}

out = {f"init/p{i}": p for i, p in enumerate(init)}
out |= {f"grads/p{i}": torch.stack([g[i] for g in grads]) for i in range(len(SHAPES))}
for name, (_, make, gradient, parameter) in CASES.items():
    params = [torch.nn.Parameter(p.clone()) for p in init]
    optimizer, kept = make(params), [[] for _ in params]
    for step in range(STEPS):
        for p, g in zip(params, grads[step]):
            p.grad = gradient(p, g).clone()
        optimizer.step()
        with torch.no_grad():
            for p in params:
                parameter(p)
        if step + 1 in SNAPSHOTS:
            for k, p in zip(kept, params):
                k.append(p.detach().clone())
    out |= {f"{name}/p{i}": torch.stack(k) for i, k in enumerate(kept)}
cases = [{"name": name, "options": options} for name, (options, *_) in CASES.items()]
save("modifiers.safetensors", out, {"cases": cases, "shapes": SHAPES, "snapshots": SNAPSHOTS}, [timm])
