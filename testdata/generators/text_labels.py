"""Classifiers of texts by transformers and peft: `testdata/text_labels/`.

Encoders are that of `testdata/sentences` with a head, without dropout. `regression/` and `multi_label/` are begun by transformers;
`golden.json` holds the loss and the norm of the gradient of each step of training them on `rows.jsonl`, in the order of the rows.
`adapter/` is one by peft, whose model is `testdata/sentences`; its logits are there, and its steps.
"""

import json
import shutil

import peft
import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoTokenizer, BertForSequenceClassification

from common import TESTDATA, versions

FOLDER, BASE = TESTDATA / "text_labels", TESTDATA / "sentences"
STEPS, BATCH = 3, 4
NAMES = ["canine", "feline", "vulpine"]
TEXTS = ["the cat sat on a mat.", "a dog ran over the road", "the lazy fox walks", "cats and dogs jumped", "a quick fox",
         "the dog sat", "the cat ran", "foxes, dogs and cats", "the mat on the road", "a cat jumped over a dog", "quick quick",
         "the brown fox"]
ANIMALS = ["dog", "cat", "fox"]


def load(**options):
    config = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **options}
    torch.manual_seed(1)
    model = BertForSequenceClassification.from_pretrained(BASE, dtype=torch.float32, **config)
    with torch.no_grad():
        weight = model.classifier.weight
        weight.copy_(torch.arange(weight.numel()).reshape(weight.shape).cos() / 2)
        model.classifier.bias.zero_()
    return model


def steps(model, tokenizer, labels):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    found = {"loss": [], "grad_norm": []}
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        inputs = tokenizer(TEXTS[batch], padding=True, truncation=True, return_tensors="pt")
        loss = model(**inputs, labels=labels[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in trained if p.grad is not None))
        found["loss"].append(loss.item())
        found["grad_norm"].append(norm.item())
        optimizer.step()
    return found


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    several = [[int(animal in text) for animal in ANIMALS] for text in TEXTS]
    one = [row.index(max(row)) for row in several]
    numbers = [len(text) / 10 for text in TEXTS]
    rows = [{"text": text, "labels": [name for name, there in zip(NAMES, row) if there], "label": NAMES[which], "number": number}
            for text, row, which, number in zip(TEXTS, several, one, numbers)]
    (FOLDER / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    golden = {"generator": "text_labels.py", "versions": versions(torch, transformers, peft), "steps": {}}
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    for name, options, targets in [
        ("regression", {"num_labels": 1}, torch.tensor(numbers)),
        ("multi_label", {"problem_type": "multi_label_classification", **labels}, torch.tensor(several).float()),
    ]:
        model = load(**options)
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "model.safetensors").chmod(0o644)
        tokenizer.save_pretrained(FOLDER / name)
        golden["steps"][name] = steps(model, tokenizer, targets)
    base = load(**labels)
    model = get_peft_model(base, LoraConfig(task_type=TaskType.SEQ_CLS, r=2, lora_alpha=4, target_modules=["query", "value", "output.dense"]))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.copy_(torch.arange(value.numel()).reshape(value.shape).sin() / 4)
    model.save_pretrained(FOLDER / "adapter")
    (FOLDER / "adapter" / "README.md").unlink(missing_ok=True)
    (FOLDER / "adapter" / "adapter_model.safetensors").chmod(0o644)
    (FOLDER / "adapter" / "labels.json").write_text(json.dumps({**labels, "problem_type": "single_label_classification"}, indent=1) + "\n")
    path = FOLDER / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text())
    # Set by whoever reads it.
    config["base_model_name_or_path"] = "base"
    path.write_text(json.dumps(config, indent=1) + "\n")
    with torch.no_grad():
        logits = model.eval()(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits
    golden["probabilities"] = logits.softmax(1).tolist()
    golden["steps"]["adapter"] = steps(model.train(), tokenizer, torch.tensor(one))
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(golden["steps"], indent=1), config)


main()
