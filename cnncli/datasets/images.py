"""Single image files, read and written for prediction."""

from pathlib import Path

import numpy as np

from cnncli.errors import DataError


def read_picture(path: Path, axes: tuple[int, ...], channels: int, invert: bool = False) -> np.ndarray:
    """An image file as one sample (1, 1, H, W, C) uint8, resized to `axes` (H, W), in grey or colour as `channels`
    asks.

    `invert` turns dark on light into light on dark, as MNIST's digits are. Raises DataError with one line.
    """
    from PIL import Image, UnidentifiedImageError

    if len(axes) != 2 or channels not in (1, 3):
        raise DataError(f"{path}: the model's input is not an image of 1 or 3 channels")
    if not path.is_file():
        raise DataError(f"{path}: no such image file")
    try:
        with Image.open(path) as image:
            picture = image.convert("L" if channels == 1 else "RGB").resize(axes[::-1], Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image that Pillow can read") from None
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: damaged image ({error})") from None
    pixels = np.asarray(picture, np.uint8).reshape(1, 1, *axes, channels)
    return 255 - pixels if invert else np.ascontiguousarray(pixels)


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    """Write (H, W, C) uint8 of one or three channels as a PNG file; returns where it is."""
    from PIL import Image

    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)
    return path
