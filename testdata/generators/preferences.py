"""Learning from preferences by TRL: `testdata/preferences/`.

The model and its tokenizer are those of `testdata/gguf/llama.gguf`, the template that of `testdata/sft`. Each case is
trained by TRL's trainer for some steps, in the order of the rows; `golden.json` holds what it logs of
each step, and the norms of gradients.
"""

import json
import logging
import tempfile

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer
from trl.data_utils import common_prefix_length
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from common import TESTDATA
from sft import TEMPLATE, load

FOLDER = TESTDATA / "preferences"
NAMES = ["loss", "grad_norm", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins",
         "logps/chosen", "logps/rejected", "kl", "nll_loss", "log_odds_ratio", "log_odds_chosen",
         "accuracy", "margin", "min_reward", "mean_reward", "max_reward"]


def pairs():
    for i in range(8):
        prompt = [{"role": "user", "content": f"let x{i} = {i * i};"}]
        if i % 3 == 2:
            prompt += [{"role": "assistant", "content": f"x{i}"}, {"role": "user", "content": "fn main"}]
        better = f"x{i} + {i % 3}" + " + 1" * (i % 2)
        worse = f"({i}) {{}}" + ";" * (i % 4)
        yield {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": better}],
            "rejected": [{"role": "assistant", "content": worse}],
        }


def texts():
    for i in range(8):
        yield {"prompt": f"let x{i} = ", "chosen": f"{i * i} + 1;", "rejected": f"fn {i}"}


def apart():
    """Texts none of whose tokens spans the end of a prompt."""
    for row in texts():
        yield {"prompt": row["prompt"].strip(), **{name: " " + row[name] for name in ("chosen", "rejected")}}


def labelled():
    for i, row in enumerate(pairs()):
        yield {"prompt": row["prompt"], "completion": row["chosen" if i % 3 else "rejected"], "label": i % 3 > 0}


def options(folder, **more):
    return {
        "output_dir": folder, "per_device_train_batch_size": 2, "max_steps": 4, "learning_rate": 1e-3,
        "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1e9, "logging_steps": 1, "bf16": False,
        "gradient_checkpointing": False, "report_to": [], "save_strategy": "no", "disable_tqdm": True,
        "train_sampling_strategy": "sequential", "use_cpu": True, "optim": "adamw_torch", **more,
    }


BASE = tempfile.mkdtemp()


def base():
    """The model as a folder: TRL reads it a second time as the reference."""
    model, tokenizer = load()
    plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    tokenizer.pad_token = tokenizer.eos_token = "<|endoftext|>"
    plain.config.quantization_config = None
    del plain.config.quantization_config
    plain.config.eos_token_id = plain.generation_config.eos_token_id = tokenizer.eos_token_id
    plain.save_pretrained(BASE)
    tokenizer.save_pretrained(BASE)


def train(make, rows, **more):
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    tokenizer.chat_template = TEMPLATE
    with tempfile.TemporaryDirectory() as folder:
        trainer = make(model, tokenizer, Dataset.from_list(list(rows)), folder, more)
        # What is logged of the loss is rounded.
        losses, compute = [], trainer.compute_loss

        def compute_loss(*args, **kwargs):
            loss = compute(*args, **kwargs)
            losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
            return loss

        trainer.compute_loss = compute_loss
        trainer.train()
    logs = [log for log in trainer.state.log_history if "grad_norm" in log]
    parts = trainer.args.gradient_accumulation_steps
    found = {name: [log[name] for log in logs] for name in NAMES if name in logs[0]}
    found["loss"] = [sum(losses[i : i + parts]) / parts for i in range(0, len(losses), parts)]
    return found


def dpo(model, tokenizer, rows, folder, more):
    args = DPOConfig(**options(folder, **more))
    return DPOTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)


def kto(model, tokenizer, rows, folder, more):
    args = KTOConfig(**options(folder, **{"per_device_train_batch_size": 4, **more}))
    return KTOTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)


# These two put a token before each text and one behind what a template wrote, which the tokenizer and the template do not
# say: so their rows are texts, without the former.
def cpo(model, tokenizer, rows, folder, more):
    tokenizer.bos_token = None
    args = CPOConfig(**options(folder, **more))
    return CPOTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)


def orpo(model, tokenizer, rows, folder, more):
    tokenizer.bos_token = None
    args = ORPOConfig(**options(folder, **more))
    return ORPOTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)


