"""Every optimiser, schedule and augmentation: the same bits whatever the number of threads, in one go and resumed."""

import importlib.util
from pathlib import Path

from cnncli.spec import AUGMENTATIONS, OPTIMIZERS, SCHEDULES

SCRIPT = Path(__file__).parents[1] / "robustness" / "same_bits.py"
LAYERS = """\
input: {channels: 2, size: [12, 9]}
layers:
  - normalized_conv: {filters: 16, padding: same, init: {kmeans: {patches: 300}}}
  - relu
  - conv: {filters: 24, padding: same, init: orthogonal, bias: false}
  - batch_norm
  - relu
  - max_pool: 2
  - dropout: 0.3
  - flatten
  - dense: 7
"""
OPTIONS = {
    "optimizer": {
        "sgd": "{sgd: {lr: 0.02, momentum: 0.9, nesterov: true, weight_decay: 0.01}}",
        "adam": "{adam: {lr: 0.002, weight_decay: 0.01}}",
        "adamw": "{adamw: {lr: 0.002, weight_decay: 0.1}}",
        "rmsprop": "{rmsprop: {lr: 0.002, momentum: 0.5, weight_decay: 0.01}}",
    },
    "schedule": {"constant": "constant", "step": "{step: 2}", "cosine": "cosine", "one_cycle": "one_cycle"},
    "augment": {"flip": "flip", "shift": "{shift: 2}"},
}


def same_bits():
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("same_bits", SCRIPT))
    spec.loader.exec_module(module)
    return module


def test_nothing_is_left_out():
    for option, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("augment", AUGMENTATIONS)):
        assert OPTIONS[option].keys() == known.keys()


def test_bits_of_all_that_trains(tmp_path):
    """Processes of 1, 2, 3 and 4 threads, runs that are resumed on another number, and the number that is measured."""
    script, plans = same_bits(), []
    augment = f"data: {{augment: [{', '.join(OPTIONS['augment'].values())}]}}\n"
    pairs = zip(OPTIONS["optimizer"].values(), OPTIONS["schedule"].values(), strict=True)
    for i, (optimizer, schedule) in enumerate(pairs):
        (folder := tmp_path / str(i)).mkdir()
        options = f"train: {{batch_size: 12, optimizer: {optimizer}, schedule: {schedule}, warmup: 1}}\n"
        (model := folder / "model.yaml").write_text(LAYERS + augment + options)
        plans.append(script.plan_in(folder, str(model)) | {"steps": 8, "cut": 4})
    found = script.measure(plans)
    for of_plan in found:
        assert len(of_plan) == 4 + 4 + 1
        assert len(set(of_plan.values())) == 1, of_plan
    assert len({of_plan["auto"] for of_plan in found}) == len(plans)
