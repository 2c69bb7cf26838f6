"""Run the programs as a user does."""

import os
import subprocess
import sys

from support import ROOT, optional

optional("tqdm")


# PATH keeps the interpreter's own; the rest of the environment must not matter. CUDA_VISIBLE_DEVICES hides a GPU
# from the runs that are about a machine without one.
NO_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8"}
FAST = ["--hidden", "16", "--epochs", "3", "--batch-size", "20", "--learning-rate", "0.3"]


def run(name, *arguments, cwd, code=0, env=NO_GPU, complaint=""):
    """Run a program and return its standard output and standard error.

    Checks its exit code, and whether it writes to standard error; None skips that check.
    """
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)
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
# Runs scripts/train.py with something done to it first.
HARNESS = (
    "import runpy, sys; sys.argv = sys.argv[1:];\n"
    "from ann.cli import bootstrap\n"
    "bootstrap.start()\n"
    "import ann, ann.files.atomic\n"
    "{change}\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run_changed(change, small_data, cwd, *flags, env=NO_GPU):
    command = [sys.executable, "-c", HARNESS.format(change=change), str(ROOT / "scripts/train.py")]
    command += ["--data", str(small_data), *FAST, *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)
