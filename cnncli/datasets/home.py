"""Where downloaded data sets live."""

import os
from pathlib import Path


def data_home(data_dir: Path | str | None = None) -> Path:
    """The folder of data sets: `data_dir`, else the environment's CNNCLI_DATA, else the system's cache folder."""
    chosen = data_dir or os.environ.get("CNNCLI_DATA")
    if chosen:
        return Path(os.path.expanduser(chosen))
    import pooch  # 0.1 s, needed only where no folder is named

    return Path(pooch.os_cache("cnncli"))
