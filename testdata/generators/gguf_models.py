"""Tiny models as GGUF files, with names of the `gguf` package, and what transformers reads of them.

`testdata/gguf/<case>.gguf` is a model with its tokenizer. `testdata/gguf/models.safetensors` holds for each case the
logits that the model has after transformers read that file, and their ids; its metadata a SHA-256 of each weight as it was
read, under the names that `save_pretrained` gives them, the config that the model was made of, and the ids of texts by the
tokenizer that transformers reads from the file. `names` are the names that the `gguf` package has for the parameters of
every architecture.

llama.cpp's converter stores rows of queries and keys in another order for Llama, norms of Gemma with 1 added, and
GPT-2's matrices transposed; so does this file.
"""

import hashlib
import json
import math
import sys
import tempfile
from pathlib import Path

# This folder has a file with the name of a package.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from gguf import GGMLQuantizationType as Type  # noqa: E402
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map  # noqa: E402
from gguf.quants import quantize  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parent))
from common import TESTDATA, generator, normal, save  # noqa: E402

FOLDER = TESTDATA / "gguf"
TEXTS = ["Hello, world!", "fn main() {\n    let x = 1234;\n}\n", "  two  spaces ", "don't we'll naïve Ünïcödé 你好 🙂", "a\n\nb\tc", ""]
COMMON = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": None,
    "pad_token_id": None, "tie_word_embeddings": True,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": None, "eos_token_id": None}


def rope(kind, theta=10000.0, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


LLAMA3 = rope("llama3", 500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)
# Case: model_type, name in files, format, tokenizer, its `pre`, options.
CASES = {
    "llama": ("llama", "llama", "Q8_0", "bpe", "llama-bpe", {"rope_parameters": LLAMA3}),
    "smollm": ("llama", "llama", "Q4_0", "bpe", "smollm", {"attention_bias": True, "tie_word_embeddings": False}),
    "qwen2": ("qwen2", "qwen2", "F16", "bpe", "qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", "qwen3", "Q8_0", "bpe", "qwen2", {"head_dim": 16}),
    "qwen3_moe": ("qwen3_moe", "qwen3moe", "F32", "bpe", "qwen2",
                  {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
                   "norm_topk_prob": True}),
    "gemma2": ("gemma2", "gemma2", "F32", "metaspace", "default",
               {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 4}),
    "gemma3": ("gemma3_text", "gemma3", "BF16", "metaspace", "default",
               {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 4, "num_hidden_layers": 6}),
    "phi3": ("phi3", "phi3", "F32", "metaspace", "default",
             {"original_max_position_embeddings": 16, "rope_parameters": rope(
                 "longrope", short_factor=[1.0, 1.1, 1.2, 1.5], long_factor=[2.0, 2.5, 3.0, 4.0])}),
    "gpt2": ("gpt2", "gpt2", "Q8_0", "bpe", "gpt-2", GPT2),
}
# Architectures whose names the package has, with what makes their parameters.
NAMED = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}),
    "mistral": ("llama", {}), "mixtral": ("llama", {"num_local_experts": 2}),
    "qwen2": ("qwen2", {}), "qwen3": ("qwen3", {}), "qwen3_moe": ("qwen3moe", {"num_experts": 2}),
    "smollm3": ("smollm3", {}), "gemma2": ("gemma2", {}), "gemma3_text": ("gemma3", {}), "phi3": ("phi3", {}),
    "olmo2": ("olmo2", {}), "olmo3": ("olmo2", {}), "olmoe": ("olmoe", {"num_experts": 2}), "gpt2": ("gpt2", GPT2),
}


def names_of(arch, layers):
    number = next(key for key, value in MODEL_ARCH_NAMES.items() if value == arch)
    table = get_tensor_name_map(number, layers)

    def name(parameter):
        stem, ending = parameter.rsplit(".", 1)
        parts = stem.split(".")
        if "experts" in parts:
            parts.pop(parts.index("experts") + 1)
        found = table.get_name(".".join(parts))
        assert found, f"{arch}: {parameter}"
        return f"{found}.{ending}"

    return name


def model_of(model_type, options, vocab):
    plain = GPT2 if model_type == "gpt2" else COMMON
    config = AutoConfig.for_model(model_type, **json.loads(json.dumps({**plain, **options, "vocab_size": vocab})))
    config._attn_implementation = config._experts_implementation = "eager"
    return AutoModelForCausalLM.from_config(config)


def on_disk(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder, "model.safetensors")), json.loads(Path(folder, "config.json").read_text())


