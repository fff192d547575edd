"""What has to be set before numba is imported, on how many threads kernels run, and how hypothesis searches."""

import os
import signal
import sys

# results are compared bit for bit between 1 and 4 threads, on machines with fewer cores too
os.environ["NUMBA_NUM_THREADS"] = "4"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in the background so
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for the processes that tests interrupt

import pytest
from hypothesis import settings

settings.register_profile("cnncli", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("cnncli")


@pytest.fixture(autouse=True)
def one_thread():
    """Kernels run on one thread where a test does not say otherwise.

    Their work is tiny here, and with more threads than free cores each call waits for one: beside another program on
    two cores the tests of layers and networks took ten times as long on four threads.
    """
    if kernels := sys.modules.get("cnncli.kernels"):  # imported by the tests that use them, and slow to import
        kernels.set_threads(1)


@pytest.fixture(scope="session")
def write_all():
    """A function that writes files, a dictionary of paths below a folder and their bytes, and returns the folder."""

    def write(folder, files: dict):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return write
