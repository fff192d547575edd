import numpy as np
import pytest

from cnncli.datasets import Dataset, Split, fit, load


def dataset(*shape, rank=2, dtype=np.uint8):
    images = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    split = Split(images, np.zeros(len(images), np.int64))
    return Dataset("made", "nowhere", rank, split, split, ("0",))


def test_what_fits_is_returned_as_it_is():
    for made, axes in (
        (dataset(2, 1, 3, 4, 2), (3, 4)),
        (dataset(2, 1, 1, 5, 1, rank=1, dtype=np.float32), (5,)),
        (dataset(2, 3, 4, 5, 1, rank=3), (3, 4, 5)),
    ):
        assert fit(made, axes, made.channels) is made


def test_images_are_resized():
    digits = load("digits")
    fitted = fit(digits, (28, 28), 1)
    assert fitted.train.images.shape == (1442, 1, 28, 28, 1)
    assert fitted.test.images.shape == (355, 1, 28, 28, 1)
    assert fitted.train.images.dtype == np.uint8
    assert fitted.train.images.flags.c_contiguous
    assert fitted.train.labels is digits.train.labels
    assert (fitted.name, fitted.classes) == (digits.name, digits.classes)
    assert fitted.train.images.mean() == pytest.approx(digits.train.images.mean(), rel=0.02)


def test_resizing_keeps_height_width_and_channels_apart():
    images = np.zeros((1, 1, 2, 2, 4), np.uint8)
    images[0, 0, :, 1, 0] = 200  # the right half
    images[0, 0, 1, :, 3] = 100  # the lower half
    split = Split(images, np.zeros(1, np.int64))
    fitted = fit(Dataset("made", "nowhere", 2, split, split, ("0",)), (4, 8), 4).train.images[0, 0]
    assert fitted.shape == (4, 8, 4)
    np.testing.assert_array_equal(fitted[:, [0, -1], 0], [[0, 200]] * 4)
    np.testing.assert_array_equal(fitted[[0, -1], :, 3], [[0] * 8, [100] * 8])
    assert not fitted[:, :, 1:3].any()


@pytest.mark.parametrize(
    ("made", "axes", "channels", "message"),
    [
        (dataset(2, 1, 8, 8, 1), (8, 8), 3, "1x8x8, the model's input is 3x8x8: set input.channels to 1"),
        (dataset(2, 1, 8, 8, 1), (64,), 1, "of another number of axes: set input.size to [8, 8]"),
        (dataset(2, 1, 8, 8, 1, dtype=np.float32), (28, 28), 1, "float images are not resized: set input.size to"),
        (dataset(2, 1, 1, 8, 1, rank=1), (16,), 1, "signals are not resized: set input.size to [8]"),
        (dataset(2, 4, 4, 4, 1, rank=3), (8, 8, 8), 1, "volumes are not resized: set input.size to [4, 4, 4]"),
        (dataset(2, 1, 8, 8, 1), (2**30, 2**30), 1, "does not fit into memory"),
    ],
)
def test_what_cannot_fit_is_refused(made, axes, channels, message, message_of):
    text = message_of(fit, made, axes, channels)
    assert text.startswith("made: samples are ")
    assert message in text
