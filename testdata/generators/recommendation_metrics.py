"""Values of metrics of ranked lists, by RecBole's code, for crates/train/src/models/recommender/metrics.rs.

    pip install recbole==1.2.1
    python testdata/generators/recommendation_metrics.py
"""

import json
from pathlib import Path

import numpy as np

# RecBole 1.2.1 uses a name that NumPy has given up.
np.float = float

from recbole.evaluator import metrics as recbole  # noqa: E402

USERS, ITEMS, LONGEST = 12, 30, 10


class Config(dict):
    def __getitem__(self, key):
        return {"topk": [3, LONGEST], "metric_decimal_place": 12}.get(key)


def main():
    draw = np.random.default_rng(5)
    lists = np.array([draw.permutation(ITEMS)[:LONGEST] for _ in range(USERS)])
    wanted = [sorted(draw.permutation(ITEMS)[: draw.integers(1, 15)].tolist()) for _ in range(USERS)]
    hits = np.array([[int(item in wanted[user]) for item in lists[user]] for user in range(USERS)])
    sizes = np.array([len(of) for of in wanted])
    config = Config()
    values = {}
    for name, metric, needs_sizes in [
        ("ndcg", recbole.NDCG, True),
        ("recall", recbole.Recall, True),
        ("hit", recbole.Hit, False),
        ("mrr", recbole.MRR, False),
        ("map", recbole.MAP, True),
        ("precision", recbole.Precision, False),
    ]:
        made = metric(config)
        found = made.metric_info(hits, sizes) if needs_sizes else made.metric_info(hits)
        values.update(made.topk_result(name, found))
    for length in [3, LONGEST]:
        values[f"coverage@{length}"] = recbole.ItemCoverage(config).get_coverage(lists[:, :length], ITEMS)
        values[f"gini@{length}"] = recbole.GiniIndex(config).get_gini(lists[:, :length], ITEMS)
    path = Path(__file__).parent.parent / "recommendation" / "metrics.json"
    golden = {"items": ITEMS, "lists": lists.tolist(), "wanted": wanted, "values": values}
    path.write_text(json.dumps({key: golden[key] for key in golden}, default=float) + "\n")


if __name__ == "__main__":
    main()
