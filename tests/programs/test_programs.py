"""What all programs have in common: their start, output that cannot be written, and names of
flags.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

import ann
from ann.installation import install_command, localized
from support import ROOT, optional
from support.digits import write_mnist_like
from support.programs import FAST, NO_GPU, execute, popen, python, run

optional("tqdm")

PROGRAMS = (
    *("train", "test", "predict", "doctor", "verify", "join", "export", "report", "try_loader"),
    *("evaluate", "sweep", "benchmark"),
)
LOST = "error: cannot write to standard output: No space left on device"


@pytest.fixture
def model(tmp_path):
    """A folder that holds a model for MNIST images."""
    layers = ann.Recipe(hidden=(4,)).layer_list(784, 10)
    ann.NeuralNetwork(layers, seed=1).save(tmp_path / "mnist_ann.pickle")
    return tmp_path


def run_with(program, cwd, **streams):
    """The exit code and the text on standard error, unless that is one of the streams."""
    name, *words = shlex.split(program)
    arguments = [str(ROOT / "scripts" / name), *words]
    with popen(
        arguments, cwd=cwd, text=True, **{"stdout": PIPE, "stderr": PIPE, **streams}
    ) as process:
        _, error = process.communicate(timeout=300)
    return process.returncode, error


@pytest.fixture
def full_disk():
    with open("/dev/full", "w") as file:
        yield file


@pytest.fixture
def left_pipe():
    """The writing end of a pipe whose reader has closed it."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.slow
def test_every_way_to_start_a_program(tmp_path, name):
    link = tmp_path / "a link"
    link.symlink_to(ROOT / "scripts" / f"{name}.py")
    expected = f"ann {ann.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}\n"
    for flags, folder in ([["-I", str(link)], tmp_path], [["-m", f"scripts.{name}"], ROOT]):
        command = [sys.executable, *flags, "--version"]
        process = execute(command, folder)
        assert (process.returncode, process.stdout, process.stderr) == (0, expected, "")


@pytest.mark.slow
def test_printed_commands_of_a_program_started_by_a_link(tmp_path, small_data):
    link = tmp_path / "learn"
    link.symlink_to(ROOT / "scripts" / "train.py")
    command = [sys.executable, "-P", str(link), "--data", str(small_data), *FAST]
    out = execute(command, tmp_path, check=True).stdout
    for name in ("test", "repeat"):
        line = re.search(rf"^{name} it: +(.*)$", out, re.M)[1]
        execute(shlex.split(line), tmp_path, check=True)


SLOW_WRITERS = (
    *(
        "test.py",
        "test.py --json",
        "test.py --verbose",
        "doctor.py",
        "doctor.py --model mnist_ann.pickle",
    ),
    *("try_loader.py", "verify.py --device cpu --steps 1", "train.py --list-recipes"),
)


@pytest.mark.parametrize(
    "program",
    [
        *("train.py --help", "train.py --version", "export.py --to page.html"),
        *(pytest.param(program, marks=pytest.mark.slow) for program in SLOW_WRITERS),
    ],
)
def test_output_that_cannot_be_written(model, program, full_disk, left_pipe):
    code, error = run_with(program, model, stdout=full_disk)
    assert code == 1
    # doctor may find a problem, and then it does not say that everything else was done
    assert error in (f"{LOST}; everything else was done\n", f"{LOST}\n")
    codes = (0, 1) if program == "doctor.py" else (0,)
    assert run_with(program, model, stderr=full_disk)[0] in codes
    code, error = run_with(program, model, stdout=left_pipe)
    assert error == "" and code in codes


def test_predictions_that_cannot_be_written(model, mnist, full_disk):
    image_module = optional("PIL.Image")
    optional("scipy")
    optional("matplotlib")
    image_module.fromarray(mnist.test_images[0]).save(model / "seven.png")
    for flags in ("", " --json"):
        found = run_with(f"predict.py seven.png{flags}", model, stdout=full_disk)
        assert found == (1, f"{LOST}; everything else was done\n")


def test_a_message_that_cannot_be_written(tmp_path, full_disk):
    assert run_with("test.py --model absent", tmp_path, stderr=full_disk)[0] == 1
    assert run_with("test.py --nonsense", tmp_path, stderr=full_disk)[0] == 2


