"""What can go wrong for a user: one line each, with the exit code that the command ends with."""


class CnncliError(Exception):
    """Anything that a command reports as one line. `str(error)` is that line, without the prefix `error: `."""

    exit_code = 1


class SpecificationError(CnncliError):
    """A specification, an override or an argument that cannot be used."""

    exit_code = 2


class DataError(CnncliError):
    """A data set that is missing, damaged or does not fit the network."""

    exit_code = 3


class CheckpointError(CnncliError):
    """A checkpoint that is missing, damaged or of another network."""

    exit_code = 4


class DivergedError(CnncliError):
    """The loss or a gradient became NaN or infinite."""

    exit_code = 5


class StoppedError(CnncliError):
    """A run was asked to stop, and has saved where it is. A command ends with 128 and the number of the signal."""
