"""What scripts/benchmark.py measures for a recipe: the parts of a step, and how its time grows."""

import json

import pytest

import ann
from support import ROOT, optional
from support.programs import run

optional("tqdm")

FEW = ["--quick", "--device", "cpu", "--batch-size", "20"]
LAYERS = ("dense ", "conv2d ", "maxpool2d ", "sigmoid", "relu", "batch norm", "dropout")
DENSE = ["batch: gather", "dense 48 -> 16", "sigmoid", "dense 16 -> 10", "loss: cross-entropy"]
CASES = {
    "plain": ("--hidden 16 --optimizer sgd", [*DENSE, "optimizer: sgd"]),
    "committee": (
        "--hidden none --committee 2 --input-dropout 0.1 --adversarial 1 --clip 1 --average 0.9",
        [
            *("batch: gather, input dropout", "dense 64 -> 10", "loss: cross-entropy"),
            *("move images (adversarial)", "gradient clipping", "optimizer: adamw"),
            "moving average",
        ],
    ),
    "pictures": (
        "--hidden conv2x3,pool2,8 --activation relu --batch-norm --dropout 0.1 --rotation 5 "
        "--channel-dropout 0.1 --max-norm 3 --optimizer muon --committee 2",
        [
            *("batch: gather, distort", "conv2d 3x3, 8x8 -> 2x6x6", "batch norm"),
            *("maxpool2d 2x2, 2x6x6 -> 2x3x3", "relu", "dropout", "dropout", "dense 18 -> 8"),
            *("batch norm", "relu", "dropout", "dense 8 -> 10", "loss: cross-entropy"),
            *("optimizer: muon", "max norm", "moving average"),
        ],
    ),
}


def rows_of(figures):
    """The names of the rows, and their directions."""
    rows = {}
    for part in figures["parts"]:
        rows.setdefault((part["row"], part["name"]), []).append(part["direction"])
    return rows


@pytest.mark.parametrize("case", CASES)
def test_a_profile_names_all_parts_of_a_step(tmp_path, small_data, case):
    flags, names = CASES[case]
    arguments = [*FEW, *flags.split(), "--data", small_data, "--output", "x.json"]
    out, _ = run("benchmark", "--profile", *arguments, cwd=tmp_path)
    figures = json.loads((tmp_path / "x.json").read_text())["tasks"]["profile, cpu"]
    rows = rows_of(figures)
    assert [name for _, name in rows] == names
    lines = [line for line in out.splitlines() if line.startswith("  ")][1:]
    for line, name in zip(lines, [*names, "all parts", "a whole step"], strict=True):
        assert line.startswith(f"  {name} ")
    assert sum(part["share"] for part in figures["parts"]) == pytest.approx(1)
    assert figures["milliseconds_a_step"] > 0
    for (_, name), directions in rows.items():
        is_layer = name.startswith(LAYERS)
        assert directions == (["forward", "backward"] if is_layer else [""])


def test_a_step_has_the_flops_of_its_products(tmp_path, small_data):
    """The gradient of the images is not computed, except for adversarial training."""
    counts = []
    for more in ([], ["--adversarial", "1"]):
        flags = [*FEW, "--hidden", "16", "--rotation", "1", *more, "--data", small_data]
        run("benchmark", "--profile", *flags, "--output", "x.json", cwd=tmp_path)
        figures = json.loads((tmp_path / "x.json").read_text())["tasks"]["profile, cpu"]
        counts.append(sum(part["flops"] for part in figures["parts"]))
    first, second = (2 * 20 * inputs * outputs for inputs, outputs in [(64, 16), (16, 10)])
    assert counts == [2 * first + 3 * second, 3 * first + 3 * second + 2 * first + 3 * second]


def test_without_a_gpu_the_profile_is_that_of_the_cpu(tmp_path, small_data):
    flags = ["--profile", "--quick", "--hidden", "4", "--data", small_data]
    out, _ = run("benchmark", *flags, cwd=tmp_path)
    assert out.count("a whole step") == 1 and out.count("\nno GPU: ") == 1


def test_a_profile_on_a_gpu(monkeypatch, pretended, dataset, capsys):
    """It has the same parts as on the CPU. Afterwards, calls are no longer watched."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from benchmarking import step_profile

    gpu, _ = pretended()
    recipe = ann.Recipe(hidden=(4,), batch_size=10, dropout=0.1, rotation=3.0)
    found = [
        step_profile.measure(backend, dataset, recipe, True)
        for backend in (ann.get_backend("cpu"), gpu)
    ]
    assert rows_of(found[0]) == rows_of(found[1])
    assert capsys.readouterr().out.count("a whole step") == 2
    network = recipe.network(dataset)
    assert "gradient" not in vars(network.network.loss)


@pytest.mark.slow
def test_the_roofline(tmp_path, small_data):
    optional("matplotlib")
    flags = [*FEW, "--roofline", "x.svg", "--hidden", "conv2x3,4", "--data", small_data]
    flags += ["--batch-norm"]  # which a batch of one image cannot have
    out, _ = run("benchmark", *flags, "--output", "x.json", cwd=tmp_path)
    assert "saved x.svg" in out and (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")
    figures = json.loads((tmp_path / "x.json").read_text())["tasks"]["roofline, cpu"]
    assert set(figures["milliseconds"]) == {"batch size", "width", "depth"}
    for rows in figures["milliseconds"].values():
        assert len(rows) == 2
    assert [row["value"] for row in figures["milliseconds"]["batch size"]] == [3, 10]
    for rows in figures["milliseconds"].values():
        assert all(value > 0 for row in rows for value in row.values())
        for limit in ("products", "memory"):
            assert rows[0][limit] < rows[1][limit]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ("--hidden 4", 2, "--hidden needs --profile or --roofline"),
        ("--recipe quick", 2, "--recipe needs --profile or --roofline"),
        ("--profile --only classroom", 2, "--only: not allowed with --profile"),
        ("--roofline x.png --repetitions 3", 2, "--repetitions: not allowed with --profile"),
        ("--distributed", 2, "--data: not allowed with --distributed, which trains on MNIST"),
        ("--profile --roofline x.png", 2, "not allowed with argument --profile"),
        ("--profile --batch-size 500", 1, "--batch-size: 500 is more than the 300 training images"),
        (
            "--quick",
            1,
            "images of 64 pixels; the networks of the tasks take 784; leave out --data",
        ),
        ("--roofline x.npz", 1, "x.npz: pictures cannot be written as .npz"),
    ],
)
def test_what_cannot_be_measured(tmp_path, small_data, flags, code, message):
    _, error = run("benchmark", *flags.split(), "--data", small_data, cwd=tmp_path, code=code)
    assert message in error
