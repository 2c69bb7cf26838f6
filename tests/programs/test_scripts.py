"""The three main programs as users run them: output, files, and one line for each kind of
mistake.
"""

import gzip
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

import ann
from support import ROOT, optional
from support.digits import idx_bytes, write_mnist_like
from support.programs import FAST, HARNESS, NO_GPU, WITH_RUN, execute, python, run, run_changed

optional("tqdm")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A folder with data and a model trained on them."""
    place = tmp_path_factory.mktemp("trained")
    run("train", "--device", "cpu", "--data", write_mnist_like(place / "small"), *FAST, cwd=place)
    return place


@pytest.fixture
def trained(tmp_path, trained_once):
    """The test's own copy of that folder."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


def shell_line(words):
    """A line for bash that runs this program with these flags."""
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT))}/scripts/{words}"


def test_train_then_test(tmp_path, small_data):
    out, _ = run("train", "--data", small_data, *FAST, "--validation", 60, cwd=tmp_path)
    assert re.search(r"^device cpu: NumPy, because CuPy ", out, re.M)
    assert "network 64-16-10, 1,210 parameters, seed 0" in out
    epochs = re.findall(
        r"^epoch (\d)/3  loss [\d.]+  validation: loss [\d.]+, \d+ wrong \([\d.]+ %\)  "
        r"[\d,]+ images/s  \d s left$",
        out,
        re.M,
    )
    assert epochs == ["1", "2", "3"]
    assert "\r" not in out  # no bar where there is no terminal
    described, _ = run("test", "--device", "cpu", "--data", small_data, cwd=tmp_path)
    wrong = int(
        re.search(
            r"^(\d+) of 100 wrong: accuracy [\d.]+ %, error rate [\d.]+ % \(95 %", described, re.M
        )[1]
    )
    out, _ = run("test", "--json", "--data", small_data, cwd=tmp_path)
    result = json.loads(out)
    assert "model mnist_ann.pickle: network 64-16-10, 1,210 parameters, seed 0\n" in described
    assert f"data {small_data}: 100 test images\n" in described
    assert (result["model"], result["data"]) == ("mnist_ann.pickle", str(small_data))
    assert result["accuracy"] == pytest.approx(1 - wrong / 100)
    assert (result["wrong"], result["total"], result["device"]) == (wrong, 100, "cpu")
    assert result["interval"][0] <= result["error_rate"] == wrong / 100 <= result["interval"][1]
    confusion = np.array(result["confusion"])
    assert confusion.sum() == 100 and confusion.sum() - confusion.trace() == wrong
    labels = ann.load_dataset(small_data).test_labels
    np.testing.assert_array_equal(confusion.sum(axis=1), np.bincount(labels, minlength=10))
    out, _ = run("test", "--verbose", "--data", small_data, cwd=tmp_path)
    examples = re.findall(r"^image +(\d+)  expected (\d)  got (\d)(  <-- wrong)?$", out, re.M)
    assert [int(example[0]) for example in examples] == list(range(100))
    assert [int(example[1]) for example in examples] == labels.tolist()
    assert sum(bool(example[3]) for example in examples) == wrong
    assert all((example[1] != example[2]) == bool(example[3]) for example in examples)


@pytest.mark.parametrize("folder", ["here", "with a blank", "-x"])
def test_the_printed_commands_work_as_they_stand(tmp_path, small_data, folder):
    """They are pasted into a shell, in the folder where they were printed."""
    (tmp_path / folder).mkdir()
    output = f"{folder}/x.pickle"
    flags = [*FAST, f"--output={output}"]
    out, _ = run("train --data small --optimizer adam", *flags, cwd=tmp_path)
    first = (tmp_path / output).read_bytes()
    for name in ("test", "repeat"):
        line = re.search(rf"^{name} it: +(.*)$", out, re.M)[1]
        execute(line, tmp_path, check=True)
    assert (tmp_path / output).read_bytes() == first


