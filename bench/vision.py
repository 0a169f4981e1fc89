"""Training steps of image classifiers, ours and PyTorch's by turns in one run: images per second, medians of steps.

    python bench/vision.py target/release/rappel [threads] [rounds]

A CNN of 76,000 parameters on 28x28 (batch 128), and ResNet-18 on 3x64x64 (batch 32), with AdamW, in single precision.
"""

import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn as nn
from transformers import ResNetConfig, ResNetForImageClassification

BINARY = Path(sys.argv[1]).resolve()
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else torch.get_num_threads()
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
torch.set_num_threads(THREADS)

CNN = """model = { name = 'cnn', channels = [24, 48, 64], convolutions = 1, linear = [64], head = 'flatten' }"""
RESNET = """model = { name = 'resnet', layer_type = 'basic', hidden_sizes = [64, 128, 256, 512], depths = [2, 2, 2, 2] }"""


def cnn():
    layers, inputs = [], 1
    for outputs in (24, 48, 64):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9, 64), nn.ReLU(), nn.Linear(64, 10))


def resnet():
    sizes = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
    model = ResNetForImageClassification(ResNetConfig(num_labels=10, **sizes))
    return lambda x: model(x).logits, model.parameters()


def theirs(model, shape, steps):
    function, parameters = model() if model is resnet else (lambda m: (m, m.parameters()))(model())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    x, labels = torch.randn(shape), torch.randint(10, shape[:1])
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        loss = nn.functional.cross_entropy(function(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - start)
    return shape[0] / statistics.median(times[2:])


def ours(folder, model, shape, steps):
    kind = f"idx{len(shape) if shape[1] > 1 else 3}-ubyte"
    count = shape[0] * 4
    sizes = [count, *shape[1:]] if shape[1] > 1 else [count, *shape[2:]]
    pixels = torch.randint(256, (count, *shape[1:]), dtype=torch.uint8).numpy().tobytes()
    head = lambda sizes: bytes([0, 0, 8, len(sizes)]) + b"".join(struct.pack(">I", s) for s in sizes)
    (folder / f"x-images-{kind}").write_bytes(head(sizes) + pixels)
    (folder / "x-labels-idx1-ubyte").write_bytes(head([count]) + bytes(i % 10 for i in range(count)))
    (folder / "c.toml").write_text(
        f"task = 'image_classification'\ndata = {{ path = 'x-images-{kind}', validation_fraction = 0 }}\n{model}\n"
        f"optimizer = {{ name = 'adamw', lr = 1e-3 }}\n"
        f"train = {{ steps = {steps}, batch_size = {shape[0]}, log_every = 1 }}\n"
    )
    run = folder / f"run{time.time_ns()}"
    args = [BINARY, "--threads", str(THREADS), "train", "c.toml", "--out", run]
    subprocess.run(args, cwd=folder, check=True, capture_output=True)
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    speeds = [line["train/images_per_second"] for line in lines if "train/images_per_second" in line]
    return statistics.median(speeds[2:])


with tempfile.TemporaryDirectory() as folder:
    for name, text, model, shape, steps in (
        ("CNN, 128 of 1x28x28", CNN, cnn, (128, 1, 28, 28), 30),
        ("ResNet-18, 32 of 3x64x64", RESNET, resnet, (32, 3, 64, 64), 8),
    ):
        pairs = [(ours(Path(folder), text, shape, steps), theirs(model, shape, steps)) for _ in range(ROUNDS)]
        mine, torch_ = (max(pair[i] for pair in pairs) for i in (0, 1))
        print(f"{name}: ours {mine:.0f} images/s, PyTorch {torch_:.0f}, ratio {mine / torch_:.2f}", flush=True)