def test_the_default_device_is_what_help_says(tmp_path):
    for name in PROGRAMS:
        out, _ = run(name, "--help", cwd=tmp_path)
        words = " ".join(out.split())
        if "--device {auto,cpu,gpu}" in words:
            default = "cpu" if name == "predict" else "auto"
            assert f"gpu fails if there is none (default: {default})" in words


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("join", "--model a --output b", "; give MODEL without a flag"),
        ("train", "--model a", "; did you mean --output?"),
        ("report", "--model a b", "argument RUN_OR_MODEL: not allowed with argument --model"),
        (
            "export",
            "page.html",
            "--to FILE is required: it names the file to write, such as --to page.html",
        ),
        ("export", "", "--to FILE is required: it names the file to write, such as --to page.html"),
        ("train", "--loss mse", "; did you mean quadratic?"),
        ("train", "--optimizer momentum", "; did you mean sgd or nesterov?"),
        ("train", "--activation Leaky_ReLU", "; did you mean leaky-relu?"),
        ("train", "--activation silu", "; did you mean swish?"),
        ("train", "--device cuda", "; did you mean gpu?"),
        ("sweep", "--loss mse", "; did you mean quadratic?"),
    ],
)
def test_suggestions_for_misspelt_flags(tmp_path, name, words, message):
    _, error = run(name, *words.split(), cwd=tmp_path, code=2)
    assert message in error


ENDINGS = {
    "train": ".pickle",
    "join": ".pickle",
    "export": ".npz",
    "report": ".html",
    "sweep": ".html",
    "benchmark": ".json",
}


