"""`--set KEY=VALUE`: what it changes, and one line that quotes it when it cannot be used."""

import pytest

from cnncli.errors import SpecificationError
from cnncli.spec import Adam, AdamW, Cosine, OneCycle, Sgd, Step, nodes, parse

pytestmark = pytest.mark.usefixtures("stand_in_layers")

TEXT = """\
name: net
input: {channels: 3, size: [8, 8]}
layers:
  - conv: {filters: 6, kernel: [3, 3]}
  - conv: 7
  - relu
  - dropout: 0.5
data: {augment: [flip, shift: 2]}
train:
  optimizer: {sgd: 0.5}
  schedule: one_cycle
"""


def changed(*overrides: str, text: str = TEXT):
    """The overridden specification; its source must make it again."""
    specification = parse(text, "f.yaml", overrides)
    assert parse(specification.source, "runs/1/model.yaml") == specification
    return specification


def refused(*overrides: str) -> str:
    with pytest.raises(SpecificationError) as caught:
        parse(TEXT, "f.yaml", overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("name=foo", lambda s: s.name, "foo"),
        ("name = foo", lambda s: s.name, "foo"),
        ("input.size=[9, 9]", lambda s: s.input.size, [9, 9]),
        ("input.size.1=9", lambda s: s.input.size, [8, 9]),
        ("input.size[1]=9", lambda s: s.input.size, [8, 9]),
        ("loss=mean_squared_error", lambda s: s.loss.kind, "mean_squared_error"),
        ("layers.0.conv.filters=12", lambda s: s.layers[0].layer.filters, 12),
        ("layers[0].conv.filters=12", lambda s: s.layers[0].layer.filters, 12),
        ("layers[0].conv.kernel[1]=1", lambda s: s.layers[0].layer.kernel, [3, 1]),
        ("layers.1.conv.kernel=5", lambda s: (s.layers[1].layer.filters, s.layers[1].layer.kernel), (7, 5)),
        ("layers.1.conv=9", lambda s: s.layers[1].layer.filters, 9),
        ("layers.2.relu.name=first", lambda s: s.layers[2].path, "first"),
        ("layers.2=dropout: 0.25", lambda s: s.layers[2].layer.rate, 0.25),
        ("layers.2={conv: {filters: 3}}", lambda s: s.layers[2].layer.filters, 3),
        ("layers=[relu]", lambda s: [entry.kind for entry in s.layers], ["relu"]),
        ("data.augment=[]", lambda s: s.data.augment, ()),
        ("data.augment.1.shift=3", lambda s: s.data.augment[1].pixels, 3),
        ("data.augment.1.shift.pixels=3", lambda s: s.data.augment[1].pixels, 3),
        ("data.normalize=none", lambda s: s.data.normalize, "none"),
        ("train.epochs=0", lambda s: s.train.epochs, 0),
        ("train.max_steps=", lambda s: s.train.max_steps, None),
        ("train.seed=010", lambda s: s.train.seed, 10),
        ("train.optimizer.sgd.lr=1e-3", lambda s: s.train.optimizer, Sgd(lr=0.001)),
        ("train.optimizer.sgd.momentum=0.5", lambda s: s.train.optimizer, Sgd(lr=0.5, momentum=0.5)),
        ("train.optimizer=adam", lambda s: s.train.optimizer, Adam()),
        ("train.optimizer.adamw.lr=0.01", lambda s: s.train.optimizer, AdamW(lr=0.01)),
        ("train.optimizer.adamw=0.01", lambda s: s.train.optimizer, AdamW(lr=0.01)),
        ("train.schedule.one_cycle.rise=0.1", lambda s: s.train.schedule, OneCycle(rise=0.1)),
        ("train.schedule.cosine.final=0.1", lambda s: s.train.schedule, Cosine(final=0.1)),
        ("train.schedule=step: 2", lambda s: s.train.schedule, Step(every=2)),
        ("train={epochs: 1}", lambda s: (s.train.epochs, s.train.optimizer), (1, Sgd())),
    ],
)
def test_overrides(override, get, value):
    assert get(changed(override)) == value


def test_overrides_follow_each_other():
    specification = changed("train.optimizer=adam", "train.optimizer.adam.lr=0.5", "train.optimizer.adam.eps=1e-3")
    assert specification.train.optimizer == Adam(lr=0.5, eps=1e-3)
    assert changed("train.epochs=1", "train.epochs=2").train.epochs == 2


def test_sections_and_words_that_the_file_leaves_out_are_made():
    bare = "name: net\ninput: {channels: 3, size: [8]}\nlayers: [relu]\ntrain:\n"
    assert changed("train.optimizer.sgd.lr=2", text=bare).train.optimizer == Sgd(lr=2.0)
    assert changed("data.augment=[flip]", text=bare).data.augment[0].kind == "flip"


