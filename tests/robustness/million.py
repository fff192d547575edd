"""Train on a million images of 28x28, and say what memory that takes beyond the images themselves.

    python tests/robustness/million.py idx          # or npz; a second argument is another number of images

Writes IDX files (784 MB) or a .npz of random images to /dev/shm, else to the folder for temporary files, and runs
`cnncli train` on them for 20 steps. Exit code 1 where its resident memory peaks 1 GB or more above the images' bytes.
"""

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cnncli.datasets.idx import FILES

ALLOWED = 10**9  # bytes
SIZE = 28 * 28
PART = 10_000
TRAIN = ["train", "--model", "lenet", "--set", "train.max_steps=20", "--threads", "2", "--quiet"]


def write_idx(folder: Path, count: int) -> None:
    """Four IDX files: `count` training images and a hundredth of them to test on, written part by part."""
    random = np.random.default_rng(0)
    for name, samples in zip(FILES, (count, count, count // 100, count // 100), strict=True):
        images = "images" in name
        extents = (samples, 28, 28) if images else (samples,)
        with open(folder / name, "wb") as file:
            file.write(struct.pack(f">4B{len(extents)}I", 0, 0, 8, len(extents), *extents))
            for _ in range(0, samples, PART):
                numbers = PART * SIZE if images else PART
                file.write(random.integers(0, 256 if images else 10, numbers, np.uint8).tobytes())
            file.truncate(4 + 4 * len(extents) + samples * (SIZE if images else 1))


def write_npz(path: Path, count: int) -> None:
    random = np.random.default_rng(0)
    arrays = {}
    for part, samples in (("train", count), ("test", count // 100)):
        arrays[f"x_{part}"] = random.integers(0, 256, (samples, 28, 28), np.uint8)
        arrays[f"y_{part}"] = random.integers(0, 10, samples, np.uint8)
    np.savez(path, **arrays)


def peak_of(arguments: list[str]) -> int:
    """The bytes of the peak of resident memory of `cnncli` with those arguments. Pages of shared memory are not it."""
    process = subprocess.Popen([sys.executable, "-m", "cnncli", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"cnncli ended with {process.returncode}")
    return usage.ru_maxrss * 1024


def measure(kind: str, count: int) -> tuple[int, int]:
    """The bytes of the images, and the peak of training on them."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        if kind == "idx":
            write_idx(data, count)
        else:
            data = data / "many.npz"
            write_npz(data, count)
        peak = peak_of([*TRAIN, "--dataset", str(data), "--out", f"{folder}/run"])
    return (count + count // 100) * SIZE, peak


def main() -> int:
    kind, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    images, peak = measure(kind, count)
    beyond = peak - images
    print(
        f"{kind}, {count} images: {images / 1e6:.0f} MB of images, peak {peak / 1e6:.0f} MB, {beyond / 1e6:.0f} beyond"
    )
    return 0 if beyond < ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
