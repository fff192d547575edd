"""Values put back to the places of a max pooling's maxima, and their gradient."""

import re
from functools import partial

import naive
import networks
import numpy as np
import pytest
from bound import GuardedArena, from_buffer, is_zero_outside, to_buffer
from cases import POOL, Case, window_options
from slopes import assert_slope, steps

from cnncli.errors import SpecificationError
from cnncli.kernels import set_threads
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.program import Program
from cnncli.layers.base import Binding, Joined
from cnncli.layers.unpool import Unpooling
from cnncli.network import Network, stages
from cnncli.pictures.summary import summarize
from cnncli.spec import Sgd, nodes
from cnncli.training.optimizers import Optimizer

CASES = [Case("max_pool", c, axes, {"size": size, **options}, 3) for c, axes, size, options in POOL]


class Bound:
    """An unpooling of what the case's pooling makes, in borders of `border`."""

    def __init__(self, case, dtype, border=((0, 0), (0, 0), (0, 0))):
        layer, self.shape, self.arena = Unpooling(pooling=case.layer), case.shape, GuardedArena(dtype)
        self.small = case.layer.output_shape(self.shape)
        assert layer.output_shape(self.shape, self.small) == self.shape
        self.pooled, self.y, self.dy = [new_buffer(self.arena, case.images, self.shape, border) for _ in range(3)]
        self.x, self.dx = [new_buffer(self.arena, case.images, self.small, border) for _ in range(2)]
        joined = Joined(self.pooled, None, False, False), Joined(self.x, self.dx, False, False)
        forward, ((_, backward),) = layer.bind(
            Binding(
                shape=self.shape, x=self.pooled, y=self.y, dx=None, dy=self.dy, parameters={}, gradients={},
                arena=self.arena, samples=np.arange(case.images), key=np.zeros(1, np.uint64), joined=joined,
            )
        )  # fmt: skip
        self._forward, self._backward = Program(forward), Program(backward)

    def forward(self, pooled, x):
        to_buffer(self.pooled, self.shape, pooled)
        to_buffer(self.x, self.small, x)
        self.y.interior[...] = np.nan
        self.arena.poison()
        self._forward()
        return from_buffer(self.y, self.shape)

    def backward(self, dy):
        to_buffer(self.dy, self.shape, dy)
        self.dx.interior[...] = np.nan
        self.arena.poison()
        self._backward()
        return from_buffer(self.dx, self.small)

    def is_clean(self):
        return self.arena.intact() and all(map(is_zero_outside, (self.pooled, self.x, self.y, self.dx, self.dy)))


