"""Where downloaded data sets live."""

import os
from contextlib import suppress
from pathlib import Path

from cnncli.errors import DataError, printable


def data_home(data_dir: Path | str | None = None) -> Path:
    """The folder of data sets: `data_dir`, else the environment's CNNCLI_DATA, else the system's cache folder.

    Raises DataError where that cannot be told.
    """
    chosen = data_dir or os.environ.get("CNNCLI_DATA")
    if chosen:
        try:
            return Path(os.path.expanduser(chosen))
        except ValueError:  # the system knows no user of a name with such characters
            raise DataError(f"{printable(chosen)}: not a folder's name: give --data-dir another") from None
    import pooch  # 0.1 s, needed only where no folder is named

    with suppress(RuntimeError):  # a user without a home, as in a container
        folder = Path(pooch.os_cache("cnncli"))
        if folder.parts[0] != "~":  # so it is left by older versions of what pooch asks
            return folder
    raise DataError("no folder for data sets, because this user has no home: set CNNCLI_DATA or give --data-dir")
