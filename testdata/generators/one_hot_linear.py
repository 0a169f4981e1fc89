"""testdata/one_hot_linear.safetensors: PyTorch's linear layer on rows of zeros and ones in f64, forward and backward.

`<case>/in/ids` are the places of the ones of each row, -1 for none, with `<case>/in/weight`, `<case>/out/y`, the
upstream gradient `<case>/grad_out/y`, and `<case>/grad_in/weight`, for the loss sum(y * grad_out).
"""

import torch
import torch.nn.functional as F

from common import generator, normal, save

gen = generator(31)
tensors = {}


def case(name, rows, ones, inputs, outputs, none):
    ids = torch.randint(inputs, (rows, ones), generator=gen)
    ids[torch.rand((rows, ones), generator=gen) < none] = -1
    # A place that a row has twice counts twice.
    dense = F.one_hot(ids + 1, inputs + 1).sum(1)[:, 1:].double()
    weight = normal(gen, outputs, inputs).requires_grad_()
    y, upstream = F.linear(dense, weight), normal(gen, rows, outputs)
    (y * upstream).sum().backward()
    tensors.update({
        f"{name}/in/ids": ids, f"{name}/in/weight": weight, f"{name}/out/y": y,
        f"{name}/grad_out/y": upstream, f"{name}/grad_in/weight": weight.grad,
    })


case("one_place", 17, 1, 5, 3, 0.0)
case("some_without", 40, 3, 11, 7, 0.25)
case("more_rows_than_a_piece", 300, 2, 6, 4, 0.1)
case("wide", 9, 4, 130, 33, 0.1)
case("all_without", 4, 2, 3, 2, 1.1)
save("one_hot_linear.safetensors", tensors, {})
