"""A committee is its members: each is the network that its seed makes alone; together they answer with their mean."""

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
from support.networks import REGULARIZED, known, network_of, recipe_of
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


def trained(backend, dataset, recipe, seed=SEED, committee=MEMBERS):
    net = ann.NeuralNetwork(
        recipe.layer_list(64, 10), recipe.loss, backend, seed, committee=committee
    )
    return net, ann.fit(net, dataset, recipe)


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
    """Weights, order, dropout and distortions from its own seed; nothing of one member reaches another."""
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


def test_one_is_the_plain_network(backend, dataset):
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
    net = ann.NeuralNetwork(
        recipe.layer_list(64, 10), recipe.loss, backend, SEED, committee=MEMBERS
    )
    net.parameters[1, ...] = net.parameters[1, ...] * 1e30
    message = f"training diverged in epoch 1 of 1, the member with seed {SEED + 1}: the numbers overflowed"
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
    """Probabilities are averaged, not answers: a member that is sure outweighs two that are not."""
    layers = [{"input_dim": 1, "output_dim": 2, "activation": "softmax"}]
    vectors = np.array([[0, 0, 0.1, 0], [0, 0, 0.1, 0], [0, 0, 0, 5.0]], dtype=np.float32)
    net = ann.NeuralNetwork(layers, parameters=vectors, committee=3)
    assert [int(net.member(number).predict(np.zeros((1, 1)))[0]) for number in range(3)] == [
        0,
        0,
        1,
    ]
    assert net.predict(np.zeros((1, 1))) == 1
    np.testing.assert_allclose(net.apply(np.zeros((4, 1))).sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("stops", [[3], [5, 2]], ids=str)
@slow_on_strict
def test_going_on_is_exact(backend, dataset, tmp_path, stops):
    recipe = recipe_of(
        *("tanh", "softmax", "cross-entropy", "adamw"),
        epochs=4,
        validation=20,
        early_stopping=2,
        **REGULARIZED,
    )
    plain, reports = trained(backend, dataset, recipe)
    layers = plain.layer_list
    net = ann.NeuralNetwork(layers, device=backend, seed=SEED, committee=MEMBERS)
    checkpoints = ann.Checkpoints(tmp_path / "checkpoint", seconds=None)
    for step in [*stops, 10**6]:
        seen = []
        net = ann.NeuralNetwork(layers, device=backend, seed=SEED, committee=MEMBERS)
        stop = lambda size, seen=seen, step=step: seen.append(size) or len(seen) == step  # noqa: E731
        again = ann.fit(net, dataset, recipe, [], stop, checkpoints)
    assert net.to_bytes() == plain.to_bytes()
    assert known(again) == known(reports)
    with pytest.raises(ann.CheckpointError, match="network committee is 2 and was 3"):
        other = ann.NeuralNetwork(layers, device=backend, seed=SEED, committee=2)
        ann.fit(other, dataset, recipe, [], None, checkpoints)


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
        == f"<committee of 3 NeuralNetworks 64 -> 12 tanh -> 8 tanh -> 10 softmax, cross-entropy, on {backend.name}>"
    )


def set_layer(number, key, change):
    def apply(contents):
        contents["layers"][number][key] = change(contents["layers"][number][key])

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            set_layer(0, "weight", lambda array: array[0]),
            r"layer 1: bias has a different number of members, \(3,\)",
        ),
        (
            set_layer(0, "bias", lambda array: array[:2]),
            r"layer 1: bias has a different number of members, \(2,\)",
        ),
        (
            set_layer(1, "bias", lambda array: array[0]),
            r"layer 2: bias has a different number of members, \(\)",
        ),
        (
            set_layer(0, "weight", lambda array: array[None]),
            r"shape \(1, 3, 5, 4\), expected \(K, 5, 4\)",
        ),
        (
            set_layer(0, "weight", lambda array: array[:1]),
            "layer 1: weight has one member; a committee has two",
        ),
        (
            set_layer(1, "bias", lambda array: array * np.float32(np.nan)),
            "layer 2: bias holds numbers that are not",
        ),
    ],
)
def test_a_damaged_committee(tmp_path, change, message):
    layers = network_of(make_backend("numpy"), 5, 4, 3).layer_list
    ann.NeuralNetwork(layers, committee=3).save(tmp_path / "model")
    rewrite(tmp_path / "model", change)
    with pytest.raises(ann.ModelFileError, match=message):
        ann.load_model(tmp_path / "model")


