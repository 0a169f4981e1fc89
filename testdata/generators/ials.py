"""Factors of implicit's AlternatingLeastSquares from the same start, for crates/model/src/recommenders/ials.rs.

    pip install implicit==0.7.3
    python3 testdata/generators/ials.py
"""

import json
from pathlib import Path

import numpy as np
import scipy.sparse
from implicit.cpu import _als
from implicit.cpu.als import AlternatingLeastSquares

USERS, ITEMS, FACTORS, ALPHA, REGULARIZATION = 30, 37, 21, 3.0, 0.05


def main():
    draw = np.random.default_rng(7)
    # Users of three tastes; some pairs come twice, one user and one item never.
    taken = [
        (user, item)
        for user in range(USERS - 1)
        for item in range(ITEMS - 1)
        for _ in range(2 if draw.random() < 0.2 else 1)
        if draw.random() < (0.4 if item % 3 == user % 3 else 0.06)
    ]
    rows, columns = np.array(taken).T
    matrix = scipy.sparse.coo_matrix((np.ones(len(taken), np.float32), (rows, columns)), (USERS, ITEMS)).tocsr()
    start = {side: draw.random((n, FACTORS), np.float32) * 0.1 for side, n in (("user", USERS), ("item", ITEMS))}
    golden = {
        "users": USERS, "items": ITEMS, "factors": FACTORS, "alpha": ALPHA, "regularization": REGULARIZATION,
        "taken": [[int(user), int(item)] for user, item in taken],
        "user_start": start["user"].ravel().tolist(), "item_start": start["item"].ravel().tolist(),
    }
    for solver in ("cg", "cholesky"):
        golden[solver] = {}
        for iterations in (1, 5):
            model = AlternatingLeastSquares(
                factors=FACTORS, alpha=ALPHA, regularization=REGULARIZATION, iterations=iterations,
                use_cg=solver == "cg", num_threads=1,
            )
            model.user_factors, model.item_factors = start["user"].copy(), start["item"].copy()
            model.fit(matrix, show_progress=False)
            loss = _als.calculate_loss(
                (ALPHA * matrix).tocsr(), model.user_factors, model.item_factors, REGULARIZATION, num_threads=1
            )
            golden[solver][iterations] = {
                "users": model.user_factors.ravel().tolist(),
                "items": model.item_factors.ravel().tolist(),
                "loss": float(loss),
            }
    path = Path(__file__).resolve().parent.parent / "recommendation" / "ials.json"

    def short(value):
        return float(f"{value:.7g}") if isinstance(value, float) else value

    def shortened(of):
        if isinstance(of, dict):
            return {key: shortened(value) for key, value in of.items()}
        return [shortened(value) for value in of] if isinstance(of, list) else short(of)

    path.write_text(json.dumps(shortened(golden), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
