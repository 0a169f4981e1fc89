"""Adapters by peft on the model of `testdata/gguf/llama.gguf`: `testdata/lora/<case>/` as peft saves them, and in
`testdata/lora/expected.safetensors` for each case the logits of some ids and the gradients of a loss on them, in
double precision; the logits with two of them at once; and what PiSSA and OLoRA begin as.
"""

import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from common import TESTDATA, generator, normal, save
from sft import load

FOLDER = TESTDATA / "lora"
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "lora": {"r": 4, "lora_alpha": 6, "target_modules": ALL},
    "rslora": {
        "r": 4, "lora_alpha": 6, "use_rslora": True, "target_modules": ["q_proj", "v_proj", "down_proj"],
        "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.down_proj": 3}, "layers_to_transform": [1],
    },
    "dora": {"r": 2, "lora_alpha": 4, "use_dora": True, "target_modules": ALL},
}


def logits(model, ids):
    return model(ids).logits


if __name__ == "__main__":
    gen = generator(41)
    ids = torch.randint(0, 500, (1, 7), generator=gen)
    tensors = {"ids": ids}
    for case, options in CASES.items():
        base, _ = load()
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "magnitude" in name:
                    parameter.copy_((parameter.double() * (1 + normal(gen, *parameter.shape, std=0.1))).float())
                elif parameter.requires_grad:
                    parameter.copy_(normal(gen, *parameter.shape, std=0.2))
        model.save_pretrained(FOLDER / case)
        (FOLDER / case / "README.md").unlink()
        config = json.loads((FOLDER / case / "adapter_config.json").read_text())
        config["target_modules"].sort()
        config["base_model_name_or_path"] = "base"
        (FOLDER / case / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        model = model.double().train()
        out = logits(model, ids)
        tensors[f"{case}.logits"] = out.detach()
        loss = torch.nn.functional.cross_entropy(out[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        tensors[f"{case}.loss"] = loss.detach().reshape(1)
        loss.backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                name = name.removeprefix("base_model.model.").replace(".default", "")
                name = name.removesuffix(".weight") if "magnitude" in name else name
                tensors[f"{case}.grad.{name}"] = parameter.grad
        with torch.no_grad():
            tensors[f"{case}.merged"] = logits(model.merge_and_unload(), ids)
    base, _ = load()
    model = PeftModel.from_pretrained(base, FOLDER / "lora", adapter_name="one")
    model.load_adapter(FOLDER / "rslora", adapter_name="two")
    model.base_model.set_adapter(["one", "two"])
    with torch.no_grad():
        tensors["both.logits"] = logits(model.double().eval(), ids)
    for init in ("pissa", "olora"):
        base, _ = load()
        options = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, init_lora_weights=init, target_modules=ALL)
        model = get_peft_model(base, options)
        for name in ("self_attn.q_proj", "mlp.down_proj"):
            layer = model.get_submodule(f"base_model.model.model.layers.1.{name}")
            product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            tensors[f"{init}.{name}"] = product.detach()
    save("lora/expected.safetensors", tensors, {})
