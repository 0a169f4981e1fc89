"""Embeddings learned by sentence-transformers: `testdata/embeddings/`.

The model is that of `testdata/sentences`, without dropout. Each case is trained by one of sentence-transformers' losses for
some steps, in the order of the rows; `golden.json` holds the loss and the norm of the gradient of each step, and what the
library's evaluators find of the model before its first step.
"""

import json
import random

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.evaluation import (
    BinaryClassificationEvaluator, EmbeddingSimilarityEvaluator, InformationRetrievalEvaluator, TripletEvaluator)

from common import TESTDATA, versions

FOLDER = TESTDATA / "embeddings"
STEPS, BATCH = 4, 4
WORDS = "the a cat dog sat ran on mat road quick walk jump over lazy fox brown".split()


def sentence(random):
    return " ".join(random.choice(WORDS) for _ in range(random.randint(2, 6)))


def rows():
    made = random.Random(3)
    for i in range(STEPS * BATCH):
        anchor = sentence(made)
        # Some anchors have several positives, and some positives are of several anchors.
        positive = anchor.split()[0] + " " + sentence(made)
        yield {
            "anchor": anchor, "positive": positive, "negative_1": sentence(made), "negative_2": sentence(made),
            "score": round(made.random(), 2), "label": made.randint(0, 1),
        }


def write(name, keys, rows, rename=None):
    rename = rename or {}
    lines = [json.dumps({rename.get(key, key): row[key] for key in keys}) for row in rows]
    (FOLDER / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def load():
    model = SentenceTransformer(str(TESTDATA / "sentences"), device="cpu")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def trained(make, keys, label, rows):
    model = load().train()
    loss = make(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    found = {"loss": [], "grad_norm": []}
    for step in range(STEPS):
        batch = rows[step * BATCH:][:BATCH]
        features = [model.tokenize([row[key] for row in batch]) for key in keys]
        labels = torch.tensor([row[label] for row in batch]) if label else None
        value = loss(features, labels)
        optimizer.zero_grad()
        value.backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found["loss"].append(value.item())
        found["grad_norm"].append(torch.sqrt(sum((g.double() ** 2).sum() for g in grads)).item())
        optimizer.step()
    return found


def evaluated(rows):
    model = load().eval()
    queries, corpus, relevant = {}, {}, {}
    texts = {"q": {}, "d": {}}
    number = lambda kind, text: texts[kind].setdefault(text, f"{kind}{len(texts[kind])}")
    for row in rows:
        q, d = number("q", row["anchor"]), number("d", row["positive"])
        queries[q], corpus[d] = row["anchor"], row["positive"]
        relevant.setdefault(q, set()).add(d)
    ir = InformationRetrievalEvaluator(queries, corpus, relevant, precision_recall_at_k=[1, 5, 10])(model)
    found = {f"{name}@{k}": ir[f"cosine_{name}@{k}"] for name, k in
             [("ndcg", 10), ("mrr", 10), ("recall", 1), ("recall", 5), ("recall", 10)]}
    column = lambda key: [row[key] for row in rows]
    triplets = TripletEvaluator(column("anchor"), column("positive"), column("negative_1"))(model)
    scores = EmbeddingSimilarityEvaluator(column("anchor"), column("positive"), column("score"))(model)
    classes = BinaryClassificationEvaluator(column("anchor"), column("positive"), column("label"))(model)
    return {
        "pairs": found, "triplets": {"accuracy": triplets["cosine_accuracy"]},
        "scores": {name: scores[f"{name}_cosine"] for name in ["spearman", "pearson"]},
        "classes": {"average_precision": classes["cosine_ap"]},
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    made = list(rows())
    made[5]["anchor"] = made[1]["anchor"]
    made[9]["positive"] = made[2]["positive"]
    two = {"anchor": "sentence1", "positive": "sentence2"}
    write("pairs", ["anchor", "positive"], made)
    write("triplets", ["anchor", "positive", "negative_1"], made, {"negative_1": "negative"})
    write("negatives", ["anchor", "positive", "negative_1", "negative_2"], made)
    write("scores", ["anchor", "positive", "score"], made, two)
    write("classes", ["anchor", "positive", "label"], made, two)
    pair, triplet = ["anchor", "positive"], ["anchor", "positive", "negative_1"]
    cosine = losses.TripletDistanceMetric.COSINE
    cases = [
        ("pairs", "multiple_negatives_ranking", "", lambda m: losses.MultipleNegativesRankingLoss(m), pair, None),
        ("triplets", "multiple_negatives_ranking", "scale = 5.0", lambda m: losses.MultipleNegativesRankingLoss(m, scale=5.0), triplet, None),
        ("negatives", "multiple_negatives_ranking", "", lambda m: losses.MultipleNegativesRankingLoss(m), triplet + ["negative_2"], None),
        ("pairs", "multiple_negatives_ranking", "matryoshka_dims = [8, 4]",
         lambda m: losses.MatryoshkaLoss(m, losses.MultipleNegativesRankingLoss(m), [8, 4]), pair, None),
        ("scores", "cosent", "", lambda m: losses.CoSENTLoss(m), pair, "score"),
        ("scores", "cosine_similarity", "", lambda m: losses.CosineSimilarityLoss(m), pair, "score"),
        ("triplets", "triplet", "", lambda m: losses.TripletLoss(m), triplet, None),
        ("triplets", "triplet", "triplet_margin = 0.3\ndistance_metric = 'cosine'",
         lambda m: losses.TripletLoss(m, distance_metric=cosine, triplet_margin=0.3), triplet, None),
        ("classes", "contrastive", "", lambda m: losses.ContrastiveLoss(m), pair, "label"),
        ("classes", "online_contrastive", "", lambda m: losses.OnlineContrastiveLoss(m), pair, "label"),
    ]
    golden = {"generator": "embeddings.py", "versions": versions(torch, sentence_transformers), "cases": []}
    for file, loss, options, make, keys, label in cases:
        steps = trained(make, keys, label, made)
        golden["cases"].append({"file": file, "loss_type": loss, "options": options, "steps": steps})
        print(file, loss, steps)
    golden["evaluated"] = evaluated(made)
    print(golden["evaluated"])
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


main()
