"""Run folders: their contents, and training that is killed at any moment and resumed with the
same result.
"""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ann
from ann.cli.start_network import start_network
from ann.training.checkpoint_file import read_checkpoint
from ann.training.report import EpochReport
from support import ROOT, optional
from support.digits import write_mnist_like
from support.networks import stopping_at
from support.programs import FAST, NO_GPU, ONE_THREAD, WITH_RUN, execute, popen, run, run_changed

optional("tqdm")

pytestmark = pytest.mark.slow

RUNS = 5  # to be killed
# With all that has a state, and long enough to be killed in the middle
LONG = shlex.split(
    "--hidden 16,8 --optimizer adamw --batch-size 20 --epochs 250 --validation 60"
    " --early-stopping 200 --dropout 0.1 --average 0.9 --schedule cosine --clip 1"
)
TRAIN = [str(ROOT / "scripts/train.py")]


def digests(folder):
    """Digests of what stops must not change: the model, and the log without its times."""
    reports = [
        EpochReport.from_fields(json.loads(line))
        for line in (folder / "log.jsonl").read_text().splitlines()
    ]
    log = [
        (report.epoch, report.loss, report.learning_rate, report.validation) for report in reports
    ]
    return (folder / "model.pickle").read_bytes(), log


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The files of a finished run of LONG, and its seconds."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    small = write_mnist_like(folder / "small")
    run("train", "--version", cwd=folder, env=ONE_THREAD)  # from here on programs start at once
    began = time.monotonic()
    run("train", "--data", small, *LONG, "--run", "whole", cwd=folder, env=ONE_THREAD)
    return digests(folder / "whole"), time.monotonic() - began