def test_both_layers_of_other_committees(tmp_path):
    def change(contents):
        for key in ("weight", "bias"):
            contents["layers"][1][key] = contents["layers"][1][key][:2]

    layers = network_of(make_backend("numpy"), 5, 4, 3).layer_list
    ann.NeuralNetwork(layers, committee=3).save(tmp_path / "model")
    rewrite(tmp_path / "model", change)
    with pytest.raises(
        ann.ModelFileError, match=r"layer 2: weight has a different number of members, \(2,\)"
    ):
        ann.load_model(tmp_path / "model")


@pytest.mark.parametrize("committee", [0, -1, 1.5, True, "2", None])
def test_senseless_committees(committee):
    layers = network_of(make_backend("numpy"), 5, 4, 3).layer_list
    with pytest.raises(ValueError, match="committee: expected a whole number of at least 1"):
        ann.NeuralNetwork(layers, committee=committee)
    with pytest.raises(ValueError, match="committee: expected a whole number of at least 1"):
        ann.Recipe(committee=committee)


def test_a_committee_is_made_of_networks():
    for wrong in (3, [3, 4], network_of(make_backend("numpy"), 5, 3)):
        with pytest.raises(ValueError, match=r"networks: expected a list of ann\.NeuralNetwork"):
            ann.committee_of(wrong)


def test_senseless_members_and_parameters(dataset):
    layers = network_of(make_backend("numpy"), 5, 4, 3).layer_list
    with pytest.raises(ValueError, match=r"seed: expected a whole number below 2\^63"):
        ann.NeuralNetwork(layers, seed=2**63 - 2, committee=3)
    recipe = dataclasses.replace(recipe_of("tanh", "softmax", "cross-entropy", "sgd"), committee=3)
    with pytest.raises(
        ValueError, match="committee: 3 in the recipe, but the network is not a committee"
    ):
        trained(make_backend("numpy"), dataset, recipe, committee=1)
    with pytest.raises(
        ValueError, match="committee: 3 in the recipe, but the network is a committee of 2"
    ):
        trained(make_backend("numpy"), dataset, recipe, committee=2)
    with pytest.raises(ValueError, match="number: expected 0 to 1, got 2"):
        ann.NeuralNetwork(layers, committee=2).member(2)
    with pytest.raises(
        ValueError, match=r"parameters: expected numbers of shape \(2, 39\), got \(39,\)"
    ):
        ann.NeuralNetwork(layers, committee=2, parameters=np.zeros(39))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(fields, id=name, marks=[pytest.mark.slow] if name != "normalised" else [])
        for name, fields in FIELDS.items()
    ],
)
def test_as_a_graph(monkeypatch, dataset, pretended, fields):
    """On the pretended GPU: the products of all members are one call of cuBLAS, and the device can be chosen."""
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
    """A committee that learns nothing is told so, as a network is."""
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
    assert "committee of 3 networks 64-16-10, 1,210 parameters each, seeds 5 to 7" in out
    held_out = [int(count) for count in re.findall(r"member \d: (\d+) of 50 wrong", out)]
    assert len(held_out) == 3 and f"members: {summarize(held_out)}" in out
    assert "--committee 3" in out.splitlines()[-1]
    out, _ = run("test", "--data", small_data, "--report-members", cwd=tmp_path)
    wrong = [int(count) for count in re.findall(r"member \d: (\d+) of 100 wrong", out)]
    assert len(wrong) == 3 and f"members: {summarize(wrong)}" in out
    fields = json.loads(
        run("test", "--data", small_data, "--json", "--report-members", cwd=tmp_path)[0]
    )
    assert fields["members"] == wrong
    net, data = ann.load_model(tmp_path / "mnist_ann.pickle"), ann.load_dataset(small_data)
    assert fields["wrong"] == (net.predict(data.test_images) != data.test_labels).sum()
    assert wrong == [
        int((net.member(k).predict(data.test_images) != data.test_labels).sum()) for k in range(3)
    ]


@pytest.mark.slow
def test_a_run_of_a_committee_goes_on(tmp_path, small_data):
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
def test_members_need_a_committee_and_held_out_images(tmp_path, words):
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


