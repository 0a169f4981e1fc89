"""Configurations beyond those of PyTorch's own tests, for optimizers_torch.py: options together, and their ends."""

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
)

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
    NAdam: [
        ("betas and eps", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
        ("zero betas", {"lr": 0.01, "betas": (0.0, 0.0)}),
        ("zero momentum_decay", {"lr": 0.01, "momentum_decay": 0.0}),
        (
            "decoupled_weight_decay, maximize",
            {"lr": 0.1, "weight_decay": 0.3, "decoupled_weight_decay": True, "momentum_decay": 0.5, "maximize": True},
        ),
    ],
    RAdam: [
        ("betas: adaptive from the third step", {"lr": 0.02, "betas": (0.8, 0.8), "eps": 1e-3}),
        ("betas: adaptive at no step", {"lr": 1e-9, "betas": (0.9, 0.5)}),
        ("zero betas", {"lr": 1e-9, "betas": (0.0, 0.0)}),
        (
            "decoupled_weight_decay, maximize",
            {"lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.3, "decoupled_weight_decay": True, "maximize": True},
        ),
    ],
    Adamax: [
        ("betas and eps", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
        ("zero betas", {"lr": 0.01, "betas": (0.0, 0.0)}),
    ],
    Adagrad: [
        ("eps", {"lr": 0.1, "eps": 1e-3}),
        (
            "lr_decay, initial_accumulator_value, maximize",
            {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 2.0, "weight_decay": 0.3, "maximize": True},
        ),
    ],
    Adadelta: [
        ("eps", {"eps": 1e-3}),
        ("zero rho", {"rho": 0.0}),
        ("rho of one", {"rho": 1.0, "lr": 1e-9}),
    ],
    RMSprop: [
        ("alpha and eps", {"lr": 0.02, "alpha": 0.8, "eps": 1e-3}),
        ("zero alpha", {"lr": 0.01, "alpha": 0.0}),
        ("centered without weight_decay", {"lr": 0.01, "alpha": 0.9, "centered": True}),
        ("momentum alone", {"lr": 0.01, "momentum": 0.9}),
        ("momentum, maximize", {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1, "maximize": True}),
    ],
    Rprop: [
        ("step_sizes within reach", {"lr": 0.1, "step_sizes": (0.02, 0.3)}),
        ("etas, maximize", {"lr": 0.5, "etas": (0.25, 3.0), "maximize": True}),
    ],
    ASGD: [
        ("averaging from step 20", {"lr": 0.05, "lambd": 0.1, "alpha": 0.5, "t0": 20}),
        ("averaging at once", {"lr": 0.05, "t0": 0, "weight_decay": 0.1}),
        ("zero lambd and alpha", {"lr": 0.01, "lambd": 0.0, "alpha": 0.0, "t0": 30}),
    ],
    SparseAdam: [
        ("betas and eps", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
        ("zero betas", {"lr": 0.01, "betas": (0.0, 0.0)}),
    ],
    Adafactor: [
        ("eps", {"lr": 0.05, "eps": (1e-6, 1e-2)}),
        ("large lr, so that 1 / sqrt(step) rules", {"lr": 2.0, "weight_decay": 0.01}),
        ("zero beta2_decay", {"lr": 0.05, "beta2_decay": 0.0}),
    ],
    Muon: [
        ("without nesterov", {"lr": 0.01, "nesterov": False}),
        ("zero momentum", {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.0}),
        ("eps, original lr adjustment", {"lr": 0.1, "eps": 1e-2, "adjust_lr_fn": "original"}),
    ],
}
SCHEDULED = {
    SGD: {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    Adam: {"lr": 0.02, "weight_decay": 0.1},
    AdamW: {"lr": 0.02, "weight_decay": 0.1},
    NAdam: {"lr": 0.02, "weight_decay": 0.1},
    RAdam: {"lr": 0.02, "weight_decay": 0.1},
    Adamax: {"lr": 0.02, "weight_decay": 0.1},
    Adagrad: {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1},
    Adadelta: {"lr": 1.0, "weight_decay": 0.1},
    RMSprop: {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9},
    Rprop: {"lr": 0.2},
    ASGD: {"lr": 0.1, "lambd": 0.1, "t0": 30},
    SparseAdam: {"lr": 0.02},
    Adafactor: {"lr": 0.2, "weight_decay": 0.1},
    Muon: {"lr": 0.02},
}
