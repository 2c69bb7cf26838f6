"""Sweeps as users run them: one worker and two, a killed worker, and storages that do not work."""

import contextlib
import re
import shlex
import signal
import sqlite3
import sys
import threading
import time
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ann
from support import ROOT, optional, postgres_server, programs
from support.digits import write_mnist_like
from support.programs import NO_GPU, execute, run

optuna = optional("optuna")
optional("psycopg")

pytestmark = pytest.mark.slow

SMALL = (
    "--validation 100 --batch-size 20-60 --width 8-32 --time-per-trial 0.3 --max-epochs 20".split()
)
ENV = {**NO_GPU, "OPENBLAS_NUM_THREADS": "1"}


def sweep(folder, *flags, env=ENV, code=0):
    """Run a sweep of small networks on the data set in this folder."""
    return run("sweep --data small", *SMALL, *flags, cwd=folder, env=env, code=code)


@pytest.fixture(scope="module")
def database():
    """The address of a PostgreSQL; required with ANN_REQUIRE_PEERS=1."""
    with postgres_server.server() as address:
        yield address


@pytest.fixture
def storage(request, tmp_path):
    """Where a study may be kept."""
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return str(tmp_path / f"study.{request.param}")


def trials_in(storage, states=None, name="digits"):
    from sweeping.storage import open_storage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that heartbeats are an experiment
        opened = open_storage(storage, 100)
        try:
            return optuna.load_study(study_name=name, storage=opened).get_trials(states=states)
        finally:
            opened.remove_session()
            if hasattr(opened, "engine"):
                opened.engine.dispose()


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def test_a_sweep_and_its_best_network(tmp_path, small_data):
    flags = ["--data", small_data, *SMALL, "--trials", 4]
    out, _ = run("sweep", *flags, cwd=tmp_path, env=ENV)
    assert "study digits in sweep.db: trials done: 0" in out
    assert (
        len(
            re.findall(
                r"^trial \d: [^:]+: (\d+ wrong, \d+ s|pruned after \d+ of \d+ epochs);", out, re.M
            )
        )
        == 4
    )
    page = (tmp_path / "sweep.html").read_text()
    assert "<title>Sweep: digits</title>" in page
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert [title for title in titles if title != "Importance"] == [
        "Best trials",
        "History",
        "Mistakes and cost",
        "Single choices",
    ]
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "<script" not in page
    wrong = int(re.search(r"network\n +\d+ +(\d+)", out)[1])
    best = re.search(r"^the best: OPENBLAS_NUM_THREADS=1 \S+ \S+train.py (.*)$", out, re.M)[1]
    trained, warning = run("train", *shlex.split(best), cwd=tmp_path, env=ENV, complaint=None)
    # The best of four random networks may have learnt little; then training warns.
    assert warning == "" or re.fullmatch(
        r"warning: the network has learnt next to nothing: .*\n", warning
    )
    assert f", {wrong} wrong (" in trained.splitlines()[-4]  # the very same network
    assert (tmp_path / "best.pickle").exists()
    again, _ = run("sweep", *flags, cwd=tmp_path, env=ENV)
    assert "trials done: 4" in again and "there is nothing to do" in again and best in again
    more, _ = run("sweep", *flags[:-1], 5, cwd=tmp_path, env=ENV)
    assert "trials done: 4" in more and re.search(r"^trial 4: ", more, re.M)


def test_convolutional_networks(tmp_path, small_data):
    space = ["--hidden", "conv4x3,pool2,8", "conv2x5,6", "--batch-size", "20-60"]
    limits = ["--validation", 100, "--time-per-trial", 0.1, "--max-epochs", 3, "--trials", 2]
    out, _ = run("sweep", "--data", small_data, *space, *limits, cwd=tmp_path, env=ENV)
    wrong, network = re.search(r"network\n +\d+ +(\d+) .*  (conv\S+) ", out).groups()
    assert network in ("conv4x3-pool2-8", "conv2x5-6")
    best = re.search(r"^the best: .*train.py (.*)$", out, re.M)[1]
    trained, _ = run("train", *shlex.split(best), cwd=tmp_path, env=ENV, complaint=None)
    assert f", {wrong} wrong (" in trained
    assert (tmp_path / "best.pickle").exists()


