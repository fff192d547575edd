"""Data sets: the catalogue, downloads, readers and the fit to a network's input."""

from cnncli.datasets.base import Dataset, Input, Split
from cnncli.datasets.catalogue import DATASETS, Entry, File, known
from cnncli.datasets.fetching import download
from cnncli.datasets.fitting import fit
from cnncli.datasets.home import data_home
from cnncli.datasets.loading import FORMATS, load, locate

__all__ = [
    "DATASETS", "FORMATS", "Dataset", "Entry", "File", "Input", "Split",
    "data_home", "download", "fit", "known", "load", "locate",
]  # fmt: skip
