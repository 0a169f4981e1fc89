"""PyTorch at the shapes of `cargo bench -p rappel-tensor --bench conv`: milliseconds, forward and both ways."""

import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
SHAPES = [
    ((128, 1, 28), (32, 3, 1, 1)),
    ((128, 32, 14), (64, 3, 1, 1)),
    ((16, 3, 64), (64, 7, 2, 1)),
    ((16, 64, 16), (64, 3, 1, 1)),
    ((16, 64, 16), (128, 3, 2, 1)),
    ((16, 128, 8), (128, 3, 1, 1)),
    ((16, 256, 4), (256, 3, 1, 1)),
    ((16, 96, 16), (384, 1, 1, 1)),
    ((16, 96, 16), (96, 7, 1, 96)),
]


def shortest(f):
    times = []
    for _ in range(12):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


for (batch, inputs, size), (outputs, kernel, stride, groups) in SHAPES:
    x = torch.randn(batch, inputs, size, size)
    w = torch.randn(outputs, inputs // groups, kernel, kernel)
    run = lambda: F.conv2d(x, w, None, stride, kernel // 2, 1, groups)
    with torch.no_grad():
        forward = shortest(run)
    x.requires_grad_()
    w.requires_grad_()
    upstream = torch.ones_like(run())

    def both():
        x.grad = w.grad = None
        run().backward(upstream)

    whole = shortest(both)
    print(f"{batch:4} x {inputs:3} x {size:2}^2, {outputs:3} of {kernel}x{kernel}/{stride} {groups:2}   "
          f"forward {forward:7.2f}   both {whole:7.2f}")

x = torch.randn(128, 32, 28, 28)
for name, pool in [("2x2/2", lambda: F.max_pool2d(x, 2)), ("3x3/2", lambda: F.max_pool2d(x, 3, 2, 1))]:
    with torch.no_grad():
        forward = shortest(pool)
    x.requires_grad_()
    upstream = torch.ones_like(pool())

    def pooled():
        x.grad = None
        pool().backward(upstream)

    print(f" 128 x  32 x 28^2, max pool {name}   forward {forward:7.2f}   both {shortest(pooled):7.2f}")
    x = x.detach()
