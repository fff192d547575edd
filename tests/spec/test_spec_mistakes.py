"""Every mistake is one line: the file, the line, the place, the value and what was expected."""

import pytest

from cnncli.errors import SpecificationError
from cnncli.spec import nodes, parse

pytestmark = pytest.mark.usefixtures("stand_in_layers")

GOOD = """\
name: lenet
input: {channels: 1, size: [28, 28]}
layers:
  - conv:
      filters: 6
      kernel: [5, 5]
      padding: [[1, 2], 3]
      name: first
  - relu
  - dropout: 0.25
  - flatten
  - dense: 10
loss: softmax_cross_entropy
data: {normalize: mean_std, augment: [flip, shift: 2]}
train:
  epochs: 4
  optimizer: {sgd: {lr: 0.1, momentum: 0.9}}
  schedule: {one_cycle: 0.3}
  save_every: 5min
"""


def message_of(text: str) -> str:
    with pytest.raises(SpecificationError) as caught:
        parse(text, "f.yaml")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "pydantic" not in message
    assert "http" not in message
    return message


def test_the_good_text_is_good():
    assert len(nodes(parse(GOOD, "f.yaml"))) == 5


TOP = "(known: name, input, blocks, layers, loss, data, train)"
WHOLE = "from 1 to 65536"