def drawn(case, draw):
    """(pooled, x, dy)."""
    small = case.layer.output_shape(case.shape)
    return [draw((case.images, of.channels, *of.axes)) for of in (case.shape, small, case.shape)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_is_its_definition(case, dtype):
    generator = np.random.default_rng(0)
    pooled, x, dy = drawn(case, lambda size: generator.integers(-3, 4, size).astype(float))
    size, stride, dilation, padding = window_options(case, "size")
    _, chosen = naive.max_pool(pooled, size, stride, padding, dilation)
    border = ((0, 0),) * (3 - len(case.axes)) + ((1, 2),) * len(case.axes)
    bound = Bound(case, dtype, border)
    for _ in range(2):
        np.testing.assert_array_equal(bound.forward(pooled, x), naive.max_pool_gradient(x, pooled, chosen))
        taken = np.array([dy[chosen[place]] for place in naive.places(x.shape)]).reshape(x.shape)
        np.testing.assert_array_equal(bound.backward(dy), taken)
    assert bound.is_clean()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_gradient(case):
    generator = np.random.default_rng(7)
    pooled, x, cotangent = drawn(case, lambda size: generator.normal(size=size))
    bound = Bound(case, np.float64)

    def output(pooled, value):
        return (bound.forward(pooled, value) * cotangent).sum()

    output(pooled, x)
    dx = bound.backward(cotangent)
    for direction in steps(generator, x.shape):
        assert_slope(partial(output, pooled), x, direction, dx)


def test_undoes_the_pooling_of_what_is_a_maximum():
    """Zeiler and Fergus 2014, figure 1: the maxima in their places, zeros elsewhere."""
    pooled = np.array([[0, 1, 3, 9], [4, 8, 6, 2], [7, 4, 2, 0], [4, 3, 5, 1]], float)[None, None]
    found = Bound(Case("max_pool", 1, (4, 4), {"size": 2}, 1), np.float32).forward(pooled, [[[[8, 9], [7, 5]]]])
    np.testing.assert_array_equal(found[0, 0], [[0, 0, 0, 9], [0, 8, 0, 0], [7, 0, 0, 0], [0, 0, 5, 0]])


def test_bits_do_not_depend_on_threads():
    case, found = CASES[4], set()
    generator = np.random.default_rng(1)
    pooled, x, dy = drawn(case, lambda size: generator.normal(size=size))
    bound = Bound(case, np.float32)
    for count in (1, 2, 3, 4):
        set_threads(count)
        found.add(bound.forward(pooled, x).tobytes() + bound.backward(dy).tobytes())
    assert len(found) == 1


AUTOENCODER = (
    "conv: {filters: 6, padding: same}|relu|max_pool: {size: 2, name: p}|conv: {filters: 6, padding: same}|relu|"
    "unpool: p|conv: {filters: 1, padding: same}"
)


def autoencoder():
    return networks.specification(1, [8, 6], AUTOENCODER, loss="{mean_squared_error: input}", data="{normalize: none}")


def test_reads_what_its_pooling_reads():
    _, relu, pool, inner, _, unpool, _ = nodes(autoencoder())
    assert unpool.inputs == (2, 5)
    assert unpool.layer.pooling is pool.layer
    assert (unpool.shapes, unpool.output) == ((relu.output, inner.output), relu.output)


def test_a_convolution_keeps_what_its_pooling_reads():
    """Alone it would pool by itself, and what the unpooling needs would be nowhere."""

    def first(layers):
        return stages(nodes(networks.specification(1, [8, 20], layers)), True)[0]

    assert first(AUTOENCODER.replace("unpool: p", "upsample")).pooled
    assert first(AUTOENCODER).relu
    assert not first(AUTOENCODER).pooled


def test_an_autoencoder_learns():
    network = Network(autoencoder())
    plan, losses = networks.filled(network.plan(16, True)), []
    rule = Optimizer(Sgd(momentum=0.9), network.parameters, network.arena)
    for _ in range(30):
        plan.forward()
        losses.append(plan.losses.sum() / plan.total[0])
        plan.backward()
        rule.update(0.05)
    assert losses[1] < losses[0]
    assert losses[-1] < 0.5 * losses[0]


def test_receptive_fields():
    """An output of 3x3 windows, two apart, is in up to two of them along each axis: five inputs."""
    text = "max_pool: {size: 3, stride: 2, name: p}|unpool: p|conv: {filters: 3, padding: same}|flatten|dense: 3"
    rows = summarize(networks.specification(1, [9, 9], text)).rows
    assert [row.field for row in rows[:3]] == [(3, 3), (5, 5), (7, 7)]


@pytest.mark.parametrize(("layers", "at", "said"), [
    ("conv: 3|unpool: p", 1, 'layer 1_unpool: no layer is named "p"'),
    ("unpool: p|max_pool: {size: 2, name: p}", 0, 'layer 0_unpool: "p" is not before it'),
    ("conv: {filters: 3, name: p}|unpool: p", 1, 'layer 1_unpool (unpool): "p" is no max_pool: it is conv'),
    ("conv: 3|unpool: {of: input}", 1, '"input" is no max_pool: it is the network\'s input'),
    ("max_pool: {size: 2, name: p}|conv: {filters: 3, padding: same}|unpool: p", 2,
     "layer 2_unpool (unpool): its input is 3x3x3, what the pooling makes 1x3x3: they must be alike"),
    ("max_pool: {size: 2, name: p}|conv: {filters: 1, kernel: 2}|unpool: {of: p}", 2, "its input is 1x2x2"),
    ("max_pool: {size: 2, name: p}|max_pool: {size: 2, from: input}|unpool: p|conv: 3", 0,
     "layer p (max_pool): no layer reads what it makes, an unpool only where its maxima are: read it or remove both"),
    ("max_pool: {size: 2, name: p}|unpool", 1, 'layers[1].unpool: missing key "of"'),
    ("max_pool: {size: 2, name: p}|unpool: 3", 1, "layers[1].unpool.of: expected a name"),
])  # fmt: skip
def test_mistakes(layers, at, said):
    with pytest.raises(SpecificationError, match=re.escape(said)) as caught:
        nodes(networks.specification(1, [6, 6], f"{layers}|flatten|dense: 3"))
    assert str(caught.value).startswith(f"network.yaml:{at + 3}: ")
    assert "\n" not in str(caught.value)


def pytorch_pools(case):
    """Its pooling pads both sides alike, by at most half a window."""
    size, _, _, padding = window_options(case, "size")
    return all(before == after <= k // 2 for (before, after), k in zip(padding, size, strict=True))


@pytest.mark.parametrize("case", [case for case in CASES if pytorch_pools(case)], ids=lambda case: case.id)
def test_is_pytorchs(case):
    """By the places that its max pooling gives; where windows overlap its own unpooling would keep one, not the sum."""
    torch = pytest.importorskip("torch", reason="needs torch")
    size, stride, dilation, padding = window_options(case, "size")
    generator = np.random.default_rng(3)
    pooled, x, dy = drawn(case, lambda of: generator.normal(size=of))
    max_pool = getattr(torch.nn.functional, f"max_pool{len(case.axes)}d")
    given = size, stride, [before for before, _ in padding], dilation, False, True
    _, places = max_pool(torch.tensor(pooled), *given)
    values = torch.tensor(x, requires_grad=True)
    y = torch.zeros_like(torch.tensor(pooled)).flatten(2).scatter_add(2, places.flatten(2), values.flatten(2))
    y.backward(torch.tensor(dy).flatten(2))
    bound = Bound(case, np.float64)
    found, wanted = bound.forward(pooled, x), y.detach().numpy().reshape(pooled.shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)  # up to nine numbers in another order
    np.testing.assert_array_equal(bound.backward(dy), values.grad.numpy())
