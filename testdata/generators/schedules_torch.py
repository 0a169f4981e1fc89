"""testdata/schedules_torch.safetensors: the curves of torch.optim.lr_scheduler, from step 0 to the last.

Each tensor is one variant; the metadata `configs` holds its section in a config of ours. Those of `inline` stand
as the table of a hyperparameter and are its values; the others are factors, read from a learning rate of 1.
What PyTorch computes step from step drifts by rounding; only after the first half wave of CosineAnnealingLR
is that more than 1e-12, and its closed form is taken.
"""

import math
import warnings

import torch
from torch.optim import lr_scheduler as torch_schedulers

from common import save

STEPS = 2001
CLASSES = {
    "constant_lr": "ConstantLR",
    "cosine_annealing": "CosineAnnealingLR",
    "cosine_annealing_warm_restarts": "CosineAnnealingWarmRestarts",
    "cyclic": "CyclicLR",
    "exponential": "ExponentialLR",
    "lambda": "LambdaLR",
    "linear_lr": "LinearLR",
    "multiplicative": "MultiplicativeLR",
    "multistep": "MultiStepLR",
    "one_cycle": "OneCycleLR",
    "polynomial_lr": "PolynomialLR",
    "step": "StepLR",
}
# What is in capitals there, and what must be said there but not here.
NAMES = {"t_max": "T_max", "t_0": "T_0", "t_mult": "T_mult"}
DEFAULTS = {"cosine_annealing": {"t_max": STEPS}, "one_cycle": {"total_steps": STEPS}}
FUNCTIONS = {name: getattr(math, name) for name in ("exp", "log", "sqrt", "cos", "sin", "tanh", "floor", "ceil")}
FUNCTIONS |= {"min": min, "max": max, "abs": abs, "pi": math.pi, "steps": STEPS}

FACTORS = {
    "step": {"name": "step", "step_size": 300},
    "step, gamma": {"name": "step", "step_size": 7, "gamma": 0.99},
    "multistep": {"name": "multistep", "milestones": [100, 700, 1500]},
    "multistep, twice": {"name": "multistep", "milestones": [0, 250, 250, 1999], "gamma": 0.7},
    "exponential": {"name": "exponential", "gamma": 0.997},
    "constant_lr": {"name": "constant_lr"},
    "constant_lr, long": {"name": "constant_lr", "factor": 0.2, "total_iters": 800},
    "linear_lr": {"name": "linear_lr"},
    "linear_lr, falling": {"name": "linear_lr", "start_factor": 0.9, "end_factor": 0.05, "total_iters": 1200},
    "polynomial_lr": {"name": "polynomial_lr"},
    "polynomial_lr, power": {"name": "polynomial_lr", "total_iters": 1700, "power": 0.9},
    "polynomial_lr, long": {"name": "polynomial_lr", "total_iters": 2500, "power": 3.0},
    "cosine_annealing": {"name": "cosine_annealing"},
    "cosine_annealing, swinging": {"name": "cosine_annealing", "t_max": 300, "eta_min": 0.05},
    "cosine_annealing_warm_restarts": {"name": "cosine_annealing_warm_restarts", "t_0": 400},
    "cosine_annealing_warm_restarts, longer": {
        "name": "cosine_annealing_warm_restarts",
        "t_0": 70,
        "t_mult": 3,
        "eta_min": 0.02,
    },
    "cyclic": {"name": "cyclic", "base_lr": 0.1, "max_lr": 1.0},
    "cyclic, triangular2": {
        "name": "cyclic",
        "base_lr": 0.01,
        "max_lr": 0.8,
        "step_size_up": 100,
        "step_size_down": 230,
        "mode": "triangular2",
    },
    "cyclic, exp_range": {
        "name": "cyclic",
        "base_lr": 0.001,
        "max_lr": 1.5,
        "step_size_up": 150,
        "mode": "exp_range",
        "gamma": 0.9994,
    },
    "one_cycle": {"name": "one_cycle", "max_lr": 1.0},
    "one_cycle, linear": {
        "name": "one_cycle",
        "max_lr": 2.0,
        "total_steps": 2100,
        "pct_start": 0.45,
        "anneal_strategy": "linear",
        "div_factor": 10.0,
        "final_div_factor": 100.0,
    },
    "one_cycle, three phases": {"name": "one_cycle", "max_lr": 1.0, "three_phase": True},
    "one_cycle, no ascent": {"name": "one_cycle", "max_lr": 1.0, "pct_start": 0.0},
    "lambda": {"name": "lambda", "lr_lambda": "0.95 ** (epoch // 30)"},
    "lambda, of much": {
        "name": "lambda",
        "lr_lambda": "max(0.05, min(1, step / 100)) * exp(-(step / 900) ** 2) + 0.1 * (1 + cos(2 * pi * step / steps))",
    },
    "multiplicative": {"name": "multiplicative", "lr_lambda": "1 - 0.1 * (step % 50 == 0) - 1e-4"},
    "sequential": {
        "name": "sequential",
        "schedules": [
            {"name": "linear_lr", "start_factor": 0.01, "total_iters": 200},
            {"name": "cosine_annealing_warm_restarts", "t_0": 300},
            {"name": "exponential", "gamma": 0.995},
        ],
        "milestones": [200, 1100],
    },
    "chained": {
        "name": "chained",
        "schedules": [
            {"name": "constant_lr", "factor": 0.1, "total_iters": 20},
            {"name": "exponential", "gamma": 0.9995},
            {"name": "multistep", "milestones": [500, 1000], "gamma": 0.5},
        ],
    },
    "sequential of chained": {
        "name": "sequential",
        "schedules": [
            {
                "name": "chained",
                "schedules": [
                    {"name": "linear_lr", "total_iters": 100},
                    {"name": "step", "step_size": 40, "gamma": 0.9},
                ],
            },
            {"name": "polynomial_lr", "total_iters": 1000, "power": 2.0},
        ],
        "milestones": [600],
    },
}
INLINE = {
    "cosine_annealing, inline": {"name": "cosine_annealing", "value": 0.05, "t_max": 900, "eta_min": 0.002},
    "warm restarts, inline": {"name": "cosine_annealing_warm_restarts", "value": 3.0, "t_0": 500, "eta_min": 0.3},
    "cyclic, inline": {"name": "cyclic", "base_lr": 3e-4, "max_lr": 5e-3, "step_size_up": 333},
    "one_cycle, inline": {"name": "one_cycle", "max_lr": 0.02},
}
# The momentum of these, as a schedule of its own.
MOMENTUM = {
    "one_cycle, momentum": (
        {"name": "one_cycle", "max_lr": 0.85, "div_factor": 0.85 / 0.95, "final_div_factor": 1.0},
        {"name": "one_cycle", "max_lr": 1.0},
    ),
    "one_cycle, momentum of three phases": (
        {"name": "one_cycle", "max_lr": 0.8, "div_factor": 0.8 / 0.9, "final_div_factor": 1.0, "three_phase": True},
        {"name": "one_cycle", "max_lr": 1.0, "base_momentum": 0.8, "max_momentum": 0.9, "three_phase": True},
    ),
    "cyclic, momentum": (
        {"name": "cyclic", "base_lr": 0.9, "max_lr": 0.8, "step_size_up": 170, "mode": "triangular2"},
        {"name": "cyclic", "base_lr": 0.1, "max_lr": 1.0, "step_size_up": 170, "mode": "triangular2"},
    ),
}