def begin(folder, *flags):
    """Start a run, or resume it."""
    begun = (folder / "config.json").exists()
    words = ["--resume", str(folder)] if begun else ["--run", str(folder), *flags]
    return popen([*TRAIN, *words], ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_contents_of_the_folder(tmp_path, small_data):
    optional("matplotlib")
    out, _ = run(
        "train --run runs/one", "--data", small_data, *FAST, "--validation", 60, cwd=tmp_path
    )
    folder = tmp_path / "runs/one"
    names = {"config.json", "log.jsonl", "curves.png", "checkpoint.npz", "model.pickle"}
    assert {path.name for path in folder.iterdir()} == names
    assert f"saved {folder.relative_to(tmp_path) / 'model.pickle'}" in out and "curves.png" in out
    config = json.loads((folder / "config.json").read_text())
    assert (
        config["recipe"]["hidden"] == [16]
        and config["recipe"]["validation"] == 60
        and config["seed"] == 0
    )
    assert (config["device"], config["data"]) == ("cpu", str(small_data))
    assert (
        config["versions"]["numpy"] == np.__version__
        and len(config["data_sha256"]["train_images"]) == 64
    )
    log = [
        EpochReport.from_fields(json.loads(line))
        for line in (folder / "log.jsonl").read_text().splitlines()
    ]
    assert [report.epoch for report in log] == [1, 2, 3] and log[0].validation.count == 60
    assert read_checkpoint(folder / "checkpoint.npz")[1].reports == log
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    run("train --output x.pickle", "--data", small_data, *FAST, "--validation", 60, cwd=tmp_path)
    assert (folder / "model.pickle").read_bytes() == (tmp_path / "x.pickle").read_bytes()
    again = re.search("^repeat it: (.*)$", out, re.M)[1]
    assert f"{folder}-again" in again
    out, _ = run("train --resume runs/one", cwd=tmp_path)  # of a finished run: the same once more
    assert "this run finished after 3 epochs" in out
    assert (folder / "model.pickle").read_bytes() == (tmp_path / "x.pickle").read_bytes()


def test_runs_killed_at_random_moments(tmp_path, small_data, uninterrupted):
    """Each is killed up to four times and then finishes, with the result of a run that was never
    killed.
    """
    expected, seconds = uninterrupted
    times = random.Random(0)
    moments = [[seconds * times.uniform(0.05, 0.95) for _ in range(4)] for _ in range(RUNS)]
    tally = {"killed": 0, "before a checkpoint": 0}

    def one(number):
        folder = tmp_path / f"run{number}"
        every = "1" if number % 2 else "0.05s"
        flags = ["--data", str(small_data), *LONG, "--checkpoint-every", every]
        for moment in moments[number]:
            process = begin(folder, *flags)
            try:
                process.communicate(timeout=moment)
                break  # it was done before
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                tally["killed"] += 1
                tally["before a checkpoint"] += not (folder / "checkpoint.npz").exists()
        process = begin(folder, *flags)
        assert process.communicate(timeout=300)[1] == b"" and process.returncode == 0
        assert not list(folder.glob(".ann-*"))
        return digests(folder) == expected

    with ThreadPoolExecutor(2) as pool:
        same = list(pool.map(one, range(RUNS)))
    print(f"{sum(same)} of {RUNS} runs equal the one that was not killed; {tally}")
    assert all(same)
    assert tally["killed"] >= RUNS


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_after_the_step(tmp_path, small_data, uninterrupted, number, code):
    folder = tmp_path / "run"
    seen = []
    while True:
        begun = (folder / "config.json").exists()
        words = (
            ["--resume", str(folder)]
            if begun
            else ["--run", str(folder), "--data", str(small_data), *LONG]
        )
        process = popen(
            [*TRAIN, *words], ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for line in process.stdout:  # wait for some epochs
            if len(seen) < 2 and line.startswith(b"epoch") and b"0/250" in line:
                process.send_signal(number)
                break
        _, error = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == code
        found = re.fullmatch(
            r"interrupted after (\d+) of 250 epochs; continue: (.*)\n", error.decode()
        )
        seen.append(int(found[1]))
        assert f"--resume {folder}" in found[2]
        state = read_checkpoint(folder / "checkpoint.npz")[1]
        assert (
            len(state.reports) == seen[-1] == len((folder / "log.jsonl").read_text().splitlines())
        )
        assert not (folder / "model.pickle").exists()
    assert len(seen) == 2 and 0 < seen[0] < seen[1]
    assert digests(folder) == uninterrupted[0]


def test_the_commands_that_it_prints(tmp_path, small_data):
    change = (
        "import signal, os\n"
        "def stop(report):\n"
        "    if report.epoch == 2: os.kill(os.getpid(), signal.SIGINT)\n"
        "after_each_epoch(stop)"
    )
    process = run_changed(change, small_data, tmp_path, "--run", "a run")
    assert process.returncode == 130
    line = re.fullmatch(r"interrupted after 2 of 3 epochs; continue: (.*)\n", process.stderr)[1]
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": NO_GPU, "timeout": 300}
    process = subprocess.run(["bash", "-c", line], **options)
    assert process.returncode == 0 and "continuing after 2 of 3 epochs" in process.stdout
    repeat(process.stdout, tmp_path)
    assert digests(tmp_path / "a run") == digests(tmp_path / "a run-again")


def repeat(out, cwd):
    """Run the command that repeats a training."""
    execute(re.search("^repeat it: (.*)$", out, re.M)[1], cwd, check=True)


def test_a_finished_run_trains_further(tmp_path, small_data):
    run("train", "--data", small_data, *FAST, "--run", "run", cwd=tmp_path)
    out, _ = run("train", "--resume", "run", "--epochs", 5, cwd=tmp_path)
    assert "continuing after 3 of 5 epochs" in out and "epoch 4/5" in out
    repeat(out, tmp_path)
    assert digests(tmp_path / "run") == digests(tmp_path / "run-again")
    out, _ = run("train", "--resume", "run", cwd=tmp_path)
    assert "this run finished after 5 epochs" in out
    before = (tmp_path / "run/config.json").read_bytes()
    more = ["--epochs", 6, "--data", write_mnist_like(tmp_path / "other", seed=1)]
    _, error = run("train", "--resume", "run", *more, cwd=tmp_path, code=1)
    assert "this run was started with other training data than " in error
    assert (tmp_path / "run/config.json").read_bytes() == before


def test_a_given_value_wins_even_if_it_is_the_default_for_other_flags(tmp_path, small_data):
    """With dropout and a large batch, the default layers are wider, and the default optimizer is
    Muon.
    """
    flags = "--dropout 0.5 --batch-size 1001 --hidden 128,32 --optimizer adamw --epochs 1".split()
    data = ["--data", write_mnist_like(tmp_path / "large", train=1001)]
    out, _ = run("train", *data, *flags, "--run", "run", cwd=tmp_path, complaint=None)
    assert "network 64-128-32-10" in out
    assert re.search("^adamw; defaults for these flags: learning rate", out, re.M)
    config = json.loads((tmp_path / "run/config.json").read_text())["recipe"]
    assert (config["hidden"], config["optimizer"]) == ([128, 32], "adamw")
    repeated = re.search("^repeat it: (.*)$", out, re.M)[1]
    assert "--hidden 128,32" in repeated and "--optimizer adamw" in repeated
    out, _ = run("train", "--resume", "run", "--epochs", 2, cwd=tmp_path, complaint=None)
    assert "network 64-128-32-10" in out and re.search("^adamw[,;]", out, re.M)


def test_training_starts_from_a_saved_network(tmp_path, small_data):
    data = ["--data", small_data]
    run("train", *data, *FAST, "--activation", "relu", "--output", "a.pickle", cwd=tmp_path)
    further = ["--from", "a.pickle", *data, "--learning-rate", "1e-6", "--epochs", 2]
    out, _ = run("train", *further, "--run", "run", "--activation", "relu", cwd=tmp_path)
    assert "starts from a.pickle" in out
    saved, trained = (ann.load_model(tmp_path / name) for name in ("a.pickle", "run/model.pickle"))
    assert trained.layer_list == saved.layer_list
    np.testing.assert_allclose(trained.parameters, saved.parameters, atol=1e-3)
    (tmp_path / "a.pickle").unlink()  # the run has a copy
    out, _ = run("train", "--resume", "run", "--epochs", 3, cwd=tmp_path)
    repeat(out, tmp_path)
    assert digests(tmp_path / "run") == digests(tmp_path / "run-again")
    start = tmp_path / "run/start.pickle"
    start.rename(tmp_path / "a.pickle")
    _, error = run("train", "--resume", "run", "--epochs", 4, cwd=tmp_path, code=1)
    missing = "the model from which this run started is missing"
    advice = f"if {tmp_path / 'a.pickle'} has not changed since, copy it to this path"
    assert error == f"error: run/start.pickle: {missing}; {advice}\n"
    shutil.copy(tmp_path / "a.pickle", start)
    run("train", "--resume", "run", "--epochs", 4, cwd=tmp_path)


def test_a_refused_run_leaves_its_folder_for_another(tmp_path, small_data):
    begin = ["train", "--data", small_data, *FAST, "--run", "run"]
    ann.NeuralNetwork(ann.Recipe(hidden=(16,)).layer_list(64, 10)).save(tmp_path / "a.pickle")
    refused = ["--from", "a.pickle", "--validation", 10000]
    _, error = run(*begin, *refused, cwd=tmp_path, code=1)
    assert "leave none to train on" in error
    assert not any((tmp_path / "run").iterdir())
    run(*begin, cwd=tmp_path)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ("--hidden 8", 2, "--hidden: --from keeps the network as it is"),
        ("--committee 2", 2, "--committee: --from keeps the network as it is"),
        ("--batch-norm", 2, "--batch-norm: --from keeps the network as it is"),
        ("--output ./a.pickle", 1, "a.pickle: this is an input; name another"),
        ("--resume run", 2, "--from: not allowed with --resume"),
        ("--from absent", 1, "absent: no such model file"),
        ("", 1, "data: images of 784 pixels; a.pickle takes 64; name other data with --data, or"),
    ],
)
def test_what_does_not_fit_a_saved_network(stopped, flags, code, message):
    net = ann.NeuralNetwork(ann.Recipe(hidden=(16,)).layer_list(64, 10))
    net.save(stopped.parent / "a.pickle")
    _, error = run("train", "--from", "a.pickle", *flags.split(), cwd=stopped.parent, code=code)
    assert message in error
    assert ann.load_model(stopped.parent / "a.pickle").to_bytes() == net.to_bytes()