def test_every_flag_reaches_the_model(tmp_path, small_data):
    flags = {
        "optimizer": "nesterov", "learning-rate": 0.05, "momentum": 0.8, "weight-decay": 0.001,
        "label-smoothing": 0.1,
        "dropout": 0.1, "input-dropout": 0.05, "channel-dropout": 0.05,
        "rotation": 10.0, "scaling": 0.1, "shear": 5.0, "shift": 1.0,
        "elastic": 0.5, "undistorted-epochs": 1, "adversarial": 0.0, "clip": 3.0, "max-norm": 4.0,
        "average": 0.9,
        "batch-size": 30,
        "epochs": 2, "schedule": "step", "warmup": 0.25, "validation": 50, "early-stopping": 2,
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", value)] + [
        "--batch-norm"
    ]
    network = "--hidden conv3x3,9,7 --activation gelu --output-activation softmax".split()
    network += ["--loss", "cross-entropy"]
    run("train --data small --seed 5 --output x.pickle", *network, *words, cwd=tmp_path)
    model = pickle.loads((tmp_path / "x.pickle").read_bytes())
    assert model["recipe"] == {
        "batch_norm": True,
        **{name.replace("-", "_"): value for name, value in flags.items()},
    }
    assert model["seed"] == 5 and model["loss"] == "cross-entropy"
    shapes = [(layer["weight"].shape, layer["activation"]) for layer in model["layers"]]
    assert shapes == [((9, 3), "gelu"), ((108, 9), "gelu"), ((9, 7), "gelu"), ((7, 10), "softmax")]
    run("train --adversarial 0.5 --output x.pickle", "--data", small_data, *FAST, cwd=tmp_path)
    assert pickle.loads((tmp_path / "x.pickle").read_bytes())["recipe"]["adversarial"] == 0.5


def test_an_activation_from_a_file(tmp_path, small_data):
    name = "my own.py"
    (tmp_path / name).write_text(
        "import ann\nann.register_activation('softsign', lambda xp, z: z / (1 + xp.abs(z)),"
        " lambda xp, z: 1 / (1 + xp.abs(z)) ** 2)\n"
    )
    flags = [*FAST, "--data", small_data, "--import", name]
    out, _ = run("train", "--activation", "softsign", *flags, cwd=tmp_path)
    assert "loss" in out.splitlines()[-3]
    for line in re.findall(r"^(?:test|repeat) it: +(.*)$", out, re.M):
        assert f"--import '{name}'" in line
        execute(shlex.split(line), tmp_path, check=True)
    _, err = run("test", "--data", small_data, cwd=tmp_path, code=1)
    assert "unknown activation 'softsign'" in err and "--import FILE" in err
    _, err = run("train", "--activation", "softsign", cwd=tmp_path, code=2)
    assert "invalid choice: 'softsign'" in err


