"""The forks in which tests run programs end as new processes do."""

import pytest

from support.fork_server import AVAILABLE
from support.programs import NO_GPU, python


@pytest.mark.skipif(not AVAILABLE, reason="forks are for Linux")
@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import sys; print(sys.argv, __name__, sys.path[0]); print('no', file=sys.stderr)", 0),
        ("import os; print(os.getcwd(), os.environ['CUDA_VISIBLE_DEVICES']); print(input())", 1),
        ("import sys; sys.stdout.write('no newline'); sys.exit(3)", 3),
        ("import sys; sys.exit('a word')", 1),
        ("import atexit; atexit.register(print, 'last'); 1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -2),
        ("import os, signal; print(signal.getsignal(signal.SIGINT), flush=True); os.abort()", -6),
        (
            "import sys; out = sys.stdout; "
            "print(out.isatty(), out.encoding, out.errors, sys.stdin.readable())",
            0,
        ),
    ],
)
def test_a_fork_ends_as_a_new_process_does(tmp_path, program, code):
    fork = python("-c", program, "a word", "-x", cwd=tmp_path)
    new = python("-c", program, "a word", "-x", cwd=tmp_path, env={**NO_GPU, "ANN_OTHER": "1"})
    assert (fork.returncode, new.returncode) == (code, code), fork.stderr
    assert fork.stdout == new.stdout
    assert (
        fork.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]
    )  # a traceback shows where the program is


@pytest.mark.skipif(not AVAILABLE, reason="forks are for Linux")
def test_a_fork_leaves_no_trace_in_the_next(tmp_path):
    change = "import os, sys; os.environ['ANN_LEFT'] = sys.left = '1'; import json; json.left = 1"
    look = (
        "import json, os, sys; "
        "print(hasattr(sys, 'left'), hasattr(json, 'left'), 'ANN_LEFT' in os.environ)"
    )
    assert python("-c", change, cwd=tmp_path).returncode == 0
    assert python("-c", look, cwd=tmp_path).stdout == "False False False\n"