def test_other_classes_than_those_of_the_saved_network(tmp_path):
    net = ann.NeuralNetwork(ann.Recipe(hidden=()).layer_list(4, 2))
    net.recipe = {"classes": ["cat", "dog"]}
    net.save(tmp_path / "a.pickle")
    cpu = ann.get_backend("cpu")
    message = "a.pickle: it was trained on the classes cat, dog; its outputs now become dog, cat"
    with pytest.warns(ann.TrainingWarning, match=message):
        start_network(tmp_path / "a.pickle", cpu, 0, ("dog", "cat"))
    assert start_network(tmp_path / "a.pickle", cpu, 0, ("cat", "dog")).recipe is None


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """A folder with data and a run of three epochs that was stopped in the second."""
    place = tmp_path_factory.mktemp("stopped")
    small = write_mnist_like(place / "small")
    data = ann.load_dataset(small)
    run("train", "--data", small, *FAST, "--run", "run", cwd=place)
    folder = place / "run"
    (folder / "model.pickle").unlink()
    (folder / "checkpoint.npz").unlink()
    config = json.loads((folder / "config.json").read_text())
    recipe = ann.Recipe.from_json(json.dumps(config["recipe"]))
    net = ann.NeuralNetwork(recipe.layer_list(64, 10), recipe.loss)
    ann.fit(net, data, recipe, (), stopping_at(20), ann.Checkpoints(folder / "checkpoint.npz"))
    return place


