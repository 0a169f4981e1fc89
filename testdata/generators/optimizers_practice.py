"""testdata/optimizers_{practice,schedule_free,adaptive,curvature}.safetensors: trajectories of what trains large models
besides torch.optim.

Parameters and gradients are those of optimizers_torch.safetensors, so that file must exist. Each configuration runs in
f64 and in f32. Three references are in no package: `sophia.py` of github.com/Liuhong99/Sophia at 195a786,
`pytorch/ademamix.py` of github.com/apple/ml-ademamix at e732715, and `MARS/optimizers/mars.py` of
github.com/AGI-Arena/MARS at 20c60c1; the environment variable REFERENCES names the folder that holds the three files.
"""

import os
import sys

import dadaptation
import prodigyopt
import schedulefree
import torch
from importlib.metadata import version
from lion_pytorch import Lion
from pytorch_optimizer import SignSGD, StableAdamW
from safetensors.torch import load_file
from timm.optim import Adan, Adopt, Lamb, Lars

from common import TESTDATA, save

sys.path.insert(0, os.environ["REFERENCES"])
from ademamix import AdEMAMix  # noqa: E402
from mars import MARS  # noqa: E402
from sophia import SophiaG  # noqa: E402

SHAPES = [[], [7], [3, 5], [2, 3, 4], [2, 1, 3, 2]]
STEPS, SNAPSHOTS = 60, [1, 10, 50, 60]
PACKAGES = ["lion-pytorch", "pytorch_optimizer", "timm", "schedulefree", "prodigyopt", "dadaptation"]
# Of the references' state, what is state and not scratch; of their groups, the numbers that change.
STATES = (
    ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_avg_diff", "neg_pre_grad", "exp_avg_fast", "exp_avg_slow"]
    + ["momentum_buffer", "z", "s", "p0", "x0", "last_grad", "hessian"]
)
NUMBERS = ["d", "d_max", "d_numerator", "numerator_weighted", "g0_norm", "weight_sum", "lr_max"]
ALL = {"limit": None, "drift": False, "scheduled": False, "options": {}, "step": {}, "skip": []}


class PlainSophiaG(SophiaG):
    """Sophia-G whose curvature comes from the gradient of the step, every `update_period` steps from the first."""

    def __init__(self, params, update_period, bs, **kwargs):
        super().__init__(params, **kwargs)
        self.update_period, self.bs, self.done = update_period, bs, 0

    def step(self):
        if self.done % self.update_period == 0:
            self.update_hessian()
        self.done += 1
        return super().step(bs=self.bs)


