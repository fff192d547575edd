"""The layers: one file a family. Importing this package registers all of them in `LAYERS`."""

import importlib
import pkgutil

from cnncli.layers.base import LAYERS, Layer, Shape

__all__ = ["LAYERS", "Layer", "Shape"]

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