@pytest.fixture
def stopped(tmp_path, stopped_once):
    """The test's own copy of the folder of that run."""
    shutil.copytree(stopped_once, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "run/config.json"
    config.write_text(config.read_text().replace(str(stopped_once), str(tmp_path)))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--epochs 4",
            "error: run: cannot resume a different run: recipe epochs is 4 and was 3; resume it "
            "unchanged, and add epochs when it has finished, or name another path for a new run\n",
        ),
        ("--hidden 16,8", "recipe hidden is [16, 8] and was [16]"),
        (
            "--seed 1 --activation relu",
            "recipe activation is 'relu' and was 'sigmoid'; seed is 1 and was 0",
        ),
    ],
)
def test_resuming_with_other_flags(stopped, flags, message):
    _, error = run("train", "--resume", "run", *flags.split(), cwd=stopped.parent, code=1)
    assert message in error
    run("train --resume run --epochs 3 --checkpoint-every 1", cwd=stopped.parent)  # which agree


def test_resuming_with_other_data(stopped, tmp_path):
    other = shutil.copytree(tmp_path / "small", tmp_path / "other")
    run("train", "--resume", "run", "--data", other, cwd=tmp_path)
    for source, target in (("t10k-labels", "train-labels"), ("t10k-images", "train-images")):
        kind = "idx1" if "labels" in source else "idx3"
        shutil.copy(other / f"{source}-{kind}-ubyte.gz", other / f"{target}-{kind}-ubyte.gz")
    message = f"error: run: this run was started with other training data than {other}; name"
    for _ in range(2):  # also without a checkpoint, which has a digest of the data, too
        out, error = run("train", "--resume", "run", "--data", other, cwd=tmp_path, code=1)
        assert error.startswith(message) and not out
        (stopped / "checkpoint.npz").unlink(missing_ok=True)


def test_other_versions_are_reported(stopped):
    path = stopped / "config.json"
    config = json.loads(path.read_text())
    config["versions"]["numpy"] = "1.0"
    config["device"] = "gpu"
    path.write_text(json.dumps(config))
    out, _ = run("train", "--resume", "run", "--device", "cpu", cwd=stopped.parent)
    assert (
        f"note: started with numpy 1.0, continuing with {np.__version__}; last digits may differ"
        in out
    )
    assert "note: started with device gpu, continuing with cpu" in out


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "run: no run in this folder; start one there with --run"),
        ("{", "config.json: not the config of a run: Expecting"),
        ("[]", "config.json: not the config of a run: its format is not 'ann-run'"),
        ('{"format": "ann-run", "version": 2}', "version 2, expected 1"),
        ('{"format": "ann-run", "version": 1}', "it lacks 'recipe'"),
    ],
)
def test_wrong_configs(stopped, contents, message):
    (stopped / "config.json").unlink()
    if contents is not None:
        (stopped / "config.json").write_text(contents)
    _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    assert message in error


