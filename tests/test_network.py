"""Whole networks against the composition of their layers' definitions, and their bits for any number of threads."""

import hashlib
import itertools
import re

import naive
import networks
import numpy as np
import pytest
from cases import DEFINITIONS, Case, window_options

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.kernels import set_threads
from cnncli.layers.merge import Joint
from cnncli.layers.unpool import Unpooling
from cnncli.network import Network, stages
from cnncli.training.optimizers import Optimizer

# without a last flatten of several pixels, whose classes would be in the order of our memory
IN_ORDER = [
    name
    for name, (_, _, layers) in networks.NETWORKS.items()
    if not layers.endswith("flatten") or name in ("flatten_last", "conv_to_classes", "residual_last")
]
COMPOSED = [name for name in IN_ORDER if "dropout" not in networks.NETWORKS[name][2].replace("dropout: 0|", "")]


def files(network, flat=None):
    """{path: {name: tensor}} in the order of files."""
    found = {path: {} for node in network.nodes for path in (node.owner, node.path)}
    for tensor, value in networks.saved(network.parameters, flat).items():
        path, _, name = tensor.rpartition(".")
        found[path][name] = value
    return found


def define(node, inputs, parameters, training):
    """(output, backward) of a node by its layer's definition; backward gives the gradient of each input."""
    kind, x = node.layer.kind, inputs[0]
    if isinstance(node.layer, Joint):
        return naive.joined(node.layer.way, inputs, node.output.channels)
    if isinstance(node.layer, Unpooling):
        options = node.layer.pooling.model_dump(exclude_unset=True)
        size, stride, dilation, padding = window_options(Case(kind, x.shape[1], x.shape[2:], options), "size")
        return naive.max_unpool(*inputs, size, stride, padding, dilation)
    if kind == "batch_norm" and not training:
        moments = parameters["running_mean"], parameters["running_var"]
        learned = parameters.get("weight", np.ones(x.shape[1])), parameters.get("bias", np.zeros(x.shape[1]))
        return naive.normalize(x, *moments, *learned, node.layer.eps), None
    if kind == "dropout":  # of a rate of 0, or in an inference
        return x, lambda dy: ([dy], {})
    case = Case(
        kind,
        node.shape.channels,
        node.shape.axes,
        node.layer.model_dump(exclude_unset=True, exclude={"name", "source"}),
        len(x),
    )
    y, backward = DEFINITIONS[kind](case, x, parameters)

    def gradients(dy):
        dx, learned = backward(dy)
        return [dx], learned

    return y, gradients


def composed(network, x, training=True):
    """(output, backward) by the layers' definitions. x (images, channels, *axes); backward gives {path: gradients}."""
    parameters, values, backwards = files(network), [x], []
    for node in network.nodes:
        y, backward = define(
            node, [values[i] for i in node.inputs], parameters[node.owner] | parameters[node.path], training
        )
        values.append(y)
        backwards.append(backward)

    def gradients(dy):
        of_values, found = {len(network.nodes): dy}, {}
        for number, (node, backward) in reversed(list(enumerate(zip(network.nodes, backwards, strict=True), 1))):
            of_inputs, learned = backward(of_values[number])
            known = found.setdefault(node.owner, {})
            for name, gradient in learned.items():
                known[name] = known.get(name, 0) + gradient
            for value, gradient in zip(node.inputs, of_inputs, strict=True):
                of_values[value] = of_values.get(value, 0) + gradient
        return found

    return values[-1], gradients


def last(values):
    """(N, C, *axes) with the channels last, as plans have them."""
    return np.moveaxis(values, 1, -1)


def images_of(network, plan):
    """What is in a plan's input, in the order of files."""
    return np.moveaxis(plan.x.interior, -1, 1).reshape(plan.images, network.input.channels, *network.input.axes)


def drawn(parameters, generator):
    """Values for all parameters, in the order of files."""
    known = parameters.declared | parameters.counted
    found = {tensor: generator.normal(0, 0.4, p.file_shape) for tensor, p in known.items()}
    return {name: 1 + abs(value) if name.endswith("running_var") else value for name, value in found.items()}


