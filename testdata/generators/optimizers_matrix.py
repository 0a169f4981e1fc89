"""testdata/optimizers_matrix_*.safetensors: trajectories of rules over whole matrices, a file for each.

The references: transformers' Adafactor; pytorch_optimizer's CAME, LOMO, AdaLOMO, SOAP, Shampoo and Muon (coefficients by
step); adam-mini, galore-torch, apollo-torch; for the other versions of Muon, PyTorch's code with the lines replaced in which
theirs differs. Where one casts to a lower precision inside, it runs with that type's name bound to the type of the run, so
that f64 is f64 throughout. `given` are the options as rappel calls them.
"""

import inspect
import platform
import sys
import textwrap
from importlib.metadata import version

import numpy as np
import torch
from common import generator, normal, save

SHAPES = [[7], [3, 5], [8, 8], [12, 5], [2, 3, 4]]
STEPS, SNAPSHOTS = 60, [1, 10, 50, 60]


def of_every_size(gen, shape):
    """One gradient per step; by element index modulo 7, as optimizers_torch.py has it."""
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


def of_matrices(gen, shape):
    """Normal tensors, each step times 10^u, u uniform in -1..1; steps 20 to 23 are zero. The eigenvectors and singular
    vectors of anything wilder are noise."""
    spread = 10 ** (torch.rand(STEPS, generator=gen, dtype=torch.float64) * 2 - 1)
    grad = normal(gen, STEPS, *shape) * spread.reshape(STEPS, *[1] * len(shape))
    grad[20:24] = 0.0
    return grad.float().double()


def without(owner, *pairs):
    """A function of the same source, each of `pairs` replaced, bound to the globals of its module."""
    source = textwrap.dedent(inspect.getsource(owner))
    for old, new in pairs:
        assert old in source, (owner, old)
        source = source.replace(old, new)
    scope = dict(sys.modules[owner.__module__].__dict__)
    exec(source, scope)  # noqa: S102
    return scope[owner.__name__]


def run(make, states, initial, grads, dtype):
    parameters = [torch.nn.Parameter(p.detach().clone().to(dtype)) for p in initial]
    names = [f"p{i}.weight" for i in range(len(parameters))]
    step, state = make(parameters, names)
    snapshots = [{} for _ in parameters]
    for n in range(STEPS):
        step([grad[n].to(dtype) for grad in grads])
        if n + 1 in SNAPSHOTS:
            for i, snapshot in enumerate(snapshots):
                values = {"param": parameters[i].detach()}
                for ours, theirs in states.items():
                    value = theirs(state(i)) if callable(theirs) else state(i).get(theirs)
                    if value is not None:
                        values[ours] = value
                for key, value in values.items():
                    assert value.isfinite().all() and value.dtype == dtype, (key, value.dtype)
                    snapshot.setdefault(key, []).append(value.clone())
    return [{k: torch.stack(v) for k, v in snapshot.items()} for snapshot in snapshots]


def plain(cls, **options):
    """An optimizer in torch's way."""

    def make(parameters, _names):
        optimizer = cls(parameters, **options)

        def step(grads):
            for parameter, grad in zip(parameters, grads):
                parameter.grad = grad.clone()
            optimizer.step()

        return step, lambda i: optimizer.state[parameters[i]]

    return make


def write(name, cases, packages):
    """Cases are (given, make, states, which parameters, kind of gradients), and in some (how much more noise)."""
    gen = generator(11)
    initial = [normal(gen, *shape) for shape in SHAPES]
    kinds = {"every": [of_every_size(gen, s) for s in SHAPES], "matrices": [of_matrices(gen, s) for s in SHAPES]}
    used = {case[4] for case in cases}
    out = {f"init/p{i}": p for i, p in enumerate(initial)}
    out |= {f"grads/{kind}/p{i}": g for kind in used for i, g in enumerate(kinds[kind])}
    configs = []
    for number, (given, make, states, chosen, kind, *noise) in enumerate(cases):
        config = f"{name}_{number:02}"
        for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
            torch.set_default_dtype(dtype)
            grads = [kinds[kind][i] for i in chosen]
            snapshots = run(make, states, [initial[i] for i in chosen], grads, dtype)
            for i, snapshot in zip(chosen, snapshots):
                out |= {f"{prefix}/{config}/p{i}/{key}": value for key, value in snapshot.items()}
        found = {"name": config, "optimizer": name, "given": given, "params": chosen, "grads": kind}
        configs.append(found | ({"noise": noise[0]} if noise else {}))
    versions = {"numpy": np.__version__, "python": platform.python_version(), "torch": torch.__version__}
    versions |= {package: version(package) for package in packages}
    metadata = {"versions": versions, "configs": configs, "shapes": SHAPES, "snapshots": SNAPSHOTS, "steps": STEPS}
    save(f"optimizers_matrix_{name}.safetensors", out, metadata)


