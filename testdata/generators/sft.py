"""Supervised fine-tuning by transformers and TRL: `testdata/sft/golden.json`.

The model and its tokenizer are those of `testdata/gguf/llama.gguf`. Each row is a forward pass of its own; a step's loss
is the mean over the trained tokens of all its rows, which labels of -100 leave out. `steps` are losses and norms of
gradients of AdamW, `validation` what the last model makes of other rows. `packing` is what TRL makes of rows of these
lengths.
"""

import json

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import pack_dataset

from common import TESTDATA

FOLDER = TESTDATA / "sft"
TEMPLATE = (FOLDER / "template.jinja").read_text()


def rows():
    for i in range(10):
        talk = [
            {"role": "user", "content": f"let x{i} = {i * i};"},
            {"role": "assistant", "content": f"x{i} + {i % 3}"},
        ]
        if i % 2:
            talk += [{"role": "user", "content": "fn main"}, {"role": "assistant", "content": f"({i}) {{}}"}]
        yield {"messages": talk}


def load():
    # transformers leaves the positions of Llama 3 aside that the file says.
    file = {"pretrained_model_name_or_path": TESTDATA / "gguf", "gguf_file": "llama.gguf"}
    config = AutoConfig.from_pretrained(**file)
    config.rope_parameters = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    model = AutoModelForCausalLM.from_pretrained(**file, config=config, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**file)
    tokenizer.chat_template = TEMPLATE
    return model, tokenizer


def encoded(tokenizer, row):
    told = tokenizer.apply_chat_template(row["messages"], return_assistant_tokens_mask=True, return_dict=True)
    ids = told["input_ids"]
    labels = [token if mask else -100 for token, mask in zip(ids, told["assistant_masks"])]
    return torch.tensor([ids]), torch.tensor([labels])


def nats(model, pair):
    ids, labels = pair
    logits = model(ids).logits[:, :-1].float()
    labels = labels[:, 1:]
    sum_ = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    right = ((logits.argmax(-1) == labels) & (labels != -100)).sum().item()
    return sum_, (labels != -100).sum().item(), right


def steps(model, batches, trained):
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    found = []
    for batch in batches:
        losses = [nats(model, pair) for pair in batch]
        loss = sum(loss for loss, _, _ in losses) / sum(count for _, count, _ in losses)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 1e9)
        optimizer.step()
        found.append([loss.item(), norm.item()])
    return found


def packed(strategy, lengths, most):
    rows = Dataset.from_dict({"input_ids": [list(range(n)) for n in lengths]})
    done = pack_dataset(rows, most, strategy)
    if "seq_lengths" in done.column_names:
        return done["seq_lengths"][:]
    return [len(ids) for ids in done["input_ids"]]


if __name__ == "__main__":
    model, tokenizer = load()
    all_ = list(rows())
    (FOLDER / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in all_))
    pairs = [encoded(tokenizer, row) for row in all_]
    batches = [pairs[0:4], pairs[4:8], pairs[8:10], pairs[0:4], pairs[4:8], pairs[8:10]]
    golden = {"ids": pairs[1][0][0].tolist(), "labels": pairs[1][1][0].tolist()}
    golden["steps"] = steps(model, batches, list(model.parameters()))
    with torch.no_grad():
        found = [nats(model, pair) for pair in pairs]
    count = sum(count for _, count, _ in found)
    golden["validation"] = [sum(loss for loss, _, _ in found).item() / count, sum(right for *_, right in found) / count]
    lengths = [2 + i * i % 61 for i in range(200)]
    golden["packing"] = {
        "lengths": lengths, "most": 40,
        **{name: packed(name, lengths, 40) for name in ("bfd", "bfd_split", "wrapped")},
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n")
    print(json.dumps({key: golden[key] for key in ("steps", "validation", "ids", "labels")}))