MISTAKES = [  # (text of GOOD, its replacement, line, the rest of the message)
    ("name: lenet", "nmae: lenet", 1, f'unknown key "nmae"; did you mean "name"? {TOP}'),
    ("loss: softmax", "zzz: softmax", 13, f'unknown key "zzz" {TOP}'),
    (
        "name: lenet",
        "name: 5",
        1,
        "name: expected a name of at most 64 letters, digits, ., _ and -, a letter or a digit",
    ),
    ("name: lenet", "name: ../../etc", 1, 'found "../../etc"'),
    ("name: lenet", f"name: {'x' * 70}", 1, f'found "{"x" * 57}..."'),
    ("channels: 1, ", "", 2, 'input: missing key "channels"'),
    ("channels: 1", "chanels: 1", 2, 'input: unknown key "chanels"; did you mean "channels"? (known: channels, size)'),
    ("channels: 1", "channels: 0", 2, f"input.channels: expected an integer {WHOLE}, found 0"),
    ("channels: 1", "channels: 1.0", 2, f"input.channels: expected an integer {WHOLE}, found 1.0"),
    ("channels: 1", "channels: true", 2, f"input.channels: expected an integer {WHOLE}, found true"),
    ("[28, 28]", "[]", 2, f"input.size: expected a list of 1 to 3, each item an integer {WHOLE}, found []"),
    ("[28, 28]", "[1, 2, 3, 4]", 2, "found [1, 2, 3, 4]"),
    ("[28, 28]", "28", 2, f"input.size: expected a list of 1 to 3, each item an integer {WHOLE}, found 28"),
    ("[28, 28]", "[28, -1]", 2, f"input.size[1]: expected an integer {WHOLE}, found -1"),
    ("{channels: 1, size: [28, 28]}", "[1]", 2, "input: expected a mapping with the keys channels, size, found [1]"),
    ("      filters: 6\n", "", 4, 'layers[0].conv: missing key "filters"'),
    (
        "filters: 6",
        "filter: 6",
        5,
        'layers[0].conv: unknown key "filter"; did you mean "filters"? '
        "(known: name, from, filters, kernel, padding, bias, init)",
    ),
    ("filters: 6", "filters: six", 5, f'layers[0].conv.filters: expected an integer {WHOLE}, found "six"'),
    ("filters: 6", "filters: 1e3", 5, f"layers[0].conv.filters: expected an integer {WHOLE}, found 1000.0"),
    ("filters: 6", "filters: [6]", 5, f"layers[0].conv.filters: expected an integer {WHOLE}, found [6]"),
    ("filters: 6", "filters:", 5, f"layers[0].conv.filters: expected an integer {WHOLE}, found null"),
    (
        "kernel: [5, 5]",
        "kernel: wide",
        6,
        f'layers[0].conv.kernel: expected an integer {WHOLE}, or a list, each item an integer {WHOLE}, found "wide"',
    ),
    ("kernel: [5, 5]", "kernel: [5, 0]", 6, f"layers[0].conv.kernel[1]: expected an integer {WHOLE}, found 0"),
    (
        "[[1, 2], 3]",
        "some",
        7,
        "layers[0].conv.padding: expected one of valid, same, full, or an integer from 0 to 9, or a list, each item "
        '(an integer from 0 to 9, or a list, each item an integer from 0 to 9), found "some"',
    ),
    ("[[1, 2], 3]", "[[1, x], 3]", 7, 'layers[0].conv.padding[0][1]: expected an integer from 0 to 9, found "x"'),
    ("name: first", "name: 1st", 8, "expected a name of at most 64 letters, digits, _ and -, a letter first, or null"),
    ("name: first", "bias: no", 8, 'layers[0].conv.bias: expected true or false, found "no"'),
    (
        "name: first",
        "init: x",
        8,
        "layers[0].conv.init: expected one of he, glorot, or a mapping with the keys value, found",
    ),
    (
        "name: first",
        "init: {vlaue: 1}",
        8,
        'layers[0].conv.init: unknown key "vlaue"; did you mean "value"? (known: value)',
    ),
    ("name: first", "init: {value: x}", 8, 'layers[0].conv.init.value: expected a number, found "x"'),
    ("name: first", "init: {}", 8, "layers[0].conv.init: expected one of he, glorot, or a mapping with the keys value"),
    ("padding: [[1, 2], 3]\n      name: first", "padding: full\n      bias: false", 4, "layers[0].conv: full padding"),
    ("- relu", "- reul", 9, 'layers[1]: unknown layer "reul"; did you mean "relu"? (known: conv, relu, dropout,'),
    ("- relu", "- ReLU", 9, 'layers[1]: unknown layer "ReLU"; did you mean "relu"?'),
    (
        "- relu",
        "- qqqq: 1",
        9,
        'layers[1]: unknown layer "qqqq" (known: conv, relu, dropout, flatten, dense, residual)',
    ),
    ("- relu", "-", 9, "layers[1]: expected one layer, a word such as conv with or without options, found null"),
    ("- relu", "- 3", 9, "layers[1]: expected one layer, a word such as conv with or without options, found 3"),
    ("- relu", "- [relu]", 9, 'found ["relu"]'),
    ("- relu", "- {}", 9, "layers[1]: expected one layer, a word such as conv with or without options, found {}"),
    (
        "- relu",
        "- conv:\n    filters: 3",
        9,
        'layers[1]: expected one layer, found 2 keys {"conv": null, "filters": 3}; indent its options below "conv"',
    ),
    (
        "- relu",
        "- relu: 5",
        9,
        "layers[1]: relu takes no lone value, found 5; write relu: {KEY: VALUE} (keys: name, from)",
    ),
    ("- relu", "- relu: [5]", 9, "layers[1]: relu takes no lone value"),
    ("dropout: 0.25", "dropout: 1", 10, "layers[2].dropout.rate: expected a number of at least 0 and below 1, found 1"),
    ("dropout: 0.25", "dropout: much", 10, 'found "much"'),
    ("dense: 10", "dense: {units: 10, name: first}", 12, '"first" is already the name of another item (f.yaml:8)'),
    (
        "softmax_cross_entropy",
        "crossentropy",
        13,
        'loss: unknown loss "crossentropy"; did you mean "binary_cross_entropy"?',
    ),
    ("softmax_cross_entropy", "{a: 1}", 13, 'loss: unknown loss "a" (known: softmax_cross_entropy, mean_squared_error'),
    ("softmax_cross_entropy", "{softmax_cross_entropy: input}", 13, "softmax_cross_entropy takes no lone value"),
    ("softmax_cross_entropy", "{mean_squared_error: output}", 13, "mean_squared_error.target: expected one of labels"),
    ("softmax_cross_entropy", "{softmax_cross_entropy: {class_weights: [1, -1]}}", 13, "class_weights[1]: expected a"),
    ("softmax_cross_entropy", "{softmax_cross_entropy: {ignore: 255}}", 13, "ignore: expected an integer"),
    ("normalize: mean_std", "normalize: minmax", 14, "data.normalize: expected one of mean_std, none, found"),
    ("[flip, shift: 2]", "flip", 14, 'data.augment: expected a list of augmentations, found "flip"'),
    ("[flip, shift: 2]", "[flip, flip]", 14, 'data.augment[1]: "flip" is already the kind of another item (f.yaml:14)'),
    ("[flip, shift: 2]", "[shift]", 14, 'data.augment[0].shift: missing key "pixels"'),
    ("[flip, shift: 2]", "[shift: 0]", 14, f"data.augment[0].shift.pixels: expected an integer {WHOLE}, found 0"),
    ("[flip, shift: 2]", "[flop]", 14, 'data.augment[0]: unknown augmentation "flop"; did you mean "flip"?'),
    ("epochs: 4", "epochs: -1", 16, "train.epochs: expected an integer from 0 to 2147483647, found -1"),
    ("epochs: 4", "batch_size: 0", 16, "train.batch_size: expected an integer from 1"),
    ("epochs: 4", "warmup: -1", 16, "train.warmup: expected a number of at least 0, found -1"),
    ("epochs: 4", "max_steps: 0", 16, "train.max_steps: expected an integer from 1"),
    ("epochs: 4", "label_smoothing: 1", 16, "train.label_smoothing: expected a number of at least 0 and below 1"),
    ("epochs: 4", f"seed: {2**63}", 16, f"train.seed: expected an integer from 0 to {2**63 - 1}, found {2**63}"),
    ("epochs: 4", "lr: 4", 16, 'train: unknown key "lr" (known: epochs, batch_size, optimizer'),
    ("lr: 0.1", "lr: 0", 17, "train.optimizer.sgd.lr: expected a number above 0, found 0"),
    ("lr: 0.1", "lr: '0.1'", 17, 'train.optimizer.sgd.lr: expected a number above 0, found "0.1"'),
    ("lr: 0.1", "lr: true", 17, "train.optimizer.sgd.lr: expected a number above 0, found true"),
    ("lr: 0.1", "weight_decay: -0.1", 17, "weight_decay: expected a number of at least 0, found -0.1"),
    ("momentum: 0.9", "momentum: 1", 17, "momentum: expected a number of at least 0 and below 1, found 1"),
    ("momentum: 0.9", "momentum: 0, nesterov: true", 17, "train.optimizer.sgd.nesterov: needs a momentum above 0"),
    ("{sgd: {lr: 0.1, momentum: 0.9}}", "sdg", 17, 'train.optimizer: unknown optimizer "sdg"; did you mean "sgd"?'),
    ("{sgd: {lr: 0.1, momentum: 0.9}}", "{sgd: , adam: }", 17, "train.optimizer: expected one optimizer, found 2 keys"),
    ("{sgd: {lr: 0.1, momentum: 0.9}}", "", 17, "train.optimizer: expected one optimizer, a word such as sgd"),
    ("{sgd: {lr: 0.1, momentum: 0.9}}", "{adam: {betas: [0.9]}}", 17, "a list of 2, each item a number of at least 0"),
    ("{sgd: {lr: 0.1, momentum: 0.9}}", "{adam: {betas: [0.9, 1]}}", 17, "train.optimizer.adam.betas[1]: expected"),
    (
        "{sgd: {lr: 0.1, momentum: 0.9}}",
        "{rmsprop: {eps: 0}}",
        17,
        "train.optimizer.rmsprop.eps: expected a number above",
    ),
    ("{one_cycle: 0.3}", "{one_cycle: 1}", 18, "train.schedule.one_cycle.rise: expected a number above 0 and below 1"),
    ("{one_cycle: 0.3}", "{one_cycle: {start: 0}}", 18, "start: expected a number of at least 1, found 0"),
    ("{one_cycle: 0.3}", "{cosine: 2}", 18, "train.schedule.cosine.final: expected a number from 0 to 1, found 2"),
    ("{one_cycle: 0.3}", "step", 18, 'train.schedule.step: missing key "every"'),
    ("{one_cycle: 0.3}", "{constant: 1}", 18, "train.schedule: constant takes no lone value, found 1"),
    ("save_every: 5min", "save_every: 5 min", 19, "or minutes or epochs such as 5min or 1epoch, or null, found"),
    ("save_every: 5min", "save_every: 0", 19, "train.save_every: expected an integer from 1"),
]


