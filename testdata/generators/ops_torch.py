"""testdata/ops_torch.safetensors: fused operations of PyTorch and transformers in f64, forward and backward.

Each case holds `<case>/in/<name>`, `<case>/out/<name>`, an upstream gradient `<case>/grad_out/<name>` for each
output and `<case>/grad_in/<name>` for each differentiable input, for the loss sum(out * grad_out).
"""

import torch
import torch.nn.functional as F
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
from transformers.pytorch_utils import Conv1D

from common import generator, normal, save

gen = generator(17)
tensors, cases = {}, []


def randn(*shape, std=1.0):
    return normal(gen, *shape, std=std)


def randint(high, *shape):
    return torch.randint(high, shape, generator=gen)


def case(op, variant, function, inputs, args, output="y", **more):
    """Runs one case; `args` are the operation's options, as a reader of the file must apply them."""
    name = f"{op}/{variant}"
    leaves = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in inputs.items()}
    results = function(**leaves)
    results = results if isinstance(results, dict) else {output: results}
    upstream = {k: randn(*v.shape) for k, v in results.items()}
    sum((v * upstream[k]).sum() for k, v in results.items()).backward()
    for key, leaf in leaves.items():
        tensors[f"{name}/in/{key}"] = inputs[key]
        if leaf.requires_grad:
            tensors[f"{name}/grad_in/{key}"] = leaf.grad
    for key, result in results.items():
        assert result.dtype == torch.float64
        tensors[f"{name}/out/{key}"], tensors[f"{name}/grad_out/{key}"] = result, upstream[key]
    cases.append(
        {
            "name": name,
            "op": op,
            "variant": variant,
            "args": args,
            "inputs": list(inputs),
            "outputs": list(results),
            "differentiable": [k for k, v in leaves.items() if v.requires_grad],
            **more,
        }
    )


def norms():
    for variant, shape, affine, eps in (
        ("affine", (3, 7, 11), True, 1e-5),
        ("plain", (5, 13), False, 1e-5),
        ("wide", (2, 3, 131), True, 1e-12),
        ("large_eps", (4, 9), True, 0.1),
        ("one_row", (37,), True, 1e-5),
    ):
        channels = shape[-1]
        x = {"x": randn(*shape, std=2.0) + 0.5}
        weight = {"weight": 1.0 + randn(channels, std=0.3)} if affine else {}
        bias = {"bias": randn(channels)} if affine else {}
        args = {"normalized_shape": [channels], "eps": eps}
        case(
            "layer_norm",
            variant,
            lambda x, weight=None, bias=None, a=args: F.layer_norm(x, a["normalized_shape"], weight, bias, a["eps"]),
            x | weight | bias,
            args,
        )
        case(
            "rms_norm",
            variant,
            lambda x, weight=None, a=args: F.rms_norm(x, a["normalized_shape"], weight, a["eps"]),
            x | weight,
            args,
        )


def elementwise():
    for op, function in (("softmax", F.softmax), ("log_softmax", F.log_softmax)):
        for variant, x, dim in (
            ("last", randn(3, 5, 11), -1),
            ("middle", randn(3, 5, 7), 1),
            ("large_values", randn(4, 9, std=500.0), -1),
            ("one_class", randn(4, 1), -1),
            ("wide", randn(2, 203), -1),
        ):
            case(op, variant, lambda x, f=function, d=dim: f(x, dim=d), {"x": x}, {"dim": dim})
    # Both tails, zero and the neighbourhood of zero beside ordinary values.
    special = torch.tensor([-40.0, -12.0, -5.5, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 5.5, 12.0, 40.0], dtype=torch.float64)
    x = torch.cat([special, randn(22)]).reshape(3, 11)
    for approximate in ("none", "tanh"):
        case(
            "gelu",
            approximate,
            lambda x, a=approximate: F.gelu(x, approximate=a),
            {"x": x},
            {"approximate": approximate},
        )
    case("silu", "plain", lambda x: F.silu(x), {"x": x}, {})
    case(
        "gated_silu",
        "plain",
        lambda gate, up: F.silu(gate) * up,
        {"gate": x, "up": randn(3, 11)},
        {},
        equation="silu(gate) * up",
    )


