"""Data sets: the catalogue, downloads, readers and the fit to a network's input."""

from cnncli.datasets.base import Dataset, Split
from cnncli.datasets.catalogue import DATASETS, Entry, File
from cnncli.datasets.fetching import download
from cnncli.datasets.fitting import fit
from cnncli.datasets.home import data_home
from cnncli.datasets.loading import load, locate

__all__ = ["DATASETS", "Dataset", "Entry", "File", "Split", "data_home", "download", "fit", "load", "locate"]
