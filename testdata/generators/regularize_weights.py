"""testdata/regularize_weights.safetensors: penalties of weights with their gradients, and what follows a step; f64.

Penalties are their formulas under PyTorch's autograd; `proximal` is torch.nn.functional.softshrink; `max_norm` torch.renorm.
"""

import torch

from common import generator, normal, save

SHAPES = {"wide": [3, 5], "tall": [6, 2], "deep": [2, 3, 4], "bias": [4]}
gen = generator(53)
weights = {name: normal(gen, *shape) for name, shape in SHAPES.items()}
weights["wide"][1] = 0
weights["tall"][:, 1] = 0
weights["deep"][0, 0, 0] = 0


def matrix(w):
    return w.reshape(w.shape[0], -1)


def group_lasso(axis, scaled):
    def size(w):
        w = matrix(w)
        return torch.linalg.vector_norm(w, dim=axis).sum() * (w.shape[axis] ** 0.5 if scaled else 1)
    return size


def orthogonal(w):
    w = matrix(w)
    w = w if w.shape[0] <= w.shape[1] else w.T
    return (w @ w.T - torch.eye(w.shape[0], dtype=w.dtype)).square().sum()


MATRICES = ["wide", "tall", "deep"]
PENALTIES = [
    ({"name": "l1", "lambda": 0.3}, MATRICES, lambda w: 0.3 * w.abs().sum()),
    ({"name": "l1", "lambda": 0.3, "params": ["b*", "tall"]}, ["bias", "tall"], lambda w: 0.3 * w.abs().sum()),
    ({"name": "l2", "lambda": 0.7}, MATRICES, lambda w: 0.7 * w.square().sum()),
    ({"name": "elastic_net", "lambda": 0.7, "l1_ratio": 0.2}, MATRICES,
     lambda w: 0.7 * (0.2 * w.abs().sum() + 0.4 * w.square().sum())),
    ({"name": "group_lasso", "lambda": 0.6}, MATRICES, lambda w: 0.6 * group_lasso(1, True)(w)),
    ({"name": "group_lasso", "lambda": 0.6, "scale_by_size": False}, MATRICES,
     lambda w: 0.6 * group_lasso(1, False)(w)),
    ({"name": "group_lasso", "lambda": 0.6, "groups": "columns"}, MATRICES, lambda w: 0.6 * group_lasso(0, True)(w)),
    ({"name": "orthogonal", "lambda": 0.1}, MATRICES, lambda w: 0.1 * orthogonal(w)),
]
out = {f"init/{name}": w for name, w in weights.items()}
penalties, steps = [], []
for number, (options, members, penalty) in enumerate(PENALTIES):
    leaves = {name: weights[name].clone().requires_grad_() for name in members}
    total = sum(penalty(w) for w in leaves.values())
    total.backward()
    case = f"penalty_{number:02}"
    out[f"{case}/value"] = total
    out |= {f"{case}/grad/{name}": w.grad for name, w in leaves.items()}
    penalties.append({"case": case, "options": options, "members": members})

LR = 0.25
STEPS = [
    ({"name": "l1", "lambda": 2.0, "proximal": True}, lambda w: torch.nn.functional.softshrink(w, LR * 2.0)),
    ({"name": "max_norm", "max_norm": 1.5}, lambda w: torch.renorm(w, 2, 0, 1.5)),
    ({"name": "max_norm", "max_norm": 1.5, "groups": "columns"},
     lambda w: torch.renorm(matrix(w), 2, 1, 1.5).reshape(w.shape)),
]
for number, (options, change) in enumerate(STEPS):
    case = f"step_{number:02}"
    out |= {f"{case}/{name}": change(weights[name]) for name in MATRICES}
    steps.append({"case": case, "options": options, "members": MATRICES})
save("regularize_weights.safetensors", out, {"penalties": penalties, "steps": steps, "lr": LR, "shapes": SHAPES})