def test_wrong_values_in_a_config(stopped):
    path = stopped / "config.json"
    good = json.loads(path.read_text())
    for change, message in [
        (
            {"recipe": {**good["recipe"], "epochs": -1}},
            "error: run/config.json: recipe: epochs: expected a whole number",
        ),
        ({"recipe": {"epoch": 1}}, "run/config.json: recipe: not a recipe"),
        (
            {"recipe": {**good["recipe"], "schedule": "one-cycle", "warmup": 0.1}},
            "leave warmup out; start a new run in another folder\n",
        ),
        ({"seed": "0"}, "seed is '0'"),
    ]:
        path.write_text(json.dumps({**good, **change}))
        _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
        assert message in error


def test_a_damaged_checkpoint(stopped):
    (stopped / "checkpoint.npz").write_bytes(b"PK")
    _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    assert error.startswith("error: run/checkpoint.npz: not a checkpoint, or damaged")
    assert error.endswith("; delete it to restart the run\n")
    (stopped / "checkpoint.npz").unlink()
    run("train", "--resume", "run", cwd=stopped.parent)


def test_resume_is_proposed_only_where_it_works(stopped):
    """For an unfinished run, but not for a finished or damaged one."""

    def proposal():
        _, error = run("train", "--data", "small", "--run", "run", cwd=stopped.parent, code=1)
        return error.removeprefix("error: run: The folder is not empty; ")

    def proposal_of_report():
        _, error = run("report", "run", cwd=stopped.parent, code=1)
        return error

    assert proposal() == "continue its run with --resume run, or name a new folder\n"
    if "pip install" not in proposal_of_report():
        command = proposal_of_report().partition("resume it: ")[2]
        execute(shlex.split(command), stopped.parent, check=True)
    else:
        run("train", "--resume", "run", cwd=stopped.parent)
    assert proposal() == (
        "train its finished run further with --resume run --epochs N, or name a new folder\n"
    )
    (stopped / "model.pickle").unlink()
    (stopped / "checkpoint.npz").write_bytes(b"PK")
    assert proposal() == "name a new folder\n"
    (stopped / "checkpoint.npz").unlink()
    (stopped / "config.json").write_text("{")
    assert proposal() == "name a new folder\n" and "resume" not in proposal_of_report()


def test_an_early_interruption_does_not_propose_another_run(stopped):
    change = "def stop(*rest): raise KeyboardInterrupt\nann.load_dataset = stop"
    process = run_changed(change, stopped.parent / "small", stopped.parent, "--run", "run")
    assert (process.returncode, process.stderr) == (130, "interrupted: nothing was saved\n")


@pytest.mark.parametrize("name", ["model.pickle", "checkpoint.npz"])
def test_a_read_only_file_of_a_run_is_found_before_training(stopped, name):
    path = stopped / name
    path.touch()
    path.chmod(0o444)
    out, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    assert error == f"error: run/{name}: It is read-only; make it writable, or name another file\n"
    assert "loss" not in out


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (
            "--run run",
            1,
            "The folder is not empty; continue its run with --resume run, or name a new folder",
        ),
        ("--run small", 1, "small: The folder is not empty; name a new folder\n"),
        ("--run file", 1, "error: file: File exists; name another folder"),
        ("--run file/x", 1, "error: file/x: Not a directory; name another folder"),
        ("--resume absent", 1, "absent: no run in this folder"),
        ("--run a --output b", 2, "not allowed with argument"),
        ("--run a --resume run", 2, "not allowed with argument"),
        ("--resume run --recipe quick", 2, "--recipe: not allowed with --resume"),
        ("--checkpoint-every 1", 2, "--checkpoint-every needs a folder to write to: --run FOLDER"),
        (
            "--run a --checkpoint-every 0",
            2,
            "expected a number of epochs above 0, such as 2, of seconds",
        ),
        ("--run a --checkpoint-every 0s", 2, "or of minutes, such as 5m, got '0s'"),
        ("--run a --checkpoint-every 5ms", 2, "such as 5m, got '5ms'"),
        ("--run a --checkpoint-every m", 2, "such as 5m, got 'm'"),
        ("--run a --checkpoint-every 10sec", 2, "such as 5m, got '10sec'"),
        ("--early-stopping 3", 1, "--early-stopping: it needs validation images"),
    ],
)
def test_wrong_usage(stopped, flags, code, message):
    (stopped.parent / "file").write_text("")
    _, error = run("train", "--data", "small", *flags.split(), cwd=stopped.parent, code=code)
    assert message in error
    assert not (stopped.parent / "a").exists()


