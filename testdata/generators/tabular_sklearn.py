"""Tables, the coefficients of penalised models on them, and what predictions are worth, by scikit-learn.

Writes testdata/tabular/{diabetes,breast_cancer}.csv, the same few rows as Parquet, and testdata/tabular.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn import metrics
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent.parent
TIGHT = {"tol": 1e-15, "max_iter": 1_000_000}


def write_csv(name, columns, rows):
    path = HERE / "tabular" / name
    lines = [",".join(columns)] + [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    print(path.relative_to(HERE), len(rows), "rows")


def diabetes():
    data = load_diabetes(scaled=False)
    x, y = data.data, data.target
    grades = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
    names = np.array(["low", "middle", "high"])
    # A word for each value of the one feature that is a code.
    sex = np.array(["one", "two"])[(x[:, data.feature_names.index("sex")] > 1.5).astype(int)]
    rows = [
        [*map(repr, map(float, row)), word, grade, repr(float(target))]
        for row, word, grade, target in zip(x, sex, names[grades], y)
    ]
    write_csv("diabetes.csv", [*data.feature_names, "sex_word", "grade", "target"], rows)
    return data.feature_names, StandardScaler().fit_transform(x), y, grades, list(names)


def breast_cancer():
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    rows = [
        [*map(repr, map(float, row)), data.target_names[target]]
        for row, target in zip(data.data, data.target)
    ]
    write_csv("breast_cancer.csv", [*names, "diagnosis"], rows)
    return names, StandardScaler().fit_transform(data.data), data.target


def group_lasso(x, classes, alpha):
    """Minimises mean cross-entropy + alpha sum over columns of the norm of a feature's weights, by
    FISTA with restarts, and checks the conditions of the minimum."""
    n, p = x.shape
    k = classes.max() + 1
    onehot = np.eye(k)[classes]
    w, b = np.zeros((k, p)), np.zeros(k)
    step = 1.0 / (np.linalg.eigvalsh(np.c_[x, np.ones(n)].T @ np.c_[x, np.ones(n)] / n).max() / 2)

    def gradients(w, b):
        z = x @ w.T + b
        e = np.exp(z - z.max(1, keepdims=True))
        r = (e / e.sum(1, keepdims=True) - onehot) / n
        return r.T @ x, r.sum(0)

    vw, vb, t = w.copy(), b.copy(), 1.0
    for _ in range(200_000):
        gw, gb = gradients(vw, vb)
        nw, nb = vw - step * gw, vb - step * gb
        norms = np.linalg.norm(nw, axis=0)
        nw = nw * np.maximum(0, 1 - step * alpha / np.maximum(norms, 1e-300))
        if np.sum((vw - nw) * (nw - w)) + np.sum((vb - nb) * (nb - b)) > 0:
            t = 1.0
        t2 = (1 + np.sqrt(1 + 4 * t * t)) / 2
        vw, vb = nw + (t - 1) / t2 * (nw - w), nb + (t - 1) / t2 * (nb - b)
        moved = max(np.abs(nw - w).max(), np.abs(nb - b).max())
        w, b, t = nw, nb, t2
        if moved < 1e-16:
            break
    gw, gb = gradients(w, b)
    norms, slopes = np.linalg.norm(w, axis=0), np.linalg.norm(gw, axis=0)
    on = norms > 0
    worst = max(np.abs(gb).max(), np.abs(gw + alpha * w / np.where(on, norms, 1))[:, on].max())
    assert worst < 1e-12 and (slopes[~on] < alpha).all(), worst
    return w, b - b.mean(), int(on.sum())


def linear(x, y):
    n = len(y)
    for alpha in [1.0, 50.0]:
        model = Ridge(alpha=alpha, solver="cholesky").fit(x, y)
        yield {"model": "ridge", "alpha": alpha, "l2": alpha / n}, model
    for alpha in [0.5, 2.0]:
        model = Lasso(alpha=alpha, **TIGHT).fit(x, y)
        yield {"model": "lasso", "alpha": alpha, "l1": 2 * alpha}, model
    alpha, ratio = 0.5, 0.7
    model = ElasticNet(alpha=alpha, l1_ratio=ratio, **TIGHT).fit(x, y)
    penalties = {"l1": 2 * alpha * ratio, "l2": alpha * (1 - ratio)}
    yield {"model": "elastic net", "alpha": alpha, "l1_ratio": ratio, **penalties}, model
    yield {"model": "least squares"}, LinearRegression().fit(x, y)


def logistic(x, y):
    n = len(y)
    for c in [1.0, 0.01]:
        model = LogisticRegression(C=c, l1_ratio=0, tol=1e-14, max_iter=10_000, solver="newton-cholesky")
        yield {"model": "logistic l2", "C": c, "l2": 1 / (2 * c * n)}, model.fit(x, y)
    for c in [0.1, 0.02]:
        model = LogisticRegression(C=c, l1_ratio=1, tol=1e-14, max_iter=200_000, solver="saga")
        yield {"model": "logistic l1", "C": c, "l1": 1 / (c * n)}, model.fit(x, y)


def case(table, target, about, coef, intercept):
    coef, intercept = np.atleast_2d(coef), np.atleast_1d(intercept)
    print(table, target, about, "zeros:", int((coef == 0).all(0).sum()), "of", coef.shape[1])
    return {"table": table, "target": target, **about, "coef": coef.tolist(), "intercept": intercept.tolist()}


def worth():
    """Predictions with ties, and what scikit-learn says of them."""
    rng = np.random.default_rng(7)
    y = rng.normal(size=40) * 30 + 100
    told = y + rng.normal(size=40) * 20
    found = [{
        "predicted": told.tolist(), "targets": y.tolist(), "classes": 0,
        "values": [
            metrics.root_mean_squared_error(y, told),
            metrics.mean_absolute_error(y, told),
            metrics.r2_score(y, told),
        ],
    }]
    for classes in [2, 4]:
        scores = np.round(rng.normal(size=(60, classes)) * 1.5, 1)
        targets = np.r_[np.arange(classes), rng.integers(0, classes, 60 - classes)]
        scores[np.arange(60), targets] += 0.8
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        told = p.argmax(1)
        accuracy = metrics.accuracy_score(targets, told)
        loss = metrics.log_loss(targets, p, labels=range(classes))
        macro = metrics.f1_score(targets, told, average="macro")
        if classes == 2:
            auc = metrics.roc_auc_score(targets, p[:, 1])
            values = [accuracy, loss, metrics.f1_score(targets, told), macro, auc]
        else:
            auc = metrics.roc_auc_score(targets, p, multi_class="ovr", average="macro")
            values = [accuracy, loss, macro, auc]
        found.append({"predicted": p.ravel().tolist(), "targets": targets.tolist(), "classes": classes, "values": values})
    return found


def losses():
    """Losses of PyTorch, means over rows, with their gradients."""
    torch.manual_seed(3)
    found = []

    def add(about, criterion, outputs, targets):
        outputs.requires_grad_(True)
        loss = criterion(outputs, targets)
        (grad,) = torch.autograd.grad(loss, outputs)
        found.append({
            **about, "outputs": outputs.tolist(), "targets": targets.flatten().tolist(),
            "loss": loss.item(), "grad": grad.tolist(),
        })

    y, t = torch.randn(7, 1, dtype=torch.float64) * 2, torch.randn(7, 1, dtype=torch.float64)
    add({"name": "mse"}, torch.nn.MSELoss(), y.clone(), t)
    add({"name": "mae"}, torch.nn.L1Loss(), y.clone(), t)
    add({"name": "huber", "delta": 0.7}, torch.nn.HuberLoss(delta=0.7), y.clone(), t)
    z, c = torch.randn(8, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])
    weights = torch.tensor([0.5, 2.0, 1.25], dtype=torch.float64)
    for smoothing in [0.0, 0.2]:
        for weight in [None, weights]:
            criterion = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
            about = {"name": "cross_entropy", "label_smoothing": smoothing,
                     "weights": (weights if weight is not None else torch.ones(3)).tolist()}
            add(about, criterion, z.clone(), c)
    z, c = torch.randn(6, 1, dtype=torch.float64), torch.tensor([[0.0], [1], [1], [0], [1], [0]], dtype=torch.float64)
    about = {"name": "cross_entropy", "label_smoothing": 0.0, "weights": [1.0, 1.0]}
    add(about, torch.nn.BCEWithLogitsLoss(), z.clone(), c)
    return found


def parquet():
    """The same few rows under each compression."""
    frame = pd.DataFrame({
        "count": pd.array([3, None, 7, 2**60], dtype="Int64"),
        "share": [0.1, 2.5, None, -1e-300],
        "single": np.array([0.5, 1.5, 2.5, 3.5], dtype=np.float32),
        "colour": ["red", None, "blue", "red"],
        "open": [True, False, True, True],
    })
    for compression in ["snappy", "zstd", "gzip", "none"]:
        path = HERE / "tabular" / f"{compression}.parquet"
        frame.to_parquet(path, compression=None if compression == "none" else compression, index=False)
        print(path.relative_to(HERE), path.stat().st_size)


def main():
    (HERE / "tabular").mkdir(exist_ok=True)
    parquet()
    names, x, y, grades, labels = diabetes()
    models = [case("diabetes", "target", about, m.coef_, m.intercept_) for about, m in linear(x, y)]
    for alpha in [0.02, 0.05]:
        w, b, _ = group_lasso(x, grades, alpha)
        # Classes in the order of their names.
        order = np.argsort(labels)
        models.append(case("diabetes", "grade", {"model": "group lasso", "group": alpha}, w[order], b[order]))
    features, x, y = breast_cancer()
    models += [case("breast_cancer", "diagnosis", about, m.coef_, m.intercept_) for about, m in logistic(x, 1 - y)]
    versions = {"scikit-learn": sklearn.__version__, "torch": torch.__version__, "numpy": np.__version__}
    golden = {
        "generator": "tabular_sklearn.py", "versions": versions,
        "features": {"diabetes": names, "breast_cancer": features},
        "models": models, "metrics": worth(), "losses": losses(),
    }
    (HERE / "tabular.json").write_text(json.dumps(golden, indent=1) + "\n")


main()
