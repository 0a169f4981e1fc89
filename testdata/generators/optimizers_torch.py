"""testdata/optimizers_torch*.safetensors: trajectories of torch.optim, one file for each family of rules.

The configurations are those of PyTorch's own tests (optim_db), but LBFGS's, and those of optimizers_torch_options.py,
each run with the one-tensor-at-a-time implementation (foreach=False), in f64 and in f32, over one sequence of gradients
for each family.
"""

import inspect
from contextlib import nullcontext
from unittest import mock

import torch
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    SparseAdam,
    _muon,
)
from torch.testing._internal.common_optimizers import optim_db

from common import generator, normal, save
from optimizers_torch_options import MORE, SCHEDULED

RANKS = [[], [7], [3, 5], [2, 3, 4], [2, 1, 3, 2]]
STEPS, SNAPSHOTS = 60, [1, 10, 50, 60]
# Up for ten steps, then down to zero at the last.
LR_SCALE = [min((step + 1) / 10, (STEPS - 1 - step) / (STEPS - 10)) for step in range(STEPS)]
NOT_OPTIONS = ("foreach", "fused", "capturable", "differentiable")


def of_every_size(shape, gen):
    """One gradient per step. By element index modulo 7 (the scalar has class 0):

    0 and 6: normal; 1: times 1e-20; 2: times 1e8; 3: zero at odd steps; 4: always zero;
    5: times 10^u with u uniform in -4..4, drawn anew for each step. Steps 20 to 23 are zero everywhere, and
    step 30 is 1e8 times larger where the class is 6.
    """
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
    return grad.float().double().reshape(STEPS, *shape)


def of_some_rows(shape, gen):
    """[`of_every_size`], of which each row is there in one step of three; none is in steps 5 and 12."""
    rows = torch.rand(STEPS, shape[0], generator=gen, dtype=torch.float64) < 1 / 3
    rows[[5, 12]] = False
    return of_every_size(shape, gen) * rows.reshape(STEPS, shape[0], *[1] * (len(shape) - 1))


def of_matrices(shape, gen):
    """Normal matrices, each step times 10^u with u uniform in -4..4; steps 20 to 23 are zero."""
    spread = 10 ** (torch.rand(STEPS, generator=gen, dtype=torch.float64) * 8 - 4)
    grad = normal(gen, STEPS, *shape) * spread.reshape(STEPS, *[1] * len(shape))
    grad[20:24] = 0.0
    return grad.float().double()


FAMILIES = {
    "optimizers_torch": ([SGD, Adam, AdamW], RANKS, of_every_size),
    "optimizers_torch_moments": ([NAdam, RAdam, Adamax], RANKS, of_every_size),
    "optimizers_torch_squares": ([Adagrad, Adadelta, RMSprop], RANKS, of_every_size),
    "optimizers_torch_steps": ([Rprop, ASGD], RANKS, of_every_size),
    "optimizers_torch_rows": ([SparseAdam], [[9], [11, 3], [4, 2, 3]], of_some_rows),
    "optimizers_torch_adafactor": ([Adafactor], RANKS, of_every_size),
    "optimizers_torch_muon": ([Muon], [[3, 5], [6, 4], [4, 4], [1, 7], [5, 1]], of_matrices),
}


def configurations(classes):
    known = {info.optim_cls: info for info in optim_db}
    for cls in classes:
        inputs = [(i.desc, i.kwargs, False) for i in known[cls].optim_inputs_func("cpu")]
        inputs += [(desc, kwargs, False) for desc, kwargs in MORE[cls]]
        inputs.append(("scheduled lr", SCHEDULED[cls], True))
        for number, (desc, kwargs, scheduled) in enumerate(inputs):
            # A learning rate given as a tensor means its value.
            kwargs = {k: v.item() if torch.is_tensor(v) else v for k, v in kwargs.items()}
            yield f"{cls.__name__.lower()}_{number:02}", cls, desc, kwargs, scheduled


