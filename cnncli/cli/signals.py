"""Signals that ask a training run to stop."""

import os
import signal
import threading
import time

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
APART = 0.3  # seconds between two signals that mean it: `timeout` sends one to the process and one to its group


class Stop:
    """Whether a signal has asked to stop: a context, and a function for the training loop to ask.

    Until it is asked for the first time, as while kernels are compiled, a signal raises KeyboardInterrupt. A second
    signal ends the process at once, even inside a kernel. What is ignored stays ignored: nohup ignores SIGHUP.

    Python calls a handler between two of its instructions, so not inside a kernel. But it writes every signal's number
    into a pipe at once, and a thread that reads it can run meanwhile.
    """

    def __init__(self):
        self.number, self._asked, self._before = None, False, {}

    def __enter__(self):
        read, self._write = os.pipe()
        if hasattr(os, "set_blocking"):  # what set_wakeup_fd demands, except on Windows
            os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._watch, args=(read,), daemon=True)
        self._thread.start()
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._write)
        self._thread.join()

    def __call__(self) -> bool:
        self._asked = True
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """That of a shell for a process that the signal ended."""
        return 128 + (self.number or signal.SIGINT)

    def _hear(self, number, frame):
        if self.number is None:
            self.number = number
            if not self._asked:
                raise KeyboardInterrupt

    def _watch(self, read):
        """End the process at the second signal, until the pipe is closed."""
        first = None
        while numbers := os.read(read, 64):
            heard = [number for number in numbers if number in self._before]
            if heard:
                first = first or time.monotonic()
                if time.monotonic() - first >= APART:
                    os._exit(128 + heard[-1])
        os.close(read)
