"""YAML to a checked specification: `read` a file or a model of the zoo, `parse` a text, and `nodes` with their shapes.

Whatever is wrong is a `SpecificationError` in one line, with the file, the line and what was expected.
"""

from cnncli.spec.entries import Entry
from cnncli.spec.files import models, read
from cnncli.spec.nodes import Node, nodes
from cnncli.spec.options import (
    AUGMENTATIONS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Data,
    Flip,
    Input,
    Loss,
    OneCycle,
    RmsProp,
    Sgd,
    Shift,
    Step,
    Train,
)
from cnncli.spec.schema import json_schema
from cnncli.spec.specification import Specification, parse

__all__ = [
    "AUGMENTATIONS",
    "LOSSES",
    "OPTIMIZERS",
    "SCHEDULES",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Data",
    "Entry",
    "Flip",
    "Input",
    "Loss",
    "Node",
    "OneCycle",
    "RmsProp",
    "Sgd",
    "Shift",
    "Specification",
    "Step",
    "Train",
    "json_schema",
    "models",
    "nodes",
    "parse",
    "read",
]