@pytest.mark.parametrize(("old", "new", "line", "rest"), MISTAKES)
def test_mistakes(old, new, line, rest):
    assert old in GOOD
    message = message_of(GOOD.replace(old, new, 1))
    assert message.startswith(f"f.yaml:{line}: ")
    assert rest in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1: the file is empty (keys: name, input, blocks, layers, loss, data, train)"),
        ("# nothing\n", "f.yaml:1: the file is empty (keys: name, input, blocks, layers, loss, data, train)"),
        ("[1]", "f.yaml:1: expected a mapping with the keys name, input, blocks, layers, loss, data, train, found [1]"),
        (
            "conv",
            'f.yaml:1: expected a mapping with the keys name, input, blocks, layers, loss, data, train, found "conv"',
        ),
        ("name: x\nlayers: [relu]", 'f.yaml:1: missing key "input"'),
        ("name: x\ninput: {channels: 1, size: [3]}", 'f.yaml:1: missing key "layers"'),
        (
            "layers: []\ninput: {channels: 1, size: [3]}",
            "f.yaml:1: layers: expected a list of layers, at least 1, found []",
        ),
        (
            "layers: relu\ninput: {channels: 1, size: [3]}",
            'f.yaml:1: layers: expected a list of layers, at least 1, found "relu"',
        ),
    ],
)
def test_whole_documents(text, message):
    assert message_of(text) == message


def test_the_first_of_several_mistakes_is_reported():
    text = GOOD.replace("epochs: 4", "epochs: x").replace("- relu", "- reul").replace("dense: 10", "dense: x")
    assert message_of(text).startswith("f.yaml:9: ")
    front = "train: {epochs: x}\n" + GOOD[: GOOD.index("train:")].replace("- relu", "- reul")
    assert message_of(front).startswith("f.yaml:1: train.epochs")
    assert message_of(GOOD.replace("dropout: 0.25", "dropout: {rate: x, nmae: y}")).startswith(
        "f.yaml:10: layers[2].dropout.rate"
    )


def test_ten_thousand_unknown_keys_are_quick():
    text = GOOD + "".join(f"  epoch_{i}: 1\n" for i in range(9_000))
    assert message_of(text).startswith('f.yaml:20: train: unknown key "epoch_0"; did you mean "epochs"?')


def test_the_name_of_the_file_cannot_break_the_line():
    with pytest.raises(SpecificationError) as caught:
        parse("[1]", "a\nb\x1b\udcff.yaml")
    assert str(caught.value).startswith(r"a\nb\x1b\udcff.yaml:1: ")