def formula(text):
    return lambda step: eval(text, {"__builtins__": {}}, FUNCTIONS | {"step": step, "epoch": step})


def scheduler(optimizer, name, schedules=(), **options):
    options = DEFAULTS.get(name, {}) | options
    parts = [scheduler(optimizer, **part) for part in schedules]
    if name == "sequential":
        return torch_schedulers.SequentialLR(optimizer, parts, **options)
    if name == "chained":
        return torch_schedulers.ChainedScheduler(parts)
    if "lr_lambda" in options:
        options["lr_lambda"] = formula(options["lr_lambda"])
    kwargs = {NAMES.get(key, key): value for key, value in options.items()}
    return getattr(torch_schedulers, CLASSES[name])(optimizer, **kwargs)


def curve(config, key="lr"):
    options = {name: value for name, value in config.items() if name != "value"}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=config.get("value", 1.0), momentum=0.9)
    steps = scheduler(optimizer, **options)
    values = []
    for _ in range(STEPS):
        value = float(optimizer.param_groups[0][key])
        if config["name"] == "cosine_annealing":
            closed = steps._get_closed_form_lr()[0]
            assert math.isclose(closed, value, rel_tol=1e-8, abs_tol=1e-13), (config, closed, value)
            value = closed
        values.append(value)
        optimizer.step()
        steps.step()
    return torch.tensor(values, dtype=torch.float64)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tensors = {variant: curve(config) for variant, config in (FACTORS | INLINE).items()}
    tensors |= {variant: curve(theirs, "momentum") for variant, (_, theirs) in MOMENTUM.items()}
    inline = INLINE | {variant: ours for variant, (ours, _) in MOMENTUM.items()}
    save(
        "schedules_torch.safetensors",
        tensors,
        {"configs": FACTORS | inline, "inline": sorted(inline), "steps": STEPS},
    )
