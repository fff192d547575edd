"""Every model that travels with cnncli can be read, fits together and makes itself again."""

import pytest

from cnncli.spec import models, nodes, parse, read

LEARNED = {  # torchvision's counts where it has the network; googlenet's is that of Caffe's, without its other heads
    "resnet18": 11_689_512,
    "resnet20": 272_474,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet56": 855_770,
    "googlenet": 6_998_552,
    "vgg11": 132_863_336,
}


@pytest.mark.parametrize("name", LEARNED)
def test_parameters_of_the_zoo(name):
    assert sum(node.learned for node in nodes(read(name))) == LEARNED[name]
    assert f"{LEARNED[name]:,} parameters" in dict(models())[name].read_text("utf-8").split("name:")[0]


@pytest.mark.parametrize("name", [name for name, _ in models()])
def test_every_model_of_the_zoo(name):
    specification = read(name)
    assert specification.name == name
    assert len(nodes(specification)) >= len(specification.layers)
    changed = read(name, ["train.epochs=3"])
    assert changed.train.epochs == 3
    assert parse(changed.source, "model.yaml") == changed
