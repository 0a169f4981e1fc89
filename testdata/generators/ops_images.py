"""testdata/ops_images.safetensors: PyTorch's operations on images in f64, forward and backward.

Named as those of `ops_torch.py`; pairs of options are two numbers, `stride0` for the height and `stride1` for the width.
"""

import torch
import torch.nn.functional as F

from common import generator, normal, save

gen = generator(31)
tensors, cases = {}, []


def randn(*shape, std=1.0):
    return normal(gen, *shape, std=std)


def case(op, variant, function, inputs, args, **more):
    name = f"{op}/{variant}"
    leaves = {k: v.clone().requires_grad_() for k, v in inputs.items()}
    y = function(**leaves)
    upstream = randn(*y.shape)
    (y * upstream).sum().backward()
    for key, leaf in leaves.items():
        tensors[f"{name}/in/{key}"], tensors[f"{name}/grad_in/{key}"] = inputs[key], leaf.grad
    tensors[f"{name}/out/y"], tensors[f"{name}/grad_out/y"] = y, upstream
    for key, value in more.items():
        tensors[f"{name}/{key}"] = value
    flat = {}
    for key, value in args.items():
        flat |= {f"{key}{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {key: value}
    cases.append({"name": name, "args": flat})


def convolutions():
    for variant, x, w, bias, stride, padding, dilation, groups in (
        ("plain", (2, 3, 7, 9), (4, 3, 3, 3), True, (1, 1), (1, 1), (1, 1), 1),
        ("no_bias_stride", (1, 2, 11, 8), (3, 2, 3, 5), False, (2, 3), (0, 2), (1, 1), 1),
        ("dilated", (2, 2, 9, 10), (3, 2, 3, 2), True, (1, 2), (2, 1), (2, 3), 1),
        ("grouped", (2, 6, 6, 5), (4, 3, 3, 3), True, (1, 1), (1, 0), (1, 1), 2),
        ("depthwise", (2, 3, 8, 21), (3, 1, 3, 3), True, (1, 1), (1, 1), (1, 1), 3),
        ("depthwise_multiplied", (1, 2, 9, 7), (4, 1, 3, 5), False, (2, 2), (1, 2), (1, 1), 2),
        ("pointwise", (2, 5, 4, 6), (3, 5, 1, 1), True, (1, 1), (0, 0), (1, 1), 1),
        ("pointwise_stride", (3, 4, 5, 7), (6, 4, 1, 1), False, (2, 2), (0, 0), (1, 1), 1),
        ("more_padding_than_image", (1, 2, 2, 3), (2, 2, 3, 3), True, (1, 2), (3, 4), (1, 1), 1),
    ):
        args = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        inputs = {"x": randn(*x), "weight": randn(*w, std=0.5)} | ({"bias": randn(w[0])} if bias else {})
        case("conv2d", variant, lambda x, weight, bias=None, a=args: F.conv2d(x, weight, bias, **a), inputs, args)
    for variant, x, w, bias, stride, padding, extra, dilation, groups in (
        ("plain", (2, 3, 4, 5), (3, 4, 3, 3), True, (2, 2), (1, 1), (1, 1), (1, 1), 1),
        ("uneven", (1, 4, 3, 6), (4, 2, 2, 3), False, (1, 3), (0, 1), (0, 2), (2, 1), 1),
        ("grouped", (2, 4, 3, 3), (4, 3, 3, 2), True, (2, 1), (1, 0), (0, 0), (1, 1), 2),
        ("depthwise", (1, 3, 5, 4), (3, 1, 3, 3), True, (2, 2), (1, 1), (1, 0), (1, 1), 3),
    ):
        args = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": groups}
        inputs = {"x": randn(*x), "weight": randn(*w, std=0.5)}
        inputs |= {"bias": randn(w[1] * groups)} if bias else {}
        function = lambda x, weight, bias=None, a=args: F.conv_transpose2d(x, weight, bias, **a)
        case("conv_transpose2d", variant, function, inputs, args)


def pools():
    for variant, x, kernel, stride, padding, dilation, ceil in (
        ("plain", (2, 3, 8, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
        ("stem", (1, 2, 9, 11), (3, 3), (2, 2), (1, 1), (1, 1), False),
        ("ceil", (1, 2, 8, 7), (3, 2), (2, 3), (1, 0), (1, 1), True),
        ("dilated", (2, 1, 9, 9), (2, 3), (1, 2), (1, 1), (3, 2), False),
    ):
        args = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil}
        function = lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil)
        case("max_pool2d", variant, function, {"x": randn(*x)}, args)
    for variant, x, kernel, stride, padding, ceil, count in (
        ("plain", (2, 3, 8, 6), (2, 2), (2, 2), (0, 0), False, True),
        ("padded", (1, 2, 9, 11), (3, 4), (2, 1), (1, 2), False, True),
        ("without_padding", (1, 2, 9, 11), (3, 4), (2, 3), (1, 2), False, False),
        ("ceil", (1, 2, 8, 7), (3, 2), (2, 3), (1, 1), True, True),
        ("ceil_without", (1, 2, 8, 7), (3, 2), (2, 3), (1, 1), True, False),
    ):
        args = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": (1, 1)}
        args |= {"ceil_mode": ceil, "count_include_pad": count}
        function = lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, count)
        case("avg_pool2d", variant, function, {"x": randn(*x)}, args)
    for variant, x, size in (
        ("one", (2, 3, 5, 7), (1, 1)),
        ("uneven", (1, 2, 7, 10), (3, 4)),
        ("larger", (1, 1, 3, 2), (5, 4)),
    ):
        case("adaptive_avg_pool2d", variant, lambda x: F.adaptive_avg_pool2d(x, size), {"x": randn(*x)}, {"size": size})


