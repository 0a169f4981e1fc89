"""testdata/gpt2_small.safetensors: one small GPT-2 of transformers, its gradients, 20 AdamW steps, greedy tokens.

Loss: logits[b, t] predict labels[b, t] = ids[b, t + 1]; the mean over all batch * time tokens, computed in
the model's own dtype. transformers' built-in loss converts logits to f32 first, so it is not used.
"""

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, get_constant_schedule_with_warmup

from common import generator, normal, save

BATCH, TIME, STEPS = 3, 16, 20
PROMPT, NEW_TOKENS = 8, 10
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1}
WARMUP_STEPS, MAX_GRAD_NORM = 5, 1.0
CONFIG = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "vocab_size": 61,
    "n_positions": 24,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "bos_token_id": None,
    "eos_token_id": None,
}


def build(weights, dtype, tied=True):
    config = GPT2Config(**CONFIG, tie_word_embeddings=tied, attn_implementation="eager")
    model = GPT2LMHeadModel(config).to(dtype).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    assert (model.lm_head.weight is model.transformer.wte.weight) == tied
    return model


def initial_weights():
    """Every tensor random, biases and norms too: a swapped or forgotten one must change the loss."""
    gen = generator(20240501)
    model = GPT2LMHeadModel(GPT2Config(**CONFIG, tie_word_embeddings=False))
    weights = {}
    for name, parameter in model.named_parameters():
        is_norm_weight = ".ln_" in name and name.endswith("weight")
        std = 0.02 if name.endswith("bias") else 0.1
        weights[name] = (normal(gen, *parameter.shape, std=std) + (1.0 if is_norm_weight else 0.0)).float().double()
    # A wider separate head keeps greedy choices clear of ties.
    weights["lm_head.weight"] = normal(gen, *weights["lm_head.weight"].shape, std=0.3)
    return weights


def loss_of(model, ids):
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert loss.dtype == next(model.parameters()).dtype
    return loss, logits


def gradients(model, ids, out, prefix):
    loss, logits = loss_of(model, ids)
    loss.backward()
    out[f"{prefix}/loss"] = loss
    out[f"{prefix}/logits"] = logits
    for name, parameter in model.named_parameters():
        out[f"{prefix}/grad/{name}"] = parameter.grad.clone()


def check_directional_derivative(model, ids):
    """Fails if anything inside the f64 model was computed in f32: that noise would be far above 1e-8."""
    gen, h = generator(7), 1e-6
    directions = [normal(gen, *p.shape) for p in model.parameters()]
    slope = sum((p.grad * d).sum() for p, d in zip(model.parameters(), directions))
    losses = []
    with torch.no_grad():
        for shift in (h, -2 * h):
            for p, d in zip(model.parameters(), directions):
                p.add_(d, alpha=shift)
            losses.append(loss_of(model, ids)[0])
        for p, d in zip(model.parameters(), directions):
            p.add_(d, alpha=h)
    error = abs((losses[0] - losses[1]) / (2 * h) - slope) / abs(slope)
    print(f"directional derivative: relative error {error:.1e}")
    assert error < 1e-8


def train(model, step_ids, out, prefix):
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW, foreach=False)
    schedule = get_constant_schedule_with_warmup(optimizer, WARMUP_STEPS)
    lrs, losses, norms = [], [], []
    for ids in step_ids:
        optimizer.zero_grad()
        loss, _ = loss_of(model, ids)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM, foreach=False))
        losses.append(loss.detach())
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    out["lrs"] = torch.tensor(lrs, dtype=torch.float64)
    out[f"{prefix}/step_losses"] = torch.stack(losses)
    out[f"{prefix}/step_grad_norms"] = torch.stack(norms)
    for name, parameter in model.named_parameters():
        out[f"{prefix}/final/{name}"] = parameter.detach().clone()


@torch.no_grad()
def greedy(model, prompt, out, prefix):
    """Greedy decoding through the key-value cache; each step's logits are those its token was chosen from."""
    model.eval()
    tokens, logits, cache, ids = [], [], None, prompt
    for _ in range(NEW_TOKENS):
        result = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache, last = result.past_key_values, result.logits[:, -1]
        ids = last.argmax(-1, keepdim=True)
        tokens.append(ids)
        logits.append(last)
    tokens, logits = torch.cat(tokens, 1), torch.stack(logits)
    everything = torch.cat([prompt, tokens], 1)
    uncached = model(input_ids=everything, use_cache=False).logits[:, PROMPT - 1 : -1].transpose(0, 1)
    assert (uncached - logits).abs().max() < 1e-12
    attention_mask = torch.ones_like(prompt)
    generated = model.generate(prompt, attention_mask=attention_mask, do_sample=False, max_new_tokens=NEW_TOKENS)
    assert torch.equal(generated, everything)
    top = logits.topk(2, -1).values
    margin = (top[..., 0] - top[..., 1]).min()
    print(f"{prefix}: tokens {tokens.tolist()}, smallest margin {margin:.1e}")
    assert margin > 1e-3
    out[f"{prefix}/tokens"], out[f"{prefix}/logits"] = tokens, logits


def main():
    weights = initial_weights()
    gen = generator(11)
    ids = torch.randint(CONFIG["vocab_size"], (BATCH, TIME + 1), generator=gen)
    step_ids = torch.randint(CONFIG["vocab_size"], (STEPS, BATCH, TIME + 1), generator=gen)
    prompt = torch.randint(CONFIG["vocab_size"], (2, PROMPT), generator=gen)
    out = {f"init/{name}": weight for name, weight in weights.items()}
    out |= {"ids": ids, "input_ids": ids[:, :-1], "labels": ids[:, 1:], "step_ids": step_ids, "greedy/prompt": prompt}

    for prefix, dtype in (("f64", torch.float64), ("f32", torch.float32)):
        model = build(weights, dtype)
        gradients(model, ids, out, prefix)
        if dtype == torch.float64:
            with torch.no_grad():
                logits = model(input_ids=ids[:, :-1]).logits[:, :-1]
                out["f64/loss_labels_are_inputs"] = cross_entropy(logits.flatten(0, 1), ids[:, 1:-1].flatten())
                built_in = model(input_ids=ids[:, :-1], labels=ids[:, :-1]).loss
                assert abs(out["f64/loss_labels_are_inputs"] - built_in) < 1e-6
            check_directional_derivative(model, ids)
        train(build(weights, dtype), step_ids, out, prefix)

    untied = build(weights, torch.float64, tied=False)
    gradients(untied, ids, out, "untied/f64")
    greedy(untied, prompt, out, "greedy/untied")
    greedy(build(weights, torch.float64), prompt, out, "greedy/tied")

    save(
        "gpt2_small.safetensors",
        out,
        {
            "config": {
                **CONFIG,
                "model_type": "gpt2",
                "architectures": ["GPT2LMHeadModel"],
                "tie_word_embeddings": True,
            },
            "adamw": ADAMW,
            "schedule": {
                "name": "constant_with_warmup",
                "warmup_steps": WARMUP_STEPS,
                "variant": "transformers: lr(step) = lr * min(1, step / warmup_steps), step from 0",
            },
            "max_grad_norm": MAX_GRAD_NORM,
            "loss": "mean over b, t of cross_entropy(logits[b, t], labels[b, t]), labels[b, t] = ids[b, t + 1]",
        },
        modules=[transformers],
    )


main()