def linear_layers():
    x, weight, bias = randn(2, 7, 5), randn(9, 5), randn(9)

    def linear(x, weight, bias=None):
        return F.linear(x, weight, bias)

    case("linear", "bias", linear, {"x": x, "weight": weight, "bias": bias}, {}, equation="x @ weight.T + bias")
    case("linear", "plain", linear, {"x": x, "weight": weight}, {"bias": False}, equation="x @ weight.T")
    case(
        "linear", "one_row", linear, {"x": randn(5), "weight": weight, "bias": bias}, {}, equation="x @ weight.T + bias"
    )

    def conv1d(x, weight, bias):
        layer = Conv1D(9, 5)
        del layer.weight, layer.bias
        layer.weight, layer.bias = weight, bias
        return layer(x)

    case("conv1d_hf", "bias", conv1d, {"x": x, "weight": randn(5, 9), "bias": bias}, {}, equation="x @ weight + bias")
    ids = torch.tensor([[3, 0, 3, 12, 3], [11, 0, 5, 3, 12]])
    case(
        "embedding",
        "repeated_ids",
        lambda weight, ids: F.embedding(ids, weight),
        {"weight": randn(13, 7), "ids": ids},
        {},
    )


def attention():
    def sdpa(variant, query, key, value, mask, args, **inputs):
        """`mask(inputs)` gives the boolean [batch, 1, query, key] mask, true where the query may look."""

        def function(query, key, value, **ignored):
            with sdpa_kernel(SDPBackend.MATH):
                return F.scaled_dot_product_attention(
                    query,
                    key,
                    value,
                    attn_mask=mask,
                    is_causal=args["causal"] and mask is None,
                    scale=args.get("scale"),
                    enable_gqa=query.shape[1] != key.shape[1],
                )

        case(
            "attention",
            variant,
            function,
            {"query": query, "key": key, "value": value} | inputs,
            args,
            layout="[batch, head, time, head_dim]",
        )

    def qkv(batch, heads, time, dim, kv_heads=None, kv_time=None, std=1.0):
        kv = (batch, kv_heads or heads, kv_time or time, dim)
        return randn(batch, heads, time, dim, std=std), randn(*kv, std=std), randn(*kv)

    def causal(queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)

    sdpa("full", *qkv(2, 3, 7, 5), None, {"causal": False})
    sdpa("causal", *qkv(2, 3, 11, 5), None, {"causal": True})
    sdpa("causal_large_scores", *qkv(1, 2, 9, 4, std=12.0), None, {"causal": True})
    sdpa("full_scaled", *qkv(1, 2, 7, 5), None, {"causal": False, "scale": 0.3})
    sdpa("cross", *qkv(2, 2, 5, 3, kv_time=13), None, {"causal": False})
    sdpa("grouped_full", *qkv(2, 6, 7, 3, kv_heads=2), None, {"causal": False})
    sdpa("grouped_causal", *qkv(1, 4, 13, 3, kv_heads=1), None, {"causal": True})
    sdpa("causal_cached", *qkv(2, 2, 3, 5, kv_time=11), causal(3, 11), {"causal": True})
    sdpa("causal_one_query", *qkv(1, 2, 1, 5, kv_time=11), causal(1, 11), {"causal": True})
    sdpa("causal_long", *qkv(1, 2, 131, 5, kv_heads=1), None, {"causal": True})
    sdpa("full_long", *qkv(1, 1, 131, 3), None, {"causal": False})

    keep = torch.arange(9) < torch.tensor([9, 4])[:, None]
    sdpa("padding_full", *qkv(2, 2, 9, 5), keep[:, None, None], {"causal": False}, key_padding_mask=keep)
    sdpa(
        "padding_causal", *qkv(2, 2, 9, 5), keep[:, None, None] & causal(9, 9), {"causal": True}, key_padding_mask=keep
    )
    sdpa(
        "padding_grouped_causal",
        *qkv(2, 4, 9, 5, kv_heads=2),
        keep[:, None, None] & causal(9, 9),
        {"causal": True},
        key_padding_mask=keep,
    )
    left = torch.arange(9) >= torch.tensor([0, 3])[:, None]
    sdpa(
        "left_padding_causal",
        *qkv(2, 2, 9, 5),
        left[:, None, None] & causal(9, 9),
        {"causal": True},
        key_padding_mask=left,
    )

    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 3], [5] * 11])
    same = (documents[:, :, None] == documents[:, None, :])[:, None]
    sdpa("documents_causal", *qkv(2, 2, 11, 5), same & causal(11, 11), {"causal": True}, document_ids=documents)
    sdpa("documents_full", *qkv(2, 2, 11, 5), same, {"causal": False}, document_ids=documents)
    sdpa(
        "documents_grouped_causal",
        *qkv(2, 4, 11, 3, kv_heads=2),
        same & causal(11, 11),
        {"causal": True},
        document_ids=documents,
    )
    long = (torch.arange(131) // 37)[None]
    sdpa(
        "documents_causal_long",
        *qkv(1, 1, 131, 3),
        ((long[:, :, None] == long[:, None, :])[:, None]) & causal(131, 131),
        {"causal": True},
        document_ids=long,
    )


def losses():
    targets = randint(11, 13)
    ignored = targets.clone()
    ignored[[0, 5, 6, 12]] = -100
    for variant, target, args in (
        ("mean", targets, {}),
        ("ignore", ignored, {}),
        ("smoothing", targets, {"label_smoothing": 0.1}),
        ("ignore_smoothing", ignored, {"label_smoothing": 0.1}),
        ("ignore_smoothing_sum", ignored, {"label_smoothing": 0.3, "reduction": "sum"}),
        ("ignore_smoothing_none", ignored, {"label_smoothing": 0.3, "reduction": "none"}),
        ("ignore_none", ignored, {"reduction": "none"}),
    ):
        args = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"} | args
        case(
            "cross_entropy",
            variant,
            lambda logits, target, a=args: F.cross_entropy(logits, target, **a),
            {"logits": randn(13, 11, std=3.0), "target": target},
            args,
            output="loss",
        )
        case(
            "linear_cross_entropy",
            variant,
            lambda hidden, weight, target, a=args: F.cross_entropy(hidden @ weight.T, target, **a),
            {"hidden": randn(13, 5), "weight": randn(11, 5), "target": target},
            args,
            output="loss",
            equation="cross_entropy(hidden @ weight.T, target)",
        )
    args = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"}
    case(
        "cross_entropy",
        "large_logits",
        lambda logits, target, a=args: F.cross_entropy(logits, target, **a),
        {"logits": randn(13, 11, std=400.0), "target": targets},
        args,
        output="loss",
    )
    many = randint(67, 97)
    many[::5] = -100
    args = args | {"label_smoothing": 0.05}
    case(
        "linear_cross_entropy",
        "chunks",
        lambda hidden, weight, target, a=args: F.cross_entropy(hidden @ weight.T, target, **a),
        {"hidden": randn(97, 7), "weight": randn(67, 7), "target": many},
        args,
        output="loss",
        equation="cross_entropy(hidden @ weight.T, target)",
    )


def rotary():
    """Angles in f64; transformers' own module computes them in f32, so only its rotation is used."""
    for variant, dim, heads, kv_heads, theta, positions in (
        ("default", 6, 3, 3, 10000.0, torch.arange(9)[None].repeat(2, 1)),
        ("grouped", 8, 4, 2, 500000.0, torch.arange(7)[None].repeat(2, 1)),
        ("offset", 4, 2, 2, 10000.0, torch.tensor([[5, 6, 7], [100, 101, 102]])),
    ):
        batch, time = positions.shape
        inv_freq = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = positions[..., None].double() * inv_freq
        angles = torch.cat([angles, angles], -1)

        def function(query, key, position_ids, cos=angles.cos(), sin=angles.sin()):
            query, key = apply_rotary_pos_emb(query, key, cos, sin)
            return {"query": query, "key": key}

        inputs = {
            "query": randn(batch, heads, time, dim),
            "key": randn(batch, kv_heads, time, dim),
            "position_ids": positions,
        }
        case("rotary", variant, function, inputs, {"theta": theta}, layout="[batch, head, time, head_dim]")
        tensors[f"rotary/{variant}/cos"], tensors[f"rotary/{variant}/sin"] = angles.cos(), angles.sin()


def decoders():
    """What decoders have beside Llama's operations. Last, so that what is drawn before stays as it was."""
    for approximate, op in (("none", "gated_gelu"), ("tanh", "gated_gelu_tanh")):
        for variant, shape in (("row", (13,)), ("matrix", (3, 11)), ("states", (2, 5, 7))):
            inputs = {"gate": randn(*shape, std=2.0), "up": randn(*shape)}
            case(op, variant, lambda gate, up, a=approximate: F.gelu(gate, approximate=a) * up, inputs, {})
    for variant, cap in (("tight", 0.5), ("near", 2.0), ("wide", 30.0)):
        args = {"softcap": cap}
        case("softcap", variant, lambda x, c=cap: c * torch.tanh(x / c), {"x": randn(3, 11, std=2.0)}, args)
    for variant, shape, eps in (("row", (5, 13), 1e-6), ("states", (3, 7, 11), 1e-5), ("wide", (2, 67), 1e-2)):
        inputs = {"x": randn(*shape), "weight": randn(shape[-1], std=0.3)}
        case(
            "rms_norm_plus_one",
            variant,
            lambda x, weight, e=eps: F.rms_norm(x, x.shape[-1:], 1.0 + weight, e),
            inputs,
            {"eps": eps},
        )

    def bounded(variant, heads, kv_heads, time, keys, causal, window=None, softcap=None):
        places = torch.arange(keys) - torch.arange(keys - time, keys)[:, None]
        mask = (places <= 0) if causal else torch.ones(time, keys, dtype=torch.bool)
        if window is not None:
            mask = mask & (places.abs() < window)

        def function(query, key, value):
            key, value = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (key, value))
            scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1) @ value

        inputs = {"query": randn(2, heads, time, 5)} | {k: randn(2, kv_heads, keys, 5) for k in ("key", "value")}
        args = {"causal": causal, "window": window, "softcap": softcap}
        case("attention_bounded", variant, function, inputs, args, layout="[batch, head, time, head_dim]")

    bounded("window", 2, 2, 11, 11, True, window=4)
    bounded("window_grouped", 4, 2, 13, 13, True, window=2)
    bounded("window_cached", 2, 1, 3, 11, True, window=5)
    bounded("window_long", 1, 1, 131, 131, True, window=17)
    bounded("window_both_sides", 2, 2, 11, 11, False, window=3)
    bounded("softcap", 2, 2, 11, 11, True, softcap=0.5)
    bounded("softcap_full", 4, 2, 7, 9, False, softcap=2.0)
    bounded("softcap_window", 4, 1, 13, 13, True, window=6, softcap=0.7)


norms()
elementwise()
linear_layers()
attention()
losses()
rotary()
decoders()
for key, tensor in tensors.items():
    if not tensor.isfinite().all():
        print("NOT FINITE", key)
save("ops_torch.safetensors", tensors, {"cases": cases}, modules=[transformers])
