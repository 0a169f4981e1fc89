"""testdata/clip_torch.safetensors: torch.nn.utils.clip_grad_norm_ and clip_grad_value_ on lists of gradients.

Case `c` clips the gradients `in/<set>/g<i>`; results are `<dtype>/<c>/out/g<i>` and, for norms,
`<dtype>/<c>/total_norm`, the norm before clipping. PyTorch multiplies by min(1, max_norm / (total_norm + 1e-6)).
"""

import torch

from common import generator, normal, save

SHAPES = [[], [7], [3, 5], [2, 3, 4], [2, 1, 3, 2]]
NORMS = [
    ("ordinary", 1.0, 2.0),
    ("ordinary", 0.01, 2.0),
    ("ordinary", 1e6, 2.0),
    ("ordinary", 1.0, float("inf")),
    ("ordinary", 1e6, float("inf")),
    ("ordinary", 1.0, 1.0),
    ("ordinary", 0.0, 2.0),
    ("small", 1.0, 2.0),
    ("small", 1e-7, 2.0),
    ("large", 1.0, 2.0),
    ("large", 1.0, float("inf")),
    ("zero", 1.0, 2.0),
    ("mixed", 1.0, 2.0),
    ("mixed", 5.0, float("inf")),
]
VALUES = [("ordinary", 0.5), ("ordinary", 100.0), ("small", 1e-7), ("large", 1.0), ("zero", 0.1), ("mixed", 2.0)]


def gradient_sets():
    gen = generator(23)
    ordinary = [normal(gen, *shape) for shape in SHAPES]
    scales = [1e-20, 1e8, 1.0, 1e-3, 0.0]
    return {
        "ordinary": ordinary,
        "small": [(g * 1e-6).float().double() for g in ordinary],
        "large": [(g * 1e8).float().double() for g in ordinary],
        "zero": [torch.zeros_like(g) for g in ordinary],
        "mixed": [(g * s).float().double() for g, s in zip(ordinary, scales)],
    }


def with_gradients(gradients, dtype):
    parameters = [torch.nn.Parameter(torch.zeros_like(g, dtype=dtype)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient.clone().to(dtype)
    return parameters


def main():
    sets, out, cases = gradient_sets(), {}, []
    for name, gradients in sets.items():
        out |= {f"in/{name}/g{i}": g for i, g in enumerate(gradients)}
    for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
        for number, (name, max_norm, norm_type) in enumerate(NORMS):
            parameters = with_gradients(sets[name], dtype)
            total = torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type=norm_type, foreach=False)
            out[f"{prefix}/norm_{number:02}/total_norm"] = total
            out |= {f"{prefix}/norm_{number:02}/out/g{i}": p.grad for i, p in enumerate(parameters)}
        for number, (name, clip_value) in enumerate(VALUES):
            parameters = with_gradients(sets[name], dtype)
            torch.nn.utils.clip_grad_value_(parameters, clip_value, foreach=False)
            out |= {f"{prefix}/value_{number:02}/out/g{i}": p.grad for i, p in enumerate(parameters)}
    for number, (name, max_norm, norm_type) in enumerate(NORMS):
        # JSON has no infinity, so norm_type is a text, as PyTorch also accepts it.
        case = {"name": f"norm_{number:02}", "set": name, "max_norm": max_norm, "norm_type": f"{norm_type:g}"}
        cases.append(case)
    values = [{"name": f"value_{n:02}", "set": name, "clip_value": v} for n, (name, v) in enumerate(VALUES)]
    save("clip_torch.safetensors", out, {"norm_cases": cases, "value_cases": values, "shapes": SHAPES})


main()