def as_sparse(grad):
    """The rows of a gradient that are not all zero."""
    rows = (grad.reshape(len(grad), -1) != 0).any(dim=1).nonzero().squeeze(1)
    return torch.sparse_coo_tensor(rows[None], grad[rows], grad.shape, check_invariants=True)


class NoBfloat16:
    """The module `torch` for Muon: its matrix products then run in the type of the parameters."""

    def __init__(self, dtype):
        self.bfloat16 = dtype

    def __getattr__(self, name):
        return getattr(torch, name)


def run(cls, kwargs, scheduled, initial, grads, dtype):
    parameters = [torch.nn.Parameter(p.detach().clone().to(dtype)) for p in initial]
    if "foreach" in inspect.signature(cls).parameters:
        kwargs = kwargs | {"foreach": False}
    optimizer = cls(parameters, **kwargs)
    base = optimizer.param_groups[0]["lr"]
    snapshots = [{} for _ in parameters]
    for step in range(STEPS):
        if scheduled:
            optimizer.param_groups[0]["lr"] = base * LR_SCALE[step]
        for parameter, grad in zip(parameters, grads):
            grad = grad[step].to(dtype)
            parameter.grad = as_sparse(grad) if cls is SparseAdam else grad
        optimizer.step()
        if step + 1 in SNAPSHOTS:
            for parameter, snapshot in zip(parameters, snapshots):
                state = {k: v for k, v in optimizer.state[parameter].items() if k != "step" and v is not None}
                for key, value in ({"param": parameter.detach()} | state).items():
                    assert value.isfinite().all() and value.dtype == dtype, (cls, kwargs, key)
                    snapshot.setdefault(key, []).append(value.clone())
    return optimizer, [{k: torch.stack(v) for k, v in snapshot.items()} for snapshot in snapshots]


def runs(cls):
    """Prefix, precision, and what must be in force for each run of a configuration."""
    for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
        yield prefix, dtype, mock.patch.object(_muon, "torch", NoBfloat16(dtype)) if cls is Muon else nullcontext()
    if cls is Muon:
        yield "bf16", torch.float32, nullcontext()


def family(file, classes, shapes, gradients):
    gen = generator(3)
    initial = [normal(gen, *shape) for shape in shapes]
    gen = generator(5)
    grads = [gradients(shape, gen) for shape in shapes]
    out = {"lr_scale": torch.tensor(LR_SCALE, dtype=torch.float64)}
    out |= {f"init/p{i}": p for i, p in enumerate(initial)}
    out |= {f"grads/p{i}": g for i, g in enumerate(grads)}
    untouched = [t.clone() for t in initial + grads]
    configs = []
    for name, cls, desc, kwargs, scheduled in configurations(classes):
        for prefix, dtype, context in runs(cls):
            # Scalar state, such as NAdam's mu_product, is of the default type.
            torch.set_default_dtype(dtype)
            with context:
                optimizer, snapshots = run(cls, kwargs, scheduled, initial, grads, dtype)
            torch.set_default_dtype(torch.float32)
            for i, snapshot in enumerate(snapshots):
                out |= {f"{prefix}/{name}/p{i}/{key}": value for key, value in snapshot.items()}
        # Every option with the value in force, so that a reader needs to know no default of PyTorch's.
        options = {k: v for k, v in optimizer.defaults.items() if k not in NOT_OPTIONS}
        options["lr"] = kwargs.get("lr", options["lr"])
        # In the order of the state of the first parameter that has them.
        states = list(dict.fromkeys(key for snapshot in snapshots for key in snapshot if key != "param"))
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
        f"{file}.safetensors",
        out,
        {
            "configs": configs,
            "shapes": shapes,
            "snapshots": SNAPSHOTS,
            "steps": STEPS,
        },
    )


for file, (classes, shapes, gradients) in FAMILIES.items():
    family(file, classes, shapes, gradients)