def fill(model, seed):
    gen = generator(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            value = normal(gen, *parameter.shape, std=0.1 if parameter.dim() == 1 else 0.3)
            parameter.copy_(value + (parameter.detach().double().round() if parameter.dim() == 1 else 0.0))


def interleaved(weight, heads):
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def stored(arch, name, weight, config):
    if arch in ("llama", "smollm3") and (".attn_q." in name or ".attn_k." in name):
        return interleaved(weight, config["num_attention_heads" if ".attn_q." in name else "num_key_value_heads"])
    if arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        return weight + np.float32(1)
    if arch == "gpt2" and name.startswith("blk.") and name.endswith(".weight") and weight.ndim == 2:
        return np.ascontiguousarray(weight.T)
    return weight


def write_tokenizer(writer, kind, pre, vocab):
    described = json.loads((TESTDATA / "tokenizers" / kind / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = {id: token for token, id in described["model"]["vocab"].items()}
    special = {token["id"]: token["content"] for token in described["added_tokens"]}
    tokens.update(special)
    types = []
    for id in range(vocab):
        if id not in tokens:
            tokens[id] = f"[PAD{id}]"
            types.append(gguf.TokenType.UNUSED)
        elif id in special:
            types.append(gguf.TokenType.UNKNOWN if tokens[id] == "<unk>" else gguf.TokenType.CONTROL)
        elif tokens[id].startswith("<0x"):
            types.append(gguf.TokenType.BYTE)
        else:
            types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2" if kind == "bpe" else "llama")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([tokens[id] for id in range(vocab)])
    writer.add_token_types(types)
    if kind == "bpe":
        merges = described["model"]["merges"]
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
        writer.add_bos_token_id(vocab - 1)
        writer.add_eos_token_id(vocab - 1)
    else:
        writer.add_token_scores([-float(id) for id in range(vocab)])
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(True)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")


def write_config(writer, arch, config, tensors):
    get = config.get
    if arch == "gpt2":
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(4 * config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    dim = get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    rope = config["rope_parameters"]
    rope = rope.get("full_attention", rope)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    if arch in ("llama", "phi3"):
        writer.add_rope_dimension_count(dim)
    if arch in ("llama", "qwen3", "qwen3moe", "gemma2", "gemma3"):
        writer.add_key_length(dim)
        writer.add_value_length(dim)
    if arch in ("gemma2", "gemma3"):
        writer.add_sliding_window(config["sliding_window"])
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if arch == "qwen3moe":
        writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if arch == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
        scale = config["max_position_embeddings"] / config["original_max_position_embeddings"]
        writer.add_rope_scaling_attn_factors(
            math.sqrt(1 + math.log(scale) / math.log(config["original_max_position_embeddings"])))
        tensors["rope_factors_long.weight"] = np.array(rope["long_factor"], dtype=np.float32)
        tensors["rope_factors_short.weight"] = np.array(rope["short_factor"], dtype=np.float32)
    if rope["rope_type"] == "llama3":
        factors = []
        for pair in range(dim // 2):
            wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * pair / dim)
            low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
            high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
            if wavelength < high:
                factors.append(1.0)
            elif wavelength > low:
                factors.append(rope["factor"])
            else:
                smooth = (rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]) / (
                    rope["high_freq_factor"] - rope["low_freq_factor"])
                factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
        tensors["rope_freqs.weight"] = np.array(factors, dtype=np.float32)


def write(path, case, arch, kind, tokenizer, pre, model, vocab):
    weights, config = on_disk(model)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(case)
    tensors, experts = {}, {}
    layers = config.get("num_hidden_layers") or config["n_layer"]
    name_of = names_of(arch, layers)
    for name, weight in weights.items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        found = name_of(name)
        weight = stored(arch, found, weight.numpy(), config)
        if ".experts." in name:
            experts.setdefault(found, {})[int(name.split(".experts.")[1].split(".")[0])] = weight
        else:
            tensors[found] = weight
    tensors.update({name: np.stack([parts[i] for i in range(len(parts))]) for name, parts in experts.items()})
    write_config(writer, arch, config, tensors)
    write_tokenizer(writer, tokenizer, pre, vocab)
    for name, weight in tensors.items():
        weight = np.ascontiguousarray(weight, dtype=np.float32)
        # As llama.cpp's converter does: vectors and routers in single precision.
        of = Type[kind] if weight.ndim > 1 and "ffn_gate_inp" not in name else Type.F32
        if of == Type.F32:
            writer.add_tensor(name, weight)
        else:
            writer.add_tensor(name, quantize(weight, of), raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return config


def main():
    out, configs, ids_of_texts, hashes = {}, {}, {}, {}
    FOLDER.mkdir(exist_ok=True)
    for seed, (case, (model_type, arch, kind, tokenizer, pre, options)) in enumerate(CASES.items()):
        print(f"-- {case}")
        vocab = 520 if tokenizer == "bpe" else 608
        model = model_of(model_type, options, vocab).eval()
        fill(model, seed)
        path = FOLDER / f"{case}.gguf"
        configs[case] = write(path, case, arch, kind, tokenizer, pre, model, vocab)
        config = model.config
        read = AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=path.name, config=config, dtype=torch.float32)
        # What was read from a GGUF file says that it cannot be saved.
        model.load_state_dict(read.state_dict())
        weights, _ = on_disk(model)
        hashes[case] = {}
        for name, weight in weights.items():
            hashes[case][name] = hashlib.sha256(weight.numpy().astype("<f4").tobytes()).hexdigest()
        ids = torch.randint(vocab, (2, 13), generator=generator(100 + seed))
        out[f"{case}/ids"] = ids
        with torch.no_grad():
            out[f"{case}/logits"] = model(input_ids=ids, use_cache=False).logits
        reader = AutoTokenizer.from_pretrained(FOLDER, gguf_file=path.name)
        ids_of_texts[case] = [reader.encode(text, add_special_tokens=False) for text in TEXTS]
        print(path.stat().st_size, "bytes")
    names = {}
    for model_type, (arch, options) in NAMED.items():
        weights, config = on_disk(model_of(model_type, options, 16))
        layers = config.get("num_hidden_layers") or config["n_layer"]
        names[model_type] = {name: names_of(arch, layers)(name) for name in weights}
    save("gguf/models.safetensors", out,
         {"configs": configs, "weights": hashes, "texts": TEXTS, "tokens": ids_of_texts, "names": names}, modules=[transformers])


main()