def practice():
    yield "lion", Lion, {}, {}
    yield "lion", Lion, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.3}, {}
    yield "lion", Lion, {"lr": 0.02, "weight_decay": 0.1}, {"scheduled": True}
    yield "signum", SignSGD, {}, {}
    yield "signum", SignSGD, {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.1}, {}
    yield "signum", SignSGD, {"lr": 0.01, "momentum": 0.95, "weight_decay": 0.1, "weight_decouple": False}, {}
    yield "signum", SignSGD, {"lr": 0.01, "momentum": 0.8, "weight_decay": 0.1, "maximize": True}, {}
    yield "signum", SignSGD, {"lr": 0.02, "weight_decay": 0.1}, {"scheduled": True}
    plain = {"max_grad_norm": None, "foreach": False}
    yield "lamb", Lamb, plain, {}
    yield "lamb", Lamb, plain | {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}, {}
    yield "lamb", Lamb, plain | {"lr": 0.02, "bias_correction": False, "grad_averaging": False}, {}
    yield "lamb", Lamb, plain | {"lr": 0.02, "weight_decay": 0.0}, {}
    yield "lamb", Lamb, plain | {"lr": 0.02, "weight_decay": 0.0, "always_adapt": True, "trust_clip": True}, {}
    # What is an option of the reference's rule is a modifier of any rule of ours.
    modified = {"lr": 0.02, "weight_decay": 0.0, "always_adapt": True, "decoupled_decay": 0.2}
    decoupled = {"lr": 0.02, "weight_decay": 0.2, "decoupled_decay": True}
    yield "lamb", Lamb, plain | decoupled, {"options": modified}
    yield "lamb", Lamb, plain | {"lr": 0.02}, {"scheduled": True}
    yield "lars", Lars, {"foreach": False, "lr": 1e-3}, {}
    yield "lars", Lars, {"foreach": False, "weight_decay": 0.01}, {}
    yield "lars", Lars, {"foreach": False, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "eps": 1e-3}, {}
    yield "lars", Lars, {"foreach": False, "lr": 0.5, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}
    yield "lars", Lars, {"foreach": False, "momentum": 0.9, "always_adapt": True, "trust_coeff": 0.02}, {}
    clipped = {"foreach": False, "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.01, "trust_clip": True}
    yield "lars", Lars, clipped | {"trust_coeff": 0.1}, {}
    yield "lars", Lars, {"foreach": False, "momentum": 0.9, "weight_decay": 0.01}, {"scheduled": True}
    yield "adan", Adan, {"foreach": False}, {}
    yield "adan", Adan, {"foreach": False, "lr": 0.02, "betas": (0.9, 0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}, {}
    yield "adan", Adan, {"foreach": False, "lr": 0.02, "weight_decay": 0.1, "no_prox": True}, {}
    yield "adan", Adan, {"foreach": False, "lr": 0.02, "weight_decay": 0.1}, {"scheduled": True}
    yield "ademamix", AdEMAMix, {}, {}
    warm = {"lr": 0.01, "alpha": 5.0, "alpha_warmup": 40, "beta3_warmup": 50, "weight_decay": 0.1}
    yield "ademamix", AdEMAMix, warm, {}
    yield "ademamix", AdEMAMix, {"lr": 0.01, "betas": (0.0, 0.95, 0.99), "eps": 1e-3, "beta3_warmup": 20}, {}
    yield "ademamix", AdEMAMix, {"lr": 0.02, "weight_decay": 0.1}, {"scheduled": True}
    quarter = {"foreach": False, "clip_exp": 0.25}
    yield "adopt", Adopt, quarter, {}
    yield "adopt", Adopt, {"foreach": False, "lr": 0.01, "clip_exp": 0.333, "betas": (0.8, 0.95), "eps": 1e-3}, {}
    yield "adopt", Adopt, {"foreach": False, "lr": 1e-3, "clip_exp": None}, {"options": {"clip_exp": "inf"}}
    yield "adopt", Adopt, quarter | {"lr": 0.01, "weight_decay": 0.1}, {}
    yield "adopt", Adopt, quarter | {"lr": 0.01, "weight_decay": 0.1, "decoupled": True, "maximize": True}, {}
    yield "adopt", Adopt, quarter | {"lr": 0.02, "weight_decay": 0.1}, {"scheduled": True}
    yield "stable_adamw", StableAdamW, {"foreach": False}, {}
    changed = {"foreach": False, "lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}
    yield "stable_adamw", StableAdamW, changed | {"maximize": True}, {}
    yield "stable_adamw", StableAdamW, changed | {"weight_decouple": False}, {}
    yield "stable_adamw", StableAdamW, {"foreach": False, "lr": 0.02}, {"scheduled": True}


def schedule_free():
    plain = {"foreach": False}
    yield "schedule_free_sgd", schedulefree.SGDScheduleFree, plain | {"lr": 0.1}, {}
    changed = {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.1, "warmup_steps": 20, "r": 1.5, "weight_lr_power": 1.0}
    yield "schedule_free_sgd", schedulefree.SGDScheduleFree, plain | changed, {}
    yield "schedule_free_sgd", schedulefree.SGDScheduleFree, plain | {"lr": 0.1, "weight_decay": 0.1}, {"scheduled": True}
    yield "schedule_free_adamw", schedulefree.AdamWScheduleFree, plain, {}
    changed = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "warmup_steps": 20}
    yield "schedule_free_adamw", schedulefree.AdamWScheduleFree, plain | changed | {"r": 1.0}, {}
    yield "schedule_free_adamw", schedulefree.AdamWScheduleFree, plain | changed | {"weight_lr_power": 0.0}, {}
    scheduled = {"lr": 0.02, "weight_decay": 0.1}
    yield "schedule_free_adamw", schedulefree.AdamWScheduleFree, plain | scheduled, {"scheduled": True}
    yield "schedule_free_radam", schedulefree.RAdamScheduleFree, plain, {}
    changed = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "r": 1.0, "silent_sgd_phase": False}
    yield "schedule_free_radam", schedulefree.RAdamScheduleFree, plain | changed, {}
    yield "schedule_free_radam", schedulefree.RAdamScheduleFree, plain | scheduled, {"scheduled": True}


def adaptive():
    prodigy, adam, sgd = prodigyopt.Prodigy, dadaptation.DAdaptAdam, dadaptation.DAdaptSGD
    # The estimate of a rate is made of g * (p0 - p), which is noise where gradients are, or where parameters have
    # hardly moved: so there is a drift, and the first estimate is not the default one.
    tame, d0 = {"limit": 10.0, "drift": True}, {"d0": 0.01}
    yield "prodigy", prodigy, d0, tame
    yield "prodigy", prodigy, d0, {"drift": True}
    changed = {"lr": 0.5, "betas": (0.8, 0.95), "beta3": 0.9, "eps": 1e-3, "weight_decay": 0.1, "d0": 0.05}
    yield "prodigy", prodigy, changed | {"d_coef": 2.0, "growth_rate": 1.2}, tame
    corrected = {"weight_decay": 0.01, "decouple": False, "use_bias_correction": True, "safeguard_warmup": True}
    yield "prodigy", prodigy, d0 | corrected, tame
    yield "prodigy", prodigy, d0 | {"betas": (0.0, 0.99), "weight_decay": 0.1}, tame
    yield "prodigy", prodigy, d0 | {"weight_decay": 0.1}, tame | {"scheduled": True}
    yield "dadapt_adam", adam, d0, tame
    yield "dadapt_adam", adam, d0, {"drift": True}
    changed = {"lr": 0.5, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "d0": 0.05, "growth_rate": 1.2}
    yield "dadapt_adam", adam, changed, tame
    yield "dadapt_adam", adam, d0 | {"weight_decay": 0.1, "decouple": True, "use_bias_correction": True}, tame
    yield "dadapt_adam", adam, d0 | {"weight_decay": 0.1}, tame | {"scheduled": True}
    # z is x0 - s, which ours computes.
    tame, wild = tame | {"skip": ["z"]}, {"drift": True, "skip": ["z"]}
    yield "dadapt_sgd", sgd, d0, tame
    yield "dadapt_sgd", sgd, d0 | {"momentum": 0.9}, wild
    yield "dadapt_sgd", sgd, {"lr": 0.5, "momentum": 0.8, "weight_decay": 0.1, "d0": 0.05, "growth_rate": 1.2}, tame


def curvature():
    factor = {"options": {"lr_1d_factor": 1.0}}
    yield "mars", MARS, {}, factor
    changed = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "gamma": 0.1, "amsgrad": True}
    one = {"betas_1d": (0.7, 0.9), "weight_decay_1d": 0.2}
    yield "mars", MARS, changed | one | {"lr_1d": 0.01}, {"options": {"lr_1d_factor": 0.5}}
    yield "mars", MARS, {"lr": 3e-3, "optimize_1d": True, "weight_decay": 0.1}, factor
    lion = {"lr": 3e-3, "mars_type": "mars-lion", "weight_decay": 0.1}
    yield "mars", MARS, lion, factor
    yield "mars", MARS, lion | {"optimize_1d": True}, factor
    yield "mars", MARS, {"weight_decay": 0.1}, factor | {"scheduled": True}
    plain = {"update_period": 10, "bs": 5120}
    yield "sophia_g", PlainSophiaG, plain, {}
    changed = {"lr": 0.01, "betas": (0.8, 0.9), "rho": 0.01, "weight_decay": 0.2, "maximize": True}
    yield "sophia_g", PlainSophiaG, changed | {"update_period": 1, "bs": 1}, {}
    yield "sophia_g", PlainSophiaG, plain | {"lr": 0.02, "update_period": 7, "bs": 16}, {"scheduled": True}


