"""predict.py on folders: which pictures it reads, its table, and its accuracy."""

import csv
import json
import os
import signal

import numpy as np
import pytest

import ann
from support import ROOT, optional
from support.drawings import picture
from support.programs import HARNESS, python, run

Image = optional("PIL.Image")
optional("scipy")
pytestmark = pytest.mark.slow


@pytest.fixture
def photos(tmp_path):
    """A network that always answers 3, and a folder of labelled pictures."""
    parameters = np.zeros(7850, dtype=np.float32)
    parameters[-10:] = [-9, -9, -9, 9, -9, -9, -9, -9, -9, -9]
    layers = [{"input_dim": 784, "output_dim": 10, "activation": "sigmoid"}]
    ann.NeuralNetwork(layers, parameters=parameters).save(tmp_path / "mnist_ann.pickle")
    drawn = picture(3, "dark on light", np.random.default_rng(0))
    for name in ("3/b.png", "3/1.png", "7_c.PNG", "33-d.png", "4/e.png", ".hidden.png", ".x/f.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn)
    (tmp_path / "photos/notes.txt").write_text("not a picture")
    return tmp_path


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pictures_of_a_folder(photos):
    """Sorted, with subfolders, without hidden files; a line and a row of the table for each."""
    out, _ = run("predict", "photos", "--csv", "answers.csv", cwd=photos)
    lines = out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "photos/33-d.png",
        "photos/7_c.PNG",
        "photos/3/1.png",
        "photos/3/b.png",
        "photos/4/e.png",
        "table",
    ]
    assert all(": 3 (100 %), next " in line for line in lines[:-1])
    rows = table(photos / "answers.csv")
    assert [row["file"] for row in rows] == [line.split(": ")[0] for line in lines[:-1]]
    out, _ = run("predict", "photos", photos / "photos/3", cwd=photos)
    assert out.splitlines() == lines[:-1]  # each picture once
    assert {(row["text"], row["confidence"], row["unsure"]) for row in rows} == {
        ("3", "0.9999", "")
    }
    assert json.loads(run("predict", "photos", "--json", cwd=photos)[0])[0]["text"] == "3"


def test_labels(photos):
    """A folder's name counts before a file's; a number is several digits in reading order."""
    out, _ = run("predict", "photos", "--labels", "--csv", "answers.csv", cwd=photos)
    assert "2 of 5 pictures right, 3 wrong, 0 not sure: accuracy 40.00 % (95 % interval " in out
    matrix = [line.split() for line in out.splitlines() if line.startswith("    ")]
    assert matrix[4][:5] == ["3", ".", ".", ".", "2"]  # and not the picture of 33
    assert matrix[5][4] == matrix[8][4] == "1"
    assert out.count("  <-- wrong, expected ") == 3 and "  <-- wrong, expected 33\n" in out
    expected = {row["file"]: row["expected"] for row in table(photos / "answers.csv")}
    assert expected["photos/3/1.png"] == "3" and expected["photos/33-d.png"] == "33"
    found = json.loads(run("predict", "photos", "--labels", "--json", cwd=photos)[0])
    assert [one["expected"] for one in found] == ["33", "7", "3", "3", "4"]


def test_errors_stop_nothing(photos):
    """A picture that cannot be read, or without a label in its name, gets a line and a row."""
    folder = photos / "photos"
    (folder / "5_bad.png").write_bytes(b"bad")
    (folder / "IMG_1.png").write_bytes((folder / "7_c.PNG").read_bytes())
    (folder / "3rd.png").write_bytes((folder / "7_c.PNG").read_bytes())
    (folder / "6.png").symlink_to("6.png")
    (folder / "3" / "loop").symlink_to("..")
    (photos / "empty").mkdir()
    arguments = ("photos", "empty", "absent", "--labels", "--csv", "answers.csv")
    out, error = run("predict", *arguments, cwd=photos, code=1, complaint="error: empty: ")
    assert error.splitlines() == [
        "error: empty: a folder without a picture in PNG, JPEG, WebP, GIF, BMP, TIFF or PPM",
        "error: photos/3rd.png: no label in its name: "
        "name it like 9_anna.png, or put it into a folder 9",
        "error: photos/5_bad.png: not a picture in a known format: "
        "PNG, JPEG, WEBP, GIF, BMP, TIFF, PPM",
        "error: photos/6.png: cannot be read: Too many levels of symbolic links",
        "error: photos/IMG_1.png: no label in its name: "
        "name it like 9_anna.png, or put it into a folder 9",
        "error: absent: no label in its name: name it like 9_anna, or put it into a folder 9",
    ]
    assert "2 of 5 pictures right" in out
    rows = table(photos / "answers.csv")
    assert len(rows) == 10
    assert [row["unsure"] for row in rows if not row["text"]] == [
        line.removeprefix("error: ") for line in error.splitlines()[1:]
    ]
    assert run("predict", "empty", "--json", cwd=photos, code=1)[0] == "[]\n"


