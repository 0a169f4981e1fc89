"""testdata/image_models/<model>/: tiny random classifiers of images of transformers in f64, as `save_pretrained` writes
them, with expected.safetensors: images `x` and `labels`, `logits` in evaluation, then of a training step `train_logits`,
the `loss`, its gradients `grad/<name>` and the running statistics after it, `after/<name>`; names as on disk.
"""

import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from common import TESTDATA, generator, normal, save

MODELS = {
    "resnet_basic": (
        ResNetForImageClassification,
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 2], layer_type="basic", num_labels=3),
        (5, 3, 21, 17),
    ),
    "resnet_bottleneck": (
        ResNetForImageClassification,
        ResNetConfig(
            num_channels=1, embedding_size=4, hidden_sizes=[8, 16], depths=[2, 1], downsample_in_first_stage=True,
            downsample_in_bottleneck=True, num_labels=4,
        ),
        (4, 1, 32, 32),
    ),
    "vit": (
        ViTForImageClassification,
        ViTConfig(
            hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, image_size=12,
            patch_size=4, num_labels=3,
        ),
        (3, 3, 12, 12),
    ),
    "convnext": (
        ConvNextForImageClassification,
        ConvNextConfig(num_stages=2, hidden_sizes=[6, 10], depths=[1, 2], layer_scale_init_value=0.5, num_labels=3),
        (2, 3, 20, 24),
    ),
}


def on_disk(model):
    """The tensors of a model by the names that files have."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


for seed, (name, (cls, config, shape)) in enumerate(MODELS.items()):
    gen = generator(70 + seed)
    config.image_size = shape[2] if shape[2] == shape[3] else list(shape[2:])
    torch.manual_seed(seed)
    model = cls(config).double()
    with torch.no_grad():
        for key, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.is_floating_point():
                noise = normal(gen, *value.shape, std=0.3)
                value.copy_(noise.abs() + 0.5 if key.endswith("var") else value.float().double() + noise)
    folder = TESTDATA / "image_models" / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    x = normal(gen, *shape)
    labels = torch.randint(config.num_labels, (shape[0],), generator=gen)
    with torch.no_grad():
        logits = model.eval()(pixel_values=x).logits
    out = model.train()(pixel_values=x, labels=labels)
    out.loss.backward()
    tensors = {"x": x, "labels": labels, "logits": logits, "train_logits": out.logits, "loss": out.loss.detach()}
    after = {k: v for k, v in on_disk(model).items() if "running" in k or "num_batches" in k}
    tensors |= {f"after/{k}": v for k, v in after.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    grads = on_disk(model)
    tensors |= {f"grad/{k}": v for k, v in grads.items() if k not in after}
    save(f"image_models/{name}/expected.safetensors", tensors, {"model": name}, modules=[transformers])