@pytest.mark.parametrize(
    ("contents", "code", "message"),
    [
        (None, 1, "my.py: No such file or directory"),
        ("import ann\n\n1 / 0\n", 1, "my.py: line 3: ZeroDivisionError: division by zero"),
        ("def\n", 1, "my.py: SyntaxError: invalid syntax"),
        ("import no_such_module\n", 1, "my.py: line 1: ModuleNotFoundError"),
        ("raise SystemExit(0)\n", 1, "my.py: line 1: SystemExit: 0"),
        (
            "import ann\nann.register_activation('relu', abs, abs)\n",
            1,
            "line 2: ValueError: activation 'relu' is built in",
        ),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path, contents, code, message):
    if contents is not None:
        (tmp_path / "my.py").write_text(contents)
    _, err = run("train", "--import", "my.py", cwd=tmp_path, code=code)
    assert message in err


def test_no_hidden_layer(tmp_path, small_data):
    run("train", "--data", small_data, *FAST, "--hidden", "none", cwd=tmp_path)
    assert len(ann.load_model(tmp_path / "mnist_ann.pickle").layer_list) == 1


def test_try_loader(tmp_path, small_data):
    optional("matplotlib")
    out, _ = run("try_loader", "--data", small_data, "--seed", 1, cwd=tmp_path)
    assert "train: 300 images of 8 x 8 pixels, labels 0 to 9" in out
    assert len(re.findall(r"label \d, train \d+", out)) == 10
    assert len(re.findall(r"label \d, test \d+", out)) == 5
    path = re.search(r"^picture: (.*)$", out, re.M)[1]
    assert (
        path == str(tmp_path / "mnist_images.png")
        and (tmp_path / "mnist_images.png").stat().st_size > 1000
    )
    again, _ = run("try_loader --seed 1 --output x.svg", "--data", small_data, cwd=tmp_path)
    assert again.splitlines()[:-1] == out.splitlines()[:-1]
    other, _ = run("try_loader", "--data", small_data, "--seed", 2, cwd=tmp_path)
    assert other.splitlines()[2:-1] != out.splitlines()[2:-1]
    plain, _ = run(
        "try_loader",
        "--data",
        small_data,
        cwd=tmp_path,
        env={**NO_GPU, "PYTHONIOENCODING": "ascii"},
    )
    assert plain.isascii()


def test_from_another_folder_the_default_data_are_found(tmp_path):
    optional("matplotlib")
    out, _ = run("try_loader", "--output", "x.png", cwd=tmp_path)
    assert "train: 60,000 images of 28 x 28 pixels" in out


@pytest.mark.parametrize(
    "name", ["train", "test", "try_loader", "benchmark", "verify", "doctor", "evaluate", "join"]
)
def test_help(tmp_path, name):
    out, _ = run(name, "--help", cwd=tmp_path)
    assert "examples:" in out and f"python scripts/{name}.py" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs 0", "expected a whole number of at least 1, got '0'"),
        ("--epochs -3", "expected a whole number"),
        ("--epochs many", "expected a whole number of at least 1, got 'many'"),
        ("--epochs nan", "expected a whole number"),
        ("--epochs 1.5", "expected a whole number"),
        ("--batch-size 0", "expected a whole number of at least 1, got '0'"),
        ("--batch-size x", "expected a whole number"),
        ("--learning-rate 0", "expected a number above 0, got '0'"),
        ("--learning-rate -0.1", "expected a number above 0, got '-0.1'"),
        ("--learning-rate nan", "expected a number above 0, got 'nan'"),
        ("--learning-rate inf", "expected a number"),
        ("--learning-rate fast", "expected a number above 0, got 'fast'"),
        ("--momentum 1", "expected a number of at least 0 and below 1, got '1'"),
        ("--weight-decay -1", "expected a number of at least 0, got '-1'"),
        ("--warmup 1", "expected a number"),
        ("--validation -1", "expected a whole number of at least 0, got '-1'"),
        (f"--seed {2**63}", "expected a whole number below 2^63"),
        ("--seed -1", "expected a whole number of at least 0, got '-1'"),
        ("--hidden 128,0", "expected widths such as 128,32"),
        ("--hidden ''", "expected widths such as 128,32"),
        ("--hidden a,b", "expected widths such as 128,32"),
        ("--activation sigmoyd", "invalid choice: 'sigmoyd'"),
        ("--activation Relu", "invalid choice: 'Relu' (choose from"),
        ("--output-activation x", "invalid choice: 'x'"),
        ("--loss hinge", "invalid choice: 'hinge'"),
        ("--optimizer sdg", "invalid choice: 'sdg'"),
        ("--schedule x", "invalid choice: 'x'"),
        ("--device tpu", "invalid choice: 'tpu'"),
    ],
)
def test_wrong_values_for_train(tmp_path, words, message):
    flag, value = shlex.split(words)
    _, error = run("train", flag, value, cwd=tmp_path, code=2)
    assert error.startswith("train.py: error: ") and "--help" in error
    assert f"argument {flag}: {message}" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epoch 3", "unrecognized arguments: --epoch 3; did you mean --epochs?"),
        ("--activation Relu", "; did you mean relu?"),
        ("--lr 3", "unrecognized arguments: --lr 3; did you mean --learning-rate?"),
        ("--layers=3", "unrecognized arguments: --layers=3; did you mean --hidden?"),
        ("--batch_size 3", "unrecognized arguments: --batch_size 3; did you mean --batch-size?"),
        ("--hidden 128 32", "unrecognized arguments: 32; a value stands after its flag"),
        ("extra", "unrecognized arguments: extra"),
    ],
)
def test_wrong_usage_of_train(tmp_path, words, message):
    _, error = run(f"train {words}", cwd=tmp_path, code=2)
    assert message in error and error.startswith("train.py: error: ") and "--help" in error


def test_wrong_usage_of_the_others(tmp_path):
    assert "not allowed with" in run("test", "--json", "--verbose", cwd=tmp_path, code=2)[1]
    assert (
        "expected a whole number of at least 0"
        in run("try_loader", "--seed", "x", cwd=tmp_path, code=2)[1]
    )


