"""Each member of a committee is the network that its seed makes alone; their outputs are
averaged.
"""

import copy
import dataclasses
import json
import pickle
import re

import numpy as np
import pytest

import ann
from ann.analysis.gradient_check import network_gradient_error
from ann.analysis.metrics import summarize
from ann.optim.registry import OPTIMIZERS
from ann.training.fastest_device import choose_backend
from support import optional
from support.backends import (
    BACKENDS,
    Plain,
    assert_device_array,
    assert_same,
    make_backend,
    slow_on_strict,
)
from support.model_files import rewrite
from support.networks import REGULARIZED, known, network_of, recipe_of, stopping_at
from support.programs import FAST, run

MEMBERS, SEED = 3, 4
FIELDS = {
    "regularised": REGULARIZED,
    "normalised": {"batch_norm": True, "average": 0.9},
    "distorted": {
        "rotation": 9.0,
        "scaling": 0.1,
        "shear": 5.0,
        "shift": 1.0,
        "elastic": 0.5,
        "input_dropout": 0.1,
    },
    "adversarial": {"adversarial": 0.7, "dropout": 0.1},
}


def untrained(backend, recipe, seed=SEED, committee=MEMBERS):
    layers = recipe.layer_list(64, 10)
    return ann.NeuralNetwork(layers, recipe.loss, backend, seed, committee=committee)


def trained(backend, dataset, recipe, seed=SEED, committee=MEMBERS):
    net = untrained(backend, recipe, seed, committee)
    return net, ann.fit(net, dataset, recipe)


def wrong(net, data):
    """The number of test images that a network misclassifies."""
    return int((net.predict(data.test_images) != data.test_labels).sum())


@pytest.mark.parametrize(
    ("name", "optimizer", "fields"),
    [
        pytest.param(name, optimizer, fields, id=f"{name}-{optimizer}-{what}")
        for number, optimizer in enumerate(OPTIMIZERS)
        for other, (what, fields) in enumerate(FIELDS.items())
        for name in BACKENDS
        if name != "strict" or other == number % len(FIELDS)  # which is slow
    ],
)
@pytest.mark.slow
def test_each_member_is_what_it_would_be_alone(dataset, name, optimizer, fields):
    """Weights, order, dropout and distortions come from its own seed; members do not affect each
    other.
    """
    backend = make_backend(name)
    recipe = recipe_of(
        "tanh", "softmax", "cross-entropy", optimizer, epochs=3, validation=20, **fields
    )
    net, reports = trained(backend, dataset, recipe)
    assert_device_array(backend, net.parameters, (MEMBERS, 64 * 12 + 12 * 8 + 8 * 10 + 12 + 8 + 10))
    alone = [trained(backend, dataset, recipe, seed, 1) for seed in net.seeds]
    for number, (one, _) in enumerate(alone):
        expected = backend.to_host(one.parameters)
        np.testing.assert_allclose(
            backend.to_host(net.parameters)[number], expected, rtol=1e-4, atol=2e-6
        )
        assert net.member(number).recipe == one.recipe
    for epoch, report in enumerate(reports):
        losses = [found[epoch].loss for _, found in alone]
        assert report.loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert report.validation.loss == pytest.approx(
            np.mean([found[epoch].validation.loss for _, found in alone])
        )
    outputs = np.mean([one.apply(dataset.test_images) for one, _ in alone], axis=0)
    np.testing.assert_allclose(net.apply(dataset.test_images), outputs, rtol=1e-4, atol=1e-6)
    assert (net.predict(dataset.train_images[-20:]) != dataset.train_labels[-20:]).sum() == reports[
        -1
    ].validation.errors


def test_a_committee_of_one_is_a_network(backend, dataset):
    recipe = recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", epochs=2)
    assert recipe.committee == 1
    net, _ = trained(backend, dataset, recipe, committee=1)
    plain = network_of(backend, 64, 12, 8, 10, seed=SEED)
    ann.fit(plain, dataset, recipe)
    assert (
        net.to_bytes() == plain.to_bytes()
        and net.parameters.shape == plain.parameters.shape == (64 * 12 + 12 * 8 + 8 * 10 + 30,)
    )
    assert plain.member(0).to_bytes() == plain.to_bytes()