def start(*flags, cwd):
    return programs.start(ROOT / "scripts/sweep.py", *flags, cwd=cwd, env=ENV)


def running(storage, process):
    """The trial that a worker runs."""

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            trials = trials_in(storage, (optuna.trial.TrialState.RUNNING,))
        except Exception:  # the study is not there yet
            trials = []
        for trial in trials:
            if trial.user_attrs.get("worker", "").endswith(f", process {process.pid}"):
                return trial
        time.sleep(0.1)
    raise AssertionError(process.communicate())


LONG = (
    "--validation 100 --batch-size 20-60 --width 8-32 --time-per-trial 2 --max-epochs 9999".split()
)


@pytest.mark.parametrize("storage", ["journal", "db", "postgresql"], indirect=True)
def test_two_workers_one_of_them_killed(tmp_path, small_data, storage):
    """The other one repeats its trial with the same choices."""
    flags = ["--data", small_data, *LONG, "--trials", 6, "--grace", 4, "--storage", storage]
    victim = start(*flags, "--report", "a.html", cwd=tmp_path)
    running(storage, victim)
    other = start(*flags, "--report", "b.html", cwd=tmp_path)
    running(storage, other)
    doomed = running(storage, victim)
    victim.kill()
    victim.communicate()
    out, complaint = other.communicate(timeout=300)
    assert (other.returncode, complaint) == (0, "")
    trials = trials_in(storage)
    states = [trial.state.name for trial in trials]
    assert states[doomed.number] == "FAIL"
    again = [trial for trial in trials if trial.system_attrs.get("failed_trial") == doomed.number]
    assert len(again) == 1 and again[0].params == trials[doomed.number].params != {}
    assert again[0].state.name in ("COMPLETE", "PRUNED") and f"trial {again[0].number}: " in out
    assert sum(state in ("COMPLETE", "PRUNED") for state in states) == 6
    assert "s3cret" not in out and "s3cret" not in (tmp_path / "b.html").read_text()


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
def test_two_workers_share_the_trials(tmp_path, small_data, storage):
    slow = ["--time-per-trial", 1]  # so that neither has made all before the other has begun
    study = ["--study", "shared", "--storage", storage]
    flags = ["--data", small_data, *SMALL, *slow, "--trials", 12, *study]
    workers = [start(*flags, "--report", f"{number}.html", cwd=tmp_path) for number in range(2)]
    found = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], found
    counts = [len(re.findall(r"^trial \d+: ", out, re.M)) for out, _ in found]
    assert min(counts) > 0 and 12 <= sum(counts) <= 13
    leader = [re.search(r"^the best: (.*)$", out, re.M)[1] for out, _ in found]
    assert leader[0] == leader[1] or sum(counts) == 13  # which one of them has not seen
    worker = start(*flags, "--trials", 99, cwd=tmp_path)
    line = next(line for line in worker.stdout if line.startswith("trial "))
    worker.send_signal(signal.SIGINT)
    out, complaint = worker.communicate(timeout=300)
    assert (
        worker.returncode == 130
        and "continue: " in complaint
        and "s3cret" not in line + out + complaint
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_continues(tmp_path, small_data, number, code):
    storage = str(tmp_path / "sweep.db")
    flags = ["--data", small_data, *LONG, "--trials", 1]
    worker = start(*flags, cwd=tmp_path)
    running(storage, worker)
    worker.send_signal(number)
    out, complaint = worker.communicate(timeout=300)
    assert worker.returncode == code and "Traceback" not in complaint
    assert re.search(
        r"^interrupted: the study is kept; continue: python .*sweep.py --data ", complaint
    )
    assert "no trial has finished its training yet" in out and (tmp_path / "sweep.html").exists()
    out, _ = run("sweep", *flags, cwd=tmp_path, env=ENV)
    trials = trials_in(storage)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[1].params == trials[0].params != {}


def test_a_second_ctrl_c_keeps_the_trial_too(tmp_path, small_data):
    """It does not wait for the current step."""
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:];\n"
        "import ann\n"
        "def fit(*arguments): raise KeyboardInterrupt\n"
        "ann.fit = fit\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = ROOT / "scripts/sweep.py"
    command = [sys.executable, "-c", program, script, "--data", small_data, *SMALL]
    process = execute(command, tmp_path, env=ENV)
    assert process.returncode == 130 and "interrupted: the study is kept" in process.stderr
    failed, waiting = trials_in(str(tmp_path / "sweep.db"))
    assert (failed.state.name, waiting.state.name) == ("FAIL", "WAITING")
    assert waiting.system_attrs["fixed_params"] == failed.params != {}


