"""testdata/optimizers_torch.safetensors: trajectories of torch.optim's SGD, Adam and AdamW.

The configurations are those of PyTorch's own tests (optim_db) and more, each run with the one-tensor-at-a-time
implementation (foreach=False), in f64 and in f32, over one shared sequence of gradients.
"""

import torch
from torch.optim import SGD, Adam, AdamW
from torch.testing._internal.common_optimizers import optim_db

from common import generator, normal, save

SHAPES = [[], [7], [3, 5], [2, 3, 4], [2, 1, 3, 2]]
STEPS, SNAPSHOTS = 60, [1, 10, 50, 60]
STATES = ["momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
MORE = {
    SGD: [
        ("zero lr", {"lr": 0.0, "momentum": 0.9}),
        (
            "momentum, dampening, weight_decay, maximize",
            {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01, "maximize": True},
        ),
        ("nesterov without weight_decay", {"lr": 0.1, "momentum": 0.95, "nesterov": True}),
        ("full dampening", {"lr": 0.1, "momentum": 0.9, "dampening": 1.0}),
    ],
    Adam: [
        ("betas and eps", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
        ("zero betas", {"lr": 0.01, "betas": (0.0, 0.0)}),
        ("decoupled_weight_decay", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
        ("amsgrad without weight_decay", {"lr": 0.01, "amsgrad": True}),
        ("amsgrad, maximize, betas", {"lr": 0.1, "betas": (0.7, 0.9), "amsgrad": True, "maximize": True}),
    ],
    AdamW: [
        ("betas and eps", {"lr": 0.02, "betas": (0.9, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
        ("zero betas", {"lr": 0.01, "betas": (0.0, 0.0)}),
        ("zero weight_decay", {"lr": 0.01, "weight_decay": 0.0}),
        (
            "amsgrad, maximize, betas",
            {"lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.05, "amsgrad": True, "maximize": True},
        ),
    ],
}
SCHEDULED = {
    SGD: {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    Adam: {"lr": 0.02, "weight_decay": 0.1},
    AdamW: {"lr": 0.02, "weight_decay": 0.1},
}
# Up for ten steps, then down to zero at the last.
LR_SCALE = [min((step + 1) / 10, (STEPS - 1 - step) / (STEPS - 10)) for step in range(STEPS)]


def gradients():
    """Per parameter, one gradient per step. By element index modulo 7 (the scalar has class 0):

    0 and 6: normal; 1: times 1e-20; 2: times 1e8; 3: zero at odd steps; 4: always zero;
    5: times 10^u with u uniform in -4..4, drawn anew for each step. Steps 20 to 23 are zero everywhere, and
    step 30 is 1e8 times larger where the class is 6.
    """
    gen, result = generator(5), []
    for shape in SHAPES:
        grad = normal(gen, STEPS, *shape).reshape(STEPS, -1)
        kind = torch.arange(grad.shape[1]) % 7
        spread = 10 ** (torch.rand(grad.shape, generator=gen, dtype=torch.float64) * 8 - 4)
        grad[:, kind == 1] *= 1e-20
        grad[:, kind == 2] *= 1e8
        grad[1::2, kind == 3] = 0.0
        grad[:, kind == 4] = 0.0
        grad = torch.where(kind == 5, grad * spread, grad)
        grad[30, kind == 6] *= 1e8
        grad[20:24] = 0.0
        result.append(grad.float().double().reshape(STEPS, *shape))
    return result


def configurations():
    known = {info.optim_cls: info for info in optim_db}
    for cls in (SGD, Adam, AdamW):
        inputs = [(i.desc, i.kwargs, False) for i in known[cls].optim_inputs_func("cpu")]
        inputs += [(desc, kwargs, False) for desc, kwargs in MORE[cls]]
        inputs.append(("scheduled lr", SCHEDULED[cls], True))
        for number, (desc, kwargs, scheduled) in enumerate(inputs):
            # A learning rate given as a tensor means its value.
            kwargs = {k: v.item() if torch.is_tensor(v) else v for k, v in kwargs.items()}
            yield f"{cls.__name__.lower()}_{number:02}", cls, desc, kwargs, scheduled


def run(cls, kwargs, scheduled, initial, grads, dtype):
    parameters = [torch.nn.Parameter(p.detach().clone().to(dtype)) for p in initial]
    optimizer = cls(parameters, **kwargs, foreach=False)
    base = optimizer.param_groups[0]["lr"]
    snapshots = [{} for _ in parameters]
    for step in range(STEPS):
        if scheduled:
            optimizer.param_groups[0]["lr"] = base * LR_SCALE[step]
        for parameter, grad in zip(parameters, grads):
            parameter.grad = grad[step].to(dtype)
        optimizer.step()
        if step + 1 in SNAPSHOTS:
            for parameter, snapshot in zip(parameters, snapshots):
                state = optimizer.state[parameter]
                values = {"param": parameter.detach()} | {k: state[k] for k in STATES if state.get(k) is not None}
                for key, value in values.items():
                    assert value.isfinite().all() and value.dtype == dtype
                    snapshot.setdefault(key, []).append(value.clone())
    return optimizer, [{k: torch.stack(v) for k, v in snapshot.items()} for snapshot in snapshots]


def main():
    gen = generator(3)
    initial = [normal(gen, *shape) for shape in SHAPES]
    grads = gradients()
    out = {"lr_scale": torch.tensor(LR_SCALE, dtype=torch.float64)}
    out |= {f"init/p{i}": p for i, p in enumerate(initial)}
    out |= {f"grads/p{i}": g for i, g in enumerate(grads)}
    untouched = [t.clone() for t in initial + grads]
    configs = []
    for name, cls, desc, kwargs, scheduled in configurations():
        for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
            optimizer, snapshots = run(cls, kwargs, scheduled, initial, grads, dtype)
            for i, snapshot in enumerate(snapshots):
                out |= {f"{prefix}/{name}/p{i}/{key}": value for key, value in snapshot.items()}
        # Every option with the value in force, so that a reader needs to know no default of PyTorch's.
        options = {
            k: v for k, v in optimizer.defaults.items() if k not in ("foreach", "fused", "capturable", "differentiable")
        }
        options["lr"] = kwargs.get("lr", options["lr"])
        states = [key for key in snapshots[0] if key != "param"]
        configs.append(
            {
                "name": name,
                "optimizer": cls.__name__,
                "description": desc,
                "given": kwargs,
                "options": options,
                "scheduled": scheduled,
                "states": states,
            }
        )
    assert all(torch.equal(a, b) for a, b in zip(untouched, initial + grads)), "a run changed its input"
    save(
        "optimizers_torch.safetensors",
        out,
        {
            "configs": configs,
            "shapes": SHAPES,
            "snapshots": SNAPSHOTS,
            "steps": STEPS,
        },
    )


main()
