"""Named recipes, and scripts/evaluate.py, which measures them."""

import dataclasses
import json
import re
import signal
import sys

import numpy as np
import pytest

import ann
from ann.cli.results_log import add_row
from ann.data.distortion import DistortionStrengths, examples
from ann.training.named_recipes import RECIPES
from support import ROOT, optional
from support.digits import write_mnist_like
from support.programs import FAST, run

optional("tqdm")


def test_the_default_is_the_classroom():
    assert RECIPES["classroom"].recipe == ann.Recipe()
    assert all(
        named.recipe.validation == 0 for named in RECIPES.values()
    )  # they train on all images


def test_recipes_are_listed(tmp_path):
    out, _ = run("train", "--list-recipes", cwd=tmp_path)
    assert [line.split(":")[0] for line in out.splitlines()[::2]] == list(RECIPES)
    assert (
        "784-128-32-10 sigmoid, 24 epochs, 7 s on two cores; 151.7 of 10,000 test images wrong"
        in out
    )
    assert "the mean of 10 seeds" in out and "not measured yet" not in out
    assert "36 of 10,000 test images wrong, with one seed" in out


@pytest.mark.slow
def test_a_recipe_by_name_and_what_overrides_it(tmp_path, small_data):
    flags = ["--recipe", "quick", "--hidden", "16", "--epochs", "2", "--batch-size", "30"]
    out, _ = run("train", "--data", small_data, *flags, "--run", "run", cwd=tmp_path)
    fields = json.loads((tmp_path / "run/config.json").read_text())["recipe"]
    expected = RECIPES["quick"].recipe.changed(hidden=(16,), epochs=2, batch_size=30)
    assert ann.Recipe.from_json(json.dumps(fields)) == expected
    assert "network 64-16-10" in out
    run("train", "--resume", "run", cwd=tmp_path)
    _, error = run("train", "--recipe", "slow", cwd=tmp_path, code=2)
    assert "argument --recipe: invalid choice: 'slow'" in error


@pytest.fixture
def evaluate(monkeypatch, capsys, small_data, tmp_path):
    """A function that runs the program on a quick recipe and returns what it prints.

    Without other flags, on the small data, with the results in the file "results".
    """
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import evaluate

    use(monkeypatch, "classroom", hidden=(8,), epochs=2, batch_size=30)
    monkeypatch.setattr(evaluate, "VALIDATION", 100)
    usual = ["--recipe", "classroom", "--data", small_data, "--device", "cpu"]
    usual += ["--output", tmp_path / "results", "--seeds", "0"]

    def call(*flags):
        monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, [*usual, *flags])])
        try:
            evaluate.main()
        except SystemExit as error:
            assert error.code
        finally:  # the program ignores these at its end
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return capsys.readouterr()

    return call


def use(monkeypatch, name, **fields):
    """Change the classroom recipe, under this name."""
    classroom = RECIPES["classroom"]
    recipe = dataclasses.replace(classroom.recipe, **fields)
    monkeypatch.setitem(RECIPES, name, dataclasses.replace(classroom, recipe=recipe))


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluate_reads_the_test_images_once_for_each_seed(evaluate, tmp_path, small_data):
    path = tmp_path / "results"
    out = evaluate("--seeds", "0-2").out
    rows = rows_of(path)
    assert [row["seed"] for row in rows] == [0, 1, 2] and {row["on"] for row in rows} == {"test"}
    data = ann.load_dataset(small_data)
    for row in rows:
        recipe = RECIPES["classroom"].recipe
        net = recipe.network(data, seed=row["seed"])
        ann.fit(net, data, recipe)
        assert row["wrong"] == net.evaluate(data.test_images, data.test_labels).errors
        assert row["total"] == 100 and row["device"] == "cpu"
        assert row["version"] == ann.__version__ and row["seconds"] >= 0
    wrong = [row["wrong"] for row in rows]
    mean, deviation = np.mean(wrong), np.std(wrong, ddof=1)
    expected = f"wrong of 100 test images: mean {mean:.1f}, standard deviation {deviation:.1f}"
    assert expected in out
    table = f"| wrong | {' | '.join(map(str, wrong))} | **{np.mean(wrong):.1f}** |"
    assert table in out.splitlines()
    again = evaluate("--seeds", "1,3").out
    assert re.search(rf"seed 1: {wrong[1]} of 100 wrong, measured on \d{{4}}-", again)
    assert len(rows_of(path)) == 4
    validated = evaluate("--seeds", "1", "--validation").out
    assert re.search(r"wrong of 100 validation images: mean [\d.]+; 1 seed,", validated)
    assert rows_of(path)[-1]["fields"]["validation"] == 100


def test_results_of_another_process_are_kept(evaluate, monkeypatch, tmp_path):
    program = sys.modules["evaluate"]
    measure = program.measure

    def meanwhile(flags, *rest):
        row = measure(flags, *rest)
        add_row(flags.output, {**row, "seed": row["seed"] + 10})
        return row

    monkeypatch.setattr(program, "measure", meanwhile)
    evaluate("--seeds", "0-1")
    assert [row["seed"] for row in rows_of(tmp_path / "results")] == [10, 0, 11, 1]


def test_evaluate_trains_committees_that_share_no_member(evaluate, monkeypatch):
    use(monkeypatch, "classroom", committee=3)
    made = []
    build = ann.Recipe.network
    monkeypatch.setattr(ann.Recipe, "network", lambda *a: made.append(build(*a)) or made[-1])
    evaluate("--seeds", "0-2")
    assert [net.seeds for net in made] == [range(3), range(3, 6), range(6, 9)]