def norms():
    for variant, x, affine, training, eps in (
        ("training", (3, 4, 5, 7), True, True, 1e-5),
        ("plain", (2, 3, 4, 4), False, True, 1e-3),
        ("rows", (9, 5), True, True, 1e-5),
        ("wide", (2, 2, 9, 37), True, True, 1e-5),
        ("running", (3, 4, 5, 3), True, False, 1e-5),
    ):
        channels = x[1]
        mean, var = randn(channels), randn(channels) ** 2 + 0.5
        inputs = {"x": randn(*x, std=2.0) + 0.5}
        inputs |= {"weight": 1.0 + randn(channels, std=0.3), "bias": randn(channels)} if affine else {}
        function = lambda x, weight=None, bias=None: F.batch_norm(x, mean, var, weight, bias, training, 1.0, eps)
        case("batch_norm", variant, function, inputs, {"training": training, "eps": eps}, mean=mean, var=var)
    for variant, x, groups, eps in (
        ("two", (2, 4, 5, 7), 2, 1e-5),
        ("one", (3, 3, 4, 2), 1, 1e-3),
        ("each", (2, 5, 6, 9), 5, 1e-5),
    ):
        inputs = {"x": randn(*x, std=2.0) + 0.5, "weight": 1.0 + randn(x[1], std=0.3), "bias": randn(x[1])}
        function = lambda x, weight, bias: F.group_norm(x, groups, weight, bias, eps)
        case("group_norm", variant, function, inputs, {"groups": groups, "eps": eps})


def resizes():
    for mode, number in (("nearest", 0), ("bilinear", 1), ("bicubic", 2)):
        for variant, x, size, aligned, antialias in (
            ("up", (2, 2, 4, 5), (9, 7), False, False),
            ("down", (1, 2, 11, 13), (4, 6), False, False),
            ("aligned", (1, 2, 5, 4), (8, 9), True, False),
            ("aligned_one", (1, 1, 5, 4), (1, 3), True, False),
            ("antialiased", (1, 2, 17, 13), (5, 4), False, True),
            ("antialiased_up", (1, 2, 5, 4), (9, 3), False, True),
        ):
            if mode == "nearest" and (aligned or antialias):
                continue
            corners = {} if mode == "nearest" else {"align_corners": aligned, "antialias": antialias}
            function = lambda x: F.interpolate(x, size, mode=mode, **corners)
            args = {"kind": number, "size": size, "align_corners": aligned, "antialias": antialias}
            case("interpolate", f"{mode}_{variant}", function, {"x": randn(*x)}, args)


convolutions()
pools()
norms()
resizes()
save("ops_images.safetensors", tensors, {"cases": cases})
