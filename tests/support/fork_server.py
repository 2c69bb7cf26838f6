"""Python programs as forks of one warm process. A fork has its own memory, signals, streams and
exit code, like a new process, but NumPy and ann are already imported. So it starts in 10 ms
instead of 300.

Programs that depend on variables that Python or NumPy read at their start need a new process.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import types
import warnings
from contextlib import suppress

AVAILABLE = sys.platform == "linux"
_PR_SET_CHILD_SUBREAPER = 36  # of <sys/prctl.h>


class ForkServer:
    """A process that imports some modules at the first request, and then forks for each program.

    Attributes:
        env: the environment variables of that process, and of the programs.
    """

    def __init__(self, env, modules):
        self.env = env
        self._modules = modules
        self._process = None
        self._lock = threading.Lock()

    def popen(self, arguments, **options):
        """Like ``subprocess.Popen([sys.executable, *arguments], env=self.env, **options)``."""
        return _Fork(self, arguments, **options)

    def fork(self, arguments, cwd, streams):
        """Start the program in a new child of this process, and return its number."""
        with self._lock:
            if self._process is None:
                self._start()
            request = json.dumps({"arguments": arguments, "cwd": os.fspath(cwd or os.getcwd())})
            _adopt_orphans(True)
            socket.send_fds(self._socket, [request.encode()], streams)
            child = int(self._socket.recv(100))
            _adopt_orphans(False)
        return child

    def _start(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *self._modules]
            null = subprocess.DEVNULL
            options = {
                "pass_fds": [theirs.fileno()],
                "stdin": null,
                "stdout": null,
                "env": self.env,
            }
            self._process = subprocess.Popen(command, **options)
        atexit.register(self._stop)

    def _stop(self):
        self._socket.close()
        self._process.wait()


def _adopt_orphans(wanted):
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


class _Fork(subprocess.Popen):
    """Like any Popen, but the process is a fork of the server."""

    def __init__(self, server, arguments, **options):
        self._server = server
        super().__init__(arguments, **options)

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest):
        pipes = rest[3:9]  # after startupinfo, creationflags and shell
        theirs = pipes[0], pipes[3], pipes[5]
        self.pid = self._server.fork(
            args, cwd, [ours if pipe == -1 else pipe for ours, pipe in enumerate(theirs)]
        )
        self._child_created = True
        self._close_pipe_fds(*pipes)


def _serve(connection):
    """Fork for each request. Returns its request in each fork, and None at the end."""
    while True:
        request, _files, _, _ = socket.recv_fds(connection, 2**20, 3)
        if not request:
            return None
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # BLAS has threads, which it stops before a fork
            parent = os.fork()
            if parent == 0:
                child = os.fork()
                if child:  # become an orphan's parent, so that the tests' process adopts it
                    os.write(write, str(child).encode())
                    os._exit(0)
        os.close(write)
        if parent == 0:
            os.close(read)
            connection.close()
            for number, file in enumerate(_files):
                os.dup2(file, number)
            for file in _files:
                os.close(file)
            return json.loads(request)
        os.waitpid(parent, 0)
        connection.send(os.read(read, 100))
        for file in (read, *_files):
            os.close(file)


def _become(arguments, cwd):
    """Run the program as ``__main__``. An unhandled exception ends this process as usual."""
    os.chdir(cwd)
    for number, (name, mode) in enumerate(
        [("stdin", "r"), ("stdout", "w"), ("stderr", "w")]
    ):  # as Python opens them
        old = getattr(sys, name)
        by_line = 1 if name == "stderr" or os.isatty(number) else -1
        options = {
            "buffering": by_line,
            "encoding": old.encoding,
            "errors": old.errors,
            "closefd": False,
        }
        new = open(number, mode, **options)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    sys.argv[:] = arguments
    if arguments[0] == "-c":
        del sys.argv[1]
        sys.path[0] = ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
    elif arguments[0] == "-m":
        del sys.argv[0]
        sys.path[0] = cwd
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(arguments[0])
        runpy.run_path(arguments[0], run_name="__main__")


def _keep(modules):
    """Keep modules alive: Python takes longer to delete them than most programs take to run."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(modules))
    for name in modules.keys() - {"builtins", "sys", "__main__"}:
        sys.modules.pop(name, None)


if __name__ == "__main__":
    _imported = {}
    atexit.register(_keep, _imported)  # the first to be registered is the last to be called
    for _name in sys.argv[2:]:
        with suppress(ImportError):  # some come with extras
            importlib.import_module(_name)
    _imported.update(sys.modules)
    os.fsync = lambda descriptor: (
        None
    )  # no test cuts the power, and a disk takes 10 ms for each file
    gc.freeze()  # what all forks share is not looked at, and thereby copied
    with socket.socket(fileno=int(sys.argv[1])) as _connection:
        os.set_inheritable(_connection.fileno(), False)
        _request = _serve(_connection)
    if _request is not None:
        _become(**_request)