@pytest.mark.parametrize("name", ["train", "test"])
def test_device_gpu_without_one(tmp_path, name):
    _, error = run(name, "--device", "gpu", cwd=tmp_path, code=1)
    assert error.startswith("error: CuPy ") and "pip install" in error


def test_a_precision_that_needs_a_gpu(tmp_path):
    _, error = run("train", "--device", "cpu", "--precision", "tf32", cwd=tmp_path, code=1)
    assert error == "error: precision tf32 needs a GPU; use float32 on the CPU\n"
    _, error = run("train", "--precision", "tf32", cwd=tmp_path, code=1)
    assert (
        error.startswith("error: precision tf32 needs a working GPU: CuPy ")
        and error.count("\n") == 1
    )
    _, error = run("train", "--precision", "half", cwd=tmp_path, code=2)
    assert "argument --precision: invalid choice: 'half'" in error


def test_bad_values_for_train(tmp_path, small_data):
    for words, message in [
        ("--batch-size 301", "--batch-size: 301 is more than the 300 training images"),
        (
            "--validation 300",
            "--validation: 300 validation images of 300 leave none to train on",
        ),
        ("--output-activation tanh", "loss 'cross-entropy' needs outputs between 0 and 1"),
        (
            "--hidden none --dropout 0.2",
            "--dropout: it is for hidden layers, and the network has none; "
            "add hidden layers, or switch it off",
        ),
        ("--data absent", "absent: no such data file or folder"),
        (f"--output {'x' * 300}", "File name too long"),
        ("--hidden 1000000", "this model cannot be saved: it has"),
        ("--output absent/x", "absent/x: There is no folder"),
        ("--output .", ".: Is a directory"),
        ("--output /dev/null", "/dev/null: Not a regular file"),
        ("--hidden 99999999999", ""),
    ]:
        out, error = run(f"train --data small {words}", cwd=tmp_path, code=1)
        assert error.startswith("error: ") and message in error
        assert "epoch" not in out  # found before training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]


DAMAGE = {
    "truncated": (lambda data: data[:-20], "truncated"),
    "magic": (lambda data: gzip.compress(b"\1" + gzip.decompress(data)[1:]), "not an IDX file"),
    "type": (lambda data: gzip.compress(b"\0\0\x0d" + gzip.decompress(data)[3:]), "IDX type 0x0d"),
    "dimensions": (
        lambda data: gzip.compress(b"\0\0\x08\x02" + gzip.decompress(data)[4:]),
        "2 dimensions, expected 3",
    ),
    "trailing": (lambda data: gzip.compress(gzip.decompress(data) + b"x"), "extra bytes"),
    "checksum": (lambda data: data[:-8] + bytes(8), "incorrect data check"),
    "count": (
        lambda data: gzip.compress(idx_bytes(np.zeros((299, 8, 8), np.uint8))),
        "300 labels for 299 images",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.parametrize("name", ["train", "test", "try_loader"])
def test_damaged_data(trained, small_data, name, case):
    damage, message = DAMAGE[case]
    path = small_data / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    before = (trained / "mnist_ann.pickle").read_bytes()
    _, error = run(name, "--data", small_data, cwd=trained, code=1)
    assert error.startswith("error: ") and message in error and "train-" in error
    assert (trained / "mnist_ann.pickle").read_bytes() == before


def test_a_label_that_no_training_image_has(trained, small_data):
    path = small_data / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.full(100, 11, np.uint8))))
    _, error = run("test", "--data", small_data, cwd=trained, code=1)
    assert "expected whole numbers from 0 to 9, got 11 at index 0" in error


def test_bad_models(trained, small_data):
    good = (trained / "mnist_ann.pickle").read_bytes()
    later = pickle.loads(good) | {"version": 4, "layers": []}
    for data, message in [
        (None, "no such model file; scripts/train.py makes one"),
        (b"", "not a pickle"),
        (b"hello", "not a pickle"),
        (good[:1000], "it ends at byte 1000"),
        (pickle.dumps(later, protocol=4), "its version is 4, expected 3"),
    ]:
        path = trained / "other.pickle"
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        _, error = run("test", "--data", small_data, "--model", "other.pickle", cwd=trained, code=1)
        assert error.startswith("error: other.pickle: ") and message in error


def test_a_model_that_does_not_fit_the_data(trained):
    _, error = run("test", cwd=trained, code=1)
    assert "images of 784 pixels; mnist_ann.pickle takes 64" in error


