"""scripts/doctor.py and scripts/verify.py on a sound machine, and on machines with problems."""

import importlib.metadata
import pickle
import re
import shutil
import sys
import tomllib
import types

import numpy as np
import pytest

import ann
from support import ROOT, optional
from support.programs import FAST, HARNESS, execute, python, run

optional("tqdm")


@pytest.fixture
def checks():
    """The checks of the program as a module."""
    from ann.cli import doctor_checks

    return doctor_checks


def lines(findings):
    """The lines that the program prints about findings, and the number of problems."""
    found = list(findings)
    assert all(bool(finding.fix) == (finding.status == "WRONG") for finding in found)
    return "\n".join(map(str, found)), sum(bool(finding.fix) for finding in found)


def test_doctor_on_a_sound_machine(tmp_path):
    out, _ = run("doctor", cwd=tmp_path)
    assert "WRONG" not in out and out.endswith("no problems found\n")
    assert f"NumPy     {np.__version__}, BLAS " in out and "MNIST, all four checksums right" in out
    assert f"folder    {tmp_path}: " in out and "GiB free" in out
    assert not list(tmp_path.iterdir())


def test_doctor_reports_problems(tmp_path, small_data):
    out, _ = run("doctor", "--data", small_data, cwd=tmp_path)
    assert "<Dataset of 300 training and 100 test images>, valid, but not MNIST" in out
    (small_data / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    flags = "--data small --device gpu".split()
    process = python(ROOT / "scripts/doctor.py", *flags, cwd=tmp_path)
    assert (process.returncode, process.stderr) == (1, "")
    assert "WRONG  data" in process.stdout and "fix it: name a data set (IDX, npz" in process.stdout
    assert "WRONG  GPU" in process.stdout and "or train with --device cpu" in process.stdout
    assert process.stdout.endswith("2 problems found\n")


def test_doctor_knows_when_the_default_data_are_not_mnist(checks, monkeypatch, small_data):
    monkeypatch.setattr(checks, "DATA", small_data)
    out, wrong = lines(checks.check_data(small_data))
    assert wrong == 1
    assert "train_images, train_labels, test_images, test_labels: not MNIST's" in out


def test_doctor_continues_where_a_format_lacks_its_library(checks, monkeypatch):
    def load_dataset(name):
        raise ImportError('parquet files need pyarrow: pip install -e ".[parquet]"')

    monkeypatch.setattr(checks, "load_dataset", load_dataset)
    out, wrong = lines(checks.check_data("a.parquet"))
    assert wrong == 1 and 'pip install -e ".[parquet]"; or use --data PATH' in out


def test_doctor_compares_installed_versions_with_the_declared_ones(checks, monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "numpy>=2.1" in project["dependencies"]
    installed = {
        "numpy": "2.0.2",
        "tqdm": "99.0",
        "nvmath-python": "0.6.0",
        "optuna": "6.0",
        "pillow": "99rc1",
    }

    def version(name):
        if name in installed:
            return installed[name]
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", version)
    out, wrong = lines(checks.check_versions())
    assert (
        wrong == out.count("WRONG") == 3
        and "tqdm" not in out
        and "pillow" not in out
        and "torch" not in out
    )
    assert (
        "numpy 2.0.2 is installed, not numpy>=2.1" in out
        and "fix it: pip install 'numpy>=2.1'" in out
    )
    assert re.search(
        r"fix it: pip install 'nvmath-python>=0\.\d+'", out
    )  # without the CUDA version of an extra
    assert "optuna 6.0 is installed, not optuna>=5,<6" in out
    installed.clear()
    installed["scipy"] = None  # as after an interrupted installation
    out, wrong = lines(checks.check_versions())
    assert wrong == 1 and "scipy unknown is installed" in out
    installed.clear()
    installed["numpy"] = "2.1.0"
    out, wrong = lines(checks.check_versions())
    assert wrong == 0 and "ok     versions  " in out


@pytest.mark.parametrize(
    ("version", "limits", "right"),
    [
        ("2.10.0", ">=2.9", True),
        ("2.9.9", ">=2.10", False),
        ("2", ">=2.0.0", True),
        ("2.13.0+cpu", ">=2.13", True),
        ("13.6.0", ">=14.2", False),
        ("14.2.0rc1", ">=14.2", True),
        ("6.0.0", ">=5,<6", False),
        ("5.9", ">=5,<6", True),
    ],
)
def test_doctor_orders_versions(checks, version, limits, right):
    assert checks.fits(version, limits) is right


def test_doctor_finds_a_wrong_product(checks, monkeypatch):
    fake = types.SimpleNamespace(**{name: getattr(np, name) for name in dir(np)})
    fake.abs = lambda array: np.abs(array) + 1
    monkeypatch.setattr(checks, "np", fake)
    out, wrong = lines(checks.check_numpy())
    assert wrong == 1 and "a product is wrong by 1" in out


def test_doctor_finds_a_full_machine(checks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "MEMORY_NEEDED", 2**60)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    assert lines(checks.check_memory())[1] == lines(checks.check_folder())[1] == 1

    def check_writable(path):
        raise OSError(30, "Read-only", str(path))

    monkeypatch.setattr(checks, "check_writable", check_writable)
    out, wrong = lines(checks.check_folder())
    assert wrong == 1 and "Read-only" in out


@pytest.mark.parametrize(
    ("cuda", "driver", "cure"),
    [
        (13020, 0, "install NVIDIA's driver"),
        (13020, 12040, 'or use an older CUDA: pip install -e ".[gpu-cuda12]"'),
        (12040, 13000, "check that nvidia-smi lists a GPU"),
    ],
)
def test_doctor_says_how_to_fix_a_gpu(checks, monkeypatch, cuda, driver, cure):
    runtime = types.SimpleNamespace(
        runtimeGetVersion=lambda: cuda, driverGetVersion=lambda: driver, getDeviceCount=lambda: 0
    )
    cupy = types.ModuleType("cupy")
    cupy.__spec__ = types.SimpleNamespace()
    cupy.__version__, cupy.cuda = "14.0", types.SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for needed in (True, False):
        out, wrong = lines(checks.check_gpu(needed=needed))
        assert wrong == needed and cure in out and "CuPy      14.0, CUDA 1" in out


@pytest.mark.parametrize("device", ["cpu", "strict", "auto"])
@pytest.mark.slow
def test_verify_passes(tmp_path, device):
    optional("array_api_strict")
    out, _ = run("verify", "--device", device, "--steps", 3, cwd=tmp_path)
    assert "3 steps of the default recipe" in out and "layer 3, bias" in out and "WRONG" not in out
    assert out.splitlines()[-1].startswith("pass: ")
    assert ("no working GPU" in out) == (device == "auto")


def test_verify_trains_with_the_flags_of_a_recipe(tmp_path):
    flags = ["--hidden", "conv3x5,pool2,8", "--channel-dropout", 0.1, "--batch-size", 50]
    out, _ = run("verify", "--device", "cpu", "--steps", 2, *flags, cwd=tmp_path)
    assert "2 steps of this recipe" in out and "layer 4, bias" in out and "WRONG" not in out
    layers = [line.strip()[:7] for line in out.splitlines() if ", weight" in line]
    assert layers == ["layer 1", "layer 3", "layer 4"]
    flags = ["--validation", 60_000]
    _, error = run("verify", "--device", "cpu", *flags, cwd=tmp_path, code=1)
    assert "0 training images, and a step takes 200" in error


def test_verify_checks_gradients_of_custom_activations_too(tmp_path):
    (tmp_path / "own.py").write_text(
        "import ann\nann.register_activation('cube', lambda xp, z: z**3, lambda xp, z: 3 * z**2)\n"
    )
    out, _ = run("verify --device cpu --gradients --steps 1 --import own.py", cwd=tmp_path)
    assert (
        "hidden layers cube " in out
        and "dropout of channels" in out
        and "batch normalisation" in out
        and "quadratic of gelu outputs" in out
        and "two convolutions" in out
        and "convolution and max pooling" in out
    )
    assert "WRONG" not in out


@pytest.mark.parametrize(
    ("change", "flags", "found"),
    [
        (
            "import ann.backends.recorder as r\n"
            "def zero(*rest, out, **options):\n"
            "    for array in out if isinstance(out, tuple) else (out,): array[...] = 0\n"
            "r.CpuRecorder.elementwise = zero",
            [],
            "layer 1, weight",
        ),
        (
            "from ann.nn.activations import ACTIVATIONS\n"
            "ACTIVATIONS['tanh'].chain_rule = lambda xp, grad, y: grad",
            ["--gradients"],
            "hidden layers tanh",
        ),
        (
            "from ann.nn.pooling import MaxPool2D\n"
            "wrong = lambda xp, dy, count, *is_largest: (dy,) * count\n"
            "MaxPool2D.gradient = staticmethod(wrong)",
            ["--gradients"],
            "convolution and max pooling",
        ),
    ],
)
@pytest.mark.slow
def test_verify_can_fail(tmp_path, change, flags, found):
    command = [sys.executable, "-c", HARNESS.format(change=change), str(ROOT / "scripts/verify.py")]
    command += ["--device", "cpu", "--steps", "2", *flags]
    process = execute(command, tmp_path)
    assert (process.returncode, process.stderr) == (1, "")
    assert any(
        line.strip().startswith(found) and line.endswith("WRONG")
        for line in process.stdout.splitlines()
    )
    assert process.stdout.splitlines()[-1].startswith("FAIL: cpu")


@pytest.mark.slow
def test_verify_with_wrong_flags(tmp_path, small_data):
    _, error = run("verify", "--device", "gpu", cwd=tmp_path, code=1)
    assert error.startswith("error: ")
    images = (small_data / "t10k-images-idx3-ubyte.gz", small_data / "t10k-labels-idx1-ubyte.gz")
    for path in images:
        shutil.copy(path, small_data / path.name.replace("t10k", "train"))
    _, error = run("verify", "--device", "cpu", "--data", small_data, cwd=tmp_path, code=1)
    assert "100 training images, and a step takes 200" in error
    _, error = run("verify", "--steps", 0, cwd=tmp_path, code=2)
    assert "argument --steps: expected a whole number of at least 1" in error


def test_the_contents_of_a_model_file(tmp_path, small_data):
    run("train", "--data", small_data, *FAST, "--seed", 7, cwd=tmp_path)
    out, _ = run("doctor", "--model", "mnist_ann.pickle", cwd=tmp_path)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    contents = pickle.loads((tmp_path / "mnist_ann.pickle").read_bytes())
    weights = [array for layer in contents["layers"] for array in (layer["weight"], layer["bias"])]
    least, most = min(array.min() for array in weights), max(array.max() for array in weights)
    assert (
        lines["format"] == "ann-mlp, version 3" and lines["network"] == "64-16-10, sigmoid, sigmoid"
    )
    assert lines["numbers"] == f"1,210, from {least:.4g} to {most:.4g}" and lines["seed"] == "7"
    assert (
        "optimizer adamw, learning_rate 0.3" in lines["recipe"] and lines["loss"] == "cross-entropy"
    )
    assert lines["examples"] == "16 images and their outputs"
    assert lines["SHA-256"] == f"{contents['sha256']}, right"


def test_a_joined_committee_has_what_its_members_share(tmp_path, small_data):
    for name, epochs in (("a", 2), ("b", 3)):
        flags = ["--epochs", epochs, "--seed", epochs, "--output", f"{name}.pickle"]
        run("train", "--data", small_data, *FAST, *flags, cwd=tmp_path)
    run("join a.pickle b.pickle --output both.pickle", cwd=tmp_path)
    out, _ = run("doctor", "--model", "both.pickle", cwd=tmp_path)
    (recipe,) = (line for line in out.splitlines() if line.startswith("recipe "))
    assert "learning_rate 0.3" in recipe and ", epochs " not in recipe


def test_describing_a_model_needs_neither_data_nor_a_device(tmp_path):
    for flags in ("--data fashion-mnist", "--device cpu"):
        _, error = run(f"doctor --model x {flags}", cwd=tmp_path, code=2)
        assert "--model only describes a file: leave out --data and --device" in error


def test_the_contents_of_strange_model_files(tmp_path):
    net = ann.NeuralNetwork(
        [{"input_dim": 2, "output_dim": 3, "activation": "softmax"}], committee=2
    )
    net.recipe = {"\x1b[2J": "x" * 5000}
    net.save(tmp_path / "x")
    out, _ = run("doctor", "--model", "x", cwd=tmp_path)
    assert (
        "network   committee of 2, each 2-3, softmax" in out
        and "\x1b" not in out
        and len(out) < 2000
    )
    (tmp_path / "x").write_bytes(b"no")
    _, error = run("doctor", "--model", "x", cwd=tmp_path, code=1)
    assert (
        error
        == "error: x: not a model file of this program: it is not a pickle of protocol 2 to 5\n"
    )


def test_an_extra_needs_all_of_its_modules(checks, monkeypatch):
    """matplotlib brings Pillow, and scikit-learn brings SciPy, but pictures need both."""
    for missing in ("PIL", "scipy"):
        monkeypatch.setattr(
            checks.importlib.util, "find_spec", lambda name, gone=missing: name != gone
        )
        text, _ = lines(checks.check_extras())
        assert 'picture   for pictures of your own: pip install -e ".[picture]"' in text
        assert "parquet" in text
