"""testdata/architectures/<model_type>.safetensors: tiny random models of transformers' decoders.

    python architectures.py [MODEL_TYPE ...]

For each case: config.json as `save_pretrained` writes it, weights and gradients under the names that it gives them on
disk, loss and logits. transformers computes norms, rotary angles, router probabilities and softmaxes in single
precision even in a model of doubles; the doubles here come from the same code with `torch.float32` and
`Tensor.float` standing for double precision, which the directional derivative checks. `f32/` is the unchanged code.

The loss is transformers' own, labels being the input: logits[b, t] predict ids[b, t + 1], the mean over all; with
`output_router_logits`, plus `router_aux_loss_coef` times the load balancing loss.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from common import TESTDATA, generator, normal, save

BATCH, TIME, VOCAB = 2, 11, 29
# Not what `double_precision` puts in its place.
SINGLE = torch.float32
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}


def rope(kind, theta=100.0, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


LLAMA3 = rope("llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = rope("yarn", factor=2.0, original_max_position_embeddings=16, beta_fast=4.0, beta_slow=1.0)
YARN_SET = rope("yarn", factor=4.0, original_max_position_embeddings=8, attention_factor=1.3, truncate=False)
YARN_MSCALE = rope("yarn", factor=4.0, original_max_position_embeddings=8, mscale=0.9, mscale_all_dim=0.5)
LONG = {"short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]}

CASES = {
    "llama": {
        "llama3": {"rope_parameters": LLAMA3, "attention_bias": True, "mlp_bias": True},
        "yarn": {"rope_parameters": YARN, "head_dim": 6, "tie_word_embeddings": True},
        "yarn_set": {"rope_parameters": YARN_SET, "num_key_value_heads": 1, "hidden_act": "gelu"},
        "yarn_mscale": {"rope_parameters": YARN_MSCALE, "num_key_value_heads": 4},
        "linear": {"rope_parameters": rope("linear", factor=2.0), "rms_norm_eps": 1e-2},
        "dynamic": {"rope_parameters": rope("dynamic", factor=2.0), "max_position_embeddings": 8},
    },
    "mistral": {
        "window": {"sliding_window": 4, "head_dim": 6},
        "plain": {"sliding_window": None, "tie_word_embeddings": True, "rope_parameters": rope("default", 50.0)},
    },
    "qwen2": {
        "window": {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
        "yarn": {"rope_parameters": YARN, "tie_word_embeddings": True, "use_sliding_window": False},
    },
    "qwen3": {
        "window": {"head_dim": 8, "attention_bias": True, "use_sliding_window": True, "sliding_window": 5,
                   "max_window_layers": 0},
        "tied": {"head_dim": 6, "tie_word_embeddings": True},
    },
    "smollm3": {
        "interval": {"no_rope_layer_interval": 2, "tie_word_embeddings": True, "num_hidden_layers": 3},
        "list": {"no_rope_layers": [0, 1], "attention_bias": True, "mlp_bias": True, "use_sliding_window": True,
                 "sliding_window": 3},
    },
    "gemma2": {
        "caps": {"head_dim": 6, "query_pre_attn_scalar": 9, "sliding_window": 4, "attn_logit_softcapping": 0.7,
                 "final_logit_softcapping": 1.5, "tie_word_embeddings": True},
        "plain": {"head_dim": 4, "query_pre_attn_scalar": 4, "attn_logit_softcapping": None, "attention_bias": True,
                  "final_logit_softcapping": None, "layer_types": ["full_attention", "sliding_attention"],
                  "sliding_window": 3, "tie_word_embeddings": True},
    },
    "gemma3_text": {
        "local": {"head_dim": 6, "query_pre_attn_scalar": 5, "sliding_window": 3, "num_hidden_layers": 3,
                  "tie_word_embeddings": True, "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
                  "rope_parameters": {"sliding_attention": rope("default", 50.0),
                                      "full_attention": rope("linear", 500.0, factor=8.0)}},
        "caps": {"head_dim": 4, "query_pre_attn_scalar": 16, "sliding_window": 32, "attention_bias": True,
                 "tie_word_embeddings": True, "final_logit_softcapping": 2.0},
    },
    "phi3": {
        "partial": {"rope_parameters": rope("default", partial_rotary_factor=0.5), "sliding_window": 4,
                    "original_max_position_embeddings": 32},
        "short": {"rope_parameters": rope("longrope", **LONG), "original_max_position_embeddings": 16},
        "long": {"rope_parameters": rope("longrope", **LONG), "original_max_position_embeddings": 8,
                 "tie_word_embeddings": True},
    },
    "olmo2": {
        "plain": {},
        "bias": {"attention_bias": True, "num_key_value_heads": 4, "rope_parameters": YARN},
    },
    "olmo3": {
        "window": {"sliding_window": 4, "num_hidden_layers": 4,
                   "rope_parameters": {"full_attention": YARN, "sliding_attention": rope("default")}},
        "bias": {"attention_bias": True, "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 2},
    },
    "qwen3_moe": {
        "sparse": {"head_dim": 6, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
                   "norm_topk_prob": True, "num_hidden_layers": 3, "mlp_only_layers": [1],
                   "output_router_logits": True, "router_aux_loss_coef": 0.1},
        "step": {"head_dim": 4, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
                 "norm_topk_prob": False, "decoder_sparse_step": 2, "attention_bias": True,
                 "use_sliding_window": True, "sliding_window": 4},
    },
    "olmoe": {
        "clipped": {"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 8, "clip_qkv": 0.8},
        "balanced": {"num_experts": 3, "num_experts_per_tok": 2, "intermediate_size": 8, "norm_topk_prob": True,
                     "attention_bias": True, "output_router_logits": True, "router_aux_loss_coef": 0.05},
    },
    "mixtral": {
        "window": {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 8, "sliding_window": 4},
        "balanced": {"num_local_experts": 3, "num_experts_per_tok": 1, "intermediate_size": 8, "head_dim": 6,
                     "output_router_logits": True, "router_aux_loss_coef": 0.2},
    },
}


@contextlib.contextmanager
def double_precision():
    """transformers' steps in single precision, in double."""
    kept = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = kept


