"""testdata/regularize_losses.safetensors: regularized cross-entropies with their gradients, and losses under dropout; f64.

Each loss is its formula under PyTorch's autograd: F.cross_entropy with label smoothing, logsumexp, entropy, F.kl_div.
`dropout/*`: mean and standard error of mse_loss(F.dropout(x, p) @ w, y) over many draws.
"""

import torch
import torch.nn.functional as F

from common import generator, normal, save

ROWS, WIDTH, CLASSES, IGNORED = 9, 6, 37, -100
gen = generator(61)
hidden = [normal(gen, ROWS, WIDTH) for _ in range(2)]
weight = normal(gen, CLASSES, WIDTH)
targets = torch.randint(0, CLASSES, (ROWS,), generator=gen)
targets[2] = IGNORED
out = {"hidden0": hidden[0], "hidden1": hidden[1], "weight": weight, "targets": targets}


def loss(logits, terms):
    kept = targets != IGNORED
    found = F.cross_entropy(logits, targets, label_smoothing=terms.get("label_smoothing", 0.0))
    found = found + terms.get("z_loss", 0.0) * torch.logsumexp(logits[kept], 1).square().mean()
    entropy = torch.distributions.Categorical(logits=logits[kept]).entropy().mean()
    return found - terms.get("confidence_penalty", 0.0) * entropy


def divergence(a, b):
    kept = targets != IGNORED
    a, b = a[kept].log_softmax(1), b[kept].log_softmax(1)
    both = [F.kl_div(x, y, reduction="batchmean", log_target=True) for x, y in ((a, b), (b, a))]
    return sum(both) / 2


CASES = [
    {},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"confidence_penalty": 0.3},
    {"label_smoothing": 0.2, "z_loss": 0.05, "confidence_penalty": 0.7},
    {"r_drop": 0.6},
    {"label_smoothing": 0.1, "confidence_penalty": 0.1, "r_drop": 2.0},
]
cases = []
for number, terms in enumerate(CASES):
    hs = [h.clone().requires_grad_() for h in hidden]
    w = weight.clone().requires_grad_()
    if "r_drop" in terms:
        a, b = [h @ w.T for h in hs]
        total = (loss(a, terms) + loss(b, terms)) / 2 + terms["r_drop"] * divergence(a, b)
    else:
        total = loss(hs[0] @ w.T, terms)
    total.backward()
    case = f"loss_{number:02}"
    out |= {f"{case}/value": total, f"{case}/grad/weight": w.grad, f"{case}/grad/hidden0": hs[0].grad}
    if "r_drop" in terms:
        out[f"{case}/grad/hidden1"] = hs[1].grad
    cases.append({"case": case, "terms": terms})

x, w, y = normal(gen, 5, 8), normal(gen, 8, 3), normal(gen, 5, 3)
out |= {"dropout/x": x, "dropout/w": w, "dropout/y": y}
DRAWS = 100_000
torch.manual_seed(67)
for p in (0.1, 0.5, 0.9):
    kept = F.dropout(x.expand(DRAWS, -1, -1), p)
    found = (kept @ w - y).square().mean(dim=(1, 2))
    out[f"dropout/{p}/mean"], out[f"dropout/{p}/error"] = found.mean(), found.std() / DRAWS**0.5
save("regularize_losses.safetensors", out, {"cases": cases, "draws": DRAWS})
