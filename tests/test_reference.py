"""Against other people's programs on random shapes: forward against ONNX Runtime, gradients against PyTorch.

Two float32 sums of n products, added in different orders, each lie within n * eps * sum |a| |b| of the true one (Higham
2002, section 3.1), so they differ by twice that. The sum of absolute values is the same operation on absolute values.
"""

import math

import numpy as np
import pytest
from bound import Bound
from cases import Case, window_options

EPS = np.finfo(np.float32).eps
CONVOLUTIONS = "conv", "depthwise_conv", "transposed_conv"
ACTIVATIONS = {"relu": "Relu", "leaky_relu": "LeakyRelu", "elu": "Elu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def random_window(generator, kind, size):
    """Channels, axes and options of a window layer of one, two or three axes, any that fits."""
    rank = int(generator.integers(1, 4))

    def numbers(low, high):
        return generator.integers(low, high + 1, rank).tolist()

    axes, kernel, stride = numbers(1, (60, 14, 6)[rank - 1]), numbers(1, 4), numbers(1, 3)
    limit = [max(1, k // 2) if kind not in CONVOLUTIONS else k + 2 for k in kernel]
    padding = [generator.integers(0, most, 2).tolist() for most in limit]
    options = {size: kernel, "stride": stride, "padding": padding}
    if kind in CONVOLUTIONS:
        options["dilation"] = numbers(1, 2)
    return int(generator.integers(1, 40)), tuple(axes), options


def random_case(seed, kind):
    generator = np.random.default_rng(seed)
    while True:
        images = int(generator.integers(1, 6))
        if kind == "dense":
            c_in, units = generator.integers(1, 300, 2).tolist()
            return Case(kind, c_in, (), {"units": units}, images)
        channels, axes, options = random_window(generator, kind, "kernel" if kind in CONVOLUTIONS else "size")
        if kind in ("conv", "transposed_conv"):
            options["groups"] = int(generator.choice([n for n in range(1, channels + 1) if channels % n == 0]))
            options["filters"] = options["groups"] * int(generator.integers(1, 1 + 40 // options["groups"]))
        elif kind == "depthwise_conv":
            options["multiplier"] = int(generator.integers(1, 4))
        elif kind == "avg_pool":
            options["count_padding"] = bool(generator.integers(2))
        if kind == "transposed_conv":
            options["output_padding"] = [int(generator.integers(0, s)) for s in options["stride"]]
        case = Case(kind, channels, axes, options, images)
        try:
            case.layer.output_shape(case.shape)
        except ValueError:  # a window larger than the input
            continue
        return case


def normals(generator, shape):
    return generator.normal(size=shape).astype(np.float32)


def groups(case):
    return case.channels if case.kind == "depthwise_conv" else case.options["groups"]


def terms(case):
    """How many numbers each output sums: products and the bias."""
    if case.kind == "dense":
        return case.channels + 1
    if case.kind in CONVOLUTIONS:
        return case.channels // groups(case) * math.prod(case.options["kernel"]) + 1
    return math.prod(case.options["size"]) + 1


def onnx_node(case):
    """(operator, attributes) of a case's layer."""
    if case.kind == "dense":
        return "Gemm", {"transB": 1}
    if case.kind in ACTIVATIONS:
        return ACTIVATIONS[case.kind], {"alpha": case.options["alpha"]} if case.options else {}
    kernel, stride, dilation, padding = window_options(case, "kernel" if case.kind in CONVOLUTIONS else "size")
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": [p[0] for p in padding] + [p[1] for p in padding]}
    if case.kind in CONVOLUTIONS:
        attributes |= {"dilations": dilation, "group": groups(case)}
        if case.kind == "transposed_conv":
            return "ConvTranspose", attributes | {"output_padding": case.options["output_padding"]}
        return "Conv", attributes
    if case.kind == "avg_pool":
        return "AveragePool", attributes | {"count_include_pad": int(case.options["count_padding"])}
    return "MaxPool", attributes


def onnx_function(case):
    """A function of (x, parameters) that ONNX Runtime computes."""
    helper = pytest.importorskip("onnx.helper", reason="needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    names = ["x", "weight", "bias"] if case.kind in (*CONVOLUTIONS, "dense") else ["x"]
    operator, attributes = onnx_node(case)
    node = helper.make_node(operator, names, ["y"], **attributes)
    values = [helper.make_tensor_value_info(name, 1, None) for name in names]
    graph = helper.make_graph([node], case.kind, values, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x, parameters: session.run(["y"], {"x": x, **parameters})[0]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", [*CONVOLUTIONS, "dense", "max_pool", "avg_pool"])
def test_forward_is_onnx_runtimes(kind, seed):
    case = random_case(seed, kind)
    reference, bound = onnx_function(case), Bound(case, np.float32, wider=1 + seed)
    x, parameters, _ = bound.random(np.random.default_rng(seed), normals)
    bound.set(x, parameters)
    y, wanted = bound.forward(), reference(x, parameters)
    assert y.shape == wanted.shape
    if kind == "max_pool":
        np.testing.assert_array_equal(y, wanted)
    else:
        absolute = reference(abs(x), {name: abs(value) for name, value in parameters.items()})
        assert np.all(abs(y - wanted) <= 2 * terms(case) * EPS * absolute)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation_is_onnx_runtimes(kind):
    options = {"alpha": 0.25} if kind in ("leaky_relu", "elu") else {}
    case = Case(kind, 7, (9, 11), options, 3)
    bound = Bound(case, np.float32)
    x, _, _ = bound.random(np.random.default_rng(0), lambda generator, shape: 4 * normals(generator, shape))
    bound.set(x, {})
    np.testing.assert_allclose(bound.forward(), onnx_function(case)(x, {}), rtol=1e-5, atol=1e-6)


def torch_function(torch, case):
    """A function of (x, parameters) in PyTorch, of tensors."""
    if case.kind == "dense":
        return lambda x, p: torch.nn.functional.linear(x, p["weight"], p["bias"])
    _, stride, dilation, padding = window_options(case, "kernel")
    convolve = getattr(torch.nn.functional, f"conv{len(case.axes)}d")
    around = [n for pair in reversed(padding) for n in pair]
    if case.kind == "transposed_conv":
        convolve = getattr(torch.nn.functional, f"conv_transpose{len(case.axes)}d")

        def transposed(x, p):
            given = p["weight"], p["bias"], stride, 0, case.options["output_padding"], groups(case), dilation
            cut = [-n for n in around]  # its own padding is the same before and after
            return torch.nn.functional.pad(convolve(x, *given), cut)

        return transposed

    def function(x, p):
        padded = torch.nn.functional.pad(x, around)
        return convolve(padded, p["weight"], p["bias"], stride, 0, dilation, groups(case))

    return function


def torch_gradients(torch, case, x, parameters, dy):
    """{name: gradient} by x and each parameter, in float64."""
    tensors = {name: torch.tensor(a, dtype=torch.float64, requires_grad=True) for name, a in parameters.items()}
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch_function(torch, case)(x, tensors).backward(torch.tensor(dy, dtype=torch.float64))
    return {"x": x.grad.numpy(), **{name: tensor.grad.numpy() for name, tensor in tensors.items()}}


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kind", [*CONVOLUTIONS, "dense"])
def test_gradients_are_pytorchs(kind, seed):
    torch = pytest.importorskip("torch", reason="needs torch")
    case = random_case(seed, kind)
    bound = Bound(case, np.float32, wider=1 + seed)
    x, parameters, dy = bound.random(np.random.default_rng(seed), normals)
    bound.set(x, parameters)
    bound.forward()
    dx, gradients = bound.backward(dy)
    wanted = torch_gradients(torch, case, x, parameters, dy)
    absolute = torch_gradients(torch, case, abs(x), {name: abs(value) for name, value in parameters.items()}, abs(dy))
    pixels = case.images * max(math.prod(bound.output.size), math.prod(bound.shape.size))
    counts = {"x": bound.output.channels * math.prod(case.options.get("kernel", [1])), "weight": pixels, "bias": pixels}
    for name, gradient in {"x": dx, **gradients}.items():
        assert np.all(abs(gradient - wanted[name]) <= (counts[name] + 1) * EPS * absolute[name])


@pytest.mark.parametrize("seed", range(10))
def test_max_pool_gradient_is_pytorchs_among_equals(seed):
    torch = pytest.importorskip("torch", reason="needs torch")
    generator = np.random.default_rng(seed)
    case = Case("max_pool", 6, (9, 8), {"size": 3, "stride": int(generator.integers(1, 4)), "padding": 1}, 2)
    bound = Bound(case, np.float32)
    x, _, dy = bound.random(generator, lambda generator, shape: generator.integers(0, 3, shape).astype(np.float32))
    bound.set(x, {})
    tensor = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.max_pool2d(tensor, 3, case.options["stride"], 1)
    y.backward(torch.tensor(dy))
    np.testing.assert_array_equal(bound.forward(), y.detach().numpy())
    np.testing.assert_array_equal(bound.backward(dy)[0], tensor.grad.numpy())