def run(cls, kwargs, more, initial, grads, dtype):
    """The trajectory: per parameter, and numbers of the whole."""
    parameters = [torch.nn.Parameter(p.detach().clone().to(dtype)) for p in initial]
    optimizer = cls(parameters, **kwargs)
    group = optimizer.param_groups[0]
    base, averages = group["lr"], hasattr(optimizer, "eval")
    if averages:
        optimizer.train()
    snapshots, numbers = [{} for _ in parameters], {}
    for step in range(STEPS):
        if more["scheduled"]:
            group["lr"] = base * LR_SCALE[step]
        for parameter, grad in zip(parameters, grads):
            # A copy: some references change gradients in place, or keep them.
            parameter.grad = grad[step].to(dtype).clone()
        optimizer.step()
        if step + 1 not in SNAPSHOTS:
            continue
        taken = [{"param": p.detach()} | {k: state_of(optimizer, p).get(k) for k in STATES} for p in parameters]
        taken = [{k: v.clone() for k, v in values.items() if v is not None} for values in taken]
        if averages:
            optimizer.eval()
            for parameter, values in zip(parameters, taken):
                values["average"] = parameter.detach().clone()
            optimizer.train()
        for snapshot, values in zip(snapshots, taken):
            for key, value in values.items():
                assert value.isfinite().all() and value.dtype == dtype, key
                if key not in more["skip"]:
                    snapshot.setdefault(key, []).append(value)
        for key in NUMBERS:
            if key in group:
                numbers.setdefault(key, []).append(float(group[key]))
    snapshots = [{k: torch.stack(v) for k, v in snapshot.items()} for snapshot in snapshots]
    return snapshots, {k: torch.tensor(v, dtype=torch.float64) for k, v in numbers.items()}


