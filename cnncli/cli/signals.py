"""Signals that ask a training run to stop."""

import signal

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stop:
    """Whether a signal has asked to stop: a context, and a function for the training loop to ask.

    Until it is asked for the first time, as while kernels are compiled, a signal raises KeyboardInterrupt. A second
    signal ends the process at once, even inside a kernel. What is ignored stays ignored: nohup ignores SIGHUP.
    """

    def __init__(self):
        self.number, self._asked, self._before = None, False, {}

    def __enter__(self):
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        self._asked = True
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """That of a shell for a process that the signal ended."""
        return 128 + (self.number or signal.SIGINT)

    def _hear(self, number, frame):
        self.number = number
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)
        if not self._asked:
            raise KeyboardInterrupt
