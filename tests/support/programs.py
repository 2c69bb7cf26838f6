"""Run the programs as a user does."""

import os
import subprocess
import sys

from support import ROOT, STARTED, optional
from support.fork_server import AVAILABLE, ForkServer

optional("tqdm")


# No program may find a GPU or open a window
NO_GPU = {
    **os.environ,
    "CUDA_VISIBLE_DEVICES": "-1",
    "MPLBACKEND": "agg",
    "PYTHONIOENCODING": "utf-8",
}
ONE_THREAD = {**NO_GPU, "OPENBLAS_NUM_THREADS": "1"}  # for programs side by side, and sweeps
FAST = ["--hidden", "16", "--epochs", "3", "--batch-size", "20", "--learning-rate", "0.3"]
TIMEOUT = 300  # seconds

# What programs import; those of extras that are not installed are left out
_MODULES = ["tqdm", "argparse", "difflib", "scipy.ndimage", "PIL.Image", "matplotlib.pyplot"]
_MODULES += [
    f"ann.{'.'.join(path.relative_to(ROOT / 'ann').with_suffix('').parts)}"
    for path in (ROOT / "ann").rglob("[a-z]*.py")
    if path.parent.name != "estimator" and path.stem != "mpi"  # which start MPI and scikit-learn
]
_OF_SWEEPS = ["optuna.importance", "sqlalchemy.orm"]
_SERVERS = [ForkServer(NO_GPU, _MODULES), ForkServer(ONE_THREAD, [*_MODULES, *_OF_SWEEPS])]


def popen(arguments, env=NO_GPU, **options):
    """Start Python with a script, -c and a program, or -m and a module, and its arguments."""
    for server in _SERVERS if AVAILABLE else []:
        if env == server.env:
            return server.popen(arguments, **options)
    return subprocess.Popen([sys.executable, *arguments], env=env, **options)


def start(*arguments, cwd, env=NO_GPU):
    """Start Python with these arguments and pipes. It ends with the test at the latest."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(popen([str(argument) for argument in arguments], env, cwd=cwd, **pipes))
    return STARTED[-1]


def python(*arguments, cwd, env=NO_GPU):
    """Run Python with these arguments to its end."""
    arguments = [str(argument) for argument in arguments]
    with popen(
        arguments, env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, error = process.communicate(timeout=TIMEOUT)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out, error)


def execute(command, cwd, env=NO_GPU, **options):
    """Run a command, a list of words or a line for bash, in a new process."""
    words = ["bash", "-c", command] if isinstance(command, str) else [*map(str, command)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run(words, cwd=cwd, env=env, timeout=TIMEOUT, **options)


def run(name, *arguments, cwd, code=0, env=NO_GPU, complaint=""):
    """Run a program and return its standard output and standard error.

    The name of the program may be followed by words, as in "test --json". Checks the exit code,
    unless it is None, and that there is one line on standard error after a failure and none
    otherwise. With ``complaint``, it checks the beginning of standard error instead; None skips
    that check.
    """
    name, *words = name.split()
    process = python(ROOT / "scripts" / f"{name}.py", *words, *arguments, cwd=cwd, env=env)
    assert code in (None, process.returncode), process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    if complaint:
        assert process.stderr.startswith(complaint)
    elif code:
        assert len(process.stderr.splitlines()) == 1, process.stderr
    elif complaint is not None:
        assert process.stderr == ""
    return process.stdout, process.stderr


WITH_RUN = "use --run FOLDER to save checkpoints, then --resume FOLDER to continue"
# Changes scripts/train.py and runs it
HARNESS = (
    "import runpy, sys; sys.argv = sys.argv[1:];\n"
    "from ann.cli import bootstrap\n"
    "bootstrap.start()\n"
    "import ann, ann.files.atomic\n"
    "def after_each_epoch(callback, fit=ann.fit):\n"
    "    ann.fit = lambda net, data, recipe, callbacks, **options: fit(\n"
    "        net, data, recipe, [*callbacks, callback], **options)\n"
    "{change}\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run_changed(change, small_data, cwd, *flags, env=NO_GPU):
    arguments = [
        "-c",
        HARNESS.format(change=change),
        ROOT / "scripts/train.py",
        "--data",
        small_data,
        *FAST,
        *flags,
    ]
    return python(*arguments, cwd=cwd, env=env)
