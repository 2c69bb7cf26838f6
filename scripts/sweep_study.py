"""A study of Optuna that many processes, on many machines, work at: where it is kept, who may join, and what becomes of
the trial of a worker that died.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from ann.cli.bootstrap import ROOT
from ann.cli.output import echo

RETRIES = 3  # of a trial whose workers die, since it may be what kills them
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
WARM_UP = 3  # tenths of a training in which nobody is given up: wide networks, and some schedules, begin slowly
_ATTEMPTS = 6
_ANSWER = 10  # seconds within which a server has to
_CURE = "restore a backup of it, or name another storage"
_WAITS = 10  # seconds, for the worker that has begun a study to say by which rules


class Journal(JournalStorage, BaseHeartbeat):
    """A journal file whose workers show that they are alive, which Optuna's own do in databases alone.

    Args:
        path: the file, which may be on a disk that machines share, whose clocks should agree.
        grace: seconds without a sign of life after which a worker is taken for dead.
        retry: what to do with its trial.
    """

    def __init__(self, path: str, grace: int, retry: Callable[..., None]) -> None:
        super().__init__(JournalFileBackend(path))
        self._grace, self._retry = grace, retry

    def record_heartbeat(self, trial_id: int) -> None:
        """Called in a thread of the worker."""
        self.set_trial_user_attr(trial_id, "alive", time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return [
            trial._trial_id
            for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
            if max(trial.user_attrs.get("alive", 0), _begun(trial)) < time.time() - self._grace
        ]

    def get_heartbeat_interval(self) -> int:
        """Seconds between two signs of life."""
        return interval(self._grace)

    def get_heartbeat_stale_trial_callback(self) -> Callable[..., None]:
        """What to do with the trial of a dead worker."""
        return self._retry


def _begun(trial: Any) -> float:
    return float(trial.datetime_start.timestamp()) if trial.datetime_start else 0.0


def interval(grace: int) -> int:
    """Three signs of life within the grace."""
    return max(1, grace // 3)


def hush() -> None:
    """Optuna says nothing but errors: the worker speaks."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def open_storage(place: str, grace: int) -> Any:
    """Where the study is kept: an address such as postgresql://user:password@host/database, a file that ends in
    .journal, or a file for SQLite.
    """
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
    if "://" not in place:
        if not Path(place).absolute().parent.is_dir():
            folder = shown_place(str(Path(place).absolute().parent) + "@").rstrip("@")
            raise ValueError(f"--storage {shown_place(place)}: there is no folder {folder}; make it first")
        if Path(place).is_dir():
            raise ValueError(f"--storage {shown_place(place)}: this is a folder; name a file in it")
        if place.endswith(".journal"):
            return _journal(place, grace, retry)
    try:
        url = sqlalchemy.make_url(place) if "://" in place else sqlalchemy.URL.create("sqlite", database=place)
    except ValueError as error:  # such as of a port that is no number
        raise ValueError(f"--storage {shown_place(place)}: no address of a database: {error}") from None
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername.startswith(("postgresql", "mysql")):
        options["connect_args"] = {"connect_timeout": _ANSWER}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs=options,
                heartbeat_interval=interval(grace),
                grace_period=grace,
                heartbeat_stale_trial_callback=retry,
            )
        except sqlalchemy.exc.DBAPIError as error:  # workers that begin together make the tables of a database together
            made_by_another = isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)
            if attempt == _ATTEMPTS or not made_by_another:
                raise
        time.sleep(attempt * random.uniform(0.1, 0.5))
    raise AssertionError


def _journal(place: str, grace: int, retry: Callable[..., None]) -> Journal:
    """The journal in a file. Its last line, where a crash or a full disk has cut it off, goes: it was never read."""
    try:
        if Path(place).exists():
            lock = JournalFileSymlinkLock(place)
            lock.acquire()
            try:
                _mend(place)
            finally:
                lock.release()
        return Journal(place, grace, retry)
    except (OSError, MemoryError):
        raise
    except Exception:  # lines that are not JSON, or are other JSON, raise errors of many kinds
        raise ValueError(f"--storage {place}: this file is not an Optuna journal, or is damaged; {_CURE}") from None