def test_networks_that_were_trained_apart(backend, dataset):
    recipe = recipe_of("tanh", "softmax", "cross-entropy", "adamw", epochs=1)
    networks = [trained(backend, dataset, recipe, seed, 1)[0] for seed in (8, 2, 5)]
    joined = ann.committee_of(networks)
    assert (joined.committee, joined.seed, joined.backend) == (
        3,
        8,
        backend,
    ) and joined.recipe == networks[0].recipe
    mean = np.mean([network.apply(dataset.test_images) for network in networks], axis=0)
    np.testing.assert_allclose(joined.apply(dataset.test_images), mean, rtol=1e-5, atol=1e-7)
    larger = ann.committee_of([networks[2], joined])
    assert larger.committee == 4
    for number, network in enumerate([networks[2], *networks]):
        assert_same(
            [backend.to_host(larger.member(number).parameters)],
            [backend.to_host(network.parameters)],
        )


def test_what_cannot_be_joined():
    backend = make_backend("numpy")
    net = network_of(backend, 5, 4, 3)
    for others, message in [
        ([], "a committee needs at least two, got 1"),
        ([net, network_of(backend, 5, 6, 3)], "network 3: its layers differ from network 1"),
        (
            [network_of(backend, 5, 4, 3, loss="quadratic")],
            "network 2: its loss differs from network 1",
        ),
        (
            [network_of(backend, 5, 4, 3, dtype="float64")],
            "network 2: its type differs from network 1",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            ann.committee_of([net, *others])


@pytest.mark.slow
def test_join_on_the_command_line(tmp_path, small_data):
    for seed, name in enumerate("ab"):
        run(
            "train",
            "--data",
            small_data,
            *FAST,
            "--seed",
            seed,
            "--output",
            f"{name}.pickle",
            cwd=tmp_path,
        )
    out, _ = run("join", "a.pickle", "b.pickle", "--output", "c.pickle", cwd=tmp_path)
    assert "saved c.pickle: <committee of 2 NeuralNetworks" in out
    out, _ = run(
        "test", "--data", small_data, "--model", "c.pickle", "--report-members", cwd=tmp_path
    )
    assert "member 2: " in out
    _, error = run("join", "a.pickle", "--output", "c.pickle", cwd=tmp_path, code=2)
    assert "a committee needs at least two models" in error
    _, error = run("join", "a.pickle", "absent", "--output", "c.pickle", cwd=tmp_path, code=1)
    assert "absent: no such model file" in error
    ann.NeuralNetwork([{"input_dim": 9, "output_dim": 10, "activation": "sigmoid"}]).save(
        tmp_path / "d.pickle"
    )
    before = (tmp_path / "c.pickle").read_bytes()
    _, error = run("join", "a.pickle", "d.pickle", "--output", "c.pickle", cwd=tmp_path, code=1)
    assert "network 2: its layers differ from network 1" in error and "2 is d.pickle" in error
    assert (tmp_path / "c.pickle").read_bytes() == before
    (tmp_path / "e.pickle").write_bytes((tmp_path / "b.pickle").read_bytes())
    for models, output, words in (
        (
            ("a", "b", "e"),
            "c.pickle",
            "e.pickle: b.pickle has the same network, so its vote would count twice",
        ),
        (("a", "b", "b"), "c.pickle", "b.pickle: given twice, so its vote would count twice"),
        (
            ("a", "b"),
            "a.pickle",
            "a.pickle: one of the networks to join; save the committee to another file",
        ),
        (
            ("a", "b"),
            "c.safetensors",
            "c.safetensors: this is written as .pickle: name it c.pickle (export.py writes",
        ),
    ):
        files = [f"{name}.pickle" for name in models]
        _, error = run("join", *files, "--output", output, cwd=tmp_path, code=1)
        assert error.startswith(f"error: {words}"), error
    _, error = run("join", "c.pickle", "a.pickle", "--output", "d.pickle", cwd=tmp_path, code=1)
    assert (
        error == "error: a.pickle: c.pickle has the same network, so its vote would count twice\n"
    )
    run("join", "a.pickle", "b.pickle", "--output", "no/folder/c.pickle", cwd=tmp_path, code=1)
