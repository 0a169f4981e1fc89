"""testdata/optimizers_closure.safetensors: trajectories of optimizers that evaluate the loss themselves.

L-BFGS of torch.optim, through closures that always return the same gradients (the way of a replay) and through
closures that evaluate a small network; SAM of pytorch_optimizer around torch.optim's SGD and AdamW, its norm taken in
the precision of the gradients (the package takes it in single precision whatever they are). The network is
tanh(x w1 + b1) w2 + b2, its loss the mean square error plus terms for tensors of the ranks 3 and 4:

    mean((net(x) - y)^2) + 0.1 mean((t3^2 - 1)^2) + 0.2 mean(tanh(t4 - 0.5)^2)
"""

from importlib.metadata import version

import torch
from pytorch_optimizer import SAM
from pytorch_optimizer.optimizer import sam as sam_module
from torch.optim import LBFGS, SGD, AdamW

from common import generator, normal, save

SHAPES = {"w1": [3, 5], "b1": [5], "w2": [5], "b2": [], "t3": [2, 3, 2], "t4": [2, 1, 3, 2]}
STEPS, SNAPSHOTS = 60, [1, 2, 5, 10, 50, 60]
STATES = ["d", "prev_flat_grad"]

CONSTANT = [
    ("default", {}),
    ("small lr and history", {"lr": 0.05, "history_size": 3}),
    ("one iteration", {"lr": 0.1, "max_iter": 1}),
    ("one evaluation", {"lr": 0.1, "max_iter": 7, "max_eval": 1}),
    ("tolerances of 0", {"lr": 0.01, "tolerance_grad": 0.0, "tolerance_change": 0.0, "max_iter": 3}),
    ("maximize", {"lr": 0.1, "maximize": True}),
    ("large tolerance_grad", {"lr": 0.1, "tolerance_grad": 1000.0}),
    ("scheduled lr", {"lr": 0.5}),
]
NETWORK = [
    ("fixed steps", {"lr": 0.1, "max_iter": 4, "history_size": 5}),
    ("strong_wolfe", {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
    ("strong_wolfe, short history", {"max_iter": 3, "history_size": 2, "line_search_fn": "strong_wolfe"}),
    ("strong_wolfe, long first tries", {"lr": 20.0, "max_iter": 2, "max_eval": 30, "line_search_fn": "strong_wolfe"}),
    ("strong_wolfe, few evaluations", {"lr": 3.0, "max_iter": 5, "max_eval": 4, "line_search_fn": "strong_wolfe"}),
]
SHARP = [
    (SGD, "default", {}, {"lr": 0.1, "momentum": 0.9}),
    (SGD, "rho", {"rho": 0.2}, {"lr": 0.1}),
    (SGD, "adaptive", {"rho": 0.2, "adaptive": True}, {"lr": 0.1, "weight_decay": 0.01}),
    (AdamW, "default", {}, {"lr": 0.01}),
    (AdamW, "adaptive", {"rho": 0.3, "adaptive": True}, {"lr": 0.01}),
]
LR_SCALE = [min((step + 1) / 10, (STEPS - 1 - step) / (STEPS - 10)) for step in range(STEPS)]


def square_norm(groups, weight_adaptive):
    """pytorch_optimizer's norm of all gradients, in their own precision: its own is always single."""
    weighted = [p.grad * p.abs() if g["adaptive"] and weight_adaptive else p.grad for g in groups for p in g["params"]]
    return torch.stack([g.square().sum() for g in weighted]).sum().reshape(1)


def network(p, x, y):
    out = torch.tanh(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
    loss = (out - y).square().mean()
    return loss + 0.1 * (p["t3"].square() - 1).square().mean() + 0.2 * torch.tanh(p["t4"] - 0.5).square().mean()


def snapshot(taken, parameters, state):
    for name, parameter in parameters.items():
        taken.setdefault(f"{name}/param", []).append(parameter.detach().clone())
    sizes = [p.numel() for p in parameters.values()]
    for key in STATES if state else []:
        for (name, parameter), part in zip(parameters.items(), state[key].split(sizes)):
            taken.setdefault(f"{name}/{key}", []).append(part.view_as(parameter).clone())
    for key in ("n_iter", "func_evals") if state else []:
        taken.setdefault(key, []).append(torch.tensor(float(state[key]), dtype=torch.float64))


def run(make, initial, dtype, closure_of, scheduled, order):
    parameters = {name: torch.nn.Parameter(initial[name].detach().clone().to(dtype)) for name in order}
    optimizer, taken = make(list(parameters.values())), {}
    base = optimizer.param_groups[0]["lr"]
    for step in range(STEPS):
        if scheduled:
            optimizer.param_groups[0]["lr"] = base * LR_SCALE[step]
        closure = closure_of(parameters, optimizer, step, dtype)
        if isinstance(optimizer, SAM):
            closure()
        optimizer.step(closure)
        if step + 1 in SNAPSHOTS:
            searched = isinstance(optimizer, LBFGS)
            snapshot(taken, parameters, optimizer.state[next(iter(parameters.values()))] if searched else None)
    return {key: torch.stack(values) for key, values in taken.items()}


def spread(one, other, kind):
    """At each snapshot the largest relative difference of two runs, elements below 1e-3 of a tensor's largest on that
    scale: how far PyTorch is from itself where only the order of its sums differs."""
    worst = torch.zeros(len(SNAPSHOTS), dtype=torch.float64)
    for key, a in one.items():
        if key.endswith("/param") or (kind == "constant" and "/" in key):
            a, b = (values.double().reshape(len(SNAPSHOTS), -1) for values in (a, other[key]))
            scale = torch.maximum(a.abs(), 1e-3 * a.abs().amax(1, keepdim=True))
            worst = torch.maximum(worst, ((a - b).abs() / scale).nan_to_num(0.0).amax(1))
    return worst


def main():
    sam_module.get_global_gradient_norm = square_norm
    gen = generator(17)
    initial = {name: normal(gen, *shape, std=0.7) for name, shape in SHAPES.items()}
    x, y = normal(gen, 12, 3), normal(gen, 12)
    grads = {name: normal(gen, STEPS, *shape) for name, shape in SHAPES.items()}
    # Steps 20 to 22 are zero; of each tensor the first element is tiny and the last large.
    for grad in grads.values():
        flat = grad.view(STEPS, -1)
        if flat.shape[1] > 1:
            flat[:, 0] *= 1e-6
            flat[:, -1] *= 1e3
        flat[20:23] = 0.0
    grads = {name: grad.float().double() for name, grad in grads.items()}

    def constant(parameters, optimizer, step, dtype):
        def closure():
            for name, parameter in parameters.items():
                parameter.grad = grads[name][step].to(dtype)
            return 0.0

        return closure

    def of_network(parameters, optimizer, step, dtype):
        def closure():
            optimizer.zero_grad()
            loss = network(parameters, x.to(dtype), y.to(dtype))
            loss.backward()
            return loss

        return closure

    out = {"lr_scale": torch.tensor(LR_SCALE, dtype=torch.float64), "x": x, "y": y}
    out |= {f"init/{name}": p for name, p in initial.items()} | {f"grads/{name}": g for name, g in grads.items()}
    configs = []

    def add(name, kind, optimizer, description, given, make, closure_of):
        scheduled = description == "scheduled lr"
        for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
            taken, other = (run(make, initial, dtype, closure_of, scheduled, order) for order in (SHAPES, [*SHAPES][::-1]))
            assert all(values.isfinite().all() for values in taken.values()), name
            taken["spread"] = spread(taken, other, kind)
            out.update({f"{prefix}/{name}/{key}": values for key, values in taken.items()})
        configs.append(
            {
                "name": name,
                "kind": kind,
                "optimizer": optimizer,
                "description": description,
                "given": given,
                "scheduled": scheduled,
            }
        )

    for kind, cases, closure_of in (("constant", CONSTANT, constant), ("network", NETWORK, of_network)):
        for number, (description, given) in enumerate(cases):
            add(
                f"{kind}_{number:02}",
                kind,
                "lbfgs",
                description,
                given,
                lambda p, given=given: LBFGS(p, **given),
                closure_of,
            )
    for number, (cls, description, sam, given) in enumerate(SHARP):
        add(
            f"sam_{number:02}",
            "network",
            cls.__name__.lower(),
            description,
            given | {"sam": sam},
            lambda p, cls=cls, sam=sam, given=given: SAM(p, cls, **sam, **given),
            of_network,
        )
    save(
        "optimizers_closure.safetensors",
        out,
        {
            "configs": configs,
            "shapes": SHAPES,
            "snapshots": SNAPSHOTS,
            "steps": STEPS,
            "states": STATES,
            "pytorch_optimizer": version("pytorch_optimizer"),
        },
    )


main()