def _mend(path: str) -> None:
    """Cut off half a line at the end of what else is a journal."""
    with open(path, "r+b") as file:
        *lines, last = file.read().split(b"\n")
        if last and lines and all("op_code" in json.loads(line) for line in lines):
            file.truncate(sum(len(line) + 1 for line in lines))


def shown_place(place: str) -> str:
    """A storage, or any other word, without passwords."""
    place = re.sub(r"(:/{1,2}[^:@/]*):.*@", r"\1:***@", place)
    return re.sub(r"(password=)[^&]*", r"\1***", place)


@contextmanager
def one_line_storage_errors(place: str) -> Iterator[None]:
    """Turn what a storage does not do into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ModuleNotFoundError):
                reason = f"the driver {cause.name} is not installed; another can be named, as in mysql+pymysql://..."
                break
            if isinstance(cause, sqlalchemy.exc.DBAPIError):
                reason = " ".join(str(cause.orig).split())[:300]
                if type(cause.orig) is sqlite3.DatabaseError:  # not a database, or a damaged one
                    reason += f"; {_CURE}"
                break
        else:
            if any(isinstance(cause, _OF_STORAGES) for cause in causes):
                reason = " ".join(str(error).split())[:300]
            elif _within_libraries(error):  # because of what they read
                reason = (
                    f"it is damaged, or was made by another program: {' '.join(repr(error).split())[:300]}; {_CURE}"
                )
            else:
                raise
        raise ValueError(f"--storage {shown_place(place)}: {reason}") from None


_OF_STORAGES = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError)


def _within_libraries(error: Exception) -> bool:
    """Whether Optuna or SQLAlchemy raised it, and not code of ours that they call."""
    if isinstance(error, (OSError, MemoryError)):
        return False
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").split(".")[0] in ("optuna", "sqlalchemy"):
            return True
        if any(Path(frame.f_code.co_filename).is_relative_to(ROOT / folder) for folder in ("scripts", "ann")):
            return False
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that led to it; Optuna's own last words may hide what a database said."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def join(storage: Any, name: str, rules: dict[str, str], seed: int | None = None) -> Any:
    """The study of this name, begun now or joined.

    rules: what all workers of a study have in common.

    Raises:
        ValueError: it was begun by other rules.
    """
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=WARM_UP)
    place: dict[str, Any] = {"storage": storage, "study_name": name, "sampler": sampler, "pruner": pruner}
    try:
        study = optuna.create_study(direction="minimize", **place)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(**place)
    else:
        study.set_user_attr("rules", rules)  # by the one worker whose study it became
    begun = _rules(study, name, rules)
    others = [rule for rule in sorted({*begun, *rules}) if begun.get(rule) != rules.get(rule)]
    if others:
        was, now = (", ".join(f"{rule} {words.get(rule)}" for rule in others) for words in (begun, rules))
        raise ValueError(
            f"--study {name}: it was begun with {was}, and this is {now}; say the same, or give another --study"
        )
    return study


def _rules(study: Any, name: str, own: dict[str, str]) -> dict[str, str]:
    """By which a study was begun. Whoever has made it says them at once, or else died, and this worker does."""
    for wait in range(_WAITS + 1):
        trials = study.get_trials(deepcopy=False)  # looked at first, since rules come before any
        rules = study.user_attrs.get("rules")
        if isinstance(rules, dict):
            return rules
        if rules or trials or study.directions != [optuna.study.StudyDirection.MINIMIZE]:
            raise ValueError(f"--study {name}: this study was made by another program; give another name")
        if wait == 0:
            echo(f"study {name} was begun a moment ago: waiting for what its worker says of it")
        if wait < _WAITS:
            time.sleep(1)
    study.set_user_attr("rules", own)
    time.sleep(1)  # others may have done the same, and the last one's are those that all find
    return dict(study.user_attrs["rules"])


def finished(study: Any) -> list[Any]:
    """The trials that were trained, or pruned on the way."""
    return list(study.get_trials(deepcopy=False, states=DONE))


def leaders(study: Any, count: int = 10) -> list[Any]:
    """The trained trials with the fewest mistakes, and of those the smallest."""
    trained = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in trained:
        if trial.value is None or not {"recipe", "parameters", "seconds"} <= trial.user_attrs.keys():
            raise ValueError(f"--study: trial {trial.number} was made by another program; give another name")
    return sorted(trained, key=lambda trial: (trial.value, trial.user_attrs["parameters"]))[:count]
