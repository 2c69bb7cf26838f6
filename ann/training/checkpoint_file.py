"""The checkpoint file: everything that a training run needs to continue as if it had not stopped.
It is written completely or not at all, holds host arrays only, so that any device can resume from
it, and is read without executing anything in it.

It is an ``.npz`` file with one array per vector, and ``about``: UTF-8 JSON text that identifies the
run and holds its state.
"""

import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from types import UnionType
from typing import Any, get_origin

import numpy as np

from ann.errors import CheckpointError, printable, printable_text
from ann.files.atomic import read_regular, write_atomically
from ann.training.report import EpochReport

FORMAT, VERSION = "ann-checkpoint", 2
_MAX_BYTES = 2**34
_LONG = 500  # characters of a file in a message, at most


@dataclass
class TrainingState:
    """How far a run has come.

    Attributes:
        epoch: the current or next epoch, from 1.
        step: the number of its steps that are done.
        seconds: how long they took.
        finished: whether the run is complete.
        reports: of the complete epochs.
        warned_of: names of the checks in ``diagnostics`` that have warned.
    """

    epoch: int = 1
    step: int = 0
    seconds: float = 0.0
    finished: bool = False
    reports: list[EpochReport] = field(default_factory=list)
    warned_of: list[str] = field(default_factory=list)

    def is_shorter_than(self, epochs: int) -> bool:
        """Whether its run finished with fewer epochs, and can be continued up to this number."""
        return self.finished and self.reports[-1].epochs < epochs


def write_checkpoint(
    path: str | os.PathLike[str],
    run: Mapping[str, Any],
    state: TrainingState,
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write a checkpoint completely or not at all; ``run`` identifies the run in plain values.

    Raises OSError if it cannot be written; an existing checkpoint is unchanged.
    """
    about = {"format": FORMAT, "version": VERSION, "run": dict(run), **asdict(state)}
    text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    contents: dict[str, Any] = {"about": text, **arrays}
    buffer = io.BytesIO()
    np.savez(buffer, **contents)
    write_atomically(path, buffer.getbuffer())


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], TrainingState, dict[str, np.ndarray]]:
    """The arguments of ``write_checkpoint`` from its file: run, state and arrays.

    Raises CheckpointError if it is missing, unreadable, damaged or of another version.
    """
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return _parse(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # zipfile, NumPy and the tokenizer that it uses raise many types
        raise CheckpointError(
            f"{path}: not a checkpoint, or damaged: {printable_text(error, _LONG)}"
        ) from None


def _parse(data: bytes) -> tuple[dict[str, Any], TrainingState, dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            raise ValueError("it is compressed; checkpoints are not")
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it does not hold arrays only")
    about = json.loads(arrays.pop("about").tobytes())
    if about["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if about["version"] != VERSION:
        raise CheckpointError(
            f"a checkpoint of version {printable(about['version'])}, expected {VERSION}; "
            "name another path for a new run"
        )
    names = {each.name for each in fields(TrainingState)}
    expected = {"format", "version", "run", *names}
    if set(about) != expected:
        raise ValueError(f"its fields are not {', '.join(sorted(expected))}")
    state = TrainingState(**{name: about[name] for name in names})
    state.reports = [EpochReport.from_fields(line) for line in about["reports"]]
    _check_state(state)
    return about["run"], state, arrays


def _check_state(state: TrainingState) -> None:
    """Raise ValueError if the state is inconsistent."""
    _check_types(state)
    epochs = [*(report.epoch for report in state.reports), state.epoch]
    if state.step < 0 or epochs != list(range(1, len(epochs) + 1)):
        raise ValueError(f"epoch {state.epoch}, step {state.step}, {len(state.reports)} reports")
    if state.finished and not state.reports:
        raise ValueError("finished without an epoch")
    for report in state.reports:
        _check_types(report)
        if found := report.validation:
            _check_types(found)
            if not 0 <= found.errors <= found.count or found.count == 0:
                raise ValueError(f"validation {found}")


def _check_types(record: Any) -> None:
    """Raise ValueError unless each field of a dataclass, except optional ones, has its type."""
    for each in fields(record):
        kind, value = get_origin(each.type) or each.type, getattr(record, each.name)
        if kind is not UnionType and type(value) is not kind:
            raise ValueError(f"{each.name} {value!r}")


def check_same_run(path: str | os.PathLike[str], there: Any, here: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming the differences, unless a checkpoint is of this run."""
    differences = list(_differences("", *(json.loads(json.dumps(run)) for run in (there, here))))
    advice = "name another path for a new run"
    if len(differences) == 1 and differences[0].startswith("recipe epochs "):
        advice = f"resume it unchanged, and add epochs when it has finished, or {advice}"
    if differences:
        raise CheckpointError(
            f"{path}: cannot resume a different run: {'; '.join(differences)}; {advice}"
        )


def _differences(name: str, there: Any, here: Any) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            yield from _differences(f"{name} {key}".strip(), there.get(key), here.get(key))
    elif there != here:
        yield f"{name} is {here!r} and was {printable_text(repr(there), _LONG)}"
