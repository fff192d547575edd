"""Safetensors files: written a tensor at a time, and what one says that it holds, read by nobody who trusts it.

Described in https://huggingface.co/docs/safetensors: the length of a header as a little-endian uint64, the header, in
JSON, and the numbers. Our own text is the one entry "cnncli" of its metadata. That offsets neither overlap nor leave a
gap is checked by the library, when it reads the numbers.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MOST_HEADER = 2**25  # bytes: a network of 10,000 layers and its optimiser's slots take some millions
MOST_VALUES = 2**19  # in the header, where each may take some hundred bytes of memory
KEY = "cnncli"
ALIGNED = 8  # bytes: where the numbers begin, for those who map the file into memory
TYPES = {"F32": np.dtype(np.float32)}


class Declared(NamedTuple):
    """A tensor of the header. `dtype` is what the header calls it where it is not float32."""

    shape: tuple[int, ...]
    dtype: np.dtype | str


def pieces(text: str, shapes: dict[str, tuple[int, ...]], tensor: Callable[[str], np.ndarray]) -> Iterator[bytes]:
    """A file of float32 tensors with our own text, piece by piece: a tensor is asked for when its turn comes."""
    header, end = {"__metadata__": {KEY: text}}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (start, end)}
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % ALIGNED)
    yield len(written).to_bytes(8, "little") + written
    for name in shapes:
        yield memoryview(tensor(name).astype("<f4", copy=False).reshape(-1).view(np.uint8))


def read_header(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Declared]]:
    """Our text, {} where there is none, and the tensors by their names.

    Raises ValueError or RecursionError where the file is damaged, is longer or shorter than its header says, or has a
    header larger than a network can need.
    """
    size, start = os.fstat(file.fileno()).st_size, file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ValueError("the file ends inside its header")
    if length > MOST_HEADER:
        raise ValueError(f"its header has {length} bytes, no network needs more than {MOST_HEADER}")
    header = _mapping(_parsed(file.read(length)), "its header")
    metadata = _mapping(header.pop("__metadata__", {}), "its metadata")
    tensors = {name: _declared(entry) for name, entry in header.items()}
    end = max((end for _, end in tensors.values()), default=0)
    if 8 + length + end != size:
        raise ValueError(f"it has {size} bytes, its header declares {8 + length + end}")
    about = metadata.get(KEY, "{}")
    if not isinstance(about, str):
        raise ValueError("its metadata are not text")
    return _mapping(_parsed(about.encode()), "its text"), {name: tensor for name, (tensor, _) in tensors.items()}


def _parsed(text: bytes) -> Any:
    if text.count(b",") > MOST_VALUES:
        raise ValueError(f"its header has more than {MOST_VALUES} values")
    return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_refuse)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of keys that are there once: what reads the first and what reads the last must see the same."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header has a key twice")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"its header holds {word}")


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no mapping")
    return value


def _declared(entry: Any) -> tuple[Declared, int]:
    """A tensor, and where its numbers end."""
    entry = _mapping(entry, "a tensor")
    shape, offsets, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not (_counts(shape) and _counts(offsets) and len(offsets) == 2 and isinstance(dtype, str)):
        raise ValueError("its header describes a tensor by something else than dtype, shape and data_offsets")
    return Declared(tuple(shape), TYPES.get(dtype, dtype)), offsets[1]


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)
