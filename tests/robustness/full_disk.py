"""Download onto real disks that are full, or read-only: one line, no file, and the next download goes on.

    python tests/robustness/full_disk.py            # as root: it mounts folders of memory

On a disk of 256 KiB, of which another file leaves less and more, a file of 120,000 bytes is downloaded, as it is and in
an archive; then the other file goes, and the same command must end with the right one. At last the disk is mounted
read-only: what is there is found, what is not is refused.
"""

import contextlib
import random
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from downloading import ended, start
from serving import Server, ranged

DISK, BLOCK = 256 * 1024, 4096
FILE = {"made.bin": random.Random(0).randbytes(120_000)}


@contextlib.contextmanager
def disk():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def packed() -> dict[str, bytes]:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in FILE.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return {"made.tar.gz": buffer.getvalue()}


def attempt(server: Server, archive: dict[str, bytes] | None, free: int) -> bool:
    """Download where only so many bytes are free, then where all are. Whether the disk was full at first."""
    with disk() as folder:
        (folder / "other").write_bytes(bytes(DISK - free))
        code, out, err = ended(start(folder / "data", server.address, FILE, archive))
        file = folder / "data" / "made" / "made.bin"
        if code:
            assert (code, out, err.count("\n")) == (3, "", 1), err
            assert err.endswith("cannot be written: No space left on device\n"), err
            assert not file.exists()
        (folder / "other").unlink()
        assert ended(start(folder / "data", server.address, FILE, archive))[0] == 0
        assert file.read_bytes() == FILE["made.bin"]
        assert list(file.parent.iterdir()) == [file]
        return code != 0


def read_only(server: Server) -> None:
    with disk() as folder:
        assert ended(start(folder, server.address, FILE))[0] == 0
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert ended(start(folder, server.address, FILE)) == (0, f"{folder}/made\n", "")
        code, out, err = ended(start(folder, server.address, {"other.bin": b""}))
        assert (code, out) == (3, "")
        assert err == f"error: {folder}/made/.partial: cannot be written: Read-only file system\n"


def main() -> int:
    archive = packed()
    with Server().running() as server:
        for name, content in {**FILE, **archive}.items():
            server.answers[f"/{name}"] = ranged(content)
        for way in (None, archive):
            tried = [attempt(server, way, blocks * BLOCK) for blocks in range(0, DISK // BLOCK + 1, 4)]
            print(f"{'archive' if way else 'file'}: {len(tried)} disks, {sum(tried)} of them full: all passed")
        read_only(server)
        print("read-only: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