def test_another_space_is_refused(tmp_path, small_data):
    sweep(tmp_path, "--trials", 1)
    for flags, words in (
        (("--width", "8-64"), "it was started with --width 8-32, and this is --width 8-64"),
        (("--seed", 1), "it was started with --seed 0, and this is --seed 1"),
        (
            ("--seed", 1, "--distort", "no"),
            "started with --distort no,yes, --seed 0, and this is --distort no, --seed 1; use",
        ),
        (
            ("--data", write_mnist_like(tmp_path / "other", seed=1)),
            "it was started with training data",
        ),
    ):
        _, complaint = sweep(tmp_path, *flags, code=1)
        assert words in complaint and "use the same, or another --study" in complaint
    page = (tmp_path / "sweep.html").read_bytes()
    out, _ = sweep(tmp_path, *"--seed 1 --trials 1 --study two".split())
    assert "study two in sweep.db: trials done: 0" in out
    sweep(tmp_path, *"--storage my.db --study a/b --trials 1".split())
    assert (tmp_path / "sweep.html").read_bytes() == page  # each study has its own
    (tmp_path / "other").mkdir(exist_ok=True)
    sweep(tmp_path, *"--storage other/sweep.db --trials 1".split())
    assert (tmp_path / "sweep.html").read_bytes() == page
    for name, study in (("sweep-two", "two"), ("my-a-b", "a/b"), ("other/sweep", "digits")):
        assert f"<title>Sweep: {study}</title>" in (tmp_path / f"{name}.html").read_text()


def test_storages_that_do_not_work(tmp_path, small_data, database):
    (tmp_path / "text.db").write_text("this is no database" * 100)
    (tmp_path / "text.journal").write_text("this is no journal\n" * 3)
    (tmp_path / "object.journal").write_text("{}\n")
    (tmp_path / "number.journal").write_text("1\n")
    (tmp_path / "binary.journal").write_bytes(bytes(range(256)) * 9)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.journal")}
    place = database.split("@")[1]
    wrong_password = f"postgresql://ann:wrong%20one@{place}"
    for storage, words in (
        (wrong_password, "password authentication failed"),
        (f"postgresql://ann:x@{place}_absent", "failed"),
        ("postgresql://ann:hidden@127.0.0.1:1/x", "[Cc]onnection refused"),
        ("postgresql://ann:hidden@host.invalid/x", "resolve|not known|Name or service"),
        (
            "mysql://me:hidden@127.0.0.1/x",
            "the driver MySQLdb is not installed; another can be named, as in mysql\\+pymysql",
        ),
        ("nothing://me:hidden@host/x", "nothing"),
        ("text.db", "not a database"),
        ("text.journal", "not an Optuna journal, or is damaged"),
        ("object.journal", "not an Optuna journal, or is damaged"),
        ("number.journal", "not an Optuna journal, or is damaged"),
        ("binary.journal", "not an Optuna journal, or is damaged"),
        ("postgresql://me:hidden@127.0.0.1:port/x", "not the address of a database"),
        ("postgresql://127.0.0.1:1/x?user=me&password=hidden", "[Cc]onnection refused"),
        ("postgresql:/me:hidden@h/x.db", "there is no folder"),
        ("", "expected a file, or the address of a database"),
        ("absent/study.db", "there is no folder"),
        ("absent/study.journal", "there is no folder"),
    ):
        _, complaint = sweep(tmp_path, "--storage", storage, code=1)
        assert re.search(words, complaint), complaint
        assert (
            "hidden" not in complaint
            and "wrong%20one" not in complaint
            and "wrong one" not in complaint
        )
        assert len(complaint) < 500
    assert all(path.read_bytes() == data for path, data in before.items())
    _, complaint = sweep(tmp_path, "--storage", "x.html", "--report", "x.html", code=1)
    assert "the study is kept there" in complaint


