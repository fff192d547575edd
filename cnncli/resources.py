"""Where `models/` and `data/` lie: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def bundled(kind: str) -> Path:
    """The folder of the bundled `models` or `data`."""
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind
