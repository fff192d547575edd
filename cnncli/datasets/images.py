"""Image files: read and written for prediction, and the decoding that training and prediction share."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnncli.datasets.base import Input
from cnncli.datasets.files import open_regular, reason, refuse_bomb
from cnncli.errors import DataError, printable, told

FORMATS = ("JPEG", "PNG")
PICTURES = (*FORMATS, "BMP", "GIF", "PPM", "WEBP")  # of Pillow's others one runs PostScript, one writes on stderr
MOST_SCANS = 30  # over a progressive JPEG; encoders make about 10, and each takes as long as a picture does
PLANES = ("1", "L", "P")  # modes of a byte a pixel, twice in memory while it is scaled; the others take four bytes
SCAN, MOST_HEAD = b"\xff\xda", 2**26  # how each begins; the bytes of a file in which they are counted
ORIENTATION = 0x0112  # in EXIF: how the camera was held
TURNED = (5, 6, 7, 8)  # the orientations whose width is the picture's height
MODES = {1: "L", 3: "RGB"}

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs of damaged files is in our one line


@contextlib.contextmanager
def opened(path: Path, formats: tuple[str, ...] = FORMATS) -> Iterator:
    """A Pillow image, its header read and its size found plausible. Whatever Pillow raises inside is a DataError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open_regular(path) as file, Image.open(file, formats=formats) as image:
            _refuse_bomb(path, file, image)
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{printable(path)}: is not a {', '.join(formats[:-1])} or {formats[-1]} image") from None
    except Image.DecompressionBombError:
        most = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise DataError(
            f"{printable(path)}: declares more than {most} pixels: damaged, or made to fill the memory"
        ) from None
    except OSError as error:
        raise DataError(f"{printable(path)}: {_damage(error) if error.errno is None else reason(error)}") from None
    # On damaged files Pillow raises nearly every kind of exception: SyntaxError, struct.error, zlib.error, KeyError ...
    except Exception as error:
        raise DataError(f"{printable(path)}: {_damage(error)}") from None


def _refuse_bomb(path: Path, file: BinaryIO, image) -> None:
    """Raise DataError for a picture that takes far more memory, or time, than its file lets expect."""
    from PIL import Image

    pixels, stored = image.width * image.height, os.fstat(file.fileno()).st_size
    if pixels > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    refuse_bomb(path, pixels * (2 if image.mode in PLANES else 4), stored)
    if image.format in ("JPEG", "MPO"):
        place = file.tell()
        file.seek(0)
        scans = file.read(MOST_HEAD).count(SCAN)
        file.seek(place)
        if scans > MOST_SCANS:
            raise DataError(f"{printable(path)}: goes over its picture {scans} times: made to keep the processor busy")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's remarks on odd metadata, and on sizes that `opened` refuses. For one thread at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _damage(error: Exception) -> str:
    return f"damaged image ({told(error)})"


def size_of(image) -> tuple[int, int]:
    """(height, width), the right way up."""
    turned = orientation(image) in TURNED
    return (image.width, image.height) if turned else (image.height, image.width)


def orientation(image) -> int:
    """1 to 8, as EXIF has it; 1 where nothing is said."""
    with contextlib.suppress(Exception):  # metadata that is damaged is no reason to refuse the picture
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def pixels(image, axes: tuple[int, int], channels: int) -> np.ndarray:
    """(H, W, C) uint8 of an opened image: the right way up, in grey or colour, scaled to cover `axes` (H, W), and what
    overhangs cut off equally on both sides.

    Where the sizes are equal nothing is changed; where the shape is, the image is only resized (Pillow's bilinear
    filter, which averages where it shrinks). What is transparent keeps the colour that is stored below.
    """
    from PIL import Image, ImageOps

    turn, (height, width) = orientation(image), axes
    if turn in TURNED:
        height, width = width, height
    # A large JPEG is decoded at a half, a quarter or an eighth: 4000x3000 for 64x64 in 13 ms instead of 94.
    image.draft(None, (width, height))
    picture = _eight_bits(image).convert(MODES[channels])
    picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    return _upright(np.asarray(picture).reshape(height, width, channels), turn)


def _eight_bits(image):
    """16-bit grey as 8-bit grey: Pillow's own conversion would make all above 255 white."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    """An array (H, W, C) turned and mirrored as its EXIF orientation asks."""
    if turn in TURNED:
        array = array.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def read_picture(path: Path, axes: tuple[int, ...], channels: int, invert: bool = False) -> np.ndarray:
    """An image file of one of the formats PICTURES as one sample (1, 1, H, W, C) uint8, made to fit as in training.

    `invert` turns dark on light into light on dark, as MNIST's digits are. Raises DataError with one line.
    """
    if not takes_images(Input(axes, channels)):
        raise DataError(f"{printable(path)}: the model's input is not an image of 1 or 3 channels")
    if not os.path.exists(path):
        raise DataError(f"{printable(path)}: no such image file")
    with quiet(), opened(path, PICTURES) as image:
        picture = pixels(image, axes, channels).reshape(1, 1, *axes, channels)
    return 255 - picture if invert else np.ascontiguousarray(picture)


def takes_images(network: Input) -> bool:
    """Whether a network's input is an image in grey or colour."""
    return len(network.axes) == 2 and network.channels in MODES


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    """Write (H, W, C) uint8 of one or three channels as a PNG file; returns where it is."""
    from PIL import Image

    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)
    return path
