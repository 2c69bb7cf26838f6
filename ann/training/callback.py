"""Callbacks: objects whose methods ``fit`` calls during training. Early stopping, checkpoints,
diagnostics, the progress bar and the log of a run folder are callbacks. Users can write their own.
"""

from ann.training.report import EpochReport


class Callback:
    """Base class of all callbacks. Its methods do nothing: override those that you need.

    An exception in a method ends training and reaches the caller of ``fit``.
    """

    def at_start(self) -> object:
        """Called once, before training starts or resumes."""

    def before_epoch(self) -> object:
        """Called before each epoch, and when training resumes within one."""

    def after_step(self, images: int) -> object:
        """Called after each step with the number of images in its batch.

        If it returns True, training stops in the middle of the epoch. On a GPU the step may still
        be queued.
        """

    def after_epoch(self, report: EpochReport) -> object:
        """Called after each epoch. If it returns True, training ends."""

    def at_end(self) -> object:
        """Called once, after training has ended or a callback has stopped it."""