EVERY, MATRIX, TALL = [0, 1, 2, 3, 4], [1, 2, 3], [2, 3]


def muon():
    """PyTorch's Muon with the iteration in the run's type, and the two other versions: their code differs from PyTorch's
    in the lines replaced here (github.com/KellerJordan/Muon, github.com/MoonshotAI/Moonlight)."""
    from torch.optim import Muon, _muon

    full = ("torch.bfloat16", "grad.dtype")
    plus = (".norm().clamp(min=eps)", ".norm().add(eps)")
    heavy = [
        ("buf.lerp_(grad, 1 - momentum)", "buf.mul_(momentum).add_(grad)"),
        ("grad.lerp(buf, momentum)", "grad.add(buf, alpha=momentum)"),
    ]

    def patched(iteration, step, **options):
        inner = without(_muon._zeropower_via_newtonschulz, *iteration)
        whole = without(_muon._single_tensor_muon, *step)
        whole.__globals__["_zeropower_via_newtonschulz"] = inner

        def make(parameters, names):
            take, state = plain(Muon, **options)(parameters, names)

            def step(grads):
                before, _muon._single_tensor_muon = _muon._single_tensor_muon, whole
                take(grads)
                _muon._single_tensor_muon = before

            return step, state

        return make

    def scheduled(coefficients, steps, **options):
        """A coefficient for each step, as pytorch_optimizer's Muon has it."""
        from pytorch_optimizer.optimizer import Muon
        from pytorch_optimizer.optimizer.utils.matrix import (
            zero_power_via_newton_schulz_5,
        )

        class Full(Muon):
            @staticmethod
            def _orthogonalize(group, updates):
                steps, weights = group["ns_steps"], group["ns_coeffs"]
                return [
                    zero_power_via_newton_schulz_5(u, num_steps=steps, weights=weights, dtype=u.dtype) for u in updates
                ]

        options |= {"ns_coeffs": coefficients, "ns_steps": steps, "foreach": False}

        def make(parameters, names):
            # The package wants to be told that these are Muon's.
            return plain(lambda p: Full([{"params": p, "use_muon": True}], **options))(parameters, names)

        return make

    states = {"momentum_buffer": "momentum_buffer"}
    keller = {"lr": 0.02, "weight_decay": 0.01, "eps": 0.1}
    moonshot = {"lr": 1e-3, "weight_decay": 0.1, "eps": 0.1}
    cases = [
        ({"variant": "keller_jordan"} | keller, patched([full, plus], [], **keller)),
        ({"variant": "keller_jordan", "nesterov": False} | keller, patched([full, plus], [], nesterov=False, **keller)),
        (
            {"variant": "moonshot"} | moonshot,
            patched([full, plus], heavy, adjust_lr_fn="match_rms_adamw", **moonshot),
        ),
        (
            {"variant": "moonshot", "nesterov": False, "adjust_lr_fn": "original"} | moonshot,
            patched([full, plus], heavy, nesterov=False, **moonshot),
        ),
    ]
    more = {"lr": 0.02, "weight_decay": 0.0}
    for name, steps in (("quintic", 5), ("quintic", 7), ("polar_express", 8)):
        cases.append(({"ns_coefficients": name, "ns_steps": steps} | more, scheduled(name, steps, **more)))
    listed = [[3.0, -3.2, 1.2], [2.0, -1.5, 0.5]]
    cases.append(({"ns_coefficients": listed, "ns_steps": 4} | more, scheduled([tuple(x) for x in listed], 4, **more)))
    return [(given, make, states, MATRIX, "matrices") for given, make in cases]


