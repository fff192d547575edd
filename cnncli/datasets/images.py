"""Image files: read and written for prediction, and the decoding that training and prediction share."""

import contextlib
import logging
import math
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnncli.datasets.base import Input
from cnncli.datasets.files import BOMB_BYTES, Declared, open_regular, reason, refuse_bombs
from cnncli.datasets.image_files import refuse_busy, refuse_slow
from cnncli.errors import DataError, printable, told

FORMATS = ("JPEG", "PNG")
PICTURES = (*FORMATS, "BMP", "GIF", "PPM", "WEBP")  # of Pillow's others one runs PostScript, one writes on stderr
GREYS = ("1", "L", "LA", "I;16", "I")
# Bytes of a pixel while it is decoded and converted; of the modes that are not here 8, four as stored and four as RGB.
TAKEN = {"1": 2, "L": 2, "I;16": 3, "RGB": 4, "LA": 5, "P": 5, "I": 5}
TAKEN_BY_WEBP = 8  # its decoder takes 18 for a moment: of the largest picture that is not refused for it, 216 MiB
COEFFICIENT = 2  # bytes, which a JPEG of several scans takes for each number of the picture
BELIEVED = 30  # times the size of its file: photographs take 10 to 25 times theirs
STRIP = 64  # rows of 16-bit grey that are made 8-bit at a time
ORIENTATION = 0x0112  # in EXIF: how the camera was held
TURNED = (5, 6, 7, 8)  # the orientations whose width is the picture's height
MODES = {1: "L", 3: "RGB"}

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs of damaged files is in our one line


@contextlib.contextmanager
def opened(path: Path, formats: tuple[str, ...] = FORMATS, beside: int = 0) -> Iterator:
    """A Pillow image, its header read and its size found plausible. Whatever Pillow raises inside is a DataError.

    `beside` are the bytes that are taken beside it while it is open. Not to be nested: a thread that waits for room
    would wait for itself.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with open_regular(path) as file:
            planes = refuse_busy(path, file)
            with Image.open(file, formats=formats) as image:
                stored = os.fstat(file.fileno()).st_size
                taken = memory_of(image, planes)
                if image.width * image.height > Image.MAX_IMAGE_PIXELS:
                    raise Image.DecompressionBombError
                refuse_bombs([Declared(path, taken, stored)])
                refuse_slow(path, file, image)
                with ROOM.taken(taken + beside - BELIEVED * stored):
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


def memory_of(image, planes: int) -> int:
    """The bytes that a picture takes until it is one of MODES, whatever of it is needed.

    `planes` are in the first scan of a JPEG.
    """
    each, bands = TAKEN_BY_WEBP if image.format == "WEBP" else TAKEN.get(image.mode, 8), len(image.getbands())
    if image.info.get("progressive") or 0 < planes < bands:
        each += COEFFICIENT * _numbers(image.layer)
    return int(image.width * image.height * each)


def _numbers(layers: list[tuple[int, int, int, int]]) -> float:
    """The numbers of a JPEG for each of its pixels: 1.5 in most photographs, whose colours are stored at a half."""
    sizes = [height * width for _, height, width, _ in layers]
    return sum(sizes) / (max(height for _, height, _, _ in layers) * max(width for _, _, width, _ in layers))


class Room:
    """Memory that threads share: what one does not get at once it waits for."""

    def __init__(self, most: int):
        self.most, self.used, self.changed = most, 0, threading.Condition()

    @contextlib.contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """So many bytes, for nobody else inside of this. Who asks for more than there is waits until it is alone."""
        count = min(max(0, count), self.most)
        with self.changed:
            self.changed.wait_for(lambda: self.used + count <= self.most)
            self.used += count
        try:
            yield
        finally:
            with self.changed:
                self.used -= count
                self.changed.notify_all()


ROOM = Room(BOMB_BYTES)  # for the pictures that are much larger than their files: of these a few fill the memory


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


def beside_of(axes: tuple[int, int]) -> int:
    """The bytes that `pixels` takes for what it returns, in which colours have four bytes and are copied."""
    return 8 * math.prod(axes)


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
    picture = _eight_bits(image) if image.mode.startswith("I") else image
    # Grey is scaled as such, which gives the same numbers: in colour it would take four times the memory.
    picture = _converted(picture, "L" if picture.mode in GREYS else MODES[channels])
    if picture.size != (width, height):  # else it would be copied
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    return _upright(np.asarray(_converted(picture, MODES[channels])).reshape(height, width, channels), turn)


def _converted(image, mode: str):
    """An image in a mode. Pillow's own method copies one that has it already."""
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image):
    """16-bit grey as 8-bit grey: Pillow's own conversion would make all above 255 white."""
    from PIL import Image

    grey = Image.new("L", image.size)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        numbers = (np.clip(np.asarray(strip), 0, 65535).astype(np.uint32) + 128) // 257
        grey.paste(Image.fromarray(numbers.astype(np.uint8)), (0, top))
    return grey


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
    with quiet(), opened(path, PICTURES, beside_of(axes)) as image:
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
