"""How folders are walked, and what of them is held out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.datasets import folders, load

ANY = (".x",)


def listed(folder):
    """The samples as {name: (part, class)}, and the classes."""
    train, test = folders.splits(folders.enter(folder))
    train, test = (part and folders.branch(part).only(ANY) for part in (train, test))
    found = folders.samples(train, test, ANY[0])
    pairs = [(path, ("train", label)) for path, label in found.train]
    pairs += [(path, ("test", label)) for path, label in found.test]
    return {str(path.relative_to(folder)): value for path, value in pairs}, found.classes


@given(st.lists(st.text(alphabet="a٣²10_9", max_size=6)))
def test_natural_order_is_an_order(names):
    keys = sorted(folders.natural(name) for name in names)
    assert len(keys) == len(names)


def test_nine_before_ten(tmp_path, write_all):
    assert sorted(["a10", "a9", "b1", "10", "9"], key=folders.natural) == ["9", "10", "a9", "a10", "b1"]
    files, classes = listed(write_all(tmp_path, {f"{label}/{i}.x": b"" for label in (10, 2, 1) for i in range(12)}))
    assert classes == ("1", "2", "10")
    assert [name for name in files if name.startswith("1/") and files[name][0] == "train"] == [
        f"1/{i}.x" for i in range(12) if files[f"1/{i}.x"][0] == "train"
    ]


def test_train_and_test_folders(tmp_path, write_all):
    names = ("train/cat/1.x", "train/dog/2.X", "test/dog/3.x", "test/cat/4.x", "val/dog/5.x", "train/dog/note.txt")
    files, classes = listed(write_all(tmp_path, dict.fromkeys(names, b"")))
    assert classes == ("cat", "dog")
    assert files == {
        "train/cat/1.x": ("train", 0),
        "train/dog/2.X": ("train", 1),
        "test/cat/4.x": ("test", 0),
        "test/dog/3.x": ("test", 1),
    }


def test_val_is_the_test_split_where_there_is_no_other(tmp_path, write_all):
    files, _ = listed(write_all(tmp_path, dict.fromkeys(("Train/cat/1.x", "Val/cat/2.x"), b"")))
    assert files == {"Train/cat/1.x": ("train", 0), "Val/cat/2.x": ("test", 0)}


def test_files_without_classes(tmp_path, write_all):
    names = [f"{i}.x" for i in range(10)]
    files, classes = listed(write_all(tmp_path / "one", dict.fromkeys(names, b"")))
    assert (sorted(files.values()), classes) == ([("test", 0)] * 2 + [("train", 0)] * 8, ())
    files, classes = listed(write_all(tmp_path / "two", dict.fromkeys(("train/1.x", "train/2.x", "test/3.x"), b"")))
    assert (list(files.values()), classes) == ([("train", 0)] * 2 + [("test", 0)], ())


def test_a_class_may_be_called_train(tmp_path, write_all):
    _, classes = listed(write_all(tmp_path, {f"{name}/{i}.x": b"" for name in ("car", "train") for i in range(2)}))
    assert classes == ("car", "train")


def test_wrappers_are_entered_and_hidden_things_passed_over(tmp_path, write_all):
    names = ("pets/pets/cat/1.x", "pets/pets/cat/2.x", "pets/pets/cat/.3.x", "pets/pets/.git/4.x", "__MACOSX/pets/5.x")
    files, classes = listed(write_all(tmp_path, dict.fromkeys((*names, "README.md", "pets/pets/dog/1.x"), b"")))
    assert (set(files), classes) == ({"pets/pets/cat/1.x", "pets/pets/cat/2.x", "pets/pets/dog/1.x"}, ("cat", "dog"))


def test_links_are_followed_and_circles_end(tmp_path, write_all):
    write_all(tmp_path, dict.fromkeys(("far/1.x", "far/2.x", "set/cat/1.x", "set/cat/2.x"), b""))
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "far")
    (tmp_path / "set" / "cat" / "again").symlink_to(tmp_path / "set")
    files, classes = listed(tmp_path / "set")
    assert (len(files), classes) == (4, ("cat", "dog"))
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop")
    assert folders.enter(tmp_path / "loop").name == "loop"


def test_folders_in_a_class_are_searched_but_not_without_end(tmp_path, write_all):
    names = (
        "cat/b/2.x",
        "cat/1.x",
        "cat/b/c/.hidden/4.x",
        "cat/b/c/d/5.x",
        "cat/b/c/d/e/6.x",
        "dog/images/1.x",
        "dog/2.x",
    )
    files, classes = listed(write_all(tmp_path, dict.fromkeys(names, b"")))
    assert (set(files), classes) == (
        {"cat/b/2.x", "cat/1.x", "cat/b/c/d/5.x", "dog/images/1.x", "dog/2.x"},
        ("cat", "dog"),
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.x"], "{}: holds no .x files to test on"),
        (["cat/1.x", "dog/1.y"], "{}/dog: holds no .x file"),
        (["cat/1.x", "dog/1.x"], "{}: holds no .x files to test on: a class needs two"),
        (["train/cat/1.x", "test/cow/1.x"], "{}/test/cow: is a class that {}/train lacks"),
        (["train/cat/1.x", "test/1.x"], "{}/test: holds no .x files in class sub-folders as {}/train has them"),
        (["cat/1.x", "a\nb/1.x"], "{}/a\\nb: is no name for a class: it holds characters that cannot be shown"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, write_all, message_of, names, message):
    write_all(tmp_path, dict.fromkeys(names, b""))
    assert message_of(listed, tmp_path) == message.replace("{}", str(tmp_path))


def test_a_folder_that_cannot_be_read(tmp_path, message_of):
    assert message_of(folders.content, tmp_path / "absent") == f"{tmp_path / 'absent'}: No such file or directory"


def test_kinds_are_not_mixed(tmp_path, write_all, message_of):
    assert "holds no data set: expected IDX or CIFAR files, or a sub-folder" in message_of(load, tmp_path)
    write_all(tmp_path, {"cat/1.png": b"", "dog/1.wav": b""})
    assert message_of(load, tmp_path) == f"{tmp_path}: holds .png and .wav files: a data set is of one kind"


@given(st.integers(1, 60), st.integers(0, 5))
def test_a_fifth_is_held_out_whatever_the_order(count, seed):
    keys = [str(i).encode() for i in range(count)]
    out = folders.held_out(keys)
    assert sum(out) == (0 if count == 1 else max(1, count // 5))
    order = np.random.default_rng(seed).permutation(count)
    assert folders.held_out([keys[i] for i in order]) == [out[i] for i in order]


def test_the_held_out_stay_so_on_every_machine_and_when_samples_come():
    keys = [f"{i}.png".encode() for i in range(20)]
    out = [i for i, chosen in enumerate(folders.held_out(keys)) if chosen]
    assert out == [0, 6, 8, 18]
    more = folders.held_out([*keys, *(f"new{i}.png".encode() for i in range(4))])
    assert sum(more[i] for i in out) >= len(out) - 2