def adafactor():
    from transformers import Adafactor

    states = {k: k for k in ("exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col", "exp_avg")}
    here = {"variant": "transformers"}
    return [
        (here | {"relative_step": True}, plain(Adafactor), states, EVERY, "every"),
        (
            here | {"relative_step": True, "warmup_init": True, "weight_decay": 0.1},
            plain(Adafactor, warmup_init=True, weight_decay=0.1),
            states,
            EVERY,
            "every",
        ),
        (
            here | {"lr": 0.01, "scale_parameter": False, "beta1": 0.9, "weight_decay": 0.01},
            plain(Adafactor, lr=0.01, relative_step=False, scale_parameter=False, beta1=0.9, weight_decay=0.01),
            states,
            EVERY,
            "every",
        ),
        (
            here | {"lr": 0.05, "eps": [1e-6, 1e-2], "d": 2.0, "beta2_decay": -0.5},
            plain(
                Adafactor,
                lr=0.05,
                relative_step=False,
                eps=(1e-6, 1e-2),
                clip_threshold=2.0,
                decay_rate=-0.5,
            ),
            states,
            EVERY,
            "every",
        ),
    ]


def came():
    from pytorch_optimizer import CAME

    names = ("exp_avg", "exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_res_row", "exp_avg_res_col")
    states = {k: k for k in (*names, "exp_avg_sq_hat")}
    cases = [
        {},
        {"lr": 0.01, "weight_decay": 0.1},
        {"lr": 0.01, "weight_decay": 0.1, "weight_decouple": False},
        {"lr": 0.01, "weight_decay": 0.01, "fixed_decay": True, "maximize": True},
        {"lr": 0.01, "betas": [0.8, 0.95, 0.99], "clip_threshold": 2.0},
        {"lr": 0.01, "eps1": 1e-8, "eps2": 1e-4},
        {"lr": 0.01, "ams_bound": True},
    ]
    return [(given, plain(CAME, foreach=False, **given), states, EVERY, "every") for given in cases]


def in_type_of_run(*modules):
    """Binds the name `torch` of modules to torch with float32 and bfloat16 meaning the default type."""

    class Torch:
        def __getattr__(self, name):
            return torch.get_default_dtype() if name in ("float32", "bfloat16") else getattr(torch, name)

    for module in modules:
        module.torch = Torch()


def adam_mini():
    """The authors' package, which knows blocks by words in names."""
    from adam_mini import Adam_mini

    def make(name, **options):
        def inner(parameters, _names):
            named = [(f"{name}.{i}", p) for i, p in enumerate(parameters)]
            optimizer = Adam_mini(named, verbose=False, **options)

            def step(grads):
                for parameter, grad in zip(parameters, grads):
                    parameter.grad = grad.clone()
                optimizer.step()

            return step, lambda i: optimizer.state[parameters[i]] | {"like": parameters[i]}

        return inner

    states = {"m": lambda s: s["m"].view_as(s["like"]), "vmean": lambda s: s.get("vmean", s.get("v"))}
    matrices, rest = [1, 2, 3], [0, 4]
    decay = {"lr": 0.01, "weight_decay": 0.1}
    return [
        ({}, make("mlp"), states, matrices, "every"),
        ({}, make("plain"), states, [0], "every"),
        (decay | {"partition": "rows"}, make("wv", **decay), states, matrices, "every"),
        (decay | {"partition": "tensor"}, make("scale", **decay), states, [0, 1, 2, 3, 4], "every"),
        ({"lr": 0.01, "partition": "element"}, make("bias", **decay), states, [0, 1, 2, 3, 4], "every"),
        (
            {"lr": 0.01, "partition": "heads", "n_heads": 4, "betas": [0.8, 0.95], "eps": 1e-3},
            make("wq", lr=0.01, dim=8, n_heads=4, betas=(0.8, 0.95), eps=1e-3),
            states,
            [2],
            "every",
        ),
        ({"lr": 0.01, "partition": "tensor"}, make("scale", lr=0.01), states, rest, "matrices"),
    ]


