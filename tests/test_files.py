import os
import stat

import pytest

from ann.files import check_writable, write_atomically


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
    monkeypatch.setattr("os.fsync", lambda descriptor: flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
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