DPO = {
    "sigmoid": {},
    "beta": {"beta": 0.5, "gradient_accumulation_steps": 2},
    "hinge": {"loss_type": ["hinge"]},
    "ipo": {"loss_type": ["ipo"]},
    "exo_pair": {"loss_type": ["exo_pair"], "label_smoothing": 1e-3},
    "nca_pair": {"loss_type": ["nca_pair"]},
    "robust": {"loss_type": ["robust"], "label_smoothing": 0.1},
    "bco_pair": {"loss_type": ["bco_pair"]},
    "sppo_hard": {"loss_type": ["sppo_hard"]},
    "aot": {"loss_type": ["aot"], "label_smoothing": 0.05},
    "aot_unpaired": {"loss_type": ["aot_unpaired"]},
    "apo_zero": {"loss_type": ["apo_zero"]},
    "apo_down": {"loss_type": ["apo_down"]},
    "discopop": {"loss_type": ["discopop"]},
    "sft": {"loss_type": ["sft"]},
    "sigmoid_norm": {"loss_type": ["sigmoid_norm"]},
    "several": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    "ld_alpha": {"ld_alpha": 0.3},
    "use_weighting": {"use_weighting": True},
    "forward_kl": {"f_divergence_type": "forward_kl"},
    "js_divergence": {"f_divergence_type": "js_divergence"},
    "alpha_divergence": {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7},
    "precomputed": {"precompute_ref_log_probs": True},
    "short": {"max_length": 29},
}

def reward(_, tokenizer, rows, folder, more):
    model = AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        model.score.weight.copy_(torch.cos(torch.arange(model.score.weight.numel())).double().float() / 4)
    args = RewardConfig(**options(folder, **more))
    return RewardTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)


def bco(rows, beta):
    """TRL has no such trainer any more: the paper's formula, with the means of a batch of four."""
    policy, reference = (AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    tokenizer.chat_template = TEMPLATE
    ids = lambda messages, asks: tokenizer.apply_chat_template(
        messages, add_generation_prompt=asks, tokenize=True, return_dict=True, return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
    found, rows = {name: [] for name in ("loss", "grad_norm", "rewards/chosen", "rewards/rejected")}, list(rows)

    def log_prob(model, row):
        whole = ids(row["prompt"] + row["completion"], False)
        logs = model(whole).logits[0, :-1].log_softmax(-1).gather(1, whole[0, 1:, None])[:, 0]
        prompt = common_prefix_length(ids(row["prompt"], True)[0].tolist(), whole[0].tolist())
        return logs[prompt - 1 :].sum()

    for step in range(4):
        batch = [rows[(4 * step + i) % len(rows)] for i in range(4)]
        with torch.no_grad():
            apart = torch.stack([log_prob(reference, row) for row in batch])
        rewards = beta * (torch.stack([log_prob(policy, row) for row in batch]) - apart)
        good = torch.tensor([row["label"] for row in batch])
        means = [rewards[good].mean().detach(), rewards[~good].mean().detach()]
        gain = (rewards - sum(means) / 2) * torch.where(good, 1.0, -1.0)
        loss = -torch.nn.functional.logsigmoid(gain).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), 1e9)
        optimizer.step()
        for name, value in zip(found, (loss, norm, *means)):
            found[name].append(value.item())
    return found


def margins():
    for i, row in enumerate(pairs()):
        yield {**row, "margin": i / 4}


KTO = {
    "kto": {},
    "weights": {"desirable_weight": 0.8, "undesirable_weight": 1.5, "beta": 0.4},
    "apo_zero_unpaired": {"loss_type": "apo_zero_unpaired"},
}

CPO = {
    "sigmoid": {}, "hinge": {"loss_type": "hinge"}, "ipo": {"loss_type": "ipo"},
    "simpo": {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0},
    "label_smoothing": {"label_smoothing": 0.1, "cpo_alpha": 0.5, "gradient_accumulation_steps": 2},
    "alpha": {"loss_type": "simpo", "alpha": 0.1, "cpo_alpha": 0.0, "beta": 1.0},
}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    base()
    (FOLDER / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs()))
    (FOLDER / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts()))
    golden = {"dpo": {name: train(dpo, pairs(), **more) for name, more in DPO.items()}}
    (FOLDER / "apart.jsonl").write_text("".join(json.dumps(row) + "\n" for row in apart()))
    golden["dpo"]["texts"] = train(dpo, texts())
    (FOLDER / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled()))
    golden["kto"] = {name: train(kto, labelled(), **more) for name, more in KTO.items()}
    golden["bco"] = {"bco": bco(labelled(), 0.3)}
    golden["cpo"] = {name: train(cpo, apart(), **more) for name, more in CPO.items()}
    (FOLDER / "margins.jsonl").write_text("".join(json.dumps(row) + "\n" for row in margins()))
    golden["reward"] = {
        "plain": train(reward, pairs()), "centred": train(reward, pairs(), center_rewards_coefficient=0.05),
        "margin": train(reward, margins()),
    }
    golden["orpo"] = {"orpo": train(orpo, apart()), "beta": train(orpo, apart(), beta=0.7)}
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