class Module(torch.nn.Module):
    """What the LOMO family wants: its parameters by name."""

    def __init__(self, parameters):
        super().__init__()
        for i, parameter in enumerate(parameters):
            self.register_parameter(f"p{i}", parameter)


def fused(cls, **options):
    """An optimizer that takes its steps inside of backward."""

    def make(parameters, _names):
        optimizer = cls(Module(parameters), **options)

        def step(grads):
            # The package multiplies the loss by a power of two, and divides gradients by it.
            loss = sum((p * g).sum() for p, g in zip(parameters, grads))
            optimizer.fused_backward(loss, optimizer.lr)

        def state(i):
            kept = {"exp_avg_sq": "exp_avg_sq", "exp_avg_sq_row": "exp_avg_sq_row", "exp_avg_sq_col": "exp_avg_sq_col"}
            return {k: getattr(optimizer, v, {}).get(f"p{i}") for k, v in kept.items()}

        return step, state

    return make


def lomo():
    from pytorch_optimizer.optimizer import lomo as module

    in_type_of_run(module)
    return [
        ({}, fused(module.LOMO), {}, EVERY, "every"),
        ({"lr": 0.1, "maximize": True}, fused(module.LOMO, lr=0.1, maximize=True), {}, EVERY, "every"),
    ]


def adalomo():
    from pytorch_optimizer.optimizer import lomo as module

    in_type_of_run(module)
    states = {k: k for k in ("exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col")}
    cases = [
        {},
        {"lr": 0.05, "weight_decay": 0.1},
        {"lr": 0.05, "clip_threshold": 2.0, "decay_rate": -0.5},
        {"lr": 0.05, "eps1": 1e-8, "eps2": 0.5},
    ]
    return [(given, fused(module.AdaLOMO, **given), states, [0, 1, 2, 3], "every") for given in cases]


def soap():
    """In full precision: the package rounds to float32 before QR. Only what does not depend on the eigenvectors that a
    library chooses: bases of full rank from the first gradient on, for which both sides of a matrix must be equal."""
    from pytorch_optimizer.optimizer import soap as module

    in_type_of_run(module)
    states = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
    states |= {
        f"GG_{i}": (lambda s, i=i: s["GG"][i] if i < len(s["GG"]) and len(s["GG"][i]) else None) for i in range(3)
    }
    square, deep = [2, 4], [0, 2, 4]
    cases = [
        ({}, deep),
        ({"lr": 0.05, "weight_decay": 0.1, "precondition_frequency": 1}, square),
        ({"lr": 0.05, "betas": [0.9, 0.99], "shampoo_beta": 0.8, "precondition_frequency": 7, "eps": 1e-3}, square),
        ({"lr": 0.05, "correct_bias": False, "normalize_gradient": True}, deep),
        ({"lr": 0.05, "max_precondition_dim": 3}, [0, 1, 2, 4]),
        ({"lr": 0.05, "max_precondition_dim": 5}, [3, 4]),
    ]
    return [(given, plain(module.SOAP, **given), states, which, "matrices") for given, which in cases]


def shampoo():
    from pytorch_optimizer import Shampoo

    states = {k: k for k in [f"pre_cond_{i}" for i in range(3)] + [f"inv_pre_cond_{i}" for i in range(3)]}
    cases = [
        {"matrix_eps": 0.1},
        {"lr": 0.05, "matrix_eps": 0.1, "weight_decay": 0.1},
        {"lr": 0.05, "matrix_eps": 0.1, "weight_decay": 0.1, "weight_decouple": True},
        {"lr": 0.05, "matrix_eps": 0.1, "weight_decay": 0.01, "weight_decouple": True, "fixed_decay": True},
        {"lr": 0.05, "matrix_eps": 0.1, "preconditioning_compute_steps": 3, "maximize": True},
        {"lr": 0.05, "matrix_eps": 0.1, "momentum": 0.9},
        {"lr": 0.05},
    ]
    more = states | {"momentum_buffer": "momentum_buffer"}
    return [
        # 1e-6 beside moments of 1e4: roots of the least eigenvalues have as few digits less.
        (given, plain(Shampoo, **given), more if "momentum" in given else states, EVERY, "matrices")
        + (() if "matrix_eps" in given else (1e4,))
        for given in cases
    ]