def test_divergence_keeps_the_old_model(trained, small_data):
    before = (trained / "mnist_ann.pickle").read_bytes()
    wild = "--activation relu --output-activation identity --loss quadratic".split()
    wild += ["--learning-rate", "1e30"]
    _, error = run("train", "--data", small_data, *FAST, *wild, cwd=trained, code=1)
    assert "diverged in epoch 1 of 3" in error and "try learning rate 0.0" in error
    assert (trained / "mnist_ann.pickle").read_bytes() == before


@pytest.mark.parametrize("old", [True, False])
def test_ctrl_c(tmp_path, small_data, old):
    if old:
        (tmp_path / "mnist_ann.pickle").write_bytes(b"old")
    command = [sys.executable, "-u", str(ROOT / "scripts/train.py")]
    command += "--data small --epochs 100000".split()
    process = subprocess.Popen(
        command, cwd=tmp_path, env=NO_GPU, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 130
    kept = "nothing was saved, and mnist_ann.pickle is unchanged" if old else "nothing was saved"
    assert error == f"interrupted: {kept}; {WITH_RUN}\n"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ({"small", "mnist_ann.pickle"} if old else {"small"})


@pytest.mark.parametrize(
    "program",
    [
        "train.py --epochs 9 --batch-size 20 --learning-rate 0.003 --output x",
        "try_loader.py --output x",
    ],
)
def test_a_reader_may_close_its_pipe_early(tmp_path, small_data, program):
    if "loader" in program:
        optional("matplotlib")
    command = shell_line(f"{program} --data small")
    script = f"set -o pipefail; {command} | head -1"
    process = execute(script, tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "x").exists()


def test_output_to_a_closed_pipe(trained, small_data):
    command = shell_line("test.py --verbose --data small | head -1")
    process = execute(command, trained)
    assert process.stdout.startswith("image     0") and process.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_bar_on_a_terminal(tmp_path, small_data):
    import fcntl
    import pty
    import termios

    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    command = [sys.executable, str(ROOT / "scripts/train.py"), "--data", str(small_data), *FAST]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=NO_GPU, stdout=secondary, stderr=secondary
    )
    os.close(secondary)
    shown = b""
    while True:
        try:
            chunk = os.read(primary, 4096)
        except OSError:  # the terminal is gone with the program
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait(timeout=300) == 0
    text = shown.decode()
    assert "\r" in text and "images/s" in text and "left" in text
    assert re.search(r"\repoch 2/3 \|", text)
    assert re.search(r"epoch 3/3  loss", text) and "saved mnist_ann.pickle" in text
    assert (
        len(re.findall(r"least certain of \d+ training images:", text)) == 1
    )  # after the first epoch, and next after the fourth
    model = (tmp_path / "mnist_ann.pickle").read_bytes()
    assert "least" not in run("train", "--data", small_data, *FAST, cwd=tmp_path)[0]
    assert model == (tmp_path / "mnist_ann.pickle").read_bytes()  # looking changes nothing


def test_picture_of_the_mistakes(trained, small_data):
    optional("matplotlib")
    out, _ = run("test", "--data", small_data, "--picture", "mistakes.png", cwd=trained)
    assert f"most confident first: {trained / 'mistakes.png'}" in out
    (trained / "mistakes.png").unlink()
    out, _ = run("test", "--data", small_data, "--picture", "mistakes.png", "--json", cwd=trained)
    assert json.loads(out)["total"] == 100 and (trained / "mistakes.png").stat().st_size > 1000
    assert "There is no folder" in run("test", "--picture", "absent/x.png", cwd=trained, code=1)[1]
    for program, flag in (("test", "--picture"), ("try_loader", "--output")):
        out, complaint = run(program, flag, "x.foo", cwd=trained, code=1)
        assert out == "" and complaint.startswith(
            "error: x.foo: pictures cannot be written as .foo, only as ."
        )


def test_a_read_only_model_is_not_replaced(trained, small_data):
    model = trained / "mnist_ann.pickle"
    before = model.read_bytes()
    model.chmod(0o444)
    out, error = run("train", "--data", small_data, *FAST, "--seed", 1, cwd=trained, code=1)
    assert (
        error
        == "error: mnist_ann.pickle: It is read-only; make it writable, or name another file\n"
    )
    assert (
        "epoch" not in out
        and model.read_bytes() == before
        and model.stat().st_mode & 0o777 == 0o444
    )
    model.chmod(0o600)
    run("train", "--data", small_data, *FAST, "--seed", 1, cwd=trained)
    assert model.read_bytes() != before and model.stat().st_mode & 0o777 == 0o600


