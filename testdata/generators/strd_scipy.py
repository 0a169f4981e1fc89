"""testdata/strd/scipy.json: SciPy's L-BFGS-B on NIST's nonlinear regression problems.

The objective is the sum of squares of the residuals in f64, with exact gradients by torch. From both starts, with
SciPy's default options and with tolerances of 0, which lets it go on until it finds no lower point; the latter with the
default 10 corrections and with 100. The digits are those to which all parameters agree with the certified ones.
"""

import json
import math
import re

import numpy as np
import scipy
import torch
from scipy.optimize import minimize

from common import TESTDATA

exp, sin, cos, atan, pi = torch.exp, torch.sin, torch.cos, torch.atan, math.pi
FOLDER = TESTDATA / "strd"
TIGHT = {"ftol": 0.0, "gtol": 0.0, "maxiter": 100_000, "maxfun": 1_000_000}
WAYS = {"defaults": {}, "tight": TIGHT, "tight, maxcor 100": {**TIGHT, "maxcor": 100}}


def cubics(b, x):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def decays(b, x):
    return b[0] * exp(-b[1] * x) + b[2] * exp(-b[3] * x) + b[4] * exp(-b[5] * x)


def peaks(b, x):
    return b[0] * exp(-b[1] * x) + b[2] * exp(-((x - b[3]) ** 2) / b[4] ** 2) + b[5] * exp(-((x - b[6]) ** 2) / b[7] ** 2)


def wave(a, b, period, x):
    return a * cos(2 * pi * x / period) + b * sin(2 * pi * x / period)


def saturation(b, x):
    return b[0] * (1 - exp(-b[1] * x))


def chwirut(b, x):
    return exp(-b[0] * x) / (b[1] + b[2] * x)


MODELS = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": saturation,
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": lambda b, x: b[0] + wave(b[1], b[2], 12, x) + wave(b[4], b[5], b[3], x) + wave(b[7], b[8], b[6], x),
    "Eckerle4": lambda b, x: b[0] / b[1] * exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": peaks,
    "Gauss2": peaks,
    "Gauss3": peaks,
    "Hahn1": cubics,
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": decays,
    "Lanczos2": decays,
    "Lanczos3": decays,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * exp(-x * b[3]) + b[2] * exp(-x * b[4]),
    "Misra1a": saturation,
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[0] * exp(-b[2] * x[1]),
    "Rat42": lambda b, x: b[0] / (1 + exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - atan(b[2] / (x - b[3])) / pi,
    "Thurber": cubics,
}


def read(name):
    """Both starts and the certified values by parameter, then predictors and response."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    found = (re.match(r"\s*b\d+\s*=\s*(.*)", line) for line in lines[:60])
    parameters = [[float(word) for word in match.group(1).split()] for match in found if match]
    rows = [[float(word) for word in line.split()] for line in lines[60:] if line.strip()]
    columns = torch.tensor(rows, dtype=torch.float64).T
    y = columns[0].log() if name == "Nelson" else columns[0]
    return np.array(parameters).T, columns[1:] if name == "Nelson" else columns[1], y


def objective(name, x, y):
    def value_and_gradient(b):
        b = torch.tensor(b, dtype=torch.float64, requires_grad=True)
        loss = (MODELS[name](b, x) - y).square().sum()
        loss.backward()
        return loss.item(), b.grad.numpy()

    return value_and_gradient


def digits(b, certified):
    if not np.isfinite(b).all():
        return 0.0
    with np.errstate(divide="ignore"):
        return float(np.clip(-np.log10(np.abs(b - certified) / np.abs(certified)), 0, 11).min())


def main():
    results = {}
    for name in sorted(MODELS):
        (first, second, certified, *_), x, y = read(name)
        for number, start in enumerate((first, second)):
            entry = {}
            for way, options in WAYS.items():
                with np.errstate(all="ignore"):
                    found = minimize(objective(name, x, y), start, jac=True, method="L-BFGS-B", options=options)
                entry[way] = {"digits": round(digits(found.x, certified), 2), "evaluations": int(found.nfev)}
            results[f"{name}/{number + 1}"] = entry
    solved = {way: sum(entry[way]["digits"] >= 4 for entry in results.values()) for way in WAYS}
    record = {"scipy": scipy.__version__, "solved": solved, "results": results}
    (FOLDER / "scipy.json").write_text(json.dumps(record, indent=1) + "\n")
    print(solved)


main()
