"""The digest of a checkpoint whose bytes a test has changed: who makes one to harm can compute it too."""

import hashlib
import json

from cnncli.training.checkpoint import UNSIGNED


def signed(content: bytes) -> bytes:
    """The bytes of a file with their digest in the place for it, if there is one."""
    return content.replace(UNSIGNED.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def changed(content: bytes, change) -> bytes:
    """A checkpoint after `change(about, header)`: our own text, and the header around it."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    about = json.loads(header["__metadata__"]["cnncli"]) | {"sha256": UNSIGNED}
    change(about, header)
    header["__metadata__"]["cnncli"] = json.dumps(about)
    text = json.dumps(header).encode()
    return signed(len(text).to_bytes(8, "little") + text + content[end:])
