"""testdata/precision.safetensors: AdamW with state in eight-bit blocks, by bitsandbytes on the CPU.

One tensor of 17 blocks of 256, the last one short. bitsandbytes decays weights after the update and PyTorch before it, so
there is no decay here. Its native CPU library takes small numbers to a code near zero instead of the nearest (up to 7
codes away); its CUDA kernels and its portable code, which is used here, take the nearest. `params`, `exp_avg`, `exp_avg_sq` (codes) and `absmax.*` are those after the steps of `snapshots`.
"""

import ctypes

import torch


def refuse(name, *args, load=ctypes.cdll.LoadLibrary, **kwargs):
    if "bitsandbytes" in str(name):
        raise OSError("the portable code is wanted")
    return load(name, *args, **kwargs)


ctypes.cdll.LoadLibrary = refuse
import bitsandbytes  # noqa: E402

from common import generator, save

LEN, STEPS, SNAPSHOTS = 4200, 12, [1, 4, 12]
OPTIONS = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}

gen = generator(31)
init = torch.randn(LEN, generator=gen)
# Magnitudes from 1e-3 to 1e3, each element's the same throughout, as of rows of an embedding.
scale = 10 ** (torch.rand(LEN, generator=gen) * 6 - 3)
grads = torch.randn(STEPS, LEN, generator=gen) * scale
p = torch.nn.Parameter(init.clone())
optimizer = bitsandbytes.optim.AdamW8bit([p], **OPTIONS)
out = {"init": init, "grads": grads, "map/signed": None, "map/unsigned": None}
for step in range(STEPS):
    p.grad = grads[step].clone()
    optimizer.step()
    if step + 1 in SNAPSHOTS:
        state = optimizer.state[p]
        out["map/signed"], out["map/unsigned"] = state["qmap1"], state["qmap2"]
        after = {"param": p, "absmax.exp_avg": state["absmax1"], "absmax.exp_avg_sq": state["absmax2"]}
        after |= {"exp_avg": state["state1"].long(), "exp_avg_sq": state["state2"].long()}
        out |= {f"{step + 1}/{name}": value.detach().clone() for name, value in after.items()}
save("precision.safetensors", out, {"options": OPTIONS, "snapshots": SNAPSHOTS}, [bitsandbytes])
