"""Training with several processes as users run it, with a real mpiexec; test_processes tests
what they compute.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ann
from support import ROOT, begin, optional
from support.digits import write_mnist_like
from support.programs import FAST, NO_GPU, run

optional("mpi4py")

pytestmark = pytest.mark.slow

ENV = {**NO_GPU, "OPENBLAS_NUM_THREADS": "1"}
TRAIN = str(ROOT / "scripts/train.py")


@pytest.fixture(scope="module")
def mpiexec():
    """The mpiexec of the extra, beside Python, or the system's."""
    found = shutil.which(
        "mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if found is None:
        if os.environ.get("ANN_REQUIRE_PEERS") == "1":
            pytest.fail("no mpiexec")
        pytest.skip("no mpiexec")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    more = (
        ["--allow-run-as-root", "--oversubscribe"]
        if "Open MPI" in version or "OpenRTE" in version
        else []
    )
    return [found, *more]


def start(mpiexec, size, *flags, cwd, program=TRAIN, env=ENV):
    command = [*mpiexec, "-n", str(size), sys.executable, program, *map(str, flags)]
    return begin(command, cwd=cwd, env=env)


def mpirun(mpiexec, size, *flags, code=0, **options):
    process = start(mpiexec, size, *flags, **options)
    out, complaint = process.communicate(timeout=300)
    assert process.returncode == code, out + complaint
    return out, complaint


PARITY = """
import sys, warnings
sys.path[:0] = sys.argv[1:3]
import numpy as np
import ann
warnings.simplefilter("ignore", ann.TrainingWarning)
from ann.training.mpi import MpiProcesses
from support.fake_processes import CASES, network_for
processes, data = MpiProcesses(), ann.load_dataset(sys.argv[3])
found = {}
for name, recipe in CASES.items():
    network = network_for(recipe, ann.get_backend("cpu"), dtype="float64")
    recipe = ann.Recipe(**{**vars(recipe), "epochs": 29})  # of 7 steps
    ann.fit(network, data, recipe, processes=processes)
    found[name] = network.parameters
    everywhere = processes.gather(network.parameters)
    assert all((network.parameters == other).all() for other in everywhere)
if processes.rank == 0:
    np.savez(sys.argv[4], **found)
"""


def test_two_hundred_steps_of_every_kind_of_layer(mpiexec, tmp_path):
    """With one, two and three processes, in float64."""
    from support.fake_processes import CASES

    data = write_mnist_like(tmp_path / "small")
    (tmp_path / "parity.py").write_text(PARITY)
    found = []
    for size in (1, 2, 3):
        flags = (ROOT, ROOT / "tests", data, tmp_path / f"{size}.npz")
        out, complaint = mpirun(
            mpiexec, size, *flags, cwd=tmp_path, program=str(tmp_path / "parity.py")
        )
        assert (out, complaint) == ("", "")
        found.append(np.load(tmp_path / f"{size}.npz"))
    for name in CASES:
        for size, other in zip((2, 3), found[1:], strict=True):
            off = np.abs(other[name] - found[0][name]).max()
            print(
                f"{name}: {size} processes are off by {off:.1e}, "
                f"of parameters up to {np.abs(found[0][name]).max():.1f}"
            )
            assert off < 1e-12


def test_train_by_two(mpiexec, tmp_path, small_data):
    out, complaint = mpirun(
        mpiexec, 2, "--distributed", "--data", small_data, *FAST, "--validation", 60, cwd=tmp_path
    )
    assert complaint == "" and out.count("network 64-16-10") == 1
    assert "2 processes, each with its share of every batch of 20 images" in out
    assert [line[:9] for line in out.splitlines() if line.startswith("epoch")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    repeat = re.search(r"^repeat it: mpiexec -n 2 (.*) --distributed$", out, re.M)
    assert repeat
    net = ann.load_model(tmp_path / "mnist_ann.pickle")
    run(
        "train --output alone.pickle",
        "--data",
        small_data,
        *FAST,
        "--validation",
        60,
        cwd=tmp_path,
        env=ENV,
    )
    alone = ann.load_model(tmp_path / "alone.pickle")
    np.testing.assert_allclose(net.parameters, alone.parameters, atol=1e-4)
    again, _ = mpirun(
        mpiexec, 1, "--distributed", "--data", small_data, *FAST, "--validation", 60, cwd=tmp_path
    )
    assert "processes" not in again
    np.testing.assert_array_equal(
        ann.load_model(tmp_path / "mnist_ann.pickle").parameters, alone.parameters
    )


LONG = "--hidden 16 --epochs 100000 --batch-size 20 --schedule constant --validation 60".split()


def wait_for(path, process):
    wait_until(lambda: path.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(number):
    """Whether a process still runs and is not a zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize("before", [2, 3])
def test_interrupted_and_resumed_with_another_number(mpiexec, tmp_path, small_data, before):
    flags = ["--data", small_data, *LONG, "--checkpoint-every", "0.2s"]
    process = start(mpiexec, before, "--distributed", *flags, "--run", "r", cwd=tmp_path)
    wait_for(tmp_path / "r/checkpoint.npz", process)
    process.send_signal(signal.SIGINT)
    out, complaint = process.communicate(timeout=300)
    assert process.returncode == 130, out + complaint
    command = rf"mpiexec -n {before} .*--resume r --distributed"
    go_on = rf"interrupted after \d+ of 100000 epochs; continue: {command}$"
    assert re.search(go_on, complaint, re.M)
    done = int(re.search(r"interrupted after (\d+)", complaint)[1])
    process = start(mpiexec, 5 - before, "--distributed", "--resume", "r", cwd=tmp_path)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch"):
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=300)
    where = f"after {done} of 100000 epochs" if done else "in the first epoch"
    assert f"continuing {where}\n" in lines
    assert int(re.match(r"epoch +(\d+)", lines[-1])[1]) == done + 1


SLOW = """
import runpy, sys, time
sys.argv[0] = {train!r}
sys.path[:0] = {folders!r}
from ann.training import checkpointer
write = checkpointer.write_checkpoint
def slow(*rest):
    time.sleep(4)
    write(*rest)
checkpointer.write_checkpoint = slow
runpy.run_path({train!r}, run_name="__main__")
"""


def test_a_checkpoint_that_takes_long_is_waited_for(mpiexec, tmp_path, small_data):
    folders = [str(ROOT / "scripts"), str(ROOT)]
    (tmp_path / "slow.py").write_text(SLOW.format(train=TRAIN, folders=folders))
    flags = ["--data", small_data, *LONG, "--checkpoint-every", "1000s"]
    process = start(
        mpiexec,
        2,
        "--distributed",
        *flags,
        "--run",
        "r",
        cwd=tmp_path,
        program=str(tmp_path / "slow.py"),
    )
    next(line for line in process.stdout if line.startswith("epoch"))
    process.send_signal(signal.SIGINT)
    out, complaint = process.communicate(timeout=300)
    assert process.returncode == 130, out + complaint
    assert re.search(r"^interrupted after \d+ of 100000 epochs; continue: .*--resume r", complaint)
    assert len(complaint.splitlines()) == 1 and (tmp_path / "r/checkpoint.npz").exists()


def test_a_process_that_cannot_start_ends_all(mpiexec, tmp_path, small_data):
    """A machine lacks a library, so its process dies before MPI knows it."""
    (tmp_path / "program.py").write_text(
        f"import os, runpy, sys\nsys.argv[0] = {TRAIN!r}\n"
        f"sys.path[:0] = [{str(ROOT / 'scripts')!r}, {str(ROOT)!r}]\n"
        "rank = os.environ.get('PMI_RANK', os.environ.get('OMPI_COMM_WORLD_RANK'))\n"
        "if rank == '1': sys.modules['tqdm'] = None\n"
        f"runpy.run_path({TRAIN!r}, run_name='__main__')\n"
    )
    flags = ["--distributed", "--data", small_data, *FAST]
    process = start(mpiexec, 3, *flags, cwd=tmp_path, program=str(tmp_path / "program.py"))
    out, complaint = process.communicate(timeout=300)
    assert process.returncode != 0 and "error: tqdm is not installed" in complaint, out + complaint
    assert not (tmp_path / "mnist_ann.pickle").exists()


def test_a_process_that_dies_ends_all(mpiexec, tmp_path, small_data):
    flags = ["--data", small_data, *LONG, "--checkpoint-every", "0.2s"]
    process = start(mpiexec, 3, "--distributed", *flags, "--run", "r", cwd=tmp_path)
    wait_for(tmp_path / "r/checkpoint.npz", process)
    found = subprocess.run(
        ["pgrep", "-f", f"{TRAIN} --distributed --data {small_data}"],
        capture_output=True,
        text=True,
    )
    workers = [int(word) for word in found.stdout.split() if int(word) != process.pid]
    os.kill(max(workers), signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode != 0
    for worker in workers:
        wait_until(lambda worker=worker: not alive(worker))
    out, _ = mpirun(
        mpiexec, 2, "--distributed", "--resume", "r", "--epochs", "1", cwd=tmp_path, code=1
    )  # another number of epochs is another run, and says so before it trains
    assert "epoch" not in out
    alone = subprocess.Popen(
        [sys.executable, TRAIN, "--resume", "r"],
        cwd=tmp_path,
        env=ENV,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert any(line.startswith("continuing ") for line in alone.stdout)
    alone.kill()
    alone.communicate()


ONE_FAILS = """
import os, runpy, sys
from mpi4py import MPI
sys.argv[0] = {train!r}
sys.path[:0] = [os.path.dirname({train!r}), os.path.dirname(os.path.dirname({train!r}))]
if MPI.COMM_WORLD.Get_rank() == 1:
    {what}
runpy.run_path({train!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("sys.argv[sys.argv.index('--data') + 1] = 'absent'", "process 1: .*absent"),
        (
            "sys.argv[sys.argv.index('--data') + 1] = 'other'",
            "process 1 differs from process 0 in its data",
        ),
        (
            "import ann; ann._version.__version__ = '9.9'",
            "process 1 differs from process 0 in its version of ann: 9.9",
        ),
        (
            "import numpy; numpy.__version__ = '9.9'",
            "process 1 differs from process 0 in its version of numpy: 9.9",
        ),
        ("sys.argv += ['--epochs', '9']", "process 1 differs from process 0 in its recipe"),
        ("sys.argv += ['--hidden', 'x']", "process 1: .*--hidden: expected widths"),
        (
            "import ann.training.fit as t\n"
            "    def broken(*rest): raise MemoryError\n"
            "    t.evaluate = broken",
            "process 1: error: not enough memory",
        ),
    ],
    ids=[
        "no data",
        "other data",
        "other ann",
        "other numpy",
        "other recipe",
        "a wrong flag",
        "no memory",
    ],
)
def test_one_process_fails_with_one_line(mpiexec, tmp_path, small_data, what, words):
    write_mnist_like(tmp_path / "other", seed=1)
    (tmp_path / "program.py").write_text(ONE_FAILS.format(what=what, train=TRAIN))
    flags = ["--distributed", "--data", small_data, *FAST, "--validation", 60]
    process = start(mpiexec, 3, *flags, cwd=tmp_path, program=str(tmp_path / "program.py"))
    out, complaint = process.communicate(timeout=300)
    assert process.returncode in (1, 2), out + complaint
    assert re.search(words, complaint) and "Traceback" not in complaint
    assert len([line for line in complaint.splitlines() if "error" in line]) == 1, complaint
    assert not (tmp_path / "mnist_ann.pickle").exists()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (
            ["--distributed", "--batch-size", "2"],
            1,
            "error: --batch-size: 2 images per batch are too few for 3 processes",
        ),
        (
            ["--distributed", "--learning-rate", "x"],
            2,
            "--learning-rate: expected a number above 0",
        ),
        (["--distributed", "--data", "absent"], 1, "absent"),
        (
            "--distributed --learning-rate 1e30 --activation relu --optimizer sgd".split(),
            1,
            "diverged",
        ),
        (
            [],
            1,
            "started by mpiexec, but without --distributed every process would train its own "
            "network",
        ),
    ],
)
def test_an_error_of_all_processes_is_one_line(mpiexec, tmp_path, small_data, flags, code, words):
    program = (
        tmp_path / "program.py"
    )  # gives all processes time to report the same error, however busy the machine
    program.write_text(
        f"import runpy, sys\nsys.argv[0] = {TRAIN!r}\nsys.path[:0] = [{str(ROOT / 'scripts')!r}]\n"
        "from ann.cli import launch\n"
        "launch._PATIENCE = 300\n"
        f"runpy.run_path({TRAIN!r}, run_name='__main__')\n"
    )
    command = [*FAST, *flags]
    _, complaint = mpirun(
        mpiexec, 3, "--data", small_data, *command, cwd=tmp_path, code=code, program=str(program)
    )
    assert words in complaint
    assert len(complaint.splitlines()) == 1, complaint


def test_a_committee_and_its_members(mpiexec, tmp_path, small_data):
    flags = "--committee 2 --validation 60 --report-members --early-stopping 2 --rotation 5".split()
    out, _ = mpirun(mpiexec, 2, "--distributed", "--data", small_data, *FAST, *flags, cwd=tmp_path)
    assert (
        out.count("member 1: ") == 1
        and ann.load_model(tmp_path / "mnist_ann.pickle").committee == 2
    )


def test_the_benchmark_measures_the_same_training(mpiexec, tmp_path):
    optional("torch")
    flags = ["--distributed", "--quick", "--only", "classroom", "--output", "x.json"]
    out, _ = run("benchmark", *flags, cwd=tmp_path, env=ENV)
    found = json.loads((tmp_path / "x.json").read_text())["tasks"]["classroom, distributed"]
    for name in ("ann", "PyTorch"):
        for size in ("1 process", "2 processes"):
            assert (
                len(found[f"{name}, {size}"]["images_a_second"]) == 1
                and f"  {name}, {size}  " in out
            )
    assert found["parameters"] == 104_938 and found["ann, 2 processes"]["share_in_sums"] > 0
    assert (
        "measures on the CPU"
        in run("benchmark", "--distributed", "--only", "wide", cwd=tmp_path, code=2)[1]
    )


def test_a_process_of_the_benchmark_that_fails(mpiexec, monkeypatch, tmp_path):
    """It ends the others, and its reason is printed."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from benchmarking import distributed
    from benchmarking.tasks import TASKS

    (tmp_path / "torch.py").write_text(
        "import os, time\n"
        "if '1' in (os.environ.get('PMI_RANK'), os.environ.get('OMPI_COMM_WORLD_RANK')):\n"
        "    raise RuntimeError('no luck')\n"
        "time.sleep(100)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    task = dataclasses.replace(TASKS[0], count=200)
    with pytest.raises(
        ValueError,
        match=r"^PyTorch with 2 processes does not run here \(.*\): RuntimeError: no luck$",
    ):
        distributed.run_contender("PyTorch", 2, task, timeout=300)
    with pytest.raises(ValueError, match=r"^PyTorch with 1 processes did not end in 1 seconds$"):
        distributed.run_contender("PyTorch", 1, task, timeout=1)


def test_without_mpi4py(tmp_path, small_data):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").write_text("raise ModuleNotFoundError('no', name='mpi4py')")
    env = {**ENV, "PYTHONPATH": str(tmp_path)}
    _, complaint = run(
        "train", "--distributed", "--data", small_data, *FAST, cwd=tmp_path, env=env, code=1
    )
    assert complaint == (
        f'error: several processes need mpi4py and an MPI: pip install -e "{ROOT}[mpi]"\n'
    )
    (tmp_path / "mpi4py/__init__.py").write_text("")
    (tmp_path / "mpi4py/MPI.py").write_text(
        "raise RuntimeError('cannot load MPI library\\nlibmpi.so.12: no such file')"
    )
    _, complaint = run(
        "train", "--distributed", "--data", small_data, *FAST, cwd=tmp_path, env=env, code=1
    )
    assert complaint.startswith(
        f'error: mpi4py finds no MPI: pip install -e "{ROOT}[mpi]"; its error: cannot load MPI'
    )


WITHOUT_NCCL = """
import sys, types, warnings
sys.path[:0] = sys.argv[1:3]
import ann
from ann.backends.gpu import GpuBackend
from ann.training.mpi import MpiProcesses
from support.fake_cupy import pretend_cupy

warnings.simplefilter("error")
nccl = types.ModuleType("cupy.cuda.nccl")  # like CuPy's, which catches the ImportError
nccl.available = False
sys.modules[nccl.__name__] = nccl
try:
    MpiProcesses().use(GpuBackend(pretend_cupy(), "pretended"))
except ann.DeviceError as error:
    print(error)
"""


def test_without_nccl(mpiexec, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_NCCL)
    out, _ = mpirun(mpiexec, 2, ROOT, ROOT / "tests", cwd=tmp_path, program=str(program))
    # the lines of two processes may run into each other
    assert out.count("several GPUs need NCCL: pip install nvidia-nccl-cu13 (or -cu12)") == 2
    assert len(out) == 2 * len("several GPUs need NCCL: pip install nvidia-nccl-cu13 (or -cu12)\n")