def test_networks_are_kept_and_committees_find_them(evaluate, monkeypatch, tmp_path, small_data):
    use(monkeypatch, "quick", committee=3)
    kept = tmp_path / "kept"

    def files(*flags):
        evaluate("--keep", kept, *flags)
        return {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}

    before = files("--seeds", "4", "--output", tmp_path / "one")
    after = files("--recipe", "quick", "--seeds", "1", "--output", tmp_path / "three")
    assert len(before) == 2 and len(after) == 6
    assert before.items() <= after.items()  # seed 4 was there, 3 and 5 not
    (one,), (three,) = rows_of(tmp_path / "one"), rows_of(tmp_path / "three")
    assert three["members"][1] == one["wrong"] and len(three["members"]) == 3
    networks = [ann.load_model(path) for path in sorted(kept.glob("*.pickle"))]
    assert [network.seed for network in networks] == [3, 4, 5]
    data = ann.load_dataset(small_data)
    joined = ann.committee_of(networks).evaluate(data.test_images, data.test_labels)
    assert three["wrong"] == joined.errors
    assert three["seconds"] >= one["seconds"] >= 0
    assert three["first_seed"] == 3 and "first_seed" not in one


def test_networks_are_kept_although_their_results_are_known(evaluate, tmp_path):
    evaluate()
    before = (tmp_path / "results").read_bytes()
    out = evaluate("--keep", tmp_path / "kept").out
    assert "kept " in out and "measured on" in out
    assert len(list((tmp_path / "kept").glob("*.pickle"))) == 1
    assert (tmp_path / "results").read_bytes() == before


@pytest.mark.parametrize("text", ["{}", "{", "[]"])
def test_a_damaged_file_beside_a_kept_network(evaluate, tmp_path, text):
    kept = tmp_path / "kept"
    evaluate("--keep", kept)
    (about,) = kept.glob("*.json")
    about.write_text(text)
    expected = f"error: {about}: this file is damaged; delete it, and the network will be trained"
    assert evaluate("--keep", kept).err == f"{expected} again\n"


def test_other_data_have_other_networks_and_results(evaluate, tmp_path):
    flags = ["--keep", tmp_path / "kept"]
    evaluate(*flags)
    out = evaluate(*flags, "--data", write_mnist_like(tmp_path / "other", seed=3)).out
    assert "measured on" not in out
    assert len(list((tmp_path / "kept").glob("*.pickle"))) == 2
    assert len({row["data"] for row in rows_of(tmp_path / "results")}) == 2


def test_results_without_a_new_field_count(evaluate, tmp_path):
    path = tmp_path / "results"
    evaluate()
    (row,) = rows_of(path)
    del row["fields"]["committee"]
    path.write_text(json.dumps(row) + "\n")
    assert "measured on" in evaluate().out
    assert len(rows_of(path)) == 1


GOOD = {"recipe": "classroom", "on": "test", "seed": 0, "wrong": 1, "total": 10, "data": "x"}
GOOD |= {"seconds": 1.0, "date": "2026-11-25", "fields": {}}
WRONG = {"wrong": ["1", 11], "seed": [-1], "total": [0], "seconds": [None]}
WRONG |= {"date": ["\x1b[2J"], "fields": [3]}


@pytest.mark.parametrize(
    "contents",
    [
        *("nonsense\n", "{}\n", "3\n"),
        *(json.dumps({**GOOD, name: value}) for name, values in WRONG.items() for value in values),
    ],
)
def test_evaluate_refuses_other_files(evaluate, tmp_path, contents):
    (tmp_path / "results").write_text(contents)
    error = evaluate().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
    assert "not a results file" in error or "line 1: not a valid result" in error
    assert (tmp_path / "results").read_text() == contents


@pytest.mark.parametrize(
    "text", ["", "x", "3-1", "-1", "1-2-3", "0-99999", "0-9999999999999", "1,1", f"{2**63}"]
)
def test_wrong_seeds(tmp_path, text):
    _, error = run("evaluate", "--recipe", "classroom", f"--seeds={text}", cwd=tmp_path, code=2)
    assert "argument --seeds: expected seeds such as 0-9 or 0,3,5" in error


@pytest.mark.slow
def test_a_sheet_of_distortions(tmp_path):
    optional("matplotlib")
    out, _ = run("try_loader", "--distort", "--seed", 3, "--output", "x.png", cwd=tmp_path)
    assert out.count("distorted") == 16 and "picture: " in out
    again, _ = run("try_loader", "--distort", "--seed", 3, "--output", "x.png", cwd=tmp_path)
    assert again == out


def test_examples_of_distortions(backend, rng):
    image = rng.integers(0, 256, (9, 7), dtype=np.uint8)
    found = examples(backend, image, DistortionStrengths(shift=1.0), 5, key=3)
    assert found.shape == (5, 9, 7) and len({one.tobytes() for one in found}) == 5
    np.testing.assert_array_equal(
        examples(backend, image, DistortionStrengths(), 2), np.stack([image, image])
    )


def test_a_recipe_by_name_trains(tmp_path, small_data):
    flags = ["--recipe", "classroom-distorted", "--output", "x.pickle"]
    run("train", "--data", small_data, *FAST, *flags, cwd=tmp_path)
    assert ann.load_model(tmp_path / "x.pickle").recipe["rotation"] > 0
