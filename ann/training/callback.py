"""Callbacks: objects whose methods ``fit`` calls during training. Early stopping, checkpoints,
diagnostics, the progress bar and the log of a run folder are callbacks. Users can write their own.
"""

from collections.abc import Callable, Sequence
from typing import Any

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


class FunctionCallback(Callback):
    """Calls one function after each epoch, another after each step, or both."""

    def __init__(
        self,
        on_epoch: Callable[[EpochReport], object] | None = None,
        on_batch: Callable[[int], object] | None = None,
    ) -> None:
        self.on_epoch = on_epoch
        self.on_batch = on_batch

    def after_step(self, images: int) -> object:
        return self.on_batch and self.on_batch(images)

    def after_epoch(self, report: EpochReport) -> object:
        return self.on_epoch and self.on_epoch(report)


def checked_callbacks(callbacks: Any, on_batch: Any) -> list[Callback]:
    """The arguments of ``fit`` as callbacks. Raises ValueError if one is not a callback."""
    if not isinstance(callbacks, Sequence) or not all(
        isinstance(one, Callback) or (callable(one) and not isinstance(one, type))
        for one in callbacks
    ):
        raise ValueError("callbacks: expected a list of functions or ann.Callback objects")
    if on_batch is not None and not callable(on_batch):
        raise ValueError("on_batch: expected a function or None")
    objects = [one if isinstance(one, Callback) else FunctionCallback(one) for one in callbacks]
    return [*objects, FunctionCallback(on_batch=on_batch)] if on_batch else objects