def test_a_model_that_becomes_read_only_in_training_is_put_elsewhere(trained, small_data):
    change = (
        "import os\n"
        "def protect(report): os.chmod('mnist_ann.pickle', 0o444)\n"
        "after_each_epoch(protect)"
    )
    before = (trained / "mnist_ann.pickle").read_bytes()
    process = run_changed(change, small_data, trained, "--seed", "1")
    assert process.returncode == 1 and (trained / "mnist_ann.pickle").read_bytes() == before
    assert ann.load_model(re.search("the model is in (.*) instead", process.stderr)[1])


def test_a_picture_of_no_mistakes(tmp_path, small_data):
    """The picture of a network that is always right is empty."""
    optional("matplotlib")
    (small_data / "t10k-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx_bytes(np.zeros(100, np.uint8)))
    )
    net = ann.NeuralNetwork([{"input_dim": 64, "output_dim": 10, "activation": "sigmoid"}])
    net.parameters[:] = 0
    net.network.layers[0].bias[0, 0] = 1
    net.save(tmp_path / "mnist_ann.pickle")
    out, _ = run("test", "--data", small_data, "--picture", "x.png", cwd=tmp_path)
    assert "0 of 100 wrong: accuracy 100.00 %, error rate 0.00 %" in out


def test_a_model_that_cannot_be_put_there_is_put_elsewhere(tmp_path, small_data):
    change = (
        "save = ann.NeuralNetwork.save\n"
        "def full(net, path):\n"
        "    if str(path) == 'mnist_ann.pickle': raise OSError(28, 'No space left on device')\n"
        "    save(net, path)\n"
        "ann.NeuralNetwork.save = full"
    )
    process = run_changed(change, small_data, tmp_path)
    assert process.returncode == 1
    pattern = r"error: mnist_ann.pickle: No space left on device; the model is in (.*) instead\n"
    assert len(ann.load_model(re.fullmatch(pattern, process.stderr)[1]).layer_list) == 2


def test_a_model_that_cannot_be_put_anywhere(tmp_path, small_data):
    fails = "def full(net, path): raise OSError(28, 'No space left on device', str(path))"
    change = f"{fails}\nann.NeuralNetwork.save = full"
    process = run_changed(change, small_data, tmp_path)
    assert (process.returncode, process.stderr) == (
        1,
        "error: mnist_ann.pickle: No space left on device\n",
    )


def test_a_model_is_saved_although_output_is_lost(tmp_path, small_data):
    command = shell_line("train.py --data small --batch-size 20 > /dev/full")
    process = execute(command, tmp_path)
    assert process.returncode == 1 and (tmp_path / "mnist_ann.pickle").exists()
    expected = (
        "error: cannot write to standard output: No space left on device; "
        "everything else was done\n"
    )
    assert process.stderr == expected


@pytest.mark.parametrize("name", [b"\xff.pickle", "\u00e9 \u2028.pickle".encode()])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_cannot_be_shown(tmp_path, small_data, name, encoding):
    env = {**NO_GPU, "PYTHONIOENCODING": encoding}
    run("train", "--data", small_data, *FAST, "--output", os.fsdecode(name), cwd=tmp_path, env=env)
    assert (tmp_path / os.fsdecode(name)).exists()
    run("test", "--data", small_data, "--model", os.fsdecode(name), cwd=tmp_path, env=env)


def test_closed_output(trained, small_data):
    for program in ("train.py --epochs 1 --batch-size 20", "test.py"):
        process = execute(shell_line(f"{program} --data small >&-"), trained)
        assert (process.returncode, process.stderr) == (0, "")


def test_the_message_names_the_file_that_is_kept(tmp_path, small_data):
    """The interrupt comes after the new file is in place, but before saving ends."""
    change = (
        "def interrupt(folder): raise KeyboardInterrupt\nann.files.atomic.sync_folder = interrupt"
    )
    process = run_changed(change, small_data, tmp_path)
    assert process.returncode == 130
    assert process.stderr == "interrupted: the new model is in mnist_ann.pickle\n"
    assert ann.load_model(tmp_path / "mnist_ann.pickle")