def test_only_one_trains_in_a_folder(stopped):
    fcntl = pytest.importorskip("fcntl")
    folder = os.open(stopped, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    finally:
        os.close(folder)
    assert error == "error: run: another process is training in this folder\n"
    run("train", "--resume", "run", cwd=stopped.parent)


def test_a_disk_that_fills_up(tmp_path, small_data):
    """With room for a model but not for a checkpoint, a warning is printed and the model is the
    same.
    """
    change = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))\n"
    )
    flags = ["--data", str(small_data), *FAST]
    run("train", *flags, "--run", "good", cwd=tmp_path)
    assert (
        (tmp_path / "good/model.pickle").stat().st_size
        < 12_000
        < (tmp_path / "good/checkpoint.npz").stat().st_size
    )
    process = run_changed(change, small_data, tmp_path, "--run", "full", "--checkpoint-every", "2")
    assert process.returncode == 0, process.stderr
    warned = (
        "warning: no checkpoint was written: full/checkpoint.npz: File too large; "
        "training continues\n"
    )
    assert process.stderr == warned  # once is enough
    assert (
        "no curves: full/curves.png: File too large" in process.stdout
        or "pictures need" in process.stdout
    )
    assert digests(tmp_path / "full") == digests(tmp_path / "good")
    assert {path.name for path in (tmp_path / "full").iterdir()} == {
        "config.json",
        "log.jsonl",
        "model.pickle",
    }


def test_a_folder_that_cannot_be_written(tmp_path, small_data):
    change = (
        "import os\n"
        "real = os.open\n"
        "def read_only(path, flags, *rest, **options):\n"
        "    if flags & os.O_CREAT: raise OSError(30, 'Read-only file system', str(path))\n"
        "    return real(path, flags, *rest, **options)\n"
        "os.open = read_only\n"
    )
    process = run_changed(change, small_data, tmp_path, "--run", "run")
    assert (process.returncode, process.stderr) == (
        1,
        "error: run/checkpoint.npz: Read-only file system\n",
    )


def test_a_stop_whose_checkpoint_cannot_be_written(tmp_path, small_data):
    """The work is lost, and the message says so."""
    change = (
        "import errno, os, signal, ann.training.checkpointer\n"
        "def fail(path, *rest): raise OSError(28, 'No space left on device', str(path))\n"
        "ann.training.checkpointer.write_checkpoint = fail\n"
        "def stop(report): os.kill(os.getpid(), signal.SIGTERM)\n"
        "after_each_epoch(stop)"
    )
    process = run_changed(change, small_data, tmp_path, "--run", "run")
    assert process.returncode == 1
    assert process.stderr == "error: run/checkpoint.npz: No space left on device\n"


def test_without_matplotlib(tmp_path, small_data):
    change = "sys.modules['matplotlib.pyplot'] = None"
    process = run_changed(change, small_data, tmp_path, "--run", "run")
    assert (process.returncode, process.stderr) == (0, "")
    assert f'no curves: pictures need matplotlib: pip install -e "{ROOT}[plot]"' in process.stdout


@pytest.mark.parametrize("patience", [60.0, -1.0])
def test_a_second_ctrl_c(tmp_path, small_data, patience):
    """Soon after the first, it changes nothing; later, it ends the step at once."""
    change = (
        "import os, signal\n"
        f"from ann.cli.signals import Interruption\nInterruption._PATIENCE = {patience}\n"
        "def stop(report):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "after_each_epoch(stop)"
    )
    process = run_changed(change, small_data, tmp_path, "--run", "run")
    assert process.returncode == 130
    expected = (
        "after 1 of 3 epochs" if patience > 0 else ": no checkpoint was written yet; start again: "
    )
    assert process.stderr.startswith(f"interrupted{' ' * (patience > 0)}{expected}")