def test_members_that_diverge_are_named(backend, dataset):
    recipe = recipe_of("relu", "softmax", "cross-entropy", "sgd", epochs=1)
    net = untrained(backend, recipe)
    net.parameters[1, ...] = net.parameters[1, ...] * 1e30
    member = f"the member with seed {SEED + 1}"
    message = f"training diverged in epoch 1 of 1, {member}: the numbers overflowed"
    with pytest.raises(ann.DivergenceError, match=message):
        ann.fit(net, dataset, recipe)


def test_a_batch_trains_each_member(backend, rng):
    images, labels = rng.random((6, 5), dtype=np.float32), rng.integers(0, 3, 6)
    layers = network_of(backend, 5, 4, 3).layer_list
    net = ann.NeuralNetwork(layers, device=backend, seed=SEED, committee=MEMBERS)
    alone = [net.member(number) for number in range(MEMBERS)]
    losses = [one.train_batch(images, labels, 0.5) for one in alone]
    assert net.train_batch(images, labels, 0.5) == pytest.approx(np.mean(losses), rel=1e-6)
    for number, one in enumerate(alone):
        assert one.seed == SEED + number
        found = backend.to_host(net.member(number).parameters)
        np.testing.assert_allclose(found, backend.to_host(one.parameters), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", ["cross-entropy", "quadratic"])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_gradients(backend, loss, output):
    layers = network_of(backend, 7, 6, 4, activation="tanh", output=output, loss=loss).layer_list
    net = ann.NeuralNetwork(layers, loss, backend, SEED, "float64", committee=MEMBERS)
    assert network_gradient_error(net.network, np.random.default_rng(1)) < 1e-6


def test_the_mean_outvotes_its_members():
    """Probabilities are averaged, not answers: one sure member outweighs two unsure ones."""
    layers = [{"input_dim": 1, "output_dim": 2, "activation": "softmax"}]
    vectors = np.array([[0, 0, 0.1, 0], [0, 0, 0.1, 0], [0, 0, 0, 5.0]], dtype=np.float32)
    net = ann.NeuralNetwork(layers, parameters=vectors, committee=3)
    x = np.zeros((1, 1))
    assert [int(net.member(number).predict(x)[0]) for number in range(3)] == [0, 0, 1]
    assert net.predict(x) == 1
    np.testing.assert_allclose(net.apply(np.zeros((4, 1))).sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("stops", [[3], [5, 2]], ids=str)
@slow_on_strict
def test_resuming_is_exact(backend, dataset, tmp_path, stops):
    recipe = recipe_of(
        *("tanh", "softmax", "cross-entropy", "adamw"),
        epochs=4,
        validation=20,
        early_stopping=2,
        **REGULARIZED,
    )
    plain, reports = trained(backend, dataset, recipe)
    checkpoints = ann.Checkpoints(tmp_path / "checkpoint", seconds=None)
    for step in [*stops, 10**6]:
        net = untrained(backend, recipe)
        again = ann.fit(net, dataset, recipe, [], stopping_at(step), checkpoints)
    assert net.to_bytes() == plain.to_bytes()
    assert known(again) == known(reports)
    with pytest.raises(ann.CheckpointError, match="network committee is 2 and was 3"):
        ann.fit(untrained(backend, recipe, committee=2), dataset, recipe, [], None, checkpoints)


def test_files_and_copies(backend, dataset, tmp_path):
    recipe = recipe_of("tanh", "softmax", "cross-entropy", "adamw", epochs=1)
    net, _ = trained(backend, dataset, recipe)
    net.save(tmp_path / "model")
    twins = [
        ann.load_model(tmp_path / "model", backend),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
    ]
    for twin in twins:
        assert (twin.committee, twin.seeds) == (MEMBERS, range(SEED, SEED + MEMBERS))
        assert twin.to_bytes() == net.to_bytes()
        np.testing.assert_allclose(
            twin.apply(dataset.test_images), net.apply(dataset.test_images), rtol=1e-5
        )
    contents = pickle.loads((tmp_path / "model").read_bytes())
    shapes = [(layer["weight"].shape, layer["bias"].shape) for layer in contents["layers"]]
    assert shapes == [((3, 64, 12), (3, 12)), ((3, 12, 8), (3, 8)), ((3, 8, 10), (3, 10))]
    assert (
        repr(net)
        == "<committee of 3 NeuralNetworks 64 -> 12 tanh -> 8 tanh -> 10 softmax, cross-entropy, "
        f"on {backend.name}>"
    )


OTHER = "has a different number of members,"


@pytest.mark.parametrize(
    ("number", "keys", "change", "message"),
    [
        (0, ["weight"], lambda array: array[0], rf"layer 1: bias {OTHER} \(3,\)"),
        (0, ["bias"], lambda array: array[:2], rf"layer 1: bias {OTHER} \(2,\)"),
        (1, ["bias"], lambda array: array[0], rf"layer 2: bias {OTHER} \(\)"),
        (1, ["weight", "bias"], lambda array: array[:2], rf"layer 2: weight {OTHER} \(2,\)"),
        (0, ["weight"], lambda array: array[None], r"shape \(1, 3, 5, 4\), expected \(K, 5, 4\)"),
        (
            0,
            ["weight"],
            lambda array: array[:1],
            "layer 1: weight has one member; a committee has two",
        ),
        (
            1,
            ["bias"],
            lambda array: array * np.float32(np.nan),
            "layer 2: bias holds numbers that are not",
        ),
    ],
)
def test_a_damaged_committee(tmp_path, number, keys, change, message):
    def damage(contents):
        layer = contents["layers"][number]
        layer.update({key: change(layer[key]) for key in keys})

    layers = network_of(make_backend("numpy"), 5, 4, 3).layer_list
    ann.NeuralNetwork(layers, committee=3).save(tmp_path / "model")
    rewrite(tmp_path / "model", damage)
    with pytest.raises(ann.ModelFileError, match=message):
        ann.load_model(tmp_path / "model")


@pytest.mark.parametrize("committee", [0, -1, 1.5, True, "2", None])
def test_wrong_committees(committee):
    layers = network_of(make_backend("numpy"), 5, 4, 3).layer_list
    with pytest.raises(ValueError, match="committee: expected a whole number of at least 1"):
        ann.NeuralNetwork(layers, committee=committee)
    with pytest.raises(ValueError, match="committee: expected a whole number of at least 1"):
        ann.Recipe(committee=committee)


def test_a_committee_is_made_of_networks():
    for wrong in (3, [3, 4], network_of(make_backend("numpy"), 5, 3)):
        with pytest.raises(ValueError, match=r"networks: expected a list of ann\.NeuralNetwork"):
            ann.committee_of(wrong)


def test_wrong_members_and_parameters(dataset):
    backend = make_backend("numpy")
    layers = network_of(backend, 5, 4, 3).layer_list
    recipe = dataclasses.replace(recipe_of("tanh", "softmax", "cross-entropy", "sgd"), committee=3)
    in_recipe = "committee: 3 in the recipe, but the network is"
    for act, message in (
        (
            lambda: ann.NeuralNetwork(layers, seed=2**63 - 2, committee=3),
            r"seed: expected a whole number below 2\^63",
        ),
        (lambda: trained(backend, dataset, recipe, committee=1), f"{in_recipe} not a committee"),
        (lambda: trained(backend, dataset, recipe, committee=2), f"{in_recipe} a committee of 2"),
        (
            lambda: ann.NeuralNetwork(layers, committee=2).member(2),
            "number: expected 0 to 1, got 2",
        ),
        (
            lambda: ann.NeuralNetwork(layers, committee=2, parameters=np.zeros(39)),
            r"parameters: expected numbers of shape \(2, 39\), got \(39,\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            act()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(fields, id=name, marks=[pytest.mark.slow] if name != "normalised" else [])
        for name, fields in FIELDS.items()
    ],
)
def test_as_a_graph(monkeypatch, dataset, pretended, fields):
    """On the pretended GPU, the products of all members are one call of cuBLAS."""
    recipe = recipe_of(
        "tanh", "softmax", "cross-entropy", "muon", epochs=3, committee=MEMBERS, **fields
    )
    backend, _ = pretended()
    expected, _ = trained(Plain(), dataset, recipe)
    net, _ = trained(backend, dataset, recipe)
    assert_same([backend.to_host(net.parameters)], [expected.parameters])
    found = {"auto": backend, "cpu": make_backend("numpy")}
    monkeypatch.setattr("ann.training.fastest_device.get_backend", lambda name, *rest: found[name])
    assert (
        "faster on this network" in choose_backend(dataset, recipe).description
    )  # so both have trained


def test_hints_look_at_a_member(dataset):
    """A committee that learns nothing gets the hint that a network gets."""
    images = np.zeros_like(dataset.train_images)
    black = dataclasses.replace(dataset, train_images=images)
    recipe = dataclasses.replace(
        recipe_of("relu", "softmax", "cross-entropy", "adamw", epochs=40), committee=2
    )
    with pytest.warns(ann.TrainingWarning, match="brightest pixel is 0"):
        trained(make_backend("numpy"), black, recipe, committee=2)


@pytest.mark.slow
def test_on_the_command_line(tmp_path, small_data):
    optional("tqdm")
    flags = ["--data", small_data, *FAST, "--committee", 3, "--seed", 5]
    out, _ = run("train", *flags, "--validation", 50, "--report-members", cwd=tmp_path)
    assert "committee of 3 networks 64-16-10, 1,210 parameters each, first seed 5" in out
    held_out = [int(count) for count in re.findall(r"member \d: (\d+) of 50 wrong", out)]
    assert len(held_out) == 3 and f"members: {summarize(held_out)}" in out
    assert "--committee 3" in out.splitlines()[-1]
    out, _ = run("test", "--data", small_data, "--report-members", cwd=tmp_path)
    found = [int(count) for count in re.findall(r"member \d: (\d+) of 100 wrong", out)]
    assert len(found) == 3 and f"members: {summarize(found)}" in out
    flags = ["--data", small_data, "--json", "--report-members"]
    fields = json.loads(run("test", *flags, cwd=tmp_path)[0])
    assert fields["members"] == found
    net, data = ann.load_model(tmp_path / "mnist_ann.pickle"), ann.load_dataset(small_data)
    assert fields["wrong"] == wrong(net, data)
    assert found == [wrong(net.member(number), data) for number in range(3)]


@pytest.mark.slow
def test_a_run_of_a_committee_is_resumed(tmp_path, small_data):
    flags = ["--data", small_data, *FAST, "--committee", 2]
    run("train", *flags, "--output", "whole.pickle", cwd=tmp_path)
    run("train", *flags, "--run", "run", cwd=tmp_path)
    again, _ = run("train", "--resume", "run", cwd=tmp_path)
    assert "committee of 2" in again and "this run finished" in again
    (tmp_path / "run/checkpoint.npz").unlink()
    (tmp_path / "run/model.pickle").unlink()
    again, _ = run("train", "--resume", "run", cwd=tmp_path)
    assert "finished" not in again
    assert (tmp_path / "run/model.pickle").read_bytes() == (tmp_path / "whole.pickle").read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        ["--report-members"],
        ["--report-members", "--committee", 2],
        ["--report-members", "--validation", 100],
    ],
    ids=len,
)
def test_report_members_needs_a_committee_and_validation_images(tmp_path, words):
    _, error = run("train", *words, cwd=tmp_path, code=2)
    assert (
        "--report-members needs members, --committee 10, and validation images, --validation 10000"
        in error
    )


