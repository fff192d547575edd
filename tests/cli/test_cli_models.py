"""`cnncli models`."""

import json

import pytest

from cnncli import spec

ZOO = dict(spec.models())


def test_table_lists_the_zoo(run):
    ended = run("models")
    assert (ended.code, ended.err) == (0, "")
    head, *rows = ended.out.splitlines()
    assert head.split() == ["name", "input", "layers", "parameters", "description"]
    assert [row.split()[0] for row in rows] == list(ZOO)
    assert ["lenet", "1x28x28", "12", "61,706"] in [row.split()[:4] for row in rows]


def test_json(run):
    found = {model["name"]: model for model in json.loads(run("models", "--json").out)["models"]}
    assert list(found) == list(ZOO)
    assert found["lenet"]["input"] == [1, 28, 28]
    assert found["lenet"]["parameters"] == 61_706
    assert found["lenet"]["multiply_adds"] == 416_520


@pytest.mark.parametrize("name", ZOO)
def test_description_is_a_short_clause(run, name):
    description = json.loads(run("models", name, "--json").out)["description"]
    assert 5 < len(description) < 120
    assert description[0].isupper()


@pytest.mark.parametrize("name", ZOO)
def test_named_model_is_printed_to_be_copied(run, tmp_path, name):
    ended = run("models", name)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == ZOO[name].read_text("utf-8")
    copy = tmp_path / "my.yaml"
    copy.write_text(ended.out, "utf-8")
    assert spec.read(copy) == spec.read(name)


def test_named_model_as_json_and_with_suffix(run):
    found = json.loads(run("models", "lenet.yaml", "--json").out)
    assert found["name"] == "lenet"
    assert found["yaml"] == ZOO["lenet"].read_text("utf-8")


def test_local_file_is_not_of_the_zoo(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("")
    assert mistake("models", "my")[0] == 2


def test_unknown_model(mistake):
    code, line = mistake("models", "lenett")
    assert code == 2
    assert 'did you mean "lenet"?' in line