@pytest.mark.parametrize("name", COMPOSED)
def test_is_the_composition_of_its_layers(name):
    """With weights given in the order of files, (out, in, ...) channels first, and their gradients taken in it."""
    network = networks.network(name, np.float64)
    parameters = network.parameters
    parameters.load(drawn(parameters, np.random.default_rng(3)))
    plan = networks.filled(network.plan(4, True))
    plan.forward()
    plan.backward()
    output, backward = composed(network, images_of(network, plan))
    rows = last(output)
    losses, gradient = naive.softmax_cross_entropy(rows.reshape(-1, rows.shape[-1]), plan.labels)
    gradients = backward(np.moveaxis((gradient / len(losses)).reshape(rows.shape), -1, 1))
    np.testing.assert_allclose(plan.output, rows.reshape(4, -1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(plan.losses, losses, rtol=1e-10)
    for path, of_layer in files(network, parameters.gradients).items():
        for tensor, gradient in of_layer.items():
            np.testing.assert_allclose(gradient, gradients[path][tensor], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", IN_ORDER)
def test_inference_is_the_composition_of_its_layers(name):
    """Without chance, with running averages, and of the parameters as they are: whatever is folded is folded anew."""
    network, generator = networks.network(name, np.float64), np.random.default_rng(4)
    parameters, trained = network.parameters, networks.filled(network.plan(5, True))
    parameters.load(drawn(parameters, generator))
    plan = networks.filled(network.plan(3, False))
    optimizer = Optimizer(spec.OPTIMIZERS["sgd"](), parameters, network.arena)

    def update():
        trained.backward()
        optimizer.update(0.1)

    changes = [lambda: None, trained.forward, update, lambda: parameters.load(drawn(parameters, generator))]
    found = []
    for change in changes:
        change()
        for _ in range(2):
            plan.infer()
            wanted = last(composed(network, images_of(network, plan), training=False)[0]).reshape(3, -1)
            np.testing.assert_allclose(plan.output, wanted, rtol=1e-12, atol=1e-12 * abs(wanted).max())
        found.append(plan.output.tobytes())
    learns, averages = bool(parameters.declared), any(".running_" in name for name in parameters.counted)
    assert [a != b for a, b in itertools.pairwise(found)] == [averages, learns, learns]


OPTIMIZERS = {  # with everything that they can do
    "sgd": spec.Sgd(nesterov=True, weight_decay=0.01),
    "adam": spec.AdamW(betas=[0.9, 0.99]),
    "rmsprop": spec.RmsProp(alpha=0.9, momentum=0.5, weight_decay=0.01),
}


def optimizer(kind, network):
    return Optimizer(OPTIMIZERS[kind], network.parameters, network.arena)


def trained(name, kernel, count):
    """sha256 of all that 5 steps with `count` threads left."""
    set_threads(count)
    network = networks.network(name, label_smoothing=0.1)
    plan, digest = network.plan(33, True), hashlib.sha256()
    rule = optimizer(kernel, network)
    for step in range(1, 6):
        networks.filled(plan, step)
        plan.forward()
        plan.backward()
        rule.update(0.02)
        arrays = (
            plan.output,
            plan.losses,
            plan.ranks,
            plan.doutput,
            network.parameters.gradients,
            *rule.slots.values(),
        )
        for array in (*arrays, network.parameters.values, network.parameters.state):
            digest.update(np.ascontiguousarray(array).tobytes())
    assert np.isfinite(network.parameters.values).all()
    return digest.hexdigest()


THREADED = ["lenet", "relu_then_conv", "dropout", "activations", "three_axes", "residual_norm", "residual_norm_first"]
THREADED += ["inception", "product_of_four", "maximum_of_three", "recurrent_norm"]


@pytest.mark.parametrize("kernel", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("name", THREADED)
def test_training_has_the_same_bits_for_any_number_of_threads(name, kernel):
    assert len({trained(name, kernel, count) for count in (1, 2, 3, 4)}) == 1


def test_training_learns():
    """The loss of one batch falls: the gradient points the right way and the optimiser follows it."""
    network = networks.network("lenet")
    plan, rule, losses = networks.filled(network.plan(16, True)), optimizer("adam", network), []
    for _ in range(60):
        plan.forward()
        losses.append(plan.losses.mean())
        plan.backward()
        rule.update(0.01)
    assert losses[-1] < 0.2 * losses[0]


def outputs(network, images, training, seed=1):
    plan = networks.filled(network.plan(images, training), seed)
    plan.forward()
    return plan.output.copy()


@pytest.mark.parametrize("name", [name for name in COMPOSED if "batch_norm" not in networks.NETWORKS[name][2]])
def test_inference_is_training_without_chance(name):
    network = networks.network(name)
    np.testing.assert_array_equal(outputs(network, 5, False), outputs(network, 5, True))


def test_each_step_of_a_recurrent_has_its_own_averages():
    """Moved all the way, they are the batch's: then inference gives what training does, but for n / (n - 1)."""
    layers = "conv: {filters: 3, padding: same}, batch_norm: {momentum: 1.0}, relu"
    text = f"recurrent: {{steps: 3, layers: [{layers}]}}|flatten|dense: 3"
    network = Network(networks.specification(2, [6, 6], text))
    counted = [name for name in network.parameters.counted if name.endswith("mean")]
    assert counted == [f"0_recurrent.layers.1_batch_norm{step}.running_mean" for step in ("", "@2", "@3")]
    trained = outputs(network, 64, True)
    assert len({network.parameters.value(name).tobytes() for name in counted}) == 3
    np.testing.assert_allclose(outputs(network, 64, False), trained, rtol=1e-2, atol=1e-2)


def test_inference_leaves_dropout_out():
    text = networks.NETWORKS["dropout"]
    plain = "|".join(layer for layer in text[2].split("|") if "dropout" not in layer)
    network, other = networks.network("dropout"), Network(networks.specification(*text[:2], plain))
    parameters = zip(network.parameters.declared, other.parameters.declared, strict=True)
    saved = networks.saved(network.parameters)
    other.parameters.load({theirs: saved[ours] for ours, theirs in parameters})
    np.testing.assert_array_equal(outputs(network, 5, False), outputs(other, 5, False))
    assert np.any(outputs(network, 5, True) != outputs(network, 5, False))


def test_inference_does_not_smooth_labels():
    network = networks.network("mlp", label_smoothing=0.5)
    losses = []
    for training in (True, False):
        plan = networks.filled(network.plan(6, training))
        plan.forward()
        losses.append(plan.losses.copy())
        wanted, _ = naive.softmax_cross_entropy(plan.output, plan.labels, 0.5 if training else 0.0)
        np.testing.assert_allclose(losses[-1], wanted, rtol=1e-5)


def test_ranks_and_losses_are_of_the_output():
    plan = networks.filled(networks.network("lenet").plan(20, True))
    plan.forward()
    order = np.argsort(-plan.output, 1, kind="stable")
    np.testing.assert_array_equal(plan.ranks, (order == plan.labels[:, None]).argmax(1))


def test_infer_is_the_output_of_forward():
    plan = networks.filled(networks.network("lenet").plan(3, False))
    plan.forward()
    output = plan.output.copy()
    plan.output[...] = 0
    plan.infer()
    np.testing.assert_array_equal(plan.output, output)


class TestDraws:
    def test_layers_and_keys_draw_differently(self):
        plan = networks.network("dropout").plan(2, True)
        found = set()
        for key in range(20):
            plan.draw(key)
            found |= set(plan.keys[:, 0].tolist())
        assert len(found) == 20 * len(plan.keys)

    def test_a_key_repeats_its_bits(self):
        plan = networks.filled(networks.network("dropout").plan(4, True))
        found = []
        for key in (1, 2, 1, 2**63 + 5):
            plan.draw(key)
            plan.forward()
            found.append(plan.output.tobytes())
        assert found[0] == found[2]
        assert len(set(found)) == 3


def fused(name, training=True):
    return [stage.path for stage in stages(networks.network(name).nodes, training) if stage.relu]


def test_relus_join_what_can_take_them():
    assert fused("lenet") == ["0_conv", "3_conv", "7_dense"]
    assert fused("unfused") == ["1_conv", "8_dense"]
    assert fused("relu_alone_last") == []
    assert fused("relu_then_others", training=False) == ["0_conv", "5_dense"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (
            "conv: 3|residual: {main: [conv: 3]}",
            "add needs one shape: shortcut is 3x4x4, main is 3x2x2; give it a proj",
        ),
        ("residual: {main: [dense: 3]}", "it needs a flat input: put `flatten` before it"),
        ("flatten|residual: {main: [dense: 72]}", "it joins a flattened image with another order: put a dense"),
        ("residual: {main: [flatten], shortcut: [flatten, dense: 72]}", "it joins a flattened image with anoth"),
    ],
)
def test_residuals_that_do_not_fit(layers, expected):
    with pytest.raises(SpecificationError, match=re.escape(expected)) as caught:
        Network(networks.specification(2, [6, 6], layers + "|flatten|dense: 3"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("network.yaml:")


@pytest.mark.parametrize(("layers", "options", "message"), [
    ("conv: 3", {}, r"layer 0_conv \(conv\): the network must end in a flat output, one number a class, not 3x2x3"),
    ("conv: 3", {}, "in a map of the input's size 4x5"),
    ("conv: 3", {"loss": "{mean_squared_error: input}"}, "must end in 2x4x5, not 3x2x3"),
    ("flatten|dense: 40", {"loss": "{mean_squared_error: input}"}, "must end in 2x4x5, not 40"),
    ("relu", {"loss": "{binary_cross_entropy: input}"}, "set data.normalize to none"),
    ("flatten|dense: 3", {"loss": "{softmax_cross_entropy: {ignore: 1}}"}, "networks that label pixels"),
    ("flatten|dense: 3", {"loss": "{softmax_cross_entropy: {class_weights: [1, 1]}}"}, "has 2 numbers.* ends in 3"),
])  # fmt: skip
def test_the_end_must_suit_the_loss(layers, options, message):
    with pytest.raises(SpecificationError, match=message):
        Network(networks.specification(2, [4, 5], layers, **options))