@pytest.mark.slow
def test_one_network_has_no_members(tmp_path, small_data):
    run("train", "--data", small_data, *FAST, cwd=tmp_path)
    _, error = run("test", "--data", small_data, "--report-members", cwd=tmp_path, code=1)
    assert "mnist_ann.pickle: a single network, which has no members" in error


def test_joined_networks(backend, dataset):
    recipe = recipe_of("tanh", "softmax", "cross-entropy", "adamw", epochs=1)
    networks = [trained(backend, dataset, recipe, seed, 1)[0] for seed in (8, 2, 5)]
    joined = ann.committee_of(networks)
    assert (joined.committee, joined.seed, joined.backend) == (3, 8, backend)
    assert joined.recipe == networks[0].recipe
    mean = np.mean([network.apply(dataset.test_images) for network in networks], axis=0)
    np.testing.assert_allclose(joined.apply(dataset.test_images), mean, rtol=1e-5, atol=1e-7)
    networks[2].recipe["epochs"] = 7
    larger = ann.committee_of([networks[2], joined])
    assert larger.committee == 4
    assert larger.recipe == {key: joined.recipe[key] for key in joined.recipe if key != "epochs"}
    for number, network in enumerate([networks[2], *networks]):
        assert_same(
            [backend.to_host(larger.member(number).parameters)],
            [backend.to_host(network.parameters)],
        )