@pytest.mark.parametrize(
    "program",
    [
        "train --output",
        "evaluate --recipe classroom --seeds 0 --data small --output",
        pytest.param(
            "evaluate --recipe classroom --seeds 0 --output new.jsonl --keep",
            marks=pytest.mark.slow,
        ),
        "join mnist_ann.pickle other.pickle --output",
        "export --to",
        "report --output",
        "test --picture",
        "predict picture.png --picture",
        "try_loader --output",
        "benchmark --quick --output",
        pytest.param("sweep --report", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_written_is_found_before_the_work(model, small_data, program):
    """A read-only file, and a file instead of a folder."""
    name, *words = program.split()
    if name in ("report", "test", "predict", "try_loader", "sweep"):
        optional("matplotlib")
        optional("scipy")
    if name == "sweep":
        optional("optuna")
    ending = ENDINGS.get(name, ".png")
    target = model / f"file{ending}"
    target.write_text("as it was")
    target.chmod(0o444)
    for path in (target.name, f"{target.name}/x{ending}"):
        out, error = run(name, *words, path, cwd=model, code=1)
        assert error.startswith(f"error: {path.split('/')[0]}") and not re.search(
            "epoch|seed|trial", out
        )
    assert target.read_text() == "as it was"


@pytest.mark.parametrize(
    "program",
    [
        "train --data net --output",
        "train --from net --output",
        "join mnist_ann.pickle net --output",
        "report net --output",
        "try_loader --data net --output",
        "test --model net --picture",
        "test --model mnist_ann.pickle --compare net --picture",
        "predict --model net seven.png --csv",
        "predict --model mnist_ann.pickle net --csv",
        "benchmark --data net --output",
    ],
)
def test_an_input_is_not_replaced(model, program):
    name, *words = program.split()
    if name in ("report", "predict"):
        optional("matplotlib")
    shutil.copy(model / "mnist_ann.pickle", model / "net")
    _, error = run(name, *words, "./net", cwd=model, code=1)
    assert error == "error: net: this is an input; name another file to write\n"
    assert (model / "net").read_bytes() == (model / "mnist_ann.pickle").read_bytes()


def test_an_export_does_not_replace_its_model(model):
    """Whatever a model file is called."""
    (model / "mnist_ann.pickle").rename(model / "page.html")
    _, error = run("export page.html --to ./page.html", cwd=model, code=1)
    assert error == "error: page.html: this is an input; name another file to write\n"
    assert ann.load_model(model / "page.html")


def test_messages_are_one_printable_line(tmp_path):
    for words, code in (("test extra", 2), ("train --import", 1)):
        _, error = run(words, "a\x1b[31m\nb", cwd=tmp_path, code=code)
        assert "a\\x1b[31m b" in error and error.rstrip("\n").isprintable()


def test_a_current_folder_that_is_deleted(tmp_path):
    program = shlex.join([sys.executable, str(ROOT / "scripts/train.py"), "--epochs", "1"])
    process = execute(f"mkdir gone; cd gone; rmdir ../gone; {program}", tmp_path)
    assert process.returncode == 1
    message = "error: the current folder no longer exists; change to one that does\n"
    assert process.stderr == message


def test_a_missing_file_without_a_name_keeps_its_message(tmp_path):
    """Only the system's error without a name is about the current folder."""
    (tmp_path / "mine.py").write_text("raise FileNotFoundError('no pictures; see my notes')")
    _, error = run("train --import mine.py", cwd=tmp_path, code=1)
    assert error == "error: system: no pictures; see my notes\n"


@pytest.mark.parametrize(
    "program",
    [
        *(
            "test --verbose",
            "doctor",
            "verify --device cpu --steps 2",
            "export --to page.html",
            "export --to a.npz",
        ),
        *(
            "try_loader --output x.png",
            "report --data few",
            "predict --json seven.png",
            "join mnist_ann.pickle b.pickle --output c",
        ),
    ],
)
@pytest.mark.slow
def test_warnings_end_no_program(model, program):
    """Even with python -W error."""
    name, *words = program.split()
    if name in ("try_loader", "report", "predict"):
        optional("matplotlib")
        optional("scipy")
        optional("PIL.Image").fromarray(ann.load_dataset(ROOT / "data").test_images[0]).save(
            model / "seven.png"
        )
    write_mnist_like(model / "few", train=20, test=5, size=28)  # so that few are drawn
    layers = ann.load_model(model / "mnist_ann.pickle").layer_list
    ann.NeuralNetwork(layers, seed=2).save(model / "b.pickle")
    run(
        name,
        *words,
        cwd=model,
        env={**NO_GPU, "PYTHONWARNINGS": "error"},
        code=None if name == "doctor" else 0,
    )


@pytest.mark.parametrize("words", ["--model mnist_ann.pickle", "mnist_ann.pickle", ""])
def test_a_model_with_or_without_its_flag(model, words):
    run("export", "--to", "a.npz", *words.split(), cwd=model)
    assert (model / "a.npz").exists()
    _, error = run(
        "report",
        *[word.replace("mnist", "no") for word in words.split() or ["no_ann.pickle"]],
        cwd=model,
        code=1,
    )
    assert (
        "no_ann.pickle: no such model file" in error or "need" in error
    )  # without the extra report


@pytest.mark.parametrize(
    ("field", "name", "meant"),
    [
        ("loss", "mse", "quadratic"),
        ("loss", "CrossEntropy", "cross-entropy"),
        ("optimizer", "nag", "nesterov"),
        ("optimizer", "AdamW", "adamw"),
        ("activation", "logistic", "sigmoid"),
        ("output_activation", "linear", "identity"),
        ("schedule", "onecycle", "one-cycle"),
        ("schedule", "cosin", "cosine"),
    ],
)
def test_an_unknown_name_in_python(field, name, meant):
    with pytest.raises(ValueError, match=f"unknown .*'{name}'; known: .*; did you mean {meant}\\?"):
        ann.Recipe(**{field: name})


def test_a_name_like_no_other_has_no_suggestion():
    with pytest.raises(ValueError, match=r"known: cross-entropy, quadratic$"):
        ann.Recipe(loss="zzz")


def test_the_list_of_programs_is_complete():
    found = {
        path.stem
        for path in Path(ROOT / "scripts").glob("*.py")
        if "bootstrap.start()" in path.read_text()
    }
    assert found == {*PROGRAMS}


def test_programs_by_name(tmp_path, small_data):
    def by_name(*words, code=0):
        process = python("-m", "ann", *words, cwd=tmp_path)
        assert process.returncode == code, process.stderr
        return process.stdout, process.stderr

    listed, _ = by_name()
    assert re.findall(r"^(\w+) +[A-Z].*\.$", listed, re.M) == sorted(PROGRAMS)
    trained, error = by_name("train", "--data", small_data, *FAST)
    assert "saved mnist_ann.pickle" in trained and error == ""
    assert by_name("--version") == (f"ann {ann.__version__}\n", "")
    message = "error: no program 'trian'; did you mean train?; see python -m ann\n"
    assert by_name("trian", code=2) == ("", message)


def test_commands_in_messages_work_where_they_are_printed(monkeypatch, tmp_path):
    text = "run python scripts/train.py --import my.py; scripts/test.py"
    assert localized(text) == text
    assert install_command("plot") == 'pip install -e ".[plot]"'
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    assert install_command("plot") == f'pip install -e "{ROOT}[plot]"'
    monkeypatch.setattr("ann.installation.INSTALLED", True)
    assert localized(text) == "run python -m ann train --import my.py; python -m ann test"
    assert install_command("plot") == 'pip install "ann-mnist[plot]"'


def test_commands_in_warnings_work_where_only_the_wheel_is_installed():
    program = (
        "import warnings\n"
        "from ann import installation\n"
        "from ann.cli import bootstrap\n"
        "bootstrap.start()\n"
        "installation.INSTALLED = True\n"
        "warnings.warn('see python scripts/try_loader.py', RuntimeWarning)\n"
    )
    process = python("-c", program, cwd=ROOT)
    assert process.stderr == "warning: see python -m ann try_loader\n"
