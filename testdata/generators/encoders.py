"""testdata/encoders/<model_type>.safetensors: tiny random models of transformers' encoders, with each head.

    python encoders.py [MODEL_TYPE ...]

For each case: config.json as `save_pretrained` writes it, weights and gradients under the names that it gives them on
disk, the last hidden states, logits and loss of a padded batch with its attention mask. Doubles as in architectures.py.

Padding is the config's `pad_token_id`; token labels are -100 there. States of padding are written as zeros, since what
they hold is nobody's.
"""

import json
import sys

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from architectures import check_directional_derivative, double_precision, fill, on_disk
from common import generator, save

VOCAB, LENGTHS = 23, [9, 6, 3]
HEADS = {
    "masked": AutoModelForMaskedLM,
    "sequence": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
}
BERT = {
    "vocab_size": VOCAB,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTIL = {
    "vocab_size": VOCAB,
    "dim": 8,
    "hidden_dim": 12,
    "n_layers": 2,
    "n_heads": 2,
    "max_position_embeddings": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "seq_classif_dropout": 0.0,
}
MODERN = {
    "vocab_size": VOCAB,
    "hidden_size": 8,
    "intermediate_size": 10,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "local_attention": 4,
}
SINGLE = {"num_labels": 3}
REGRESSION = {"num_labels": 1}
MULTI = {"num_labels": 3, "problem_type": "multi_label_classification"}

# What all heads of a case have, and what the sequence's alone has.
CASES = {
    "bert": {
        "plain": (BERT, SINGLE),
        "set": ({**BERT, "hidden_act": "gelu_new", "layer_norm_eps": 1e-2, "type_vocab_size": 3, "classifier_dropout": 0.0},
                REGRESSION),
    },
    "roberta": {
        "plain": ({**BERT, "type_vocab_size": 1}, SINGLE),
        "set": ({**BERT, "hidden_act": "relu", "pad_token_id": 4, "layer_norm_eps": 1e-5}, MULTI),
    },
    "xlm-roberta": {
        "plain": ({**BERT, "type_vocab_size": 1, "hidden_act": "gelu"}, SINGLE),
        "set": ({**BERT, "type_vocab_size": 1, "layer_norm_eps": 1e-3}, REGRESSION),
    },
    "distilbert": {
        "plain": (DISTIL, SINGLE),
        "set": ({**DISTIL, "activation": "relu", "n_layers": 1, "n_heads": 4}, MULTI),
    },
    "modernbert": {
        "plain": (MODERN, SINGLE),
        "set": ({**MODERN, "hidden_activation": "silu", "norm_eps": 1e-3, "norm_bias": True, "attention_bias": True,
                 "mlp_bias": True, "decoder_bias": False, "classifier_bias": True, "classifier_pooling": "mean",
                 "classifier_activation": "tanh", "local_attention": 6, "num_hidden_layers": 3,
                 "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                 "rope_parameters": {"full_attention": {"rope_type": "linear", "rope_theta": 300.0, "factor": 2.0},
                                     "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}},
                REGRESSION),
    },
}


def config_of(model_type, options):
    config = AutoConfig.for_model(model_type, **json.loads(json.dumps(options)))
    config._attn_implementation = "eager"
    return config


def texts(seed, config):
    """Ids with padding, mask, and types where the model has several."""
    gen, most = generator(seed), max(LENGTHS)
    mask = torch.tensor([[int(i < n) for i in range(most)] for n in LENGTHS])
    ids = torch.randint(VOCAB - 6, (len(LENGTHS), most), generator=gen) + 6
    ids = torch.where(mask == 1, ids, config.pad_token_id)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 1) > 2:
        inputs["token_type_ids"] = torch.randint(config.type_vocab_size, ids.shape, generator=gen)
    return inputs


def labels_of(head, config, inputs, seed):
    gen, (batch, time) = generator(100 + seed), inputs["input_ids"].shape
    if head == "masked":
        kept = (torch.rand((batch, time), generator=gen) < 0.5) & (inputs["attention_mask"] == 1)
        return torch.where(kept, torch.randint(VOCAB, (batch, time), generator=gen), -100)
    if head == "token":
        labels = torch.randint(config.num_labels, (batch, time), generator=gen)
        return torch.where(inputs["attention_mask"] == 1, labels, -100)
    if config.problem_type == "multi_label_classification":
        return torch.randint(2, (batch, config.num_labels), generator=gen)
    if config.num_labels == 1:
        return torch.randn((batch, 1), generator=gen, dtype=torch.float64)
    return torch.randint(config.num_labels, (batch,), generator=gen)


def results(model, inputs, labels):
    if model.config.problem_type == "multi_label_classification":
        labels = labels.to(next(model.parameters()).dtype)
    found = model(**inputs, labels=labels, output_hidden_states=False)
    hidden = model.base_model(**inputs).last_hidden_state
    return found.loss, found.logits, hidden * inputs["attention_mask"].unsqueeze(-1)


def case(model_type, name, head, options, seed, out):
    config = config_of(model_type, options)
    inputs = texts(seed, config)
    labels = labels_of(head, config, inputs, seed)
    with double_precision():
        model = HEADS[head].from_config(config_of(model_type, options), dtype=torch.float64).train()
        fill(model, seed)
        loss, logits, hidden = results(model, inputs, labels)
        assert loss.dtype == logits.dtype == hidden.dtype == torch.float64
        loss.backward()
        check_directional_derivative(model, lambda: results(model, inputs, labels)[0])
    weights = [p.detach().clone() for p in model.parameters()]
    single = HEADS[head].from_config(config_of(model_type, options)).train()
    stored, written = on_disk(single, weights)
    gradients, _ = on_disk(model, [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()])
    with torch.no_grad():
        one = labels.float() if labels.dtype == torch.float64 else labels
        out[f"{name}/f32/loss"], out[f"{name}/f32/logits"], _ = results(single, inputs, one)
    out[f"{name}/loss"], out[f"{name}/logits"], out[f"{name}/hidden"] = loss, logits, hidden
    out[f"{name}/labels"] = labels
    for key, value in inputs.items():
        out[f"{name}/{key}"] = value
    for key, value in stored.items():
        out[f"{name}/init/{key}"] = value
        out[f"{name}/grad/{key}"] = gradients[key]
    return written


def main():
    for model_type in sys.argv[1:] or CASES:
        out, configs = {}, {}
        for seed, (name, (options, of_sequence)) in enumerate(CASES[model_type].items()):
            for head in HEADS:
                print(f"-- {model_type} {name} {head}")
                more = {"masked": {}, "sequence": of_sequence, "token": {"num_labels": 4}}[head]
                key = f"{name}_{head}"
                configs[key] = case(model_type, key, head, {**options, **more}, seed, out)
        save(f"encoders/{model_type}.safetensors", out, {"configs": configs}, modules=[transformers])


main()