def test_networks_that_cannot_be_joined():
    backend = make_backend("numpy")
    net, wider = network_of(backend, 5, 4, 3), network_of(backend, 5, 6, 3)
    quadratic = network_of(backend, 5, 4, 3, loss="quadratic")
    double = network_of(backend, 5, 4, 3, dtype="float64")
    named = network_of(backend, 5, 4, 3)
    named.recipe = {"classes": ["ant", "bee", "cow"]}
    for others, message in [
        ([], "a committee needs at least two, got 1"),
        ([net, wider], "network 3: its layers differ from network 1"),
        ([quadratic], "network 2: its loss differs from network 1"),
        ([double], "network 2: its type differs from network 1's: float64, not float32"),
        ([named], "network 2: its classes differ from network 1's: ant, bee, cow, not 0, 1, 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            ann.committee_of([net, *others])


@pytest.mark.slow
def test_join_on_the_command_line(tmp_path, small_data):
    def join(*models, code=0):
        """The last of these files is the output."""
        *files, output = models
        return run("join", *files, "--output", output, cwd=tmp_path, code=code)

    a, b, c, d, e = (f"{name}.pickle" for name in "abcde")
    for seed, name in enumerate((a, b)):
        flags = ["--data", small_data, *FAST, "--seed", seed, "--output", name]
        run("train", *flags, cwd=tmp_path)
    assert "saved c.pickle: <committee of 2 NeuralNetworks" in join(a, b, c)[0]
    flags = ["--data", small_data, "--model", c, "--report-members"]
    assert "member 2: " in run("test", *flags, cwd=tmp_path)[0]
    assert "a committee needs at least two models" in join(a, c, code=2)[1]
    assert "absent: no such model file" in join(a, "absent", c, code=1)[1]
    ann.NeuralNetwork([{"input_dim": 9, "output_dim": 10, "activation": "sigmoid"}]).save(
        tmp_path / d
    )
    before = (tmp_path / c).read_bytes()
    _, error = join(a, d, c, code=1)
    assert "network 2: its layers differ from network 1" in error and "2 is d.pickle" in error
    assert (tmp_path / c).read_bytes() == before
    (tmp_path / e).write_bytes((tmp_path / b).read_bytes())
    twice = "its vote would count twice"
    for models, words in (
        ((a, b, e, c), f"e.pickle: b.pickle has the same network, so {twice}"),
        ((a, b, b, c), f"b.pickle: given twice, so {twice}"),
        ((c, a, d), f"a.pickle: c.pickle has the same network, so {twice}"),
        ((a, b, a), "a.pickle: this is an input; name another file to write"),
        (
            (a, b, "c.safetensors"),
            "c.safetensors: this is written as .pickle: name it c.pickle (scripts/export.py writes",
        ),
    ):
        _, error = join(*models, code=1)
        assert error.startswith(f"error: {words}"), error
    join(a, b, "no/folder/c.pickle", code=1)