@pytest.mark.parametrize(
    "damage", ["an unknown operation", "a line of something else", "a value in a database"]
)
def test_a_damaged_study_is_named(tmp_path, small_data, damage):
    name = "x.db" if "database" in damage else "x.journal"
    flags = ["--data", small_data, *SMALL, "--trials", 1, "--storage", name]
    run("sweep", *flags, cwd=tmp_path, env=ENV)
    if name == "x.db":
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as database, database:
            database.execute("update study_user_attributes set value_json = '{'")
    else:
        lines = (tmp_path / name).read_text().splitlines()
        lines.insert(3, '{"op_code": 77}' if "operation" in damage else "nonsense")
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    _, complaint = run("sweep", *flags, cwd=tmp_path, env=ENV, code=1)
    assert complaint.startswith(f"error: --storage {name}: ") and "damaged" in complaint
    assert complaint.endswith("restore a backup of it, or name another storage\n")


def test_trials_of_another_program(tmp_path, small_data):
    flags = ["--data", small_data, *SMALL, "--storage", "x.db", "--trials"]
    run("sweep", *flags, 1, cwd=tmp_path, env=ENV)
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("delete from trial_user_attributes")
    _, complaint = run("sweep", *flags, 2, cwd=tmp_path, env=ENV, code=1)
    assert complaint == "error: --study: trial 0 was made by another program; give another name\n"


def test_a_torn_journal_loses_its_last_line_alone(tmp_path, small_data):
    flags = ["--data", small_data, *SMALL, "--storage", "x.journal", "--trials"]
    run("sweep", *flags, 2, cwd=tmp_path, env=ENV)
    whole = (tmp_path / "x.journal").read_bytes()
    (tmp_path / "x.journal").write_bytes(whole[:-25])
    out, _ = run("sweep", *flags, 3, cwd=tmp_path, env=ENV)
    assert "trials done: 1" in out  # what the line said is lost, and was never acknowledged
    assert "trials done: 3" in run("sweep", *flags, 3, cwd=tmp_path, env=ENV)[0]


def test_too_large_for_the_memory(tmp_path, small_data):
    resource = pytest.importorskip("resource")
    flags = "--data small --width 9000 --hidden-layers 3 --trials 1 --distort no".split()
    command = [sys.executable, ROOT / "scripts/sweep.py", *SMALL[:4], *flags]

    def little():
        resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9))

    process = execute(command, tmp_path, env=ENV, preexec_fn=little)
    assert process.returncode == 0 and process.stderr == ""
    assert "trial 0: 9000-9000-9000 " in process.stdout and ": not enough memory" in process.stdout
    assert "<title>Sweep: digits</title>" in (tmp_path / "sweep.html").read_text()


