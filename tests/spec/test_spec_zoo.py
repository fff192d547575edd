"""Every model that travels with cnncli can be read, fits together and makes itself again."""

import pytest

from cnncli.spec import models, nodes, parse, read


@pytest.mark.parametrize("name", [name for name, _ in models()])
def test_every_model_of_the_zoo(name):
    specification = read(name)
    assert specification.name == name
    assert len(nodes(specification)) >= len(specification.layers)
    changed = read(name, ["train.epochs=3"])
    assert changed.train.epochs == 3
    assert parse(changed.source, "model.yaml") == changed
