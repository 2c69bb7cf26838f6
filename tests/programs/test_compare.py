"""test.py --compare: is one network better than another, or was it luck?"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import ann
from ann.analysis.metrics import mcnemar
from ann.analysis.test_result import Comparison
from support import optional
from support.digits import write_mnist_like
from support.programs import FAST, run

optional("tqdm")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, one of which hardly learnt."""
    folder = tmp_path_factory.mktemp("compare")
    write_mnist_like(folder / "small")
    run("train", "--data", "small", *FAST, "--epochs", 15, "--output", "good.pickle", cwd=folder)
    run("train --data small --seed 1 --output poor.pickle", *FAST, "--epochs", 1, cwd=folder)
    return folder


def answers(folder):
    data = ann.load_dataset(folder / "small")
    found = [
        ann.load_model(folder / name).predict(data.test_images)
        for name in ("good.pickle", "poor.pickle")
    ]
    return data.test_labels, *found


def test_counts_and_probability(folder):
    labels, good, poor = answers(folder)
    flags = ["--data", "small", "--model", "good.pickle", "--compare", "poor.pickle"]
    fields = json.loads(run("test", *flags, "--json", cwd=folder)[0])["comparison"]
    only_good, only_poor = (
        int(((good != labels) & (poor == labels)).sum()),
        int(((good == labels) & (poor != labels)).sum()),
    )
    assert only_poor > 10 > only_good
    assert fields == {
        "wrong_other": int((poor != labels).sum()),
        "both_wrong": int(((good != labels) & (poor != labels)).sum()),
        "only_this_wrong": only_good,
        "only_other_wrong": only_poor,
        "p": mcnemar(only_good, only_poor),
        "differ": np.flatnonzero(good != poor).tolist(),
    }
    out, _ = run("test", *flags, cwd=folder)
    assert f"only the first on {only_good}, only the second on {only_poor}" in out
    assert "so the first is better" in out
    two_ways = int(((good != labels) & (poor != labels) & (good != poor)).sum())
    more = f", on {two_ways} of which both are wrong" if two_ways else ""
    assert f"they give different answers for {len(fields['differ'])} images{more}:" in out
    assert f"... and {len(fields['differ']) - 20} more, which --verbose lists" in out
    listed = re.findall(r"^image +(\d+)  expected (\d)  first (\d)  second (\d)$", out, re.M)
    expected = [(index, labels[index], good[index], poor[index]) for index in fields["differ"][:20]]
    assert [tuple(map(int, row)) for row in listed] == expected
    out, _ = run("test", *flags, "--verbose", cwd=folder)
    assert len(re.findall(r"  second \d$", out, re.M)) == len(fields["differ"])


def test_in_reverse_order_and_with_itself(folder):
    out, _ = run("test --data small --model poor.pickle --compare good.pickle", cwd=folder)
    assert "so the second is better" in out
    out, _ = run("test --data small --model good.pickle --compare good.pickle", cwd=folder)
    assert "p = 1, so equally good networks would often differ as much: this may be luck" in out
    assert "they give the same answer for all images" in out and "more, which" not in out


def test_different_answers_have_the_names_of_the_classes():
    labels, first, second = np.array([0, 1, 1]), np.array([0, 1, 1]), np.array([0, 2, 1])
    found = Comparison(labels, first, second, ["cat", "dog", "2"])
    lines = found.describe(Path("a"), Path("b"), every=True).splitlines()
    assert lines[-2:] == [
        "they give different answers for 1 image:",
        "image     1  expected dog  first dog  second 2",
    ]


def test_networks_that_cannot_be_compared(folder):
    flags = ["--data", "small", "--model", "good.pickle", "--compare"]
    _, error = run("test", *flags, "absent.pickle", cwd=folder, code=1)
    assert "absent.pickle: no such model file" in error
    ann.NeuralNetwork([{"input_dim": 9, "output_dim": 10, "activation": "sigmoid"}]).save(
        folder / "narrow.pickle"
    )
    _, error = run("test", *flags, "narrow.pickle", cwd=folder, code=1)
    assert "images of 64 pixels; narrow.pickle takes 9" in error
    ann.NeuralNetwork([{"input_dim": 64, "output_dim": 4, "activation": "sigmoid"}]).save(
        folder / "few.pickle"
    )
    _, error = run("test", *flags, "few.pickle", cwd=folder, code=1)
    assert "labels up to 9; few.pickle has 4 outputs" in error
