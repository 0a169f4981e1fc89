"""Figures of docs/recommendation.md on MovieLens-100K, and the time of an epoch beside RecBole's.

    cargo build --release
    python3 bench/recommendation.py target/release/rappel [figures] [speed] [ials]

Wants `pip install recbole==1.2.1`, whose wheel holds the data set; `scikit-surprise` for the folds of its protocol; `implicit==0.7.3`.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What implicit asks for; it has threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

# RecBole 1.2.1 uses names that NumPy has given up.
OLD = {
    "float": float, "int": int, "bool": np.bool_, "object": object,
    "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_,
}
for name, of in OLD.items():
    if name not in np.__dict__:
        setattr(np, name, of)

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5


def data_set():
    import recbole

    return Path(recbole.__file__).parent / "dataset_example" / "ml-100k"


def train(binary, config, folder, name, *settings):
    out = Path(folder) / name
    shutil.rmtree(out, ignore_errors=True)
    sets = [word for setting in settings for word in ("--set", setting)]
    command = [binary, "train", str(config), "--out", str(out), "--json", "--quiet", *sets]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def folds(folder):
    """Surprise's KFold(n_splits=5, random_state=0, shuffle=True): its own lines, as files."""
    from surprise import Dataset, Reader
    from surprise.model_selection import KFold

    lines = (data_set() / "ml-100k.inter").read_text().splitlines()[1:]
    raw = Path(folder) / "u.data"
    raw.write_text("\n".join(lines))
    data = Dataset.load_from_file(str(raw), Reader(line_format="user item rating timestamp", sep="\t"))
    for number, (training, test) in enumerate(KFold(n_splits=5, random_state=0).split(data)):
        paths = [Path(folder) / f"{part}{number}.csv" for part in ("train", "test")]
        training = [(training.to_raw_uid(u), training.to_raw_iid(i), r) for u, i, r in training.all_ratings()]
        for path, rows in zip(paths, (training, test)):
            path.write_text("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
        yield paths


def figures(binary, folder):
    inter = data_set() / "ml-100k.inter"
    errors = []
    for training, test in folds(folder):
        report = train(
            binary, ROOT / "configs/rating.toml", folder, "rating", f"data.file={training}", f"data.validation_file={test}"
        )
        errors.append((report["validation_rmse"], report["validation_mae"]))
    rmse, mae = (statistics.mean(column) for column in zip(*errors))
    print(f"biased_mf, 5 folds: RMSE {rmse:.4f}, MAE {mae:.4f}", flush=True)
    report = train(binary, ROOT / "configs/bpr.toml", folder, "bpr", f"data.file={inter}")
    shown = ("ndcg", "recall", "mrr", "hit", "precision")
    print("mf, bpr: test", ", ".join(f"{name} {report[f'test_{name}@10']:.4f}" for name in shown), flush=True)
    features = [f"data.{of}_file={data_set() / 'ml-100k'}.{of}" for of in ("user", "item")]
    for model in ("lr", "fm", "deepfm", "dlrm"):
        setting = f'model={{ name = "{model}" }}'
        report = train(binary, ROOT / "configs/ctr.toml", folder, model, f"data.file={inter}", setting, *features)
        print(f"{model}: test AUC {report['test_auc']:.4f}, log-loss {report['test_log_loss']:.4f}", flush=True)
    for config, settings in (
        ("configs/sasrec.toml", []),
        ("configs/bpr.toml", ['data.split="leave_one_out"', "data.validation_fraction=0", "data.test_fraction=0"]),
    ):
        report = train(binary, ROOT / config, folder, "last", f"data.file={inter}", *settings)
        of = " ".join(f"{name} {report[f'test_{name}@10']:.4f}" for name in ("ndcg", "hit"))
        popularity = f"ndcg {report['popularity_ndcg@10']:.4f}"
        print(f"{config}, leave one out: test {of}; popularity {popularity} to validate", flush=True)


def recbole_epochs(model, settings, epochs):
    """Seconds of each epoch of training, without validation."""
    import logging

    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    logging.disable(logging.CRITICAL)
    torch.set_num_threads(2)
    given = {"data_path": str(data_set().parent), "use_gpu": False, "show_progress": False, **settings}
    argv, sys.argv = sys.argv, sys.argv[:1]
    config = Config(model=model, dataset="ml-100k", config_dict=given)
    sys.argv = argv
    init_seed(1, True)
    training, _, _ = data_preparation(config, create_dataset(config))
    network = get_model(model)(config, training.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, network)
    for epoch in range(epochs):
        start = time.perf_counter()
        trainer._train_epoch(training, epoch)
        yield time.perf_counter() - start


def our_epochs(binary, folder, config, epochs, *settings):
    """Seconds of an epoch of so many, of what a run says of itself."""
    more = [f"train.epochs={epochs}", "train.eval_every=0", "early_stopping="]
    report = train(
        binary, ROOT / config, folder, "speed", f"data.file={data_set() / 'ml-100k.inter'}", "telemetry.sinks=[]",
        "checkpoint.every=1000000", *more, *settings,
    )
    return report["seconds"] / epochs


def speed(binary, folder):
    sequences = {
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "train_neg_sample_args": None,
    }
    jobs = [
        ("BPR", {}, "configs/bpr.toml", 20, 3, ["model.embedding_size=64", "loss.candidates=1", "optimizer.weight_decay=0"]),
        ("SASRec", sequences, "configs/sasrec.toml", 5, 1, ["model.dropout=0.5"]),
    ]
    for model, settings, config, ours_of, theirs_of, own in jobs:
        ours, theirs = [], []
        for _ in range(ROUNDS if model == "BPR" else 3):
            ours.append(our_epochs(binary, folder, config, ours_of, *own))
            theirs.extend(recbole_epochs(model, settings, theirs_of))
        mine, other = statistics.median(ours), statistics.median(theirs)
        print(f"{model}: an epoch {mine:.3f} s, RecBole {other:.3f} s, ratio {other / mine:.1f}", flush=True)


def ials(binary, folder):
    """Seconds of a sweep beside implicit's, by the same interactions, on MovieLens-100K and on drawn ones."""
    import scipy.sparse
    from implicit.cpu.als import AlternatingLeastSquares

    draw = np.random.default_rng(0)
    users, items, count = 30_000, 10_000, 2_000_000
    pairs = np.unique(np.stack([draw.zipf(1.3, count) % users, draw.zipf(1.2, count) % items]), axis=1)
    drawn = Path(folder) / "drawn.csv"
    drawn.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs.T))
    known = np.array([line.split("\t")[:2] for line in (data_set() / "ml-100k.inter").read_text().splitlines()[1:]], int).T
    jobs = (("MovieLens-100K", data_set() / "ml-100k.inter", known, 10), ("drawn", drawn, pairs, 1))
    for name, file, pairs, times in jobs:
        matrix = scipy.sparse.coo_matrix((np.ones(pairs.shape[1], np.float32), pairs)).tocsr()
        matrix.data[:] = 1.0
        for solver, sweeps in (("cg", 15 * times), ("cholesky", 5 * times)):
            ours, theirs = [], []
            for _ in range(ROUNDS):
                more = [f"data.file={file}", "data.validation_fraction=0", "data.test_fraction=0", "early_stopping=",
                        "train.eval_every=0", "telemetry.sinks=[]", "checkpoint.every=1000000"]
                model = f'model={{ name = "ials", embedding_size = 64, solver = "{solver}" }}'
                report = train(binary, ROOT / "configs/ials.toml", folder, "ials", *more, model, f"train.steps={sweeps}")
                ours.append(report["seconds"] / sweeps)
                model = AlternatingLeastSquares(factors=64, iterations=sweeps, use_cg=solver == "cg", num_threads=2)
                start = time.perf_counter()
                model.fit(matrix, show_progress=False)
                theirs.append((time.perf_counter() - start) / sweeps)
            mine, other = min(ours), min(theirs)
            print(
                f"ials, {solver}, {name}, {matrix.nnz} interactions: a sweep {mine:.4f} s, implicit {other:.4f} s, "
                f"ratio {other / mine:.2f}", flush=True,
            )


def main():
    binary, *what = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        if not what or "figures" in what:
            figures(binary, folder)
        if not what or "speed" in what:
            speed(binary, folder)
        if not what or "ials" in what:
            ials(binary, folder)


if __name__ == "__main__":
    main()
