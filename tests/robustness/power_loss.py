"""Record what a short run writes, and replay every prefix of it as a loss of power.

    python tests/robustness/power_loss.py

What was not flushed may be there, or in part, or as zeros, or not at all; a name that is new or was changed is safe
once its folder was flushed. After each loss the checkpoints have to be readable, the last one at least that of the last
save that had come to its end, and the run has to go on to the same bits.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import small_runs

from cnncli.training import checkpoint, runs


@dataclass
class File:
    """A file's bytes on the disk, and what has been done to them since."""

    safe: bytes = b""
    now: bytes = b""

    def states(self) -> list[bytes]:
        """What may be found after a loss of power."""
        if self.safe == self.now:
            return [self.now]
        pairs = enumerate(zip(self.safe, self.now, strict=False))
        same = self.now[: next((i for i, (a, b) in pairs if a != b), min(len(self.safe), len(self.now)))]
        torn = self.now[: (len(same) + len(self.now)) // 2]
        zeros = same + bytes(len(self.now) - len(same))
        return list(dict.fromkeys([self.safe, same, torn, zeros, self.now]))


@dataclass
class Disk:
    """One folder: files by name, as it is known to be on the disk and as the running process sees it."""

    safe: dict[str, File] = field(default_factory=dict)
    names: list[dict[str, File]] = field(default_factory=lambda: [{}])  # since the folder was flushed

    @property
    def now(self) -> dict[str, File]:
        return self.names[-1]

    def rename(self, changed: dict[str, File]) -> None:
        self.names.append(changed)

    def flush(self) -> None:
        self.names = [self.now]

    def states(self) -> Iterator[dict[str, bytes]]:
        """What may be found after a loss of power: changes of names reach the disk in their order.

        One file at a time is in each of its states, while the others are as they were flushed.
        """
        for names in self.names:
            flushed = {name: file.safe for name, file in names.items()}
            yield flushed
            yield {name: file.now for name, file in names.items()}
            for name, file in names.items():
                for content in file.states():
                    yield {**flushed, name: content}


@contextmanager
def recorded(folder: Path, after_each):
    """Follow what is done to the files of a folder; `after_each(disk)` is called after each call that changes it."""
    disk, open_files, originals = Disk(), {}, {}

    def inside(path) -> str | None:
        return os.path.basename(path) if os.path.dirname(os.fspath(path)) == str(folder) else None

    def opened(handle, path, flags, *rest, **options):
        name = inside(path)
        if name:
            if name not in disk.now and not os.path.isdir(path):
                disk.rename({**disk.now, name: File()})
            open_files[handle] = name, disk.now[name]
        elif os.fspath(path) == str(folder):
            open_files[handle] = None, None

    def written(count, handle, data, *rest):
        if handle in open_files:
            file = open_files[handle][1]
            at = os.lseek(handle, 0, os.SEEK_CUR) - count if not rest else rest[0]
            file.now = file.now[:at] + bytes(data[:count]) + file.now[at + count :]

    def truncated(_, handle, size):
        if handle in open_files:
            open_files[handle][1].now = open_files[handle][1].now[:size]

    def flushed(_, handle):
        if handle in open_files:
            name, file = open_files[handle]
            if name is None:
                disk.flush()
            else:
                file.safe = file.now

    def closed(_, handle):
        open_files.pop(handle, None)

    def renamed(_, source, target):
        if inside(target):
            names = dict(disk.now)
            names[inside(target)] = names.pop(inside(source))
            disk.rename(names)

    def linked(_, source, target):
        if inside(target):
            disk.rename({**disk.now, inside(target): disk.now[inside(source)]})

    def removed(_, path, **options):
        if inside(path):
            disk.rename({name: file for name, file in disk.now.items() if name != inside(path)})

    def follow(name, original, told):
        def call(*arguments, **options):
            result = original(*arguments, **options)
            told(result, *arguments, **options)
            after_each(disk)
            return result

        return call

    told = {"open": opened, "write": written, "pwrite": written, "ftruncate": truncated, "fsync": flushed}
    told |= {"close": closed, "replace": renamed, "link": linked, "unlink": removed}
    for name in told:
        originals[name] = getattr(os, name)
        setattr(os, name, follow(name, originals[name], told[name]))
    try:
        yield disk
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def losses(folder: Path, model: Path) -> tuple[int, list[tuple[int | None, dict[str, bytes]]]]:
    """Train, and collect (the step of the last save that had ended, files) for every loss of power on the way.

    Returns how many calls there were, too. What was found before, with the same step, is not found again.
    """
    found, saved, calls = {}, [None], 0

    def after_each(disk):
        nonlocal calls
        calls += 1
        for files in disk.states():
            found.setdefault((saved[-1], *sorted(files.items())), (saved[-1], files))

    write = checkpoint.write

    def told(path, found, *slots):
        write(path, found, *slots)
        if path.name == runs.LAST:
            saved.append(found.progress.step)

    checkpoint.write = told
    try:
        with recorded(folder, after_each) as disk:
            small_runs.train(folder, model)
    finally:
        checkpoint.write = write
    assert {name: file.now for name, file in disk.now.items()} == {p.name: p.read_bytes() for p in folder.iterdir()}
    return calls, list(found.values())


def replay(folder: Path, saved: int | None, files: dict[str, bytes]) -> None:
    """Lay out what a loss of power has left, and check it. Raises as `small_runs.check` does."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    step = small_runs.check(folder)
    assert saved is None or (step is not None and step >= saved), f"the save of step {saved} is gone: {step}"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = small_runs.write_model(work)
        small_runs.train(work / "whole", model)
        wanted, problems = small_runs.finished(work / "whole"), []
        calls, found = losses(work / "recorded", model)
        for saved, files in found:
            shown = {re.sub(r"\.[^.]+\.tmp$", ".tmp", name): len(data) for name, data in files.items()}
            try:
                replay(work / "lost", saved, files)
                small_runs.train(work / "lost", model)
                assert small_runs.finished(work / "lost") == wanted, "other bits after it was resumed"
                assert not small_runs.leftovers(work / "lost"), "leftovers stay"
            except Exception as error:
                problems.append(f"after the save of {saved}, {shown}: {type(error).__name__}: {error}")
        print(f"{calls} calls, {len(found)} different losses of power, {len(problems)} problems")
        print("\n".join(problems))
        sys.exit(bool(problems))


if __name__ == "__main__":
    main()
