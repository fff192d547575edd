"""The YAML reader: what it takes, what it refuses and how quickly."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.errors import SpecificationError
from cnncli.spec.yaml import dump, load


def where(line: int) -> str:
    return f"f.yaml:{line}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("+.5e+1", 5.0),
        ("1.", 1.0),
        ("-1.5", -1.5),
        ("010", 10),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("=", "="),
        ("0b1", "0b1"),
        ("1e", "1e"),
        ("inf", "inf"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("none", "none"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  one\n  two\n", "one\ntwo\n"),
        ("[1, [a], {b: 2}]", [1, ["a"], {"b": 2}]),
        ("1234567890" * 3, int("1234567890" * 3)),
    ],
)
def test_values_follow_the_core_schema(text, value):
    found = load(f"key: {text}", where).data["key"]
    assert found == value
    assert type(found) is type(value)


def test_documents_without_a_value():
    assert load("", where).data is None
    assert load("# only a comment\n", where).data is None
    assert load("---\n", where).data is None


def test_one_document_with_markers_and_byte_order_mark():
    assert load("%YAML 1.2\n---\na: 1\n...\n", where).data == {"a": 1}
    assert load("\ufeffa: 1", where).data == {"a": 1}
    assert load("a: 1\r\nb: 2\r\n", where).data == {"a": 1, "b": 2}


def test_marks_are_lines_and_columns_of_keys_and_items():
    marks = load("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", where).marks
    assert marks[("a",)] == (1, 1)
    assert marks[("b",)] == (2, 1)
    assert marks[("b", 0)] == (3, 5)
    assert marks[("b", 1)] == (4, 5)
    assert marks[("b", 1, "c")] == (4, 6)
    assert marks[("b", 1, "d")] == (5, 6)


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("a: 1\na: 2", 2, 'duplicate key "a", first on line 1'),
        ("x: {b: 1, b: 2}", 1, 'duplicate key "b"'),
        ("a: 1\nb: &x 1", 2, 'anchors are not supported: "&x"'),
        ("a: [1]\nb: *x", 2, 'aliases are not supported: "*x"'),
        ("*x : 1", 1, "aliases are not supported"),
        ("a: 1\nb: !!str 1", 2, "tags are not supported"),
        ("a: ! 1", 1, "tags are not supported"),
        ("a: !!python/object:os.system {}", 1, "tags are not supported"),
        ("a:\n  <<: {b: 1}", 2, "merge keys are not supported"),
        ("a: 1\n---\nb: 1", 2, "a second document"),
        ("%YAML 1.1\n---\na: 1", 2, "directives are not supported"),
        ("%TAG ! tag:a,2000:\n---\na: 1", 2, "directives are not supported"),
        ("a: 1\n5: 1", 2, "a key must be a word, found 5"),
        ("true: 1", 1, "a key must be a word, found true"),
        (": 1", 1, "a key must be a word, found null"),
        ("? [a]\n: 1", 1, "a key must be a word, found a list or a mapping"),
        ("a: 1\nb: .nan", 2, 'numbers must be finite, found ".nan"'),
        ("a: -.inf", 1, "numbers must be finite"),
        ("a: 1e999", 1, "numbers must be finite"),
        ("a:\n  - " + "9" * 5000, 2, "a number of 5,000 digits; at most 30"),
        ("a: 0x" + "f" * 1_000, 1, "digits; at most 30"),
        ("a: 1\nb: \0", 2, "the character U+0000 is not allowed"),
        ("a: 1\n\nb: \x07", 3, "the character U+0007 is not allowed"),
        ("a: \ud800", 1, "the character U+D800 is not allowed"),
        ("a:\n\t- b", 2, "indent with spaces, not with tabs"),
        ("a: 1\nb: [1, 2", 2, "not valid YAML"),
        ("a: 1\nb: 'x\n\n\n", 2, "not valid YAML"),
        ("a: b: c", 1, "mapping values are not allowed here"),
        ('a: "\\U99999999"', 1, "not valid YAML"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", 1, "not valid YAML"),
        ("- " * 33, 1, "nested more than 32 deep"),
        ("? " * 40, 1, "a key must be a word"),
        ("a:\n " + "[" * 32, 2, "nested more than 32 deep"),
        ("a: [" + "1," * 20_000 + "]", 1, "more than 20,000 values"),
        ("#" * 1_000_001, 1, "larger than 1,000,000 characters"),
    ],
)
def test_refusals_name_the_line(text, line, fragment):
    with pytest.raises(SpecificationError) as caught:
        load(text, where)
    message = str(caught.value)
    assert message.startswith(f"f.yaml:{line}: ")
    assert fragment in message
    assert len(message.splitlines()) == 1


def test_thirty_two_levels_are_read():
    assert load("[" * 32 + "]" * 32, where).data is not None


@pytest.mark.parametrize("text", ["[" * 5000, "{" * 5000, "[{" * 2500, "{a: " * 5000, "- " * 5000, "[\n" * 5000])
def test_deep_nesting_is_refused_at_once(text):
    begin = time.perf_counter()
    with pytest.raises(SpecificationError, match=r"nested more than 32 deep|a key must be a word"):
        load(text, where)
    assert time.perf_counter() - begin < 2  # measured 0.3 s at most


SCALARS = st.none() | st.booleans() | st.integers(-(10**28), 10**28) | st.floats(allow_nan=False, allow_infinity=False)
PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="\ufffe\uffff\ufeff"))
TRICKY = st.sampled_from(
    ["", "~", "no", "1e3", ".5e3", "0o7", "010", "<<", "=", "- a", "a: b", ":", ":0", "#x", ".nan", " x ", "x\ny"]
)
TEXTS = PRINTABLE | TRICKY
DATA = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(DATA)
def test_what_is_dumped_is_read_back(data):
    assert load(dump({"data": data}), where).data == {"data": data}


@given(st.text(st.sampled_from("ab01.:-?,[]{}#&*!|>'\"%@`\\ \n\t~<e"), max_size=60) | st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        load(text, where)
    except SpecificationError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 (no error is fine too)