def state_of(optimizer, parameter):
    return optimizer.state[parameter]


def write(file, configurations, initial, grads):
    drift = torch.tensor([0.9**step for step in range(STEPS)], dtype=torch.float64)
    out, configs, counts = {"drift": drift}, [], {}
    for optimizer, cls, kwargs, more in configurations:
        more = ALL | more
        number = counts[optimizer] = counts.get(optimizer, -1) + 1
        name, limit = f"{optimizer}_{number:02}", more["limit"]
        some = [g if limit is None else g.clamp(-limit, limit) for g in grads]
        if more["drift"]:
            drifts = [drift.reshape(STEPS, *[1] * p.dim()) * p.sign() for p in initial]
            some = [(g + d).float().double() for g, d in zip(some, drifts)]
        for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
            snapshots, numbers = run(cls, kwargs, more, initial, some, dtype)
            for i, snapshot in enumerate(snapshots):
                out |= {f"{prefix}/{name}/p{i}/{key}": value for key, value in snapshot.items()}
            out |= {f"{prefix}/{name}/numbers/{key}": value for key, value in numbers.items()}
        # What a config of ours says: without the reference's ways to compute, in our words where these differ.
        options = {k: v for k, v in kwargs.items() if k not in ("foreach", "max_grad_norm", "lr_1d")} | more["options"]
        configs.append(
            {
                "name": name,
                "optimizer": optimizer,
                "given": kwargs,
                "options": {k: v for k, v in options.items() if v is not None},
                "scheduled": more["scheduled"],
                "limit": limit,
                "drift": more["drift"],
                "states": [key for key in snapshots[0] if key not in ("param", "average")],
                "numbers": list(numbers),
                "average": "average" in snapshots[0],
            }
        )
    packages = {name: version(name) for name in PACKAGES}
    metadata = {"configs": configs, "snapshots": SNAPSHOTS, "steps": STEPS, "packages": packages}
    save(file, out, metadata)


def main():
    golden = load_file(TESTDATA / "optimizers_torch.safetensors")
    global LR_SCALE
    LR_SCALE = golden["lr_scale"].tolist()
    initial = [golden[f"init/p{i}"] for i in range(len(SHAPES))]
    grads = [golden[f"grads/p{i}"] for i in range(len(SHAPES))]
    untouched = [t.clone() for t in initial + grads]
    write("optimizers_practice.safetensors", practice(), initial, grads)
    write("optimizers_schedule_free.safetensors", schedule_free(), initial, grads)
    write("optimizers_adaptive.safetensors", adaptive(), initial, grads)
    write("optimizers_curvature.safetensors", curvature(), initial, grads)
    assert all(torch.equal(a, b) for a, b in zip(untouched, initial + grads)), "a run changed its input"


main()
