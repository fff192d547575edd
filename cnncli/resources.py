"""Where the files that travel with cnncli lie: `models/` and `data/`, inside the wheel or beside the package in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def bundled(kind: str) -> Path:
    """The folder of the bundled `models` or `data`."""
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind
