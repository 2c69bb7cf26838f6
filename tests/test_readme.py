"""What the README shows is what happens."""

import re

import ann
from ann.nn.activations import ACTIVATIONS
from support import ROOT
from support.readme import README, blocks


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = blocks("python")[0].replace("60_000", "3_000").replace("epochs=3", "epochs=1")
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "epoch 1/1  loss" in out and re.search(r"^\d+ wrong$", out, re.M)
    assert (tmp_path / "mine.pickle").exists()


def test_the_mathematics_by_hand_is_what_the_package_does(capsys):
    pieces = blocks("python tutorial")
    assert len(pieces) == 5
    exec(compile("".join(pieces), "README.md", "exec"), {})
    before, after = re.search(r"^([\d.]+) -> ([\d.]+)$", capsys.readouterr().out, re.M).groups()
    assert float(after) < float(before)


def test_the_activation_of_one_s_own(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "softsign", None)  # which it is without again at the end
    del ACTIVATIONS["softsign"]
    exec(compile(blocks("python")[1], "README.md", "exec"), {})
    assert ann.Recipe(activation="softsign").activation == "softsign"


def test_the_first_block_is_two_commands():
    """The gate reads them, so they must stay one a line."""
    first = blocks("sh setup")[0].splitlines()
    assert len(first) == 2 and all(line.startswith("python3 -m venv .venv && ") for line in first)


def test_the_files_it_names_exist():
    for name in re.findall(r"`(\w+\.py)`", README):
        assert any((ROOT / folder / name).exists() for folder in ("ann", "scripts")), name
    for path in re.findall(r"\]\(((?!http)[^)]+)\)|`((?:ann|data|tests|scripts)/[\w./]+)`", README):
        assert (ROOT / "".join(path)).exists(), path


def test_the_map_names_files_that_exist():
    text = (ROOT / "ann/README.md").read_text()
    paths = re.findall(r"`([\w/]+\.(?:py|html)|\w+/)`", text)
    assert len(paths) > 40
    for path in paths:
        assert (ROOT / "ann" / path).exists() or (ROOT / path).exists(), path
