"""testdata/regularize_forms.safetensors: weights under torch.nn.utils.parametrizations, trained for three steps of SGD; f64.

`<case>/<step>/<name>`: the weight that the forward pass saw at a step, its parts, and their gradients. PyTorch's spectral
norm iterates in each forward pass that trains: the vectors are those after the step's own iteration.
"""

import torch
from torch.nn.utils import parametrizations

from common import generator, normal, save

gen = generator(71)
OUT, IN, LR, STEPS = 4, 6, 0.1, 3
x, y, weight = normal(gen, 5, IN), normal(gen, 5, OUT), normal(gen, OUT, IN)
u, v = normal(gen, OUT), normal(gen, IN)
u, v = (u / u.norm()).float().double(), (v / v.norm()).float().double()
out = {"x": x, "y": y, "weight": weight, "u": u, "v": v}


def layer():
    made = torch.nn.Linear(IN, OUT, bias=False, dtype=torch.float64)
    made.weight.data = weight.clone()
    return made


spectral = parametrizations.spectral_norm(layer())
spectral.parametrizations.weight[0]._u.data = u.clone()
spectral.parametrizations.weight[0]._v.data = v.clone()
CASES = {
    "rows": parametrizations.weight_norm(layer(), dim=0),
    "columns": parametrizations.weight_norm(layer(), dim=1),
    "spectral": spectral,
}
for case, made in CASES.items():
    for step in range(STEPS):
        made.zero_grad()
        seen = made.weight
        (x @ seen.T - y).square().mean().backward()
        out[f"{case}/{step}/weight"] = seen
        for name, p in made.named_parameters():
            short = name.removeprefix("parametrizations.weight.")
            out |= {f"{case}/{step}/{short}": p.clone(), f"{case}/{step}/grad/{short}": p.grad}
        for name, b in made.named_buffers():
            out[f"{case}/{step}/{name.removeprefix('parametrizations.weight.')}"] = b.clone()
        with torch.no_grad():
            for p in made.parameters():
                p -= LR * p.grad
save("regularize_forms.safetensors", out, {"lr": LR, "steps": STEPS})
