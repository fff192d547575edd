"""The data sets that cnncli knows by name: what they are, where they come from, and the checksums of their files."""

import difflib
from dataclasses import dataclass

from cnncli.datasets.files import shown
from cnncli.datasets.idx import FILES
from cnncli.errors import DataError


@dataclass(frozen=True)
class File:
    """One published file: its name, its sha256 and its length in bytes."""

    name: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """One data set: `input` is (C, H, W), `counts` the numbers of training and test samples.

    `mirrors` are base addresses that hold `files`, the best first; a bundled data set has none.
    """

    title: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    licence: str
    classes: tuple[str, ...]
    input: tuple[int, int, int]
    counts: tuple[int, int]
    bundled: bool = False


def _idx_files(suffix: str, *checks: tuple[str, int]) -> tuple[File, ...]:
    """MNIST's four file names with the (sha256, size) of each."""
    return tuple(File(name + suffix, *check) for name, check in zip(FILES, checks, strict=True))


DIGITS = tuple(str(digit) for digit in range(10))
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

DATASETS: dict[str, Entry] = {
    "digits": Entry(
        title="Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998), bundled",
        files=_idx_files(
            "",
            ("eaf17707f0d845100c830bc915a68a85ab9818144380bec6fa076cdb9dc6a056", 92304),
            ("997d8237ea59870b42f811eaad3e13914b38ab6a9a5e9ad6affdff0f34e7cfdc", 1450),
            ("07793d9a7050109fa7c6f4377563288ee4ca1a55c4d485a6eaaa89f430176e0b", 22736),
            ("6ff66f7ef309c514bc431118f706c8249a50930d6256e9191340a2d710351535", 363),
        ),
        mirrors=(),
        licence="CC BY 4.0",
        classes=DIGITS,
        input=(1, 8, 8),
        counts=(1442, 355),
        bundled=True,
    ),
    "mnist": Entry(
        title="MNIST handwritten digits (LeCun, Cortes and Burges, 1998)",
        files=_idx_files(
            ".gz",
            ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9912422),
            ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881),
            ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877),
            ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        licence="none stated by its publisher",
        classes=DIGITS,
        input=(1, 28, 28),
        counts=(60000, 10000),
    ),
    "fashion-mnist": Entry(
        title="Fashion-MNIST, photographs of garments (Xiao, Rasul and Vollgraf, 2017)",
        files=_idx_files(
            ".gz",
            ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26421880),
            ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29515),
            ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4422102),
            ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5148),
        ),
        mirrors=(
            # No https there: the sha256 is the protection.
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        licence="MIT",
        classes=GARMENTS,
        input=(1, 28, 28),
        counts=(60000, 10000),
    ),
}


def entry_of(name: str) -> Entry:
    """The catalogue's entry; DataError with the nearest name and all names where there is none."""
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "."
    known = ", ".join(sorted(DATASETS))
    raise DataError(f"{shown(name)}: no data set or path of that name{hint} Data sets: {known}, or a folder or .npz")
