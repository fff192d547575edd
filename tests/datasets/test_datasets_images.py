"""Folders of images, and how one image becomes a sample."""

import contextlib
import io
import os
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cnncli.datasets import Input, images, load
from cnncli.datasets.images import read_picture
from cnncli.errors import DataError

PHOTO = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def saved(array, kind="PNG", mode=None, **options) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, bits, colour, rows: bytes) -> bytes:
    """A PNG written by hand. `colour` is 0 for grey, 2 for RGB; `rows` begin with their filter, 0."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decoded(tmp_path, content: bytes, axes, channels=3):
    path = tmp_path / "image"
    path.write_bytes(content)
    with images.quiet(), images.opened(path) as image:
        return images.pixels(image, axes, channels)


def refused(tmp_path, content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        decoded(tmp_path, content, (4, 6))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'image'}: ")
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path / 'image'}: ")


def test_pixels_of_the_right_size_are_kept(tmp_path):
    np.testing.assert_array_equal(decoded(tmp_path, saved(PHOTO), (4, 6)), PHOTO)
    rows = b"".join(b"\0" + row.tobytes() for row in PHOTO)
    np.testing.assert_array_equal(decoded(tmp_path, png(6, 4, 8, 2, rows), (4, 6)), PHOTO)
    grey = PHOTO[:, :, 0]
    np.testing.assert_array_equal(decoded(tmp_path, saved(grey), (4, 6), 1)[:, :, 0], grey)
    np.testing.assert_array_equal(decoded(tmp_path, saved(grey), (4, 6), 3), np.repeat(grey[:, :, None], 3, 2))
    luma = PHOTO @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(decoded(tmp_path, saved(PHOTO), (4, 6), 1)[:, :, 0], luma, atol=1)


def test_jpeg_is_close_to_what_was_saved(tmp_path):
    y, x = np.mgrid[:32, :48]
    photo = np.stack([4 * x, 6 * y, 2 * (x + y)], 2).astype(np.uint8)
    content = saved(photo, "JPEG", quality=95, subsampling=0)
    assert np.abs(decoded(tmp_path, content, (32, 48)).astype(int) - photo).max() < 12
    small = photo.reshape(8, 4, 12, 4, 3).mean((1, 3))  # a quarter: decoded at a quarter
    assert np.abs(decoded(tmp_path, content, (8, 12)) - small).max() < 12


def test_16_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 256, 257, 32896, 65534, 65535]], ">u2")
    content = png(6, 1, 16, 0, b"\0" + values.tobytes())
    assert decoded(tmp_path, content, (1, 6), 1).ravel().tolist() == [0, 1, 1, 128, 255, 255]


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_every_mode(tmp_path, mode):
    content = saved(PHOTO, "JPEG" if mode == "CMYK" else "PNG", mode)
    assert decoded(tmp_path, content, (4, 6)).shape == (4, 6, 3)
    assert decoded(tmp_path, content, (2, 3), 1).shape == (2, 3, 1)


def test_what_overhangs_is_cut_off_on_both_sides(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    assert (decoded(tmp_path, saved(wide), (4, 4)) == 200).all()
    assert (decoded(tmp_path, saved(wide), (8, 8))[:, 2:6] == 200).all()
    assert (decoded(tmp_path, saved(wide.transpose(1, 0, 2)), (4, 4)) == 200).all()


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_are_turned_upright(tmp_path, write_all, orientation, kind):
    """EXIF says how a stored picture has to be turned: what is stored is made here by turning the other way."""
    upright = np.kron(np.array([[0, 80, 160], [250, 40, 120]]), np.ones((16, 16))).astype(np.uint8)
    turns = {
        2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose, 6: np.rot90,
        7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = turns.get(orientation, np.array)(upright)
    content = saved(stored, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    for side in (16, 4):
        found = decoded(tmp_path, content, (2 * side, 3 * side), 1).reshape(2, side, 3, side).astype(int)
        middle = found[:, side // 4 : -side // 4, :, side // 4 : -side // 4]  # at the edges colours mix
        assert np.abs(middle - upright[::16, None, ::16, None]).max() < 8
    folder = write_all(tmp_path, {f"{name}/{i}.png": content for name in ("cat", "dog") for i in range(2)})
    assert load(folder).train.images.shape == (2, 1, 32, 48, 1)


def test_a_damaged_orientation_is_no_reason_to_refuse(tmp_path):
    content = saved(PHOTO, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    np.testing.assert_array_equal(decoded(tmp_path, content, (4, 6)), PHOTO)


def test_truncated_at_every_length_is_refused(tmp_path):
    for content in (saved(PHOTO), saved(PHOTO, "JPEG")):
        for length in range(0, len(content) - 24, 5):  # behind it all pixels are known
            refused(tmp_path, content[:length])


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    for side in (9_500, 30_000, 2**31 - 1):
        message = refused(tmp_path, png(side, side, 8, 2, b""))
        assert message == "declares more than 89,478,485 pixels: damaged, or made to fill the memory"


def test_other_formats_are_refused(tmp_path):
    for content in (b"", b"GIF89a", saved(PHOTO, "GIF"), saved(PHOTO, "TIFF"), b"<svg/>"):
        assert refused(tmp_path, content) == "is not a JPEG or PNG image"


def test_what_is_not_a_regular_file_is_refused(tmp_path, message_of):
    os.mkfifo(tmp_path / "fifo.png")
    assert message_of(read_picture, tmp_path / "fifo.png", (4, 6), 3) == f"{tmp_path / 'fifo.png'}: not a regular file"
    assert "no such image file" in message_of(read_picture, tmp_path / "absent.png", (4, 6), 3)
    assert "not an image of 1 or 3 channels" in message_of(read_picture, tmp_path / "absent.png", (4,), 1)


@quick
@given(st.data(), st.sampled_from(["PNG", "JPEG"]))
def test_mutated_images_raise_nothing_but_data_errors(tmp_path, data, kind):
    content = bytearray(saved(PHOTO, kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert decoded(tmp_path, bytes(content), (4, 6)).shape == (4, 6, 3)


@pytest.fixture
def pets(tmp_path, write_all):
    """Two classes of five images of 4x6, each of one grey: 10, 11, ... and 100, 101, ..."""
    files = {
        f"{name}/{i}.{('png', 'JPG')[i % 2]}": saved(np.full((4, 6), first + i, np.uint8), ("PNG", "JPEG")[i % 2])
        for name, first in (("cat", 10), ("dog", 100))
        for i in range(5)
    }
    return write_all(tmp_path / "pets", files)


def test_a_folder_is_a_data_set(pets):
    dataset = load(pets)
    assert (dataset.name, dataset.source, dataset.rank, dataset.task) == ("pets", str(pets), 2, "classes")
    assert (dataset.classes, dataset.axes, dataset.channels) == (("cat", "dog"), (4, 6), 1)
    values = {}
    for split, count in ((dataset.train, 8), (dataset.test, 2)):
        assert split.images.shape == (count, 1, 4, 6, 1)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert (split.images == split.images[:, :, :1, :1]).all()
        values |= zip(split.images[:, 0, 0, 0, 0].tolist(), split.labels.tolist(), strict=True)
    assert values == {first + i: label for label, first in enumerate((10, 100)) for i in range(5)}


def test_images_are_decoded_to_the_network_s_input(pets):
    dataset = load(pets, None, Input((8, 8), 3))
    assert dataset.train.images.shape == (8, 1, 8, 8, 3)
    assert (dataset.train.images == dataset.train.images[..., :1]).all()
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("network", [Input((8,), 1), Input((8, 8), 2), Input((8, 8, 8), 1)])
def test_a_network_that_takes_no_images(pets, network, message_of):
    message = message_of(load, pets, None, network)
    assert message.startswith(f"{pets}: holds images, the model's input is ")
    assert message.endswith(": set input.size to [height, width] and input.channels to 1 or 3")


def test_a_damaged_image_is_named(pets, message_of):
    (pets / "cat" / "2.png").write_bytes(b"text")
    (pets / "dog" / "1.JPG").write_bytes(b"text")
    assert message_of(load, pets) == f"{pets}/cat/2.png: is not a JPEG or PNG image"
    (pets / "cat" / "2.png").unlink()
    (pets / "cat" / "2.png").symlink_to(pets / "absent")
    assert message_of(load, pets) == f"{pets}/cat/2.png: No such file or directory"


def test_more_than_the_machine_s_memory_is_refused(pets, message_of):
    message = message_of(load, pets, None, Input((2**20, 2**20), 3))
    assert message.startswith(f"{pets}: 8 samples of 1x1048576x1048576x3 need 24 TiB of memory, ")


def test_room_is_shared_and_more_than_there_is_waits_until_it_is_alone():
    room, inside, most = images.Room(10), [], []

    def work(count):
        with room.taken(count):
            inside.append(count)
            most.append(list(inside))
            time.sleep(0.002)
            inside.remove(count)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [4, 5, 6, 25, -3, 0, 1, 10] * 10))
    assert room.used == 0
    assert max(sum(max(0, count) for count in together) for together in most if 25 not in together) <= 10
    assert all(
        max(0, *together) <= 25 and sum(count > 0 for count in together) == 1 for together in most if 25 in together
    )


def test_a_jpeg_of_several_scans_takes_memory_for_each_of_its_numbers(tmp_path):
    photo = np.zeros((40, 60, 3), np.uint8)
    for subsampling, numbers in (("4:4:4", 3), ("4:2:0", 1.5)):
        path = tmp_path / "image"
        path.write_bytes(saved(photo, "JPEG", progressive=True, subsampling=subsampling))
        with images.opened(path) as image:
            assert images.memory_of(image, 3) == 40 * 60 * (4 + 2 * numbers)
    path.write_bytes(saved(photo, "JPEG"))
    with images.opened(path) as image:
        assert images.memory_of(image, 3) == 40 * 60 * 4
        assert images.memory_of(image, 1) == 40 * 60 * (4 + 2 * 1.5)  # the first scan has one plane, others follow
