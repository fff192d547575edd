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
    "lenet-1989": 9_760,  # the paper's own count
    "all-conv": 1_369_738,  # table 1 by hand; the paper's table 3 says about 1.4 million
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


def test_lenet_1989_is_the_papers():
    """LeCun et al. 1989, section 4.2: units, connections and independent parameters of H1, H2, H3 and the output.

    A connection is a multiplication, or a bias.
    """
    learners = [node for node in nodes(read("lenet-1989")) if node.learned]
    assert [node.output.elements for node in learners] == [768, 192, 30, 10]
    connections = [node.layer.multiply_adds(node.shape) + node.output.elements for node in learners]
    assert connections == [19_968, 38_592, 5_790, 310]
    assert sum(connections) == 64_660
    assert [node.learned for node in learners] == [1_068, 2_592, 5_790, 310]


def test_all_convs_maps():
    """Springenberg et al. 2015, tables 1 and 2: nine convolutions and their maps."""
    made = [str(node.output) for node in nodes(read("all-conv")) if node.layer.kind == "conv"]
    assert made == [*["96x32x32"] * 2, "96x16x16", *["192x16x16"] * 2, "192x8x8", *["192x6x6"] * 2, "10x6x6"]


def test_unets_convolutions():
    """Ronneberger et al. 2015, section 2: 23 convolutions in total, four of which enlarge."""
    kinds = [node.layer.kind for node in nodes(read("unet"))]
    assert (kinds.count("conv"), kinds.count("transposed_conv")) == (19, 4)


@pytest.mark.parametrize("size", [[16, 16], [33, 47], [1, 7]])
def test_fcn_takes_an_input_of_any_size(size):
    made = nodes(read("fcn", [f"input.size={size}"]))
    assert made[-1].output.axes == tuple(size)
    assert {node.layer.kind for node in made if node.parameters} == {"conv", "transposed_conv"}


def test_recurrent_labeller_learns_one_set_of_weights():
    once, thrice = (
        sum(node.learned for node in nodes(read("recurrent-labeller", [f"layers.0.recurrent.steps={steps}"])))
        for steps in (1, 3)
    )
    assert once == thrice
