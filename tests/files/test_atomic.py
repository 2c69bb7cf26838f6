import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ann
from ann.files.atomic import check_writable, write_atomically
from support import ROOT


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "file"
    for data in (b"old", b"new"):
        check_writable(path)
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_the_umask_s(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o200])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can change the owner of files",
)
def test_a_file_that_root_replaces_keeps_its_owner(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    write_atomically(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


@pytest.mark.parametrize("function", [check_writable, lambda path: write_atomically(path, b"new")])
def test_a_read_only_file_is_not_replaced(tmp_path, function):
    """Not even by root, who can write to every file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o444)
    link = tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(PermissionError, match="read-only") as caught:
            function(name)
        assert caught.value.filename == str(name)
    assert path.read_bytes() == b"old" and stat.S_IMODE(path.stat().st_mode) == 0o444
    assert sorted(tmp_path.iterdir()) == [path, link]


@pytest.mark.parametrize("function", [check_writable, lambda path: write_atomically(path, b"new")])
def test_a_folder_without_the_right_to_write(folder_without_root, function):
    folder_without_root.chmod(0o555)
    with pytest.raises(PermissionError, match="You may not write to its folder; choose another"):
        function(folder_without_root / "file")


def test_a_file_that_windows_does_not_replace(tmp_path, monkeypatch):
    """Another program has opened it, so the folder is not the reason."""

    def fail(*args):
        raise PermissionError(13, "Access is denied", "temporary", None, "file")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(PermissionError, match="Access is denied"):
        write_atomically(tmp_path / "file", b"new")


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, failing):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if failing == "write":
        monkeypatch.setattr("os.fdopen", fail)
    elif failing == "fsync":
        monkeypatch.setattr("os.fsync", fail)
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)  # and not the temporary file's
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for path, error in [
        (tmp_path, IsADirectoryError),
        (tmp_path / "absent" / "file", FileNotFoundError),
        (tmp_path / "file" / "file", NotADirectoryError),
        (tmp_path / "pipe", OSError),
        ("/dev/null", OSError),
    ]:
        for call in (check_writable, lambda path: write_atomically(path, b"")):
            with pytest.raises(error):
                call(path)


def test_file_and_folder_are_flushed_before_it_returns(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
    )
    write_atomically(tmp_path / "file", b"new")
    assert flushed == [False, True]


def test_a_file_that_only_its_owner_may_replace(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    if os.getuid() != 65534:
        with pytest.raises(PermissionError, match="only its owner may replace it"):
            check_writable(tmp_path / "file")
        check_writable(tmp_path / "other")


def test_a_mount_point_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr("pathlib.Path.is_mount", lambda path: True)
    with pytest.raises(OSError, match="It is a mount point"):
        check_writable(tmp_path / "file")


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "known")
    (tmp_path / ".ann-known.part").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_bytes(b"precious")
    for call in (check_writable, lambda path: write_atomically(path, b"new")):
        with pytest.raises(FileExistsError):
            call(tmp_path / "file")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / ".ann-known.part").is_symlink()  # and what others put there is left alone


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch):
    fsync = os.fsync

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", only_files)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_long_names(tmp_path):
    write_atomically(tmp_path / ("x" * 255), b"new")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


# Saves a file in a process that is killed at the operation of this number.
KILLED = """
import os, signal, sys
from ann.files.atomic import write_atomically

path, point = sys.argv[1], int(sys.argv[2])
done = 0


def deadly(function):
    def call(*arguments, **options):
        global done
        done += 1
        if done == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call


class File:
    def __init__(self, descriptor, mode):
        self.fileno = lambda: descriptor
        self.flush = lambda: None

    def write(self, data):
        for start in range(0, len(data), 1000):  # as the system may, part by part
            deadly(os.write)(self.fileno(), data[start : start + 1000])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self.fileno())


for name in ("open", "fsync", "replace"):
    setattr(os, name, deadly(getattr(os, name)))
os.fdopen = File
write_atomically(path, b"new" * 1000)
"""


@pytest.mark.slow
def test_a_crash_at_every_operation_of_a_save(tmp_path):
    """The file is the old one or the new one. Before it is replaced, one part may be left."""
    states = []
    for point in range(1, 20):
        folder = tmp_path / str(point)
        folder.mkdir()
        path = folder / "file"
        path.write_bytes(b"old")
        command = [sys.executable, "-c", KILLED, str(path), str(point)]
        process = subprocess.run(command, cwd=ROOT, timeout=300)
        left_over = len(list(folder.iterdir())) - 1
        states.append((path.read_bytes(), left_over))
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    # To open a part, three writes, to flush and rename it, to open and flush the folder
    new = (b"new" * 1000, 0)
    assert states == [(b"old", 0), *[(b"old", 1)] * 5, new, new, new]


@pytest.mark.slow
def test_two_savers_at_once(tmp_path):
    """The last one wins, and a reader gets one complete file or the other at any time."""
    path = tmp_path / "file"
    program = (
        "import sys; from ann.files.atomic import write_atomically\n"
        "for turn in range(60): write_atomically(sys.argv[1], sys.argv[2].encode() * 200_000)"
    )
    savers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), word], cwd=ROOT)
        for word in "ab"
    ]
    seen = set()
    while any(saver.poll() is None for saver in savers):
        if path.exists():
            data = path.read_bytes()
            assert data in (b"a" * 200_000, b"b" * 200_000)
            seen.add(data[:1])
        time.sleep(0.001)  # leaves the processor to the savers
    assert all(saver.returncode == 0 for saver in savers)
    assert list(tmp_path.iterdir()) == [path] and seen


def test_a_tilde_is_the_home_folder(tmp_path, small_data, monkeypatch):
    home, here = small_data.parent, tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    data = ann.load_dataset("~/small")
    checkpoints = ann.Checkpoints("~/checkpoint.npz")
    for _ in range(2):  # the second time from the checkpoint
        network = ann.NeuralNetwork(ann.Recipe(hidden=(8,)).layer_list(64, 10), "cross-entropy")
        ann.fit(network, data, ann.Recipe(epochs=1), checkpoints=checkpoints)
    network.save(Path("~/model.pickle"))
    assert ann.load_model("~/model.pickle").predict(data.test_images).shape == (100,)
    assert {path.name for path in home.iterdir()} == {
        "small",
        "here",
        "checkpoint.npz",
        "model.pickle",
    }
    assert list(here.iterdir()) == []
    with pytest.raises(ann.DataFileError, match="~no-such-user/small: no such data file or folder"):
        ann.load_dataset("~no-such-user/small")
