"""Standard output and error: lines are written at once, and losing them never ends a program."""

import os
import sys
from collections.abc import Callable
from typing import Any

from ann.installation import localized


def warn(text: str) -> None:
    """Print a message on standard error, as one line without terminal codes."""
    line = " ".join(part.strip() for part in localized(text).splitlines())
    shown = (char if char.isprintable() else ascii(char).strip("'") for char in line)
    print("".join(shown), file=sys.stderr)


class Stream:
    """Standard output or error that never ends a program: text that cannot be written is lost.

    Attributes:
        error: the first failure; None if there was none, or if the reader closed its pipe.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        # Backslashes are for file names; a pipe or a file gets each line at once, too
        stream.reconfigure(errors="backslashreplace", line_buffering=True)
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text; if that fails, it is lost."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush the text written before; if that fails, it is lost."""
        self._try(self._stream.flush)

    def _try(self, function: Callable[..., object], *arguments: str) -> None:
        try:
            function(*arguments)
        except BrokenPipeError:  # the reader, such as head, has seen enough
            pass
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_streams() -> None:
    """Make sys.stdout and sys.stderr a ``Stream``; output to a closed one is discarded."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)  # None if it is closed
        stream = before or open(os.devnull, "w")  # noqa: SIM115
        # A notebook's own stream cannot be reconfigured
        if hasattr(stream, "reconfigure") and not isinstance(stream, Stream):
            stream = Stream(stream)
        if before is getattr(sys, f"__{name}__"):
            setattr(sys, f"__{name}__", stream)  # Python flushes this one too when it ends
        setattr(sys, name, stream)