def test_sigterm_during_start_up(tmp_path, small_data):
    """Before training begins, SIGTERM ends the program at once, as usual."""
    process = begin(tmp_path / "run", "--data", str(small_data), *LONG)
    time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=300)
    assert process.returncode in (-signal.SIGTERM, 143)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_no_signal_is_lost_between_reading_flags_and_training(tmp_path, name):
    program = f"""
import os, signal, time
from ann.cli import bootstrap
bootstrap.start()
from ann.cli.errors import one_line_errors
with one_line_errors():
    pass
os.kill(os.getpid(), signal.{name})
time.sleep(1)
print("still here")
"""
    process = execute([sys.executable, "-c", program], ROOT)
    assert process.stdout == "" and "Traceback" not in process.stderr
    assert process.returncode == {"SIGTERM": -signal.SIGTERM, "SIGINT": 130}[name]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_while_a_library_defines_a_class(tmp_path, name, code):
    program = f"""
import os, signal
from ann.cli import bootstrap
bootstrap.start()
from ann.cli.errors import one_line_errors
class Descriptor:
    def __set_name__(self, *rest):
        os.kill(os.getpid(), signal.{name})
with one_line_errors():
    class Library:
        descriptor = Descriptor()
"""
    process = execute([sys.executable, "-c", program], ROOT)
    assert (process.returncode, process.stderr) == (code, "interrupted\n")


def test_sigterm_without_a_folder(tmp_path, small_data):
    change = (
        "import os, signal\n"
        "def stop(report): os.kill(os.getpid(), signal.SIGTERM)\n"
        "after_each_epoch(stop)"
    )
    process = run_changed(change, small_data, tmp_path)
    assert (process.returncode, process.stderr) == (
        143,
        f"interrupted: nothing was saved; {WITH_RUN}\n",
    )


# enough weight decay to make a warning certain
SGD = "--optimizer sgd --weight-decay 0.3 --batch-size 20 --epochs 12 --hidden 16".split()


@pytest.mark.parametrize(
    ("stream", "code"), [("2>/dev/full", 1), ("2>&-", 0), ("2> >(exec 0<&-; true)", 0)]
)
@pytest.mark.parametrize("place", ["--output model.pickle", "--run run"])
def test_a_model_is_saved_although_a_warning_cannot_be_written(
    tmp_path, small_data, stream, code, place
):
    command = (
        f"{shlex.join([sys.executable, *TRAIN, '--data', str(small_data), *SGD])} {place} {stream}"
    )
    process = execute(command, tmp_path, stdout=subprocess.DEVNULL)
    assert process.returncode == code
    assert (tmp_path / ("run/model.pickle" if "run" in place else "model.pickle")).exists()


def test_warnings_as_errors_come_last(tmp_path, small_data):
    """The model and the checkpoint are written nevertheless."""
    env = {**NO_GPU, "PYTHONWARNINGS": "error"}
    options = {"cwd": tmp_path, "env": env, "complaint": "warning: weight decay"}
    run("train --data small --run run", *SGD, **options)
    assert (tmp_path / "run/model.pickle").exists() and (tmp_path / "run/checkpoint.npz").exists()


@pytest.mark.parametrize(
    "lost", ["os.rename('run', 'gone')", "os.remove('run/log.jsonl'); os.mkdir('run/log.jsonl')"]
)
def test_a_model_is_saved_although_folder_or_log_are_lost(tmp_path, small_data, lost):
    change = (
        f"import os\ndef lose(report):\n    if report.epoch == 2: {lost}\nafter_each_epoch(lose)"
    )
    process = run_changed(change, small_data, tmp_path, "--run", "run")
    assert "training continues" in process.stderr and "no log was written" in process.stderr
    if "rename" in lost:
        assert process.returncode == 1
        found = re.search("the model is in (.*) instead", process.stderr)[1]
    else:
        assert process.returncode == 0
        found = tmp_path / "run/model.pickle"
    assert ann.load_model(found)


