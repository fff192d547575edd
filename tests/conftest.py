"""What has to be set before numba is imported, and how hypothesis searches."""

import os

# results are compared bit for bit between 1 and 4 threads, on machines with fewer cores too
os.environ["NUMBA_NUM_THREADS"] = "4"

from hypothesis import settings

settings.register_profile("cnncli", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("cnncli")