def config_of(model_type, options):
    config = AutoConfig.for_model(model_type, **json.loads(json.dumps({**COMMON, **options})))
    config._attn_implementation = config._experts_implementation = "eager"
    return config


def fill(model, seed):
    """Every tensor random, biases and norms too: a swapped or forgotten one must change the loss."""
    gen = generator(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = normal(gen, *parameter.shape, std=0.1 if parameter.dim() == 1 else 0.3)
            start = parameter.detach().double().round() if parameter.dim() == 1 else 0.0
            parameter.copy_((value + start).to(SINGLE).double())


def on_disk(model, values):
    """Values, one for each parameter, under the names that `save_pretrained` gives them."""
    with tempfile.TemporaryDirectory() as folder:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), values, strict=True):
                parameter.copy_(value)
        model.save_pretrained(folder)
        return load_file(Path(folder, "model.safetensors")), json.loads(Path(folder, "config.json").read_text())


def loss_of(model, ids):
    result = model(input_ids=ids, labels=ids, use_cache=False)
    return result.loss, result.logits


def check_directional_derivative(model, loss):
    """`loss` is a function without arguments. Fails if anything inside was computed in single precision: that noise would be far above 1e-7."""
    gen, h = generator(7), 1e-6
    parameters = list(model.parameters())
    directions = [normal(gen, *p.shape) for p in parameters]
    slope = sum((p.grad * d).sum() for p, d in zip(parameters, directions))
    losses = []
    with torch.no_grad():
        for shift in (h, -2 * h):
            for p, d in zip(parameters, directions):
                p.add_(d, alpha=shift)
            losses.append(loss())
        for p, d in zip(parameters, directions):
            p.add_(d, alpha=h)
    error = abs((losses[0] - losses[1]) / (2 * h) - slope) / abs(slope)
    print(f"directional derivative: relative error {error:.1e}")
    assert error < 1e-7, error


def case(model_type, name, options, seed, ids, out):
    with double_precision():
        model = AutoModelForCausalLM.from_config(config_of(model_type, options), dtype=torch.float64).train()
        assert next(model.parameters()).dtype == torch.float64
        fill(model, seed)
        loss, logits = loss_of(model, ids)
        assert loss.dtype == logits.dtype == torch.float64
        loss.backward()
        check_directional_derivative(model, lambda: loss_of(model, ids)[0])
    weights = [p.detach().clone() for p in model.parameters()]
    single = AutoModelForCausalLM.from_config(config_of(model_type, options)).train()
    stored, config = on_disk(single, weights)
    gradients, _ = on_disk(model, [p.grad for p in model.parameters()])
    with torch.no_grad():
        out[f"{name}/f32/loss"], out[f"{name}/f32/logits"] = loss_of(single, ids)
    out[f"{name}/loss"], out[f"{name}/logits"] = loss, logits
    for key, value in stored.items():
        out[f"{name}/init/{key}"] = value
        out[f"{name}/grad/{key}"] = gradients[key]
    return config


def main():
    for model_type in sys.argv[1:] or CASES:
        out, configs = {}, {}
        for seed, (name, options) in enumerate(CASES[model_type].items()):
            print(f"-- {model_type} {name}")
            ids = torch.randint(VOCAB, (BATCH, TIME), generator=generator(3 + seed))
            out[f"{name}/ids"] = ids
            configs[name] = case(model_type, name, options, seed, ids, out)
        save(f"architectures/{model_type}.safetensors", out, {"configs": configs}, modules=[transformers])


if __name__ == "__main__":
    main()
