"""What a trained network makes of pictures: classes, maps of labels, or the pictures again."""

from pathlib import Path

import numpy as np

from cnncli import datasets
from cnncli.datasets.batches import Feeder
from cnncli.datasets.images import read_picture, write_picture
from cnncli.errors import CnncliError, DataError
from cnncli.layers.losses import probabilities
from cnncli.network import CLASSES, PIXELS
from cnncli.training import checkpoint, memory, runs


def predict(run_or_file: str | None, images: list[Path], invert: bool = False, out: Path | None = None) -> list[dict]:
    """A result for each image file, each with its "file".

    Of a network for classes, "class" and "probabilities", most probable first; of one that labels pixels, "map", the
    picture of labels that is written into `out`, and "shares" of the classes; of one that reconstructs its input,
    "picture", likewise, and "loss".
    """
    path = runs.checkpoint_of(run_or_file)
    found = checkpoint.read(path)
    network = found.network
    memory.check_use(path, network, 1)
    if found.normalization.unit == 1:
        raise DataError("the network was trained on floats, whose scale a picture does not have")
    if network.task != CLASSES:
        what = "labels pixels" if network.task == PIXELS else "reconstructs pictures"
        if out is None:
            raise CnncliError(f"the network {what}: say with --out in which folder")
        out.mkdir(parents=True, exist_ok=True)
    return [{"file": str(path), **_one(found, path, invert, out)} for path in images]


def _one(found: checkpoint.Checkpoint, path: Path, invert: bool, out: Path | None) -> dict:
    network = found.network
    picture = read_picture(path, network.input.axes, network.input.channels, invert)
    unknown = np.zeros(picture.shape[:-1], np.uint8) if network.task == PIXELS else np.zeros(1, np.int64)
    feeder = Feeder(datasets.Split(picture, unknown), found.normalization, network.arena.dtype)
    plan = network.plan(1, training=False)
    feeder.fill(plan, np.zeros(1, np.int64), 0)
    plan.forward()
    of_rows = network.output.channels if network.task == PIXELS else plan.output.shape[1]
    believed = probabilities(network.specification.loss.kind, plan.output.reshape(-1, of_rows))
    count = network.output.channels
    names = [found.classes[i] if i < len(found.classes) else f"output {i}" for i in range(count)]
    if network.task == CLASSES:
        order = np.argsort(-believed[0], kind="stable")
        ranked = {names[i]: believed[0, i].item() for i in order}
        return {"class": names[order[0]], "probabilities": ranked}
    if network.task == PIXELS:
        labels = believed.argmax(1)
        grey = (labels * (255 // max(1, count - 1))).astype(np.uint8).reshape(*network.input.axes, 1)
        shares = np.bincount(labels, minlength=count) / labels.size
        to = write_picture(out / f"{path.stem}-labels.png", grey)
        return {"map": str(to), "shares": dict(zip(names, shares.tolist(), strict=True))}
    shown = believed.reshape(*network.input.axes, network.input.channels)
    n = found.normalization
    values = (shown * n.deviation + n.mean) * n.unit
    to = write_picture(out / f"{path.stem}-output.png", np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return {"picture": str(to), "loss": float(plan.losses[0])}