def test_ctrl_c_stays_ignored_where_it_was(tmp_path, small_data):
    """Under nohup, training must continue."""
    change = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)"
    command = [sys.executable, "-c", HARNESS.format(change=change), str(ROOT / "scripts/train.py")]
    process = execute(
        f"trap '' INT; exec {shlex.join([*command, '--data', str(small_data), *FAST])}", tmp_path
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "mnist_ann.pickle").exists()


@pytest.mark.parametrize("module", ["numpy", "tqdm", "ann.cli.parser", "ann.training.recipe"])
def test_ctrl_c_while_importing(tmp_path, module):
    program = (
        "import os, runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(name, *rest):\n"
        "        if name == sys.argv[2]: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "runpy.run_path(sys.argv[1] + '/train.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, str(ROOT / "scripts"), module]
    process = execute(command, tmp_path)
    assert (process.returncode, process.stdout) == (130, "")
    assert process.stderr == "interrupted\n"


def test_benchmark_checks_what_it_times(tmp_path):
    """Without the other libraries, which need not be installed; the gate runs it with them."""
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import benchmark\n"
        "from benchmarking import contenders, measurements\n"
        "from benchmarking.contenders import CONTENDERS, Ours\n"
        "class Wrong(Ours):\n"
        "    def epoch(self, order): return 1.01 * Ours.epoch(self, order)\n"
        "class Absent:\n"
        "    def __init__(self, *rest): import no_such_peer\n"
        "for name in {*measurements.START_UP} - {'import ann', 'import numpy'}:\n"
        "    del measurements.START_UP[name]\n"
        "CONTENDERS.clear(); CONTENDERS['ann'] = Ours\n"
        "name = sys.argv.pop(1); CONTENDERS[name] = locals()[name]\n"
        "benchmark.main()"
    )
    command = ["-c", program, ROOT / "scripts"]
    flags = ["--quick", "--only", "classroom", "--output", "x.json"]
    process = python(*command, "Absent", *flags, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert f"'no_such_peer': pip install -e \"{ROOT}[bench]\"" in process.stdout
    figures = json.loads((tmp_path / "x.json").read_text())["tasks"]["classroom"][
        "microseconds_a_step"
    ]
    assert set(figures) == {"ann", "its matrix products alone", "its FLOPs at peak speed"}
    assert all(value > 0 for values in figures.values() for value in values)
    (tmp_path / "x.json").unlink()
    for task, unit, rows in [
        ("predict", "milliseconds", {"ann"}),
        ("distort", "milliseconds_a_batch", {"ann"}),
        ("start-up", "seconds", {"import ann", "import numpy", "train.py, one epoch, save"}),
    ]:
        process = python(
            *command, "Absent", "--quick", "--only", task, "--output", "y.json", cwd=tmp_path
        )
        assert process.returncode == 0, process.stderr
        figures = json.loads((tmp_path / "y.json").read_text())["tasks"][task][unit]
        assert rows <= set(figures) and all(
            value > 0 for values in figures.values() for value in values
        )
    process = python(*command, "Wrong", *flags, cwd=tmp_path)
    assert process.returncode == 1 and not (tmp_path / "x.json").exists()
    assert re.search(r"^error: Wrong: mean loss .* not the same training$", process.stderr)


def test_a_tilde_in_a_flag_is_the_home_folder(tmp_path, small_data):
    """In --data=~/small, shells do not expand it."""
    home, here = small_data.parent, tmp_path / "here"
    here.mkdir()
    (home / "own.py").write_text("")

    def at_home(name, *flags):
        return run(name, *flags, cwd=here, env={**NO_GPU, "HOME": str(home)}, complaint=None)

    at_home("train", "--data=~/small", "--output=~/model.pickle", "--import=~/own.py", *FAST)
    at_home("train", "--data=~/small", "--run=~/run", *FAST)
    at_home("train", "--resume=~/run")
    at_home("test", "--data=~/small", "--model=~/model.pickle")
    at_home("export", "~/model.pickle", "--to=~/model.npz")
    assert {"model.pickle", "run", "model.npz"} <= {path.name for path in home.iterdir()}
    assert list(here.iterdir()) == []