@pytest.mark.parametrize("action", ["default", "error"])
def test_memory_that_runs_out_while_a_checkpoint_is_written(tmp_path, small_data, action):
    """The warning does not end the training, even with python -W error."""
    change = (
        "import ann.training.checkpointer as c\n"
        "def fail(*rest): raise MemoryError\n"
        "c.write_checkpoint = fail"
    )
    env = {**NO_GPU, "PYTHONWARNINGS": action}
    process = run_changed(
        change, small_data, tmp_path, "--run", "run", "--checkpoint-every", "1", env=env
    )
    assert process.returncode == 0 and (tmp_path / "run/model.pickle").exists()
    assert (
        process.stderr
        == "warning: no checkpoint was written: not enough memory; training continues\n"
    )


def test_a_misconfigured_drawing_library(tmp_path, small_data):
    optional("matplotlib")
    env = {**NO_GPU, "MPLBACKEND": "nonsense"}
    out, _ = run("train", "--data", small_data, *FAST, "--run", "run", cwd=tmp_path, env=env)
    assert "no curves: " in out and "nonsense" in out and "test it:" in out


def test_a_custom_activation_that_has_changed(tmp_path, small_data):
    own = tmp_path / "own.py"
    text = (
        "import ann\n"
        "ann.register_activation('mine', lambda xp, z: {} * z, lambda xp, z: {} + 0 * z)\n"
    )
    own.write_text(text.format(2, 2))
    flags = ["--data", small_data, *FAST, "--import", own, "--activation", "mine", "--run", "run"]
    out, _ = run("train", *flags, cwd=tmp_path)
    assert out.count("--import") == 2  # in "test it" and in "repeat it", once each
    out, _ = run("train", "--resume", "run", cwd=tmp_path)
    assert out.count("--import") == 2
    own.write_text(text.format(3, 3))
    _, error = run("train", "--resume", "run", cwd=tmp_path, code=1)
    assert "cannot resume a different run: network own activations mine is" in error


def test_wrong_imports_in_a_config(stopped):
    path = stopped / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "imported": [5]}))
    _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    assert (
        error == "error: run/config.json: not the config of a run: imported is [5]; "
        "start a new run in another folder\n"
    )
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "imported": [], "checkpoint_every": "x"})
    )
    _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    assert "checkpoint_every in the run's config.json: expected a number of epochs" in error


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("seed", -1, "seed: expected a whole number of at least 0, got -1"),
        ("device", "tpu", "device: unknown 'tpu'; known: cpu, gpu"),
        ("precision", "half", "precision: unknown 'half'"),
        ("data", ["x" * 5000], "data is ['xxx"),
    ],
)
def test_unusable_values_in_a_config(stopped, field, value, reason):
    path = stopped / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    _, error = run("train", "--resume", "run", cwd=stopped.parent, code=1)
    assert error.startswith(f"error: run/config.json: not the config of a run: {reason}")
    assert len(error) < 200


def test_another_number_of_threads_is_reported(stopped):
    path = stopped / "config.json"
    config = json.loads(path.read_text())
    config["versions"] |= {"threads": "77", "ann": "\x1b[31mred\n"}
    path.write_text(json.dumps(config))
    out, _ = run("train", "--resume", "run", cwd=stopped.parent)
    assert "\x1b" not in out and r"note: started with ann '\x1b[31mred'" in out
    assert re.search(
        r"note: started with threads 77, continuing with \d; last digits may differ", out
    )


def test_a_config_without_a_new_field(stopped):
    path = stopped / "config.json"
    config = json.loads(path.read_text())
    del config["recipe"]["batch_norm"]
    path.write_text(json.dumps(config))
    run("train", "--resume", "run", cwd=stopped.parent)


@pytest.mark.parametrize("name", ["model.pickle", "model.pickle/x"])
def test_a_file_instead_of_a_run_folder(stopped, name):
    (stopped / "model.pickle").write_text("")
    _, error = run("train", "--resume", stopped / name, cwd=stopped.parent, code=1)
    assert "no run in this folder" in error
