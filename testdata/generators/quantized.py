"""Weights in blocks by bitsandbytes: `testdata/quantized/weights.safetensors`, and tiny models as transformers saves them
with it, `testdata/quantized/<case>/`, whose logits are in `testdata/quantized/logits.safetensors`.

bitsandbytes' own implementation in PyTorch is what is compared with, which agrees with its kernels of GPUs: its kernels
of processors look absolute maxima up in a table of 65536 places, and read rows that are not whole blocks in another way.
"""

import ctypes
import json
import shutil

import common
import torch


def without_kernels(load):
    def refuse(path, *args, **kwargs):
        if "bitsandbytes" in str(path):
            raise OSError("left out")
        return load(path, *args, **kwargs)

    return refuse


ctypes.cdll.LoadLibrary = without_kernels(ctypes.cdll.LoadLibrary)

import bitsandbytes
import bitsandbytes.functional as bnb
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

FOLDER = common.TESTDATA / "quantized"
SHAPES = [(7, 33), (70, 300)]


def as_bytes(tensor):
    return tensor.flatten().view(torch.uint8).clone()


def four_bits(tensors):
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            for seed in range(100):
                weight = common.normal(common.generator(seed), *shape, std=0.05).to(dtype)
                weight[0, :8] = 0
                maxima = bnb.quantize_4bit(weight)[1].absmax
                # Of the mean, the order of the sum decides the last bit.
                if maxima.mean().item() == maxima.double().mean().float().item():
                    break
            else:
                raise SystemExit("no seed")
            size = f"{shape[0]}x{shape[1]}.{str(dtype).removeprefix('torch.')}"
            tensors[f"{size}.weight"] = weight.float()
            for kind in ("nf4", "fp4"):
                for nested in (False, True):
                    packed, state = bnb.quantize_4bit(weight, quant_type=kind, compress_statistics=nested)
                    case = f"{size}.{kind}" + (".nested" if nested else "")
                    tensors[f"{case}.packed"] = packed.flatten()
                    tensors[f"{case}.absmax"] = state.absmax
                    tensors[f"{case}.quant_map"] = state.code
                    if nested:
                        tensors[f"{case}.nested_absmax"] = state.state2.absmax
                        tensors[f"{case}.nested_quant_map"] = state.state2.code
                        tensors[f"{case}.offset"] = state.offset.reshape(1)
                    values = bnb.dequantize_4bit(packed, state)
                    tensors[f"{case}.values"] = values.float() if shape == SHAPES[0] else values[::13].float()
        weight = common.normal(common.generator(3), *shape, std=0.05).float()
        integers, scales, _ = bnb.int8_vectorwise_quant(weight.half())
        size = f"{shape[0]}x{shape[1]}"
        tensors[f"{size}.int8.packed"] = as_bytes(integers)
        tensors[f"{size}.int8.absmax"] = scales
        tensors[f"{size}.int8.weight"] = weight
        tensors[f"{size}.int8.values"] = bnb.int8_vectorwise_dequant(integers, scales)


CASES = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "int8": {"load_in_8bit": True},
}


def models():
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=40, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3) if parameter.dim() == 2 else parameter.data.normal_(1, 0.1)
    plain = FOLDER / "plain"
    model.save_pretrained(plain)
    ids = torch.randint(0, 40, (1, 9))
    tensors = {"ids": ids}
    for case, options in CASES.items():
        quantized = AutoModelForCausalLM.from_pretrained(
            plain, dtype=torch.float32, quantization_config=BitsAndBytesConfig(**options), device_map="cpu"
        )
        shutil.rmtree(FOLDER / case, ignore_errors=True)
        quantized.save_pretrained(FOLDER / case)
        (FOLDER / case / "generation_config.json").unlink(missing_ok=True)
        if case == "int8":
            # bitsandbytes also rounds what weights are multiplied by; with weights alone in 8 bits, of half precision
            # before, it is this.
            again = LlamaForCausalLM.from_pretrained(plain, dtype=torch.float32)
            for name, module in again.named_modules():
                if isinstance(module, torch.nn.Linear) and name != "lm_head":
                    integers, scales, _ = bnb.int8_vectorwise_quant(module.weight.data.half())
                    module.weight.data = bnb.int8_vectorwise_dequant(integers, scales)
            quantized = again
        with torch.no_grad():
            tensors[case] = quantized(ids).logits
    (plain / "generation_config.json").unlink(missing_ok=True)
    common.save("quantized/logits.safetensors", tensors, {}, (bitsandbytes, transformers))


if __name__ == "__main__":
    common.DTYPE_NAMES[torch.uint8] = "U8"
    FOLDER.mkdir(exist_ok=True)
    tensors = {}
    four_bits(tensors)
    common.save("quantized/weights.safetensors", tensors, {}, (bitsandbytes,))
    models()
