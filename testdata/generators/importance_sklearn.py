"""testdata/importance.json: permutation importances of linear models on the tables of testdata/tabular, by scikit-learn.

Means and deviations over many repeats of models whose coefficients are in tabular.json, too.
"""

import csv
import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent.parent
REPEATS = 400


def table(name, target, leave_out):
    with (HERE / "tabular" / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = [column for column in rows[0] if column not in [target, *leave_out]]
    x = np.array([[float(row[column]) for column in columns] for row in rows])
    return columns, x, [row[target] for row in rows]


def case(name, target, columns, x, y, model, metric, scoring, about):
    model = make_pipeline(StandardScaler(), model).fit(x, y)
    found = permutation_importance(model, x, y, scoring=scoring, n_repeats=REPEATS, random_state=0)
    print(name, metric, dict(zip(columns, found.importances_mean.round(4))))
    return {
        "table": name, "target": target, "metric": metric, "repeats": REPEATS, "columns": columns, **about,
        "mean": found.importances_mean.tolist(), "std": found.importances_std.tolist(),
    }


def main():
    columns, x, y = table("diabetes", "target", ["sex_word", "grade"])
    y = np.array(y, dtype=float)
    ridge = {"model": "ridge", "l2": 1.0 / len(y)}
    cases = [
        case("diabetes", "target", columns, x, y, Ridge(alpha=1.0, solver="cholesky"), metric, scoring, ridge)
        for metric, scoring in [("r2", "r2"), ("rmse", "neg_root_mean_squared_error")]
    ]
    columns, x, y = table("breast_cancer", "diagnosis", [])
    y = np.array([label == "malignant" for label in y], dtype=int)
    model = LogisticRegression(C=0.01, l1_ratio=0, tol=1e-14, max_iter=10_000, solver="newton-cholesky")
    logistic = {"model": "logistic l2", "l2": 1 / (2 * 0.01 * len(y))}
    cases.append(case("breast_cancer", "diagnosis", columns, x, y, model, "accuracy", "accuracy", logistic))
    versions = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    golden = {"generator": "importance_sklearn.py", "versions": versions, "cases": cases}
    (HERE / "importance.json").write_text(json.dumps(golden, indent=1) + "\n")


main()
