"""Progress of a training run on stderr: a bar on a terminal, else one line an epoch."""

import sys
from contextlib import suppress

from tqdm import tqdm

from cnncli import kernels
from cnncli.cli import options
from cnncli.training.loop import Listener


class Progress(Listener):
    """`quiet` says nothing; `verbose` also says what is used."""

    def __init__(self, quiet: bool, verbose: bool):
        self.quiet, self.verbose, self.bar = quiet, verbose, None
        self.told_of_cache = quiet

    def warned(self, text):
        self._say(f"warning: {text}")

    def compiling(self):
        if not self.quiet:
            self._say("compiling kernels, once for this machine and version: some 10 seconds")

    def started(self, run):
        self.epochs, self.steps_per_epoch, self.done = run.options.epochs, run.steps_per_epoch, run.progress.step
        if self.quiet:
            return
        network = run.network
        count = f"{network.parameters.count:,} parameters"
        self._say(f"{network.specification.name}: {count}, into {run.folder}")
        self.tell_of_cache()
        if self.done:
            self._say(f"going on after step {self.done} of {run.total}")
        if self.verbose:
            text = ", ".join(f"{name} {version}" for name, version in kernels.versions().items())
            self._say(f"{text}; {network.arena.bytes / 2**20:.1f} MiB for parameters and optimiser")

    def tell_of_cache(self):
        """Once, when it has shown: at the start, or where the last kernels are compiled, in the first epoch."""
        if not self.told_of_cache and (problem := kernels.cache_problem()):
            self.told_of_cache = True
            self._say(f"kernels are compiled anew in each run: {problem}")

    def learning(self, path, kind):
        if not self.quiet:
            self._say(f"learning the filters of {path} by {kind}")

    def chose_threads(self, seconds):
        if self.verbose and not self.quiet:
            tried = ", ".join(f"{count}: {1e3 * step:.3g} ms" for count, step in seconds.items())
            self._say(f"{kernels.threads()} threads, measured ({tried})")

    def stepped(self, loss):
        if self.quiet or not sys.stderr.isatty():
            return
        self.done += 1
        with suppress(OSError):
            if self.bar is None:
                first = (self.done - 1) % self.steps_per_epoch
                name = f"epoch {(self.done - 1) // self.steps_per_epoch + 1}/{self.epochs}"
                self.bar = tqdm(
                    total=self.steps_per_epoch, initial=first, desc=name, unit="step", leave=False, mininterval=0.2
                )
            self.bar.update()

    def epoch_ended(self, record):
        self.close()
        self.done = record["step"]
        self.tell_of_cache()
        if not self.quiet:
            shares = [("test accuracy", record["test_accuracy"]), ("test IoU", record["test_mean_iou"])]
            measured = "".join(f"{name} {share:.2%}  " for name, share in shares if share is not None)
            self._say(
                f"epoch {record['epoch']}/{self.epochs}  loss {record['train_loss']:.4f}  "
                f"test loss {record['test_loss']:.4f}  {measured}"
                f"{record['images_per_second']:,.0f} images/s  {record['seconds']:.1f} s"
            )

    def close(self):
        """Take the bar away."""
        if self.bar is not None:
            with suppress(OSError):
                self.bar.close()
            self.bar = None

    def _say(self, text):
        """A line on stderr. A training goes on when its terminal, or who read from it, has left."""
        with suppress(OSError):
            options.say(text, err=True)