def signed_svd(matrix, full_matrices=False):
    """PyTorch's, of the signs with which the largest element of each right vector is positive."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=full_matrices)
    sign = vh.gather(1, vh.abs().argmax(dim=1, keepdim=True)).sign()
    return u * sign.T, s, vh * sign


class SignedTorch:
    class linalg:
        svd = staticmethod(signed_svd)

    def __getattr__(self, name):
        return torch.get_default_dtype() if name == "float" else getattr(torch, name)


def galore():
    from galore_torch import galore_projector
    from galore_torch.adamw import AdamW

    galore_projector.torch = SignedTorch()

    def case(which, **given):
        low = {"rank": 2, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}
        low |= {k: given[k] for k in low if k in given}
        rest = {k: v for k, v in given.items() if k not in low}

        def make(parameters, names):
            grouped = lambda ps: AdamW(
                [{"params": [p], **(low if p.ndim == 2 else {})} for p in ps], no_deprecation_warning=True, **rest
            )
            return plain(grouped)(parameters, names)

        return low | given, make, {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}, which, "matrices"

    return [
        case(EVERY),
        case(EVERY, lr=0.05, weight_decay=0.1, rank=3, update_proj_gap=7),
        case(EVERY, lr=0.05, betas=[0.8, 0.95], eps=1e-3, correct_bias=False, update_proj_gap=1),
        case(MATRIX, lr=0.05, proj_type="reverse_std", update_proj_gap=20),
        case(MATRIX, lr=0.05, proj_type="right", update_proj_gap=20, scale=1.0),
        case(MATRIX, lr=0.05, proj_type="left", update_proj_gap=20),
        # What is off the diagonal is noise at first, and Adam divides it by its own size.
        (*case(MATRIX, lr=0.05, proj_type="full", update_proj_gap=20), 50.0),
    ]


def apollo():
    """With projections on singular vectors: random ones are of a library's own numbers."""
    from apollo_torch import apollo as module
    from apollo_torch import svd_projector

    svd_projector.torch = SignedTorch()

    def case(**given):
        low = {"rank": 2, "update_proj_gap": 200, "scale": 1.0, "scale_type": "channel", "proj": "svd"}
        low |= {k: given[k] for k in low if k in given}
        rest = {k: v for k, v in given.items() if k not in low}

        def make(parameters, names):
            grouped = lambda ps: module.AdamW(
                [{"params": [p], **(low | {"proj_type": "std"} if p.ndim == 2 else {})} for p in ps], **rest
            )
            return plain(grouped)(parameters, names)

        states = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "scaled_grad": "scaled_grad"}
        if given.get("disable_nl"):
            del states["scaled_grad"]
        return low | given, make, states, EVERY, "matrices"

    return [
        case(),
        case(lr=0.05, weight_decay=0.1, update_proj_gap=7),
        case(lr=0.05, rank=1, scale_type="tensor", scale=128.0, update_proj_gap=20),
        case(lr=0.05, scale=4.0, scale_front=True, betas=[0.8, 0.95], eps=1e-3),
        case(lr=0.05, disable_nl=True, correct_bias=False, update_proj_gap=20),
    ]


PACKAGES = {
    muon: ["pytorch_optimizer"],
    adafactor: ["transformers"],
    came: ["pytorch_optimizer"],
    adam_mini: ["adam-mini"],
    lomo: ["pytorch_optimizer"],
    adalomo: ["pytorch_optimizer"],
    soap: ["pytorch_optimizer"],
    shampoo: ["pytorch_optimizer"],
    galore: ["galore-torch"],
    apollo: ["apollo-torch"],
}

if __name__ == "__main__":
    for cases, packages in PACKAGES.items():
        write(cases.__name__, cases(), packages)
