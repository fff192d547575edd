"""The data sets that cnncli knows by name: what they are, where they come from, and the checksums of their files."""

import difflib
from dataclasses import dataclass

from cnncli.datasets.idx import FILES
from cnncli.errors import DataError, printable


@dataclass(frozen=True)
class File:
    """One published file: its name, its sha256 and its length in bytes. Some are published with an md5 alone.

    A file out of an archive that was checked may have neither: then its length says whether it is there.
    """

    name: str
    sha256: str = ""
    size: int | None = None
    md5: str = ""

    @property
    def checksum(self) -> str | None:
        """Such as sha256:440fca..."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else None


@dataclass(frozen=True)
class Entry:
    """One data set: `input` is (C, H, W), `counts` the numbers of training and test samples.

    `mirrors` are base addresses that hold `files`, or the `archive` (.tar.gz) with `files` in its `folder`, the best
    first; a bundled data set has none. `form` is that of CIFAR's files, empty for IDX files.
    """

    title: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    licence: str
    classes: tuple[str, ...]
    input: tuple[int, int, int]
    counts: tuple[int, int]
    bundled: bool = False
    form: str = ""
    archive: File | None = None
    folder: str = ""


def _idx_files(suffix: str, *checks: tuple[str, int]) -> tuple[File, ...]:
    """MNIST's four file names with the (sha256, size) of each."""
    return tuple(File(name + suffix, *check) for name, check in zip(FILES, checks, strict=True))


DIGITS = tuple(str(digit) for digit in range(10))
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES_OF_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(NAMES_OF_CIFAR100.split())
ALIASES = {"cifar10": "cifar-10", "cifar100": "cifar-100"}

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
    "cifar-10": Entry(
        title="CIFAR-10, small photographs of animals and vehicles (Krizhevsky, 2009)",
        files=(
            File("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5", 30730000),
            File("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed", 30730000),
            File("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67", 30730000),
            File("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48", 30730000),
            File("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add", 30730000),
            File("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b", 30730000),
        ),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        licence="none stated by its publisher",
        classes=CIFAR10,
        input=(3, 32, 32),
        counts=(50000, 10000),
        form="cifar-10",
        archive=File(
            "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170052171
        ),
        folder="cifar-10-batches-bin",
    ),
    "cifar-100": Entry(
        title="CIFAR-100, small photographs in a hundred classes (Krizhevsky, 2009)",
        files=(File("train.bin", size=153700000), File("test.bin", size=30740000)),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        licence="none stated by its publisher",
        classes=CIFAR100,
        input=(3, 32, 32),
        counts=(50000, 10000),
        form="cifar-100",
        archive=File("cifar-100-binary.tar.gz", size=168513733, md5="03b5dce01913d631647c71ecec9e9cb8"),
        folder="cifar-100-binary",
    ),
}


def known(name: str) -> str | None:
    """The catalogue's name for what a user calls it, None where it has none."""
    name = ALIASES.get(name, name)
    return name if name in DATASETS else None


def entry_of(name: str) -> Entry:
    """The catalogue's entry; DataError with the nearest name and all names where there is none."""
    if known(name):
        return DATASETS[known(name)]
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "."
    names = ", ".join(sorted(DATASETS))
    raise DataError(
        f"{printable(name)}: no data set or path of that name{hint} Data sets: {names}, or a folder or .npz"
    )
