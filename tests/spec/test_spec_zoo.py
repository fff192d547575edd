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
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "alexnet": 60_965_224,  # Caffe's, from the authors' own network
    "mobilenet": 4_231_976,  # the paper's 4.2 million
    "lenet5-1998": 60_000,  # the paper's own count
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


def test_alexnets_neurons():
    """Krizhevsky et al. 2012, section 3.5, all but the first layer's, which the paper counts for another image size."""
    made = {node.layer.kind + node.path.split("_")[0]: node.output for node in nodes(read("alexnet"))}
    neurons = [output.elements for name, output in made.items() if name.startswith(("conv", "dense"))]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