def test_a_folder_that_cannot_be_read(photos):
    """Root may read every folder, so the error is simulated."""
    change = (
        "import os\n"
        "scandir = os.scandir\n"
        "def refuse(path):\n"
        "    if os.path.basename(path) == '4':\n"
        "        raise PermissionError(13, 'Permission denied', path)\n"
        "    return scandir(path)\n"
        "os.scandir = refuse"
    )
    program = ("-c", HARNESS.format(change=change), ROOT / "scripts/predict.py")
    process = python(*program, "photos", cwd=photos)
    assert process.returncode == 1
    assert process.stderr == "error: photos/4: cannot be read: Permission denied\n"
    assert len(process.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos", "error: photos: Is a directory"),
        ("old.csv", "error: old.csv: It is read-only; make it writable, or name another file"),
        ("absent/a.csv", "error: absent/a.csv: There is no folder "),
        ("mine.pickle", "error: mine.pickle: this is written as .csv: name it mine.csv"),
        (
            "photos/4.tif",
            "error: photos/4.tif: this is an input; name another file to write",
        ),
    ],
)
def test_tables_that_cannot_be_written(photos, name, message):
    """The error comes before any picture is read."""
    (photos / "old.csv").write_text("old")
    (photos / "old.csv").chmod(0o444)
    (photos / "photos/4.tif").write_bytes((photos / "photos/7_c.PNG").read_bytes())
    out, error = run("predict", "photos", "--csv", name, cwd=photos, code=1)
    assert error.startswith(message) and not out
    assert (photos / "old.csv").read_text() == "old"


def test_names_that_are_not_unicode(photos):
    """The table contains the same bytes."""
    name = os.fsencode(photos) + b"/photos/3_\xff.png"
    with open(name, "wb") as file:
        file.write((photos / "photos/7_c.PNG").read_bytes())
    run("predict", "photos", "--csv", "answers.csv", cwd=photos)
    assert b"photos/3_\xff.png,3," in (photos / "answers.csv").read_bytes()


def test_pictures_of_many_answers(photos):
    """The figure shows at most 40."""
    for number in range(50):
        (photos / f"photos/9_{number}.png").write_bytes((photos / "photos/7_c.PNG").read_bytes())
    out, _ = run("predict", "photos", "--picture", "seen.png", cwd=photos)
    assert out.endswith(f"picture: {photos / 'seen.png'}\n")
    with Image.open(photos / "seen.png") as seen:
        assert seen.size == (1650, 1540)  # ten columns, eight rows


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_was_read(photos, number, code):
    """The table, the figure and the accuracy are those of the pictures before it."""
    change = (
        "import os, ann.analysis.reading as reading\n"
        "read = reading.read_digits\n"
        "def read_two(path, *rest):\n"
        f"    if path.name == '1.png': os.kill(os.getpid(), {number:d})\n"
        "    return read(path, *rest)\n"
        "reading.read_digits = read_two"
    )
    flags = ("photos", "--labels", "--csv", "answers.csv", "--picture", "seen.png")
    program = ("-c", HARNESS.format(change=change), ROOT / "scripts/predict.py")
    process = python(*program, *flags, cwd=photos)
    assert process.returncode == code
    assert process.stderr == "interrupted: 2 of 5 pictures were read\n"
    assert "0 of 2 pictures right" in process.stdout
    assert [row["file"] for row in table(photos / "answers.csv")] == [
        "photos/33-d.png",
        "photos/7_c.PNG",
    ]
    assert (photos / "seen.png").exists()