def locked(database):
    """Whether a process holds the write lock of an SQLite database."""
    with contextlib.closing(sqlite3.connect(database, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def make_stale(database, trial):
    """Make the heartbeat of a running trial old. Returns whether there is one."""
    statement = "update trial_heartbeats set heartbeat = '2000-01-01 00:00:00' where trial_id in "
    statement += "(select trial_id from trials where state = 'RUNNING' and trial_id = ?)"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(statement, [trial]).rowcount == 1


def test_a_worker_that_slept(tmp_path, small_data):
    """Its trial was given to another worker, and it continues with the next."""
    storage = str(tmp_path / "sweep.db")
    flags = ["--data", small_data, *LONG, "--trials", 4, "--grace", 10**6, "--storage", storage]
    sleeper = start(*flags, "--report", "a.html", cwd=tmp_path)
    doomed = running(storage, sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    while locked(storage) or not make_stale(storage, doomed._trial_id):
        sleeper.send_signal(signal.SIGCONT)
        doomed = running(storage, sleeper)
        sleeper.send_signal(signal.SIGSTOP)
    other = start(*flags, "--report", "b.html", cwd=tmp_path)
    while trials_in(storage)[doomed.number].state.name != "FAIL" and other.poll() is None:
        time.sleep(0.3)
    sleeper.send_signal(signal.SIGCONT)
    outputs = []
    for worker in (sleeper, other):
        out, complaint = worker.communicate(timeout=300)
        assert worker.returncode == 0 and complaint == "", out + complaint
        assert "the best: " in out
        outputs.append(out)
    assert "its trial was reassigned; continuing with the next one" in outputs[0]
    trials = trials_in(storage)
    assert trials[doomed.number].state.name == "FAIL"
    again = [trial.system_attrs.get("failed_trial") for trial in trials]
    assert again.count(doomed.number) == 1


def test_a_study_of_another_program(tmp_path, small_data):
    from sweeping.storage import open_storage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = open_storage(str(tmp_path / "sweep.db"), 100)
        study = optuna.create_study(storage=opened, study_name="digits")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        opened.remove_session()
        opened.engine.dispose()
    _, complaint = sweep(tmp_path, code=1)
    assert "this study was made by another program; give another name" in complaint


@pytest.mark.filterwarnings("ignore")  # of Optuna, on what may change
@pytest.mark.parametrize("name", ["sweep.db", "sweep.journal"])
def test_one_of_several_workers_writes_the_rules(tmp_path, monkeypatch, name):
    from sweeping.storage import open_storage
    from sweeping.study import join

    study = optuna.study.Study
    said = study.set_user_attr
    monkeypatch.setattr(study, "set_user_attr", lambda *words: time.sleep(0.3) or said(*words))
    together = threading.Barrier(4)

    def joined(number):
        opened = open_storage(str(tmp_path / name), 100)
        together.wait()
        try:
            return dict(join(opened, "a", {"--width": str(number)}).user_attrs["rules"])
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(joined, range(4)))
    (winner,) = (number for number, rules in enumerate(found) if isinstance(rules, dict))
    assert found[winner] == {"--width": str(winner)}
    words = f"--study a: it was started with --width {winner}, and this is "
    assert sum(str(other).startswith(words) for other in found) == 3


@pytest.mark.filterwarnings("ignore")  # of Optuna, on what may change
def test_rules_that_are_written_late_or_never(tmp_path, monkeypatch, capsys):
    from sweeping.storage import open_storage
    from sweeping.study import join

    kept, other = (open_storage(str(tmp_path / "sweep.journal"), 100) for _ in range(2))
    late = optuna.create_study(storage=kept, study_name="late")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            late.set_user_attr("rules", {"--width": "5"})

    monkeypatch.setattr("sweeping.study.time", types.SimpleNamespace(sleep=sleep))
    assert join(other, "late", {"--width": "5"}).user_attrs["rules"] == {"--width": "5"}
    assert (
        "study late was created a moment ago: waiting for its worker's rules"
        in capsys.readouterr().out
    )
    optuna.create_study(storage=kept, study_name="never")  # and its worker died
    assert join(other, "never", {"--width": "6"}).user_attrs["rules"] == {"--width": "6"}
    with pytest.raises(
        ValueError, match="--study never: it was started with --width 6, and this is --width 7"
    ):
        join(kept, "never", {"--width": "7"})
    optuna.create_study(storage=kept, study_name="most", direction="maximize")
    with pytest.raises(
        ValueError, match="--study most: this study was made by another program; give another name"
    ):
        join(other, "most", {})


def test_a_database_that_goes_away(tmp_path, small_data):
    with postgres_server.server() as storage:
        worker = start("--data", small_data, *LONG, "--storage", storage, cwd=tmp_path)
        running(storage, worker)
    _, complaint = worker.communicate(timeout=300)
    assert worker.returncode == 1 and complaint.startswith(
        "error: --storage postgresql://ann:***@127.0.0.1:"
    )
    assert len(complaint.splitlines()) == 1 and "s3cret" not in complaint


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--width", "64-32"],
            "expected a whole number above 0 or a range, the lower one first, such as 2 or 1-4, "
            "got '64-32'",
        ),
        (["--width", "0-32"], "expected a whole number above 0 or a range"),
        (["--width", "3.5"], "expected a whole number above 0 or a range"),
        (
            ["--learning-rate", "0.1-x"],
            "expected a number above 0 or a range, the lower one first, such as 0.1 or 0.01-0.5, "
            "got '0.1-x'",
        ),
        (["--dropout", "-0.1"], "expected one argument|expected a number or a range"),
        (["--activation", "relu,nothing"], "unknown 'nothing'; known: "),
        (["--optimizer", ""], "unknown ''; known: "),
        (["--distort", "maybe"], "unknown 'maybe'; known: no, yes"),
        (["--hidden", "64", "conv8"], "expected widths such as 128,32, .* got 'conv8'"),
        (["--trials", "0"], "a whole number of at least 1"),
        (["--time-per-trial", "0"], "a number above 0"),
        (["--grace", "1"], "a whole number of at least 2"),
    ],
)
def test_wrong_flags(tmp_path, flags, words):
    assert re.search(words, run("sweep", *flags, cwd=tmp_path, env=ENV, code=2)[1])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--dropout 0-1", "error: --dropout: "),
        ("--rotation 0-200", "error: --rotation: "),
        (
            "--loss cross-entropy --output-activation relu,tanh",
            "loss 'cross-entropy' needs outputs",
        ),
        ("--batch-size 20-201", "error: --batch-size: 20-201 is more than the 200 training images"),
        (
            "--validation 300",
            "error: --validation: 300 validation images of 300 training images leave none",
        ),
        ("--hidden 64", "error: --hidden: it replaces --width; use one of the two"),
        ("--report absent/x.html", "There is no folder"),
        ("--data absent", "absent"),
    ],
)
def test_values_that_do_not_work(tmp_path, small_data, flags, words):
    _, complaint = sweep(tmp_path, *flags.split(), code=1)
    assert words in complaint
    assert not (tmp_path / "sweep.db").exists()


