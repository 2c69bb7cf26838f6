"""Where a study is kept: a database or a journal file. Workers show there that they are alive."""

import json
import random
import re
import sqlite3
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from ann.cli.parser import check_output
from ann.errors import printable_text
from sweeping import STUDY

_RETRIES = 3  # of a trial whose workers die, since the trial may be what kills them
_ATTEMPTS = 6  # to create the tables of a database
_CONNECT_TIMEOUT = 10  # seconds
_FIX = "restore a backup of it, or name another storage"


def silence_optuna() -> None:
    """Print only Optuna's errors: the worker prints the rest."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


class Journal(JournalStorage, BaseHeartbeat):
    """A journal file with heartbeats, which Optuna itself only has in databases.

    The file may be on a disk that machines share, if their clocks agree. A worker without a
    heartbeat for ``grace`` seconds counts as dead, and ``retry`` is called with its trial.
    """

    def __init__(self, path: str, grace: int, retry: Callable[..., None]) -> None:
        super().__init__(JournalFileBackend(path))
        self._grace, self._retry = grace, retry

    def record_heartbeat(self, trial_id: int) -> None:
        """Called in a thread of the worker."""
        self.set_trial_user_attr(trial_id, "alive", time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        oldest = time.time() - self._grace
        return [
            trial._trial_id
            for trial in running
            if trial.datetime_start
            and trial.datetime_start.timestamp() < oldest
            and trial.user_attrs.get("alive", 0.0) < oldest
        ]

    def get_heartbeat_interval(self) -> int:
        return _interval(self._grace)

    def get_heartbeat_stale_trial_callback(self) -> Callable[..., None]:
        return self._retry


def _interval(grace: int) -> int:
    """Three heartbeats within the grace."""
    return max(1, grace // 3)


def open_storage(storage: str, grace: int) -> Any:
    """Open a database or a journal file, and create it if necessary.

    Args:
        storage: an address such as postgresql://user:password@host/database, a file that ends in
            .journal, or a file for SQLite.
        grace: seconds without a heartbeat after which a worker counts as dead.
    """
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES)
    if _is_file(storage) and storage.endswith(".journal"):
        return _open_journal(storage, grace, retry)
    url = _url(storage)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername.startswith(("postgresql", "mysql")):
        options["connect_args"] = {"connect_timeout": _CONNECT_TIMEOUT}
    open_database = partial(
        RDBStorage,
        url.render_as_string(hide_password=False),
        engine_kwargs=options,
        heartbeat_interval=_interval(grace),
        grace_period=grace,
        heartbeat_stale_trial_callback=retry,
    )
    for attempt in range(1, _ATTEMPTS):
        try:
            return open_database()
        except sqlalchemy.exc.DBAPIError as error:
            # Workers that start together all try to create the tables
            is_integrity = isinstance(error, sqlalchemy.exc.IntegrityError)
            if not (is_integrity or "already exists" in str(error)):
                raise
        time.sleep(attempt * random.uniform(0.1, 0.5))
    return open_database()


def page_of(storage: str, study: str) -> Path:
    """The page of a study: beside its storage, and named after both, so each has its own."""
    if _is_file(storage):
        folder, names = Path(storage).parent, [Path(storage).name]
    else:
        url = _url(storage)
        folder, names = Path(), [url.host or "", url.database or ""]
    names[-1] = names[-1].removesuffix(".db")
    if study != STUDY:
        names.append(study)
    return folder / (re.sub(r"[^\w-]+", "-", " ".join(names)).strip("-") + ".html")


def _is_file(storage: str) -> bool:
    return "://" not in storage


def _url(storage: str) -> sqlalchemy.URL:
    """The address of a database; of an SQLite one for a file."""
    if _is_file(storage):
        return sqlalchemy.URL.create("sqlite", database=storage)
    try:
        return sqlalchemy.make_url(storage)
    except ValueError as error:  # such as a port that is not a number
        raise _error(storage, f"not the address of a database: {error}") from None


def _error(storage: str, problem: str) -> ValueError:
    return ValueError(f"--storage {without_passwords(storage)}: {problem}")


def _open_journal(path: str, grace: int, retry: Callable[..., None]) -> Journal:
    """Open a journal. If a crash or a full disk has torn its last line, that line is removed."""
    try:
        if Path(path).exists():
            lock = JournalFileSymlinkLock(path)
            lock.acquire()
            try:
                _remove_torn_line(path)
            finally:
                lock.release()
        return Journal(path, grace, retry)
    except (OSError, MemoryError):
        raise
    except Exception:  # lines that are not JSON, or other JSON, raise many kinds of errors
        raise _error(path, f"this file is not an Optuna journal, or is damaged; {_FIX}") from None


def _remove_torn_line(path: str) -> None:
    """Remove half a line at the end of what is otherwise a journal. No worker has read it."""
    with open(path, "r+b") as file:
        *lines, last = file.read().split(b"\n")
        if last and lines and all("op_code" in json.loads(line) for line in lines):
            file.truncate(sum(len(line) + 1 for line in lines))


def without_passwords(text: str) -> str:
    """The address of a storage, or any other word of a command, without passwords."""
    text = re.sub(r"(:/{1,2}[^:@/]*):.*@", r"\1:***@", text)
    return re.sub(r"(password=)[^&]*", r"\1***", text)


@contextmanager
def one_line_storage_errors(storage: str) -> Iterator[None]:
    """Turn errors of a storage into a ValueError with one line."""
    try:
        yield
    except Exception as error:
        if reason := _reason(error):
            raise _error(storage, reason) from None
        raise


def _reason(error: Exception) -> str | None:
    """Why a storage failed; None if this is not an error of a storage."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ModuleNotFoundError):
            other = "another can be named, as in mysql+pymysql://..."
            return f"the driver {cause.name} is not installed; {other}"
        if isinstance(cause, sqlalchemy.exc.DBAPIError):
            reason = printable_text(cause.orig, 300)
            is_damaged = type(cause.orig) is sqlite3.DatabaseError  # or not a database
            return f"{reason}; {_FIX}" if is_damaged else reason
    libraries = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError)
    if any(isinstance(cause, libraries) for cause in causes):
        return printable_text(error, 300)
    if _is_from_libraries(error):  # because of what they read
        problem = "it is damaged, or was made by another program"
        return f"{problem}: {printable_text(repr(error), 300)}; {_FIX}"
    return None


def _is_from_libraries(error: Exception) -> bool:
    """Did Optuna or SQLAlchemy raise it, and not our code that they call?"""
    if isinstance(error, (OSError, MemoryError)):
        return False
    packages = ("optuna", "sqlalchemy", "ann", "sweeping")
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_globals.get("__name__", "").partition(".")[0] for frame in frames]
    return [name for name in names if name in packages][-1:] in (["optuna"], ["sqlalchemy"])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that led to it: Optuna's own may hide a database's message."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def check_files(storage: str, report: Path) -> None:
    """Raise ValueError or OSError if the study or the page cannot be written."""
    if not storage:
        raise ValueError("--storage: expected a file, or the address of a database")
    if _is_file(storage):
        path = Path(storage).absolute()
        if path == report.absolute():
            raise ValueError(f"--report {report}: the study is kept there; name another file")
        if not path.parent.is_dir():
            # The "@" makes without_passwords recognise a password in an address without "//"
            shown = without_passwords(f"{path.parent}@").rstrip("@")
            raise _error(storage, f"there is no folder {shown}; create it first")
        if path.is_dir():
            raise _error(storage, "this is a folder; name a file in it")
    check_output(report, ".html")
