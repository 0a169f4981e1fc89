"""A PyTorch worker: `torch_worker.py JOB VARIANT` speaks the protocol of `run.py`.

Variants: `default` (eager, the optimizer's defaults), `fused` (eager, `fused=True`), `compiled`
(`torch.compile` of the loss with a fused optimizer; of the optimizer itself where the job is only that),
and for GPTs, all with the fused optimizer: `autocast` (bfloat16), `autocast-compiled` and `bf16` (weights
in bfloat16, no master copies).
"""

import os
import sys
import time

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

import torch
from torch import nn
from torch.nn import functional as F

SMALL = dict(n_layer=4, n_head=4, n_embd=256, vocab=4096, positions=128, tied=False, batch=8, time=128)
GPT2 = dict(n_layer=12, n_head=12, n_embd=768, vocab=50257, positions=1024, tied=True, batch=4, time=256)
GPT2_LONG, GPT2_SHORT = {**GPT2, "batch": 1, "time": 1024}, {**GPT2, "batch": 1, "time": 64}
WIDE = dict(n_layer=6, n_head=6, n_embd=384, vocab=4096, positions=256, tied=False, batch=12, time=256)
MLP_BATCH, MLP_WIDTHS = 64, (784, 512, 512, 10)
ADAMW_SIZE = 1 << 26
ADAMW = dict(lr=3e-4, weight_decay=0.1)
WARM_UP = 3


class Random:
    """The workers' common generator (see `peers/worker/src/lib.rs`)."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return self.state >> 33

    def unit(self):
        return self.bits() / (1 << 31)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):  # [batch, time, width]
        b, t, w = x.shape
        q, k, v = (
            part.view(b, t, self.heads, w // self.heads).transpose(1, 2)
            for part in self.qkv(self.ln_1(x)).split(w, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, w))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, n_layer, n_head, n_embd, vocab, positions, tied, **_):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, n_embd), nn.Embedding(positions, n_embd)
        self.blocks = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f, self.head = nn.LayerNorm(n_embd), nn.Linear(n_embd, vocab, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if tied:
            self.head.weight = self.wte.weight

    def forward(self, x, y):  # [batch, time] each
        h = self.wte(x) + self.wpe.weight[: x.shape[1]]
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(self.head(self.ln_f(h)).flatten(0, 1), y.flatten())


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        a, b, c, d = MLP_WIDTHS
        self.net = nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d))

    def forward(self, x, y):
        return F.cross_entropy(self.net(x), y)


def training_step(model, data, variant):
    """A step of `model`, whose forward pass is its loss, with AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW, fused=None if variant == "default" else True)
    loss_of = torch.compile(model) if variant.endswith("compiled") else model

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.startswith("autocast")):
            loss = loss_of(*data)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def gpt_job(size, variant):
    random, time_ = Random(2), size["time"]
    stream = torch.tensor([random.bits() % size["vocab"] for _ in range(size["batch"] * (time_ + 1))])
    rows = stream.view(size["batch"], time_ + 1)
    data = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    model = Gpt(**size)
    if variant == "bf16":
        model = model.to(torch.bfloat16)
    return training_step(model, data, variant)


def mlp_job(variant):
    random, wide = Random(3), MLP_WIDTHS[0]
    x = torch.tensor([random.unit() for _ in range(MLP_BATCH * wide)]).view(MLP_BATCH, wide)
    y = torch.tensor([random.bits() % MLP_WIDTHS[3] for _ in range(MLP_BATCH)])
    return training_step(Mlp(), (x, y), variant)


def seed_job(variant):
    random = Random(1)
    x = torch.tensor([random.unit() for _ in range(100)]).view(100, 1)
    y = 2 * x + 1 + 0.1 * (torch.tensor([random.unit() for _ in range(100)]).view(100, 1) - 0.5)
    net, mse = nn.Linear(1, 1), nn.MSELoss()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    loss_of = torch.compile(lambda: mse(net(x), y)) if variant == "compiled" else lambda: mse(net(x), y)

    def step():
        net.load_state_dict(start)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, fused=None if variant == "default" else True)
        for _ in range(1000):
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
        return loss

    return step


def adamw_job(variant):
    parameter = nn.Parameter(torch.ones(ADAMW_SIZE))
    parameter.grad = torch.full((ADAMW_SIZE,), 0.01)
    fused = True if variant == "fused" else None
    optimizer = torch.optim.AdamW([parameter], **ADAMW, fused=fused)
    update = torch.compile(optimizer.step) if variant == "compiled" else optimizer.step

    def step():
        update()
        return parameter[0]

    return step


# What PyTorch's own classes are called, and the fastest of their ways: fused where it exists.
RULES = {
    "sgd": ("SGD", {"fused": True}),
    "sgd momentum": ("SGD", {"momentum": 0.9, "fused": True}),
    "adam": ("Adam", {"fused": True}),
    "adamw": ("AdamW", {"fused": True}),
    "adagrad": ("Adagrad", {"fused": True}),
    **{
        name.lower(): (name, {"foreach": True})
        for name in ("NAdam", "RAdam", "Adamax", "Adadelta", "RMSprop", "Rprop", "ASGD", "Adafactor")
    },
    "muon": ("Muon", {}),
}


def rule_job(name):
    """A step of an optimizer alone over 64 matrices of 1024 x 1024, by its fastest way."""
    gen = torch.Generator().manual_seed(7)
    params = [nn.Parameter(torch.randn(1024, 1024, generator=gen)) for _ in range(64)]
    for p in params:
        p.grad = torch.randn(1024, 1024, generator=gen) * 0.01
    rule, options = RULES[name]
    optimizer = getattr(torch.optim, rule)(params, **options)

    def step():
        optimizer.step()
        return params[0][0, 0]

    return step


def context_job(_variant):
    """The machine's limits: a large product's FLOP/s and a copy's bytes read and written per second."""
    a, b, c = (torch.rand(2048, 2048) for _ in range(3))
    source, target = torch.rand(1 << 26), torch.zeros(1 << 26)

    def best_of(call, times=3):
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def step():
        product = 2 * 2048**3 / best_of(lambda: torch.mm(a, b, out=c))
        copy = 2 * 4 * source.numel() / best_of(lambda: target.copy_(source))
        return product, copy

    return step


JOBS = {
    "seed": seed_job,
    "gpt_small": lambda variant: gpt_job(SMALL, variant),
    "gpt_wide": lambda variant: gpt_job(WIDE, variant),
    "gpt2": lambda variant: gpt_job(GPT2, variant),
    "gpt2_long": lambda variant: gpt_job(GPT2_LONG, variant),
    "gpt2_short": lambda variant: gpt_job(GPT2_SHORT, variant),
    "mlp": mlp_job,
    "adamw": adamw_job,
    "rule": rule_job,
    "context": context_job,
}


def memory(field):
    """Bytes of resident memory: `VmRSS` now, `VmHWM` at its peak."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))


def value(result):
    parts = result if isinstance(result, tuple) else (result.detach(),)
    return " ".join(str(float(part)) for part in parts)


def main():
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    before = memory("VmRSS")
    step = JOBS[sys.argv[1]](sys.argv[2])
    for _ in range(WARM_UP):
        result = step()
    print("ready", value(result), flush=True)
    for line in sys.stdin:
        steps = int(line)
        start = time.perf_counter()
        for _ in range(steps):
            result = step()
        seconds = time.perf_counter() - start
        print(seconds, value(result), flush=True)
    print("peak", memory("VmHWM"), before, flush=True)


if __name__ == "__main__":
    main()
