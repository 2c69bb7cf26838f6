"""Data sets by name, from mirrors that fail in many ways."""

import contextlib
import hashlib
import http.server
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import types
import urllib.request

import numpy as np
import pytest

import ann
from ann.data import download
from ann.data.catalog import DIGITS, SOURCES, Source
from support import ROOT, optional
from support.digits import write_mnist_like
from support.programs import NO_GPU

optional("tqdm")

NAME = "fashion-mnist"
CLASSES = tuple("abcdefghij")


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves /BEHAVIOUR/FILE."""

    files: dict = {}  # noqa: RUF012
    asked: list = []  # noqa: RUF012
    seconds = pace = 0  # of the downloader's clock, and how far it moves each time that it is read
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        Mirror.pace = 0
        self.asked.append((behaviour, name, start))
        with contextlib.suppress(ConnectionError):
            getattr(self, behaviour.replace("-", "_"))(self.files[name], start)

    def log_message(self, *unused):
        pass

    def answer(self, body, status=200, promised=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        for key, value in {"Content_Type": "application/octet-stream", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def good(self, data, start):
        if start:
            self.answer(
                data[start:], 206, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}"
            )
        else:
            self.answer(data)

    def no_ranges(self, data, start):
        self.answer(data)

    def no_length(self, data, start):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def chunked(self, data, start):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(data), 100):
            piece = data[at : at + 100]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def redirected(self, data, start):
        self.answer(b"", 302, Location=f"/good/{self.path.split('/')[-1]}")

    def circular(self, data, start):
        self.answer(b"", 302, Location=self.path)

    def to_a_file(self, data, start):
        self.answer(b"", 302, Location="file:///etc/passwd")

    def absent(self, data, start):
        self.answer(b"gone", 404)

    def broken(self, data, start):
        self.answer(b"\x1b[2J", 500)

    def web_page(self, data, start):
        self.answer(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")

    def unnamed_page(self, data, start):
        self.answer(b"<html>" + data[6:])

    def short(self, data, start):
        self.answer(
            data[start : (start + len(data)) // 2],
            promised=len(data) - start,
            status=206 if start else 200,
            Content_Range=f"bytes {start}-",
        )
        self.close_connection = True

    def too_short(self, data, start):
        self.answer(data[:-1])

    def too_long(self, data, start):
        self.answer(data + b"more")

    def endless(self, data, start):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(100_000))

    def other(self, data, start):
        self.answer(bytes(reversed(data)))

    def other_range(self, data, start):
        self.answer(data[start:], 206, Content_Range=f"bytes 1-{len(data)}/{len(data)}")

    def damaged_range(self, data, start):
        body = bytes(len(data) - start)
        self.answer(body, 206 if start else 200, Content_Range=f"bytes {start}-")

    def dropped(self, data, start):
        self.connection.close()

    def nonsense(self, data, start):
        self.wfile.write(b"\x00\x01\x02\r\n\r\n")
        self.close_connection = True

    def silent(self, data, start):
        time.sleep(60)
        self.close_connection = True

    def heavy_redirect(self, data, start):
        self.answer(bytes(50_000_000), 302, Location=f"/good/{self.path.split('/')[-1]}")

    def strange_length(self, data, start):
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: \x1b[2J" + b"9" * 50_000 + b"\r\n\r\n"
        )
        self.close_connection = True

    def dripping(self, data, start):
        Mirror.pace = 100
        self.answer(data[:500], promised=len(data))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = write_mnist_like(tmp_path_factory.mktemp("mirror") / "small")
    return {name: (folder / name).read_bytes() for name in SOURCES["mnist"].files}


@pytest.fixture
def mirror(monkeypatch, tmp_path, files):
    """A server, and a function that makes it the mirrors of a data set with these behaviours."""
    Mirror.files, Mirror.asked = files, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.block_on_close = False  # some of its answers would never end
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def behave(*behaviours):
        mirrors = tuple(
            f"http://127.0.0.1:{server.server_port}/{behaviour}/" for behaviour in behaviours
        )
        known = {
            name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
        }
        monkeypatch.setitem(SOURCES, NAME, Source(mirrors, known, CLASSES))
        return tmp_path / "cache/ann" / NAME

    yield behave
    server.shutdown()
    server.server_close()
    thread.join()


def whole(folder, files):
    return {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    "behaviour", ["good", "no-ranges", "no-length", "chunked", "redirected", "heavy-redirect"]
)
def test_a_good_mirror(mirror, files, behaviour, capsys):
    folder, calls = mirror(behaviour), []
    data = ann.load_dataset(NAME, lambda *call: calls.append(call))
    assert whole(folder, files) and data.classes == CLASSES
    for name, content in files.items():
        done = [done for file, done, size, _ in calls if file == name and size == len(content)]
        assert done == sorted(done) and done[-1] == len(content)
    calls.clear()
    Mirror.asked.clear()
    again = ann.load_dataset(NAME, lambda *call: calls.append(call))
    assert not Mirror.asked and not calls and capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(again.test_images, data.test_images)


BAD = {
    "circular": "answers 302 ",
    "to-a-file": "answers 302 ",
    "absent": "answers 404 Not Found",
    "broken": "answers 500 ",
    "web-page": "sends a web page instead",
    "unnamed-page": "sends a file with the wrong SHA-256",
    "short": "breaks off after ",
    "too-short": "bytes of it, expected ",
    "too-long": "bytes of it, expected ",
    "endless": "sends a file with the wrong SHA-256",
    "other": "sends a file with the wrong SHA-256",
    "dropped": "breaks off: ",
    "nonsense": "breaks off: ",
    "silent": "timed out",
    "dripping": "is too slow: ",
    "strange-length": "bytes of it, expected ",
}


@pytest.mark.parametrize("behaviour", BAD)
@pytest.mark.slow
def test_a_bad_mirror(monkeypatch, mirror, files, behaviour):
    """If it is the only one, the program prints one line and leaves no file; otherwise it tries
    the next.
    """
    opened = urllib.request.OpenerDirector.open

    def limited(self, request, data=None, timeout=None):
        timeout = 0.5 if "/silent/" in request.full_url else timeout  # a busy machine is slow
        return opened(self, request, data, timeout)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", limited)

    def monotonic():
        Mirror.seconds += Mirror.pace
        return Mirror.seconds

    clock = types.SimpleNamespace(monotonic=monotonic)
    monkeypatch.setattr(download, "time", clock)
    folder = mirror(behaviour)
    with pytest.raises(ann.DataFileError) as caught:
        ann.load_dataset(NAME)
    message = str(caught.value)
    assert BAD[behaviour] in message and message.isprintable() and len(message) < 600
    assert message.startswith("train-images-idx3-ubyte.gz: no mirror has it: http://127.0.0.1:")
    assert message.endswith(f"; try again, or put the file into {folder}")
    assert not list(folder.glob("*.gz"))
    mirror(behaviour, "good")
    ann.load_dataset(NAME)
    assert whole(folder, files)


def test_without_a_server(monkeypatch, mirror, files):
    folder = mirror("good")
    source = SOURCES[NAME]
    nowhere = ("http://127.0.0.1:9/", "http://nowhere.invalid/", "nonsense:", source.mirrors[0])
    monkeypatch.setitem(SOURCES, NAME, Source(nowhere[:3], source.files))
    with pytest.raises(
        ann.DataFileError,
        match=r"127.0.0.1:9/ cannot be reached.*invalid/ cannot be reached.*nonsense:",
    ):
        ann.load_dataset(NAME)
    monkeypatch.setitem(SOURCES, NAME, Source(nowhere, source.files))
    ann.load_dataset(NAME)
    assert whole(folder, files)


def test_a_download_is_resumed(mirror, files):
    """After a mirror breaks off, another one continues; a part of something else is ignored."""
    folder = mirror("short", "good")
    ann.load_dataset(NAME)
    name = "train-images-idx3-ubyte.gz"
    half = len(files[name]) // 2
    assert [ask for ask in Mirror.asked if ask[1] == name] == [
        ("short", name, 0),
        ("good", name, half),
    ]
    for part in (
        b"nonsense",
        files[name][:100],
        files[name],
        files[name] + b"x",
        bytes(len(files[name])),
    ):
        for behaviour in ("good", "no-ranges", "other-range"):
            mirror(behaviour, "good")
            (folder / name).unlink()
            (folder / f"{name}.part").write_bytes(part)
            ann.load_dataset(NAME)
            assert whole(folder, files)
    (folder / name).unlink()
    (folder / f"{name}.part").write_bytes(files[name][:100])
    mirror("damaged-range")
    with pytest.raises(ann.DataFileError, match="sends a file with the wrong SHA-256"):
        ann.load_dataset(NAME)
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("behaviour", ["web-page", "too-short", "absent", "dropped"])
def test_a_part_is_kept_if_mirrors_cannot_resume_it(mirror, files, behaviour):
    folder = mirror(behaviour)
    name = "train-images-idx3-ubyte.gz"
    folder.mkdir(parents=True)
    (folder / f"{name}.part").write_bytes(files[name][:100])
    with pytest.raises(ann.DataFileError):
        ann.load_dataset(NAME)
    assert (folder / f"{name}.part").read_bytes() == files[name][:100]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_part_that_is_not_a_file(mirror, tmp_path, kind):
    """It is neither followed nor waited for."""
    folder = mirror("good")
    folder.mkdir(parents=True)
    part, precious = folder / "train-images-idx3-ubyte.gz.part", tmp_path / "precious"
    precious.write_bytes(b"precious")
    {
        "link": lambda: part.symlink_to(precious),
        "pipe": lambda: os.mkfifo(part),
        "folder": part.mkdir,
    }[kind]()
    with pytest.raises(ann.DataFileError, match="cannot be written: "):
        ann.load_dataset(NAME)
    assert precious.read_bytes() == b"precious"


def load(results):
    data = ann.load_dataset(NAME)
    results.put(len(data.train_images))


def test_two_processes_at_once(mirror, files):
    """The second waits for the first."""
    folder = mirror("good")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=load, args=(results,)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=300) for _ in processes] == [300] * 3
    for process in processes:
        process.join()
    assert whole(folder, files) and len(Mirror.asked) == 4


def test_a_folder_without_write_permission(monkeypatch, mirror, tmp_path):
    folder = mirror("good")
    (tmp_path / "cache").write_text("")
    with pytest.raises(ann.DataFileError, match="cannot be written: "):
        ann.load_dataset(NAME)
    (tmp_path / "cache").unlink()

    def full(*unused):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(
        ann.DataFileError, match=f"{folder}: cannot be written: No space left on device"
    ):
        ann.load_dataset(NAME)


def test_a_name_is_looked_for_in_the_checkout_first(monkeypatch, mirror, tmp_path):
    mirror("good")
    monkeypatch.setattr("ann.data.datasets.CHECKOUT_DATA", tmp_path)
    write_mnist_like(tmp_path / NAME, train=250)
    assert len(ann.load_dataset(NAME).train_images) == 250 and not Mirror.asked
    monkeypatch.undo()
    in_checkout = ann.load_dataset("mnist")
    assert in_checkout.classes == DIGITS and len(in_checkout.train_images) == 60_000


@pytest.mark.parametrize("name", SOURCES)
def test_facts_about_the_data_sets(name):
    source = SOURCES[name]
    assert len(source.classes) == 10 and len(source.mirrors) > 1 and len(source.files) == 4
    assert all(address.endswith("/") for address in source.mirrors)
    for file, (size, digest) in source.files.items():
        assert file.endswith("-ubyte.gz") and size > 4000 and len(digest) == 64


@pytest.mark.slow
def test_on_the_command_line(tmp_path):
    """The folder of another data set with class names, a folder named like a data set, and no
    mirror.
    """
    write_mnist_like(tmp_path / NAME)
    environment = {
        **NO_GPU,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, str(ROOT / "scripts/train.py"), "--epochs", "1", "--data"]
    for place, code in ((f"./{NAME}", 0), (NAME, 1)):
        found = subprocess.run(
            [*command, place], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert found.returncode == code
    lines = found.stderr.splitlines()
    assert lines[0] == "downloading train-images-idx3-ubyte.gz, 26.4 MB" and len(lines) == 2
    assert lines[1].startswith("error: fashion-mnist: https://raw.githubusercontent.com/")
    assert (
        "is this machine on the internet? If not, put the four files train-images-idx3-ubyte.gz, "
        in lines[1]
    )
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_folder_of_a_data_set_that_is_known(monkeypatch, small_data):
    """It is recognised by its test labels, such as the folder of Debian's package of Fashion-
    MNIST.
    """
    data = ann.load_dataset(small_data)
    assert data.classes == DIGITS
    monkeypatch.setattr(
        "ann.data.contents.FASHION_LABELS", hashlib.sha256(data.test_labels.tobytes()).hexdigest()
    )
    assert ann.load_dataset(small_data).classes == SOURCES[NAME].classes
