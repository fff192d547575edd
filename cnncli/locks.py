"""Locks between processes, which go with the process that holds them, however that ends."""

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

KNOWN = fcntl is not None  # whether the system has them


def lock(handle: int, wait: bool) -> bool:
    """Lock an open file or folder; False where the system or its file system cannot, as some NFS.

    Raises BlockingIOError where another process holds it and this one is not to `wait`.
    """
    try:
        if KNOWN:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return KNOWN
    except BlockingIOError:
        raise
    except OSError:
        return False
