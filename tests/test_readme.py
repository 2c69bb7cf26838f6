"""What the READMEs show is true: code runs, links work, and figures are the results."""

import dataclasses
import doctest
import json
import re
import statistics
import tomllib

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from support import ROOT
from support.programs import run
from support.readme import GUIDES, blocks, prose, text_of

PROGRAMS = sorted(
    path.stem for path in (ROOT / "scripts").glob("*.py") if "__main__" in path.read_text()
)
LANGUAGES = {
    *("sh", "sh setup", "text", "console", "pycon"),
    *("python", "python tutorial", "python scikit-learn", "python pytorch"),
}


@pytest.fixture
def _registry(monkeypatch):
    """Restores the activations after the test."""
    monkeypatch.setitem(ACTIVATIONS, "softsign", None)
    del ACTIVATIONS["softsign"]


@pytest.mark.parametrize("guide", [guide for guide in GUIDES if blocks("python", guide)])
def test_the_library_examples_run(guide, mnist, _registry, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images, labels = mnist.train_images[:4000], mnist.train_labels[:4000]
    few = dataclasses.replace(mnist, train_images=images, train_labels=labels)
    monkeypatch.setattr(ann, "load_dataset", {"mnist": few}.__getitem__)
    example = "".join(blocks("python", guide)).replace("epochs=3", "epochs=1")
    example = example.replace("60_000", "3_000").replace("10_000", "1_000")
    x, y = np.random.default_rng(0).random((60, 20)), np.arange(60) % 2
    own = {"x_train": x[:50], "y_train": y[:50], "x_test": x[50:], "y_test": y[50:]}
    exec(compile(example, guide, "exec"), own)
    out = capsys.readouterr().out
    assert "epoch 1/1  loss" in out and re.search(r"^\d+ wrong$", out, re.M)
    assert (tmp_path / "mine.pickle").exists()
    assert ann.Recipe(activation="softsign").activation == "softsign"


def test_every_library_example_is_run():
    """A test knows the language of each code block, so that none is forgotten."""
    for guide in GUIDES:
        assert {*re.findall(r"^```(.+)$", text_of(guide), re.M)} <= LANGUAGES, guide
    assert [guide for guide in GUIDES if blocks("python", guide)] == ["README.md", "ann/README.md"]


def test_the_mathematics_by_hand_is_what_the_package_does(capsys):
    pieces = blocks("python tutorial", "ann/nn/README.md")
    assert len(pieces) == 7
    exec(compile("".join(pieces), "ann/nn/README.md", "exec"), {})
    before, after = re.search(r"^([\d.]+) -> ([\d.]+)$", capsys.readouterr().out, re.M).groups()
    assert float(after) < float(before)


def test_the_model_file_is_as_described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ann.NeuralNetwork(ann.Recipe().layer_list(784, 10)).save("mnist_ann.pickle")
    (session,) = blocks("pycon", "ann/files/README.md")
    examples = doctest.DocTestParser().get_doctest(session, {}, "session", "ann/files/README.md", 0)
    found = doctest.DocTestRunner().run(examples)
    assert (found.failed, found.attempted) == (0, 4)


def test_the_first_block_is_two_commands():
    """The gate reads them, so each must stay on one line."""
    first = blocks("sh setup", "README.md")[0].splitlines()
    assert len(first) == 2 and all(line.startswith("python3 -m venv .venv && ") for line in first)


def test_the_readme_is_one_page():
    assert len(text_of("README.md").splitlines()) <= 200
    assert (ROOT / "README.md").stat().st_size <= 15_000


@pytest.mark.parametrize("guide", GUIDES)
def test_lines_fit_on_a_screen(guide):
    for number, line in enumerate(prose(guide).splitlines(), start=1):
        assert len(line) <= 120 or line.startswith(("|", "![")), f"{guide}: line {number}"


def test_every_guide_is_found_from_the_readme():
    targets = {path.split("#")[0] for path in links("README.md")}
    assert {guide for guide in GUIDES if guide.endswith("/README.md")} <= targets


def links(guide):
    found = re.findall(r"\]\(([^)\s]+)\)", prose(guide))
    return [link for link in found if not link.startswith("http")]


def anchors(guide):
    """The anchors that GitHub makes from the headings."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", prose(guide), re.M):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        assert anchor not in found, f"{guide}: two headings {heading!r}"
        found.append(anchor)
    return found


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide):
    for link in links(guide):
        path, _, anchor = link.partition("#")
        target = ((ROOT / guide).parent / path).resolve() if path else ROOT / guide
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), link


@pytest.mark.parametrize("guide", GUIDES)
def test_the_files_it_names_exist(guide):
    places = [(ROOT / guide).parent, ROOT, ROOT / "ann", ROOT / "scripts"]
    pattern = r"[\w./]+\.py|[\w.]+(?:/[\w.]+)*/|(?:ann|data|tests|scripts|\.ci)/[\w./]+"
    for path in re.findall(rf"`({pattern})`", prose(guide)):
        assert any((place / path).exists() for place in places), path


def test_the_map_names_files_that_exist():
    paths = re.findall(r"`([\w/]+\.(?:py|html)|\w+/)`", prose("ann/README.md"))
    assert len(paths) > 40
    for path in paths:
        assert (ROOT / "ann" / path).exists() or (ROOT / path).exists(), path


@pytest.mark.parametrize("guide", ["README.md", "scripts/README.md"])
def test_every_program_is_listed(guide):
    listed = re.findall(r"^\| (?:`|\[)(\w+)\.py[^,|]*\|", text_of(guide), re.M)
    assert sorted(listed) == PROGRAMS


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_flags_exist(program, tmp_path):
    text, _ = run(program, "--help", cwd=tmp_path)
    flags = {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    used = {"--help"}
    for guide in GUIDES:
        for arguments in re.findall(rf"\b{program}\.py((?: [^`&;\n]+)?)", text_of(guide)):
            used |= {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", arguments)}
    assert used <= flags


@pytest.mark.slow
def test_the_output_shown_is_what_programs_print(tmp_path):
    printed = {}
    for command in ("try_loader", "train --epochs 1", "test", "benchmark --profile --quick"):
        program, *arguments = command.split()
        out, _ = run(program, *arguments, cwd=tmp_path)
        printed[program] = {without_figures(line) for line in out.splitlines()}
    shown = "".join([*blocks("console", "README.md"), *blocks("text", "scripts/README.md")])
    checked = 0
    program = None
    for line in shown.splitlines():
        if line.startswith("$ "):
            program = re.fullmatch(r"\$ python scripts/(\w+)\.py( --profile)?", line)[1]
        elif program and line.strip() not in ("", "...") and not line.startswith("device "):
            line = re.sub(r"(?<= it:).*", "", without_figures(line))  # the command differs
            assert any(text.startswith(line) for text in printed[program]), line
            checked += 1
    assert checked > 25


def without_figures(line):
    return " ".join(re.sub(r"(?<!\S)\.(?!\S)|\d[\d.,]*", "#", line).split())


MNIST, FASHION_MNIST = "52cd6c10ae77", "51bad0352284"  # as ``results_log.data_of`` gives them


def test_results_are_those_of_the_results_files():
    table = text_of("data/results/README.md")
    row = r"^\| wrong of 10,000 \| (.*) \| \*\*([\d.]+)\*\* \| ([\d.]+) \|$"
    seeds = re.search(row, table, re.M)
    assert list(map(int, seeds[1].split(" | "))) == wrong_of("classroom")
    assert seeds[2] == f"{statistics.mean(wrong_of('classroom')):.1f}"
    assert seeds[3] == f"{statistics.stdev(wrong_of('classroom')):.1f}"
    rows = 0
    for guide in ("data/results/README.md", "README.md"):
        on_mnist = text_of(guide).partition("\n## Fashion-MNIST\n")[0]
        for row, name in re.findall(r"^(\| `([\w-]+)`.*\|)$", on_mnist, re.M):
            if not (ROOT / f"data/results/{name}.jsonl").exists():
                continue
            cells = [cell.strip(" *") for cell in row.strip("|").split("|")]
            wrong = wrong_of(name)
            assert f"{float(cells[2]):.1f}" == f"{statistics.mean(wrong):.1f}", row
            assert str(len(wrong)) in cells, row
            if guide != "README.md" and len(wrong) > 1:
                assert cells[3] == f"{statistics.stdev(wrong):.1f}", row
            rows += 1
    assert rows >= 12
    section = table.partition("\n## Fashion-MNIST\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \|$", section, re.M)
    assert len(rows) == 4
    for name, mean, deviation in rows:
        wrong = wrong_of(name, FASHION_MNIST)
        assert mean == f"{statistics.mean(wrong):.1f}", name
        assert deviation == f"{statistics.stdev(wrong):.1f}", name


def wrong_of(recipe, data=MNIST):
    rows = map(json.loads, (ROOT / f"data/results/{recipe}.jsonl").read_text().splitlines())
    found = [row for row in rows if row["data"] == data]
    return [row["wrong"] for row in sorted(found, key=lambda row: row["seed"])]


def test_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for guide in GUIDES:
        for names in re.findall(r"'\.\[([\w,-]+)\]'", text_of(guide)):
            assert {*names.split(",")} <= {*project["optional-dependencies"]}, guide


def test_the_environment_variables_of_the_tests_are_listed():
    named = {*re.findall(r"`(ANN_\w+)=", text_of("tests/README.md"))}
    used = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"environ.*?\"(ANN_\w+)\"", path.read_text())
    }
    assert named == used
