"""Recipes by name, and scripts/evaluate.py, which says how good they are."""

import dataclasses
import json
import re

import numpy as np
import pytest

import ann
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


@pytest.mark.slow
def test_a_recipe_by_name_and_what_overrides_it(tmp_path, small_data):
    flags = [
        "--data",
        small_data,
        "--recipe",
        "quick",
        "--hidden",
        "16",
        "--epochs",
        "2",
        "--batch-size",
        "30",
    ]
    out, _ = run("train", *flags, "--run", "run", cwd=tmp_path)
    fields = json.loads((tmp_path / "run/config.json").read_text())["recipe"]
    expected = RECIPES["quick"].recipe.changed(hidden=(16,), epochs=2, batch_size=30)
    assert ann.Recipe.from_json(json.dumps(fields)) == expected
    assert "network 64-16-10" in out
    run("train", "--resume", "run", cwd=tmp_path)
    _, error = run("train", "--recipe", "slow", cwd=tmp_path, code=2)
    assert "argument --recipe: invalid choice: 'slow'" in error


@pytest.fixture
def evaluate(monkeypatch, small_data):
    """The program as a module, with a recipe that takes no time."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import evaluate

    tiny = dataclasses.replace(RECIPES["classroom"].recipe, hidden=(8,), epochs=2, batch_size=30)
    monkeypatch.setitem(
        RECIPES, "classroom", dataclasses.replace(RECIPES["classroom"], recipe=tiny)
    )
    monkeypatch.setattr(evaluate, "VALIDATION", 100)
    return evaluate


def call(evaluate, monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, words)])
    try:
        evaluate.main()
    except SystemExit as error:
        assert error.code
    finally:
        import signal

        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # which the program ignores at its end
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return capsys.readouterr()


def test_evaluate_reads_the_test_images_once_for_each_seed(
    evaluate, monkeypatch, capsys, tmp_path, small_data
):
    path = tmp_path / "results.jsonl"
    flags = ["--recipe", "classroom", "--data", small_data, "--device", "cpu", "--output", path]
    out = call(evaluate, monkeypatch, capsys, *flags, "--seeds", "0-2").out
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2] and {row["on"] for row in rows} == {"test"}
    data = ann.load_dataset(small_data)
    for row in rows:
        recipe = RECIPES["classroom"].recipe
        net = ann.NeuralNetwork(recipe.layer_list(64, 10), recipe.loss, seed=row["seed"])
        ann.fit(net, data, recipe)
        assert (
            row["wrong"] == (net.predict(data.test_images) != data.test_labels).sum()
            and row["total"] == 100
        )
        assert row["device"] == "cpu" and row["version"] == ann.__version__ and row["seconds"] >= 0
    wrong = [row["wrong"] for row in rows]
    expected = f"wrong of 100 test images: mean {np.mean(wrong):.1f}, standard deviation {np.std(wrong, ddof=1):.1f}"
    assert expected in out
    assert (
        f"| wrong | {' | '.join(map(str, wrong))} | **{np.mean(wrong):.1f}** |" in out.splitlines()
    )
    again = call(evaluate, monkeypatch, capsys, *flags, "--seeds", "1,3").out
    assert re.search(rf"seed 1: {wrong[1]} of 100 wrong, measured on \d{{4}}-", again)
    assert len(path.read_text().splitlines()) == 4
    validated = call(evaluate, monkeypatch, capsys, *flags, "--seeds", "1", "--validation").out
    assert re.search(r"wrong of 100 validation images: mean [\d.]+; 1 seed,", validated)
    assert json.loads(path.read_text().splitlines()[-1])["fields"]["validation"] == 100


def test_evaluate_trains_committees_that_share_no_member(
    evaluate, monkeypatch, capsys, tmp_path, small_data
):
    three = dataclasses.replace(RECIPES["classroom"].recipe, committee=3)
    monkeypatch.setitem(
        RECIPES, "classroom", dataclasses.replace(RECIPES["classroom"], recipe=three)
    )
    made = []
    build = ann.Recipe.network
    monkeypatch.setattr(ann.Recipe, "network", lambda *a: made.append(build(*a)) or made[-1])
    path = tmp_path / "results.jsonl"
    flags = ["--recipe", "classroom", "--data", small_data, "--device", "cpu", "--output", path]
    call(evaluate, monkeypatch, capsys, *flags, "--seeds", "0-2")
    assert [net.seeds for net in made] == [range(3), range(3, 6), range(6, 9)]


def test_networks_are_kept_and_committees_find_them(
    evaluate, monkeypatch, capsys, tmp_path, small_data
):
    three = dataclasses.replace(RECIPES["classroom"].recipe, committee=3)
    monkeypatch.setitem(RECIPES, "quick", dataclasses.replace(RECIPES["classroom"], recipe=three))
    flags = ["--data", small_data, "--device", "cpu", "--keep", tmp_path / "kept"]
    call(
        evaluate,
        monkeypatch,
        capsys,
        *flags,
        "--recipe",
        "classroom",
        "--seeds",
        "4",
        "--output",
        tmp_path / "one",
    )
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    call(
        evaluate,
        monkeypatch,
        capsys,
        *flags,
        "--recipe",
        "quick",
        "--seeds",
        "1",
        "--output",
        tmp_path / "three",
    )
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert (
        len(before) == 2 and len(after) == 6 and before.items() <= after.items()
    )  # seed 4 was there, 3 and 5 not
    one, three = (json.loads((tmp_path / name).read_text()) for name in ("one", "three"))
    assert three["members"][1] == one["wrong"] and len(three["members"]) == 3
    networks = [ann.load_model(path) for path in sorted((tmp_path / "kept").glob("*.pickle"))]
    assert [network.seed for network in networks] == [3, 4, 5]
    data = ann.load_dataset(small_data)
    assert (
        three["wrong"]
        == (ann.committee_of(networks).predict(data.test_images) != data.test_labels).sum()
    )
    assert three["seconds"] >= one["seconds"] >= 0
    assert three["first_seed"] == 3 and "first_seed" not in one


def test_networks_are_kept_where_their_results_are_there(
    evaluate, monkeypatch, capsys, tmp_path, small_data
):
    flags = [
        "--recipe",
        "classroom",
        "--data",
        small_data,
        "--device",
        "cpu",
        "--output",
        tmp_path / "x",
        "--seeds",
        "0",
    ]
    call(evaluate, monkeypatch, capsys, *flags)
    before = (tmp_path / "x").read_bytes()
    out = call(evaluate, monkeypatch, capsys, *flags, "--keep", tmp_path / "kept").out
    assert "kept " in out and "measured on" in out
    assert (
        len(list((tmp_path / "kept").glob("*.pickle"))) == 1
        and (tmp_path / "x").read_bytes() == before
    )


def test_networks_of_other_data_are_not_found(evaluate, monkeypatch, capsys, tmp_path, small_data):
    flags = [
        "--recipe",
        "classroom",
        "--device",
        "cpu",
        "--seeds",
        "0",
        "--keep",
        tmp_path / "kept",
    ]
    call(evaluate, monkeypatch, capsys, *flags, "--data", small_data, "--output", tmp_path / "x")
    other = write_mnist_like(tmp_path / "other", seed=3)
    call(evaluate, monkeypatch, capsys, *flags, "--data", other, "--output", tmp_path / "y")
    assert len(list((tmp_path / "kept").glob("*.pickle"))) == 2


def test_results_of_before_a_field_was_known_count(
    evaluate, monkeypatch, capsys, tmp_path, small_data
):
    path = tmp_path / "results.jsonl"
    flags = [
        "--recipe",
        "classroom",
        "--data",
        small_data,
        "--device",
        "cpu",
        "--output",
        path,
        "--seeds",
        "0",
    ]
    call(evaluate, monkeypatch, capsys, *flags)
    row = json.loads(path.read_text())
    del row["fields"]["committee"]
    path.write_text(json.dumps(row) + "\n")
    assert "measured on" in call(evaluate, monkeypatch, capsys, *flags).out
    assert len(path.read_text().splitlines()) == 1


def test_results_on_other_data_do_not_count(evaluate, monkeypatch, capsys, tmp_path, small_data):
    flags = ["--recipe", "classroom", "--device", "cpu", "--output", tmp_path / "x", "--seeds", "0"]
    call(evaluate, monkeypatch, capsys, *flags, "--data", small_data)
    other = write_mnist_like(tmp_path / "other", seed=3)
    assert "measured on" not in call(evaluate, monkeypatch, capsys, *flags, "--data", other).out
    assert len({json.loads(row)["data"] for row in (tmp_path / "x").read_text().splitlines()}) == 2


GOOD = {
    "recipe": "classroom",
    "on": "test",
    "seed": 0,
    "wrong": 1,
    "total": 10,
    "data": "x",
    "seconds": 1.0,
}
GOOD |= {"date": "2026-11-25", "fields": {}}


@pytest.mark.parametrize(
    "contents",
    [
        *("nonsense\n", "{}\n", "3\n"),
        *(
            json.dumps({**GOOD, name: value})
            for name, value in [
                ("wrong", "1"),
                ("seed", -1),
                ("total", 0),
                ("wrong", 11),
                ("seconds", None),
                ("date", "\x1b[2J"),
                ("fields", 3),
            ]
        ),
    ],
)
def test_evaluate_refuses_a_file_of_something_else(
    evaluate, monkeypatch, capsys, tmp_path, small_data, contents
):
    (tmp_path / "x").write_text(contents)
    flags = ["--recipe", "classroom", "--data", small_data, "--output", tmp_path / "x"]
    error = call(evaluate, monkeypatch, capsys, *flags).err
    assert (
        error.startswith("error: ")
        and ("not a results file" in error or "line 1: not a valid result" in error)
        and len(error.splitlines()) == 1
    )
    assert (tmp_path / "x").read_text() == contents


@pytest.mark.parametrize("text", ["", "x", "3-1", "-1", "1-2-3", "0-99999"])
def test_senseless_seeds(tmp_path, text):
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
    run(
        "train",
        "--data",
        small_data,
        *FAST,
        "--recipe",
        "classroom-distorted",
        "--output",
        "x.pickle",
        cwd=tmp_path,
    )
    assert ann.load_model(tmp_path / "x.pickle").recipe["rotation"] > 0
