"""Variables of the environment: what Numba, as it is imported, says in tracebacks is said in a line here."""

import os
import re
import warnings

from cnncli.errors import SpecificationError, printable

LAYERS = ("default", "safe", "threadsafe", "forksafe", "tbb", "omp", "workqueue")
UNREAD = "Environment variable 'NUMBA_"  # how Numba's warnings of variables begin
NO_LAYER = "No threading layer could be loaded"  # how its ValueError begins, with the first kernel that runs


def check() -> None:
    """Raise SpecificationError where a variable cannot be used, of those that Numba takes without a look."""
    count = os.environ.get("NUMBA_NUM_THREADS", "").strip() or "1"
    if not re.fullmatch(r"[0-9]{1,4}", count) or not 1 <= int(count) <= 1024:
        raise SpecificationError(_told("NUMBA_NUM_THREADS", "a number of threads, 1 to 1024"))
    if os.environ.get("NUMBA_THREADING_LAYER", LAYERS[0]).lower() not in LAYERS:
        raise SpecificationError(_told("NUMBA_THREADING_LAYER", f"one of {', '.join(LAYERS)}"))
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features and not all(feature[0] in "+-" for feature in features.split(",") if feature):
        raise SpecificationError(_told("NUMBA_CPU_FEATURES", "names that begin with + or -"))  # LLVM would abort
    warnings.filterwarnings("error", UNREAD, RuntimeWarning)  # of the others it says what it cannot read


def problem(error: Exception) -> str | None:
    """What to say of an exception that a variable has caused, None of any other."""
    found = re.match(rf"{UNREAD}\w*", str(error))
    if found:
        return _told(found[0].removeprefix("Environment variable '"), "a value that Numba knows")
    if isinstance(error, ValueError) and str(error).startswith(NO_LAYER):
        return _told("NUMBA_THREADING_LAYER", "a layer that is installed")
    return None


def _told(name: str, expected: str) -> str:
    return f"the environment's {name}={printable(os.environ.get(name, ''))[:60]}: give it {expected}, or unset it"