def test_without_optuna(tmp_path, small_data):
    (tmp_path / "optuna.py").write_text("raise ModuleNotFoundError('no', name='optuna')")
    env = {**ENV, "PYTHONPATH": str(tmp_path)}
    _, complaint = sweep(tmp_path, env=env, code=1)
    assert complaint == f'error: sweeps need optuna: pip install -e "{ROOT}[sweep]"\n'


def test_ranges():
    from sweeping.space import Range, parse_range

    assert parse_range("1-4", int) == Range(1, 4)
    assert parse_range("7", int) == Range(7, 7)
    assert parse_range("1e-4-0.1", float, log=True) == Range(1e-4, 0.1, log=True)
    assert parse_range("1e-4-1e-2", float) == Range(1e-4, 1e-2)
    assert parse_range(".5", float) == Range(0.5, 0.5)
    for text in ("", "-", "1-", "-1", "1-2-3", "a", "1 - 2", "inf", "1-inf", "nan", "2-1", "1e999"):
        with pytest.raises(ValueError):
            parse_range(text, float)
    assert str(Range(1, 4)) == "1-4" and str(Range(0.5, 0.5)) == "0.5"


def test_fixed_values_are_not_choices(tmp_path, small_data):
    fixed = (
        "--hidden-layers 2 --width 16 --activation tanh --output-activation softmax "
        "--loss quadratic --optimizer sgd --learning-rate 0.25 --weight-decay 0 "
        "--schedule constant --batch-size 25 --dropout 0.1 --distort yes --rotation 3 "
        "--scaling 0.1 --shear 2 --shift 1 --elastic 0.5"
    )
    limits = "--validation 100 --time-per-trial 0.2 --max-epochs 3 --trials 1"
    run(f"sweep --data small {limits} {fixed}", cwd=tmp_path, env=ENV)
    (trial,) = trials_in(str(tmp_path / "sweep.db"))
    recipe = ann.Recipe.from_json(trial.user_attrs["recipe"])
    assert trial.params == {}
    optimizer = {"optimizer": "sgd", "learning_rate": 0.25, "weight_decay": 0.0}
    training = {"schedule": "constant", "batch_size": 25, "dropout": 0.1, "validation": 100}
    distortion = {"rotation": 3, "scaling": 0.1, "shear": 2, "shift": 1, "elastic": 0.5}
    network = {"activation": "tanh", "output_activation": "softmax", "loss": "quadratic"}
    fields = {**network, **optimizer, **training, **distortion, "epochs": recipe.epochs}
    assert recipe == ann.Recipe(hidden=(16, 16), **fields)


def test_test_images_are_removed(small_data):
    from sweeping import study

    data = study.without_test_images(ann.load_dataset(small_data))
    assert len(data.test_images) == len(data.test_labels) == 0 and len(data.train_images) == 300
    assert data.test_images.base is None and np.shape(data.test_images) == (0, 8, 8)