def test_the_source_holds_the_overrides_and_keeps_the_order():
    source = changed("layers.1.conv.kernel=5", "name='1e3'", "train.optimizer.sgd.lr=1e-9").source
    assert source == (
        'name: "1e3"\n'
        "input:\n  channels: 3\n  size: [8, 8]\n"
        "layers:\n"
        "  - conv:\n      filters: 6\n      kernel: [3, 3]\n"
        "  - conv: {filters: 7, kernel: 5}\n"
        "  - relu\n"
        "  - dropout: 0.5\n"
        "data:\n  augment:\n    - flip\n    - shift: 2\n"
        "train:\n  optimizer:\n    sgd:\n      lr: 1e-09\n  schedule: one_cycle\n"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected KEY=VALUE, such as train.optimizer.sgd.lr=0.01"),
        ("", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        (".a=3", "expected KEY=VALUE"),
        ("a..b=3", "expected KEY=VALUE"),
        ("layers[x]=3", "expected KEY=VALUE"),
        ("nmae=x", 'unknown key "nmae"; did you mean "name"? (known: name, input, blocks, layers, loss, data, train)'),
        ("train.optimiser=sgd", 'train: unknown key "optimiser"; did you mean "optimizer"?'),
        ("train.optimizer.sgd.momntum=1", 'train.optimizer.sgd: unknown key "momntum"; did you mean "momentum"?'),
        ("train.optimizer.sdg.lr=1", 'train.optimizer: unknown optimizer "sdg"; did you mean "sgd"?'),
        ("train.lr=1", 'train: unknown key "lr" (known: epochs'),
        ("layers.4=relu", "layers has no item 4 (items: 0 to 3)"),
        ("layers.99999999999999999999=relu", "layers is a list: expected a position such as 0, found"),
        ("layers.conv.filters=3", 'layers is a list: expected a position such as 0, found "conv"'),
        ("layers.2.conv.filters=3", 'layers[2] is "relu", not "conv"; set layers[2] itself to replace it'),
        ("layers.2.cnov.filters=3", 'layers[2] is "relu", not "cnov"'),
        ("data.augment.0.shift=3", 'data.augment[0] is "flip", not "shift"'),
        ("layers.0.conv.filter=3", 'layers[0].conv: unknown key "filter"; did you mean "filters"?'),
        ("layers.1.conv.filters.x=3", 'layers[1].conv.filters is 7, it has no "x"'),
        ("layers.0.conv.kernel.2=3", "layers[0].conv.kernel has no item 2 (items: 0 to 1)"),
        ("name.x=3", 'name is "net", it has no "x"'),
        ("train.epochs=[1", "not valid YAML"),
        ("train.epochs=&a 1", "anchors are not supported"),
        ("train.epochs=!!int 1", "tags are not supported"),
        ("train.epochs=" + "9" * 5000, "a number of 5,000 digits"),
        ("train.epochs=.inf", "numbers must be finite"),
        ("train.epochs=__import__('os')", 'train.epochs: expected an integer from 0 to 2147483647, found "__import__'),
        ("train.epochs=x", 'train.epochs: expected an integer from 0 to 2147483647, found "x"'),
        ("train.epochs=1\nx", "train.epochs: expected an integer"),
        ("train=5", "train: expected a mapping with the keys epochs"),
        ("layers.0.conv={}", 'layers[0].conv: missing key "filters"'),
        ("layers.1=conv: {filter: 3}", 'layers[1].conv: unknown key "filter"; did you mean "filters"?'),
        ("layers=relu", 'layers: expected a list of layers, at least 1, found "relu"'),
        ("train.optimizer={sgd: 1, adam: 1}", "train.optimizer: expected one optimizer, found 2 keys"),
        ("layers.3.dropout.rate=\udcff", "the character U+DCFF is not allowed"),
    ],
)
def test_refused_overrides_are_quoted(override, message):
    shown = override.replace("\n", "\\n").replace("\udcff", "\\udcff")
    found = refused(override)
    assert found.startswith(f"--set {shown[:90]}")
    assert message in found


def test_what_was_not_overridden_keeps_its_line():
    text = TEXT.replace("dropout: 0.5", "dropout: 5")
    with pytest.raises(SpecificationError, match=r"^f.yaml:7: layers\[3\].dropout.rate"):
        parse(text, "f.yaml", ["layers.1.conv.kernel=5", "name=x"])


def test_an_override_repairs_the_file():
    text = TEXT.replace("dropout: 0.5", "dropout: 5").replace("name: net", "name: [net]")
    specification = changed("layers.3.dropout.rate=0.5", "name=net", text=text)
    assert specification == changed("layers.3.dropout.rate=0.5")


def test_a_path_through_something_malformed_is_refused():
    for old, new, override, message in [
        ("data: {augment", "data: [1]\nx: {augment", "data.normalize=none", "data is a list: expected a position"),
        ("data: {augment", "data: 5\nx: {augment", "data.normalize=none", "data is not a mapping, found 5"),
        ("[flip, shift: 2]", "flip", "data.augment.0=flip", 'data.augment is not a list, found "flip"'),
    ]:
        with pytest.raises(SpecificationError) as caught:
            parse(TEXT.replace(old, new), "f.yaml", [override])
        assert str(caught.value) == f"--set {override}: {message}" or message in str(caught.value)


def test_shape_errors_name_the_override_that_put_the_layer_there():
    specification = parse(TEXT, "f.yaml", ["layers.2=dense: 3"])
    with pytest.raises(
        SpecificationError, match=r"^--set layers.2=dense: 3: layer 2_dense \(dense\): dense needs a flat"
    ):
        nodes(specification)
