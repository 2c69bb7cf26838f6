"""A run that was stopped anywhere continues with exactly the same results."""

import dataclasses
import io
import json
import pickle
import zipfile

import numpy as np
import pytest

import ann
from ann.optim.registry import OPTIMIZERS
from support.backends import BACKENDS, make_backend
from support.networks import REGULARIZED, known, network_of, recipe_of, stopping_at


def recipe(optimizer="adamw", **fields):
    plain = recipe_of("sigmoid", "sigmoid", "cross-entropy", optimizer, epochs=3, validation=10)
    return dataclasses.replace(plain, **fields)


def network(backend, seed=3, **options):
    return network_of(backend, 64, 12, 8, 10, seed=seed, **options)


def resume(path, dataset, how=None, **options):
    """Resume on the CPU with a new network."""
    net = network(ann.get_backend("cpu"), **options)
    ann.fit(net, dataset, how or recipe(), (), None, ann.Checkpoints(path))


def interrupted(backend, dataset, how, path, stops, **options):
    """Train with several interruptions, with a new network after each."""
    seen = []
    checkpoints = ann.Checkpoints(path, seconds=None)
    for step in [*stops, 10**6]:
        net = network(backend, **options)
        reports = ann.fit(net, dataset, how, [seen.append], stopping_at(step), checkpoints)
    assert known(reports) == known(seen)  # every epoch was reported once
    return net, reports


CASES = [
    *({"optimizer": name} for name in OPTIMIZERS),
    {"optimizer": "sgd", **REGULARIZED},
    {"optimizer": "adamw", **REGULARIZED, "schedule": "one-cycle", "warmup": 0.0},
    {"optimizer": "muon", **REGULARIZED, "batch_norm": True},
    {"optimizer": "sgd", "batch_norm": True},
    {"optimizer": "adamw", "rotation": 10.0, "shift": 1.0, "elastic": 0.5, "undistorted_epochs": 1},
    {"optimizer": "sgd", "adversarial": 0.5},
    {"optimizer": "nesterov", "early_stopping": 1, "epochs": 6, "learning_rate": 2.0},
]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{'-'.join(map(str, case.values()))}")
        for number, case in enumerate(CASES)
        for name in BACKENDS
        if name != "strict" or number % 3 == 0  # which is slow
    ],
)
@pytest.mark.slow
def test_resuming_is_exact(name, dataset, tmp_path, case):
    how, backend = recipe(**case), make_backend(name)
    plain = network(backend)
    reports = ann.fit(plain, dataset, how)
    for stops in ([1, 1, 1, 1, 1, 1, 1], [11], [12]):  # each once
        net, again = interrupted(backend, dataset, how, tmp_path / f"checkpoint {stops}", stops)
        assert net.to_bytes() == plain.to_bytes(), stops
        assert known(again) == known(reports), stops


def test_the_early_stopping_case_above_does_stop(dataset):
    how = recipe(**CASES[-1])
    assert len(ann.fit(network(ann.get_backend("cpu")), dataset, how)) < how.epochs


def test_in_float64_and_after_a_change_by_a_callback(backend, dataset, tmp_path):
    def shrink(net):
        return lambda report: net.parameters.__imul__(0.5)

    how, results = recipe("rmsprop"), []
    for stops in ([], [6]):
        for step in [*stops, 10**6]:
            net = network(backend, dtype="float64")
            path = tmp_path / f"checkpoint{len(stops)}"
            ann.fit(net, dataset, how, [shrink(net)], stopping_at(step), ann.Checkpoints(path))
        results.append(backend.to_host(net.parameters).copy())
    np.testing.assert_array_equal(*results)


def test_a_checkpoint_moves_between_devices(backend_pair, dataset, tmp_path):
    how = recipe(**REGULARIZED)
    results = []
    for there, here in (backend_pair, backend_pair[::-1]):
        path = tmp_path / there.name
        ann.fit(network(there), dataset, how, (), stopping_at(6), ann.Checkpoints(path))
        net = network(here)
        ann.fit(net, dataset, how, (), None, ann.Checkpoints(path))
        results.append(here.to_host(net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("case", [{}, {"average": 0.9, "batch_norm": True}, {"early_stopping": 5}])
def test_a_finished_run_continues_with_more_epochs(dataset, tmp_path, case):
    """With the schedule of the larger number, and exactly, wherever it is stopped."""
    backend, longer = ann.get_backend("cpu"), recipe(**case, epochs=5)
    results = []
    for stops in ([], [1, 4]):
        checkpoints = ann.Checkpoints(tmp_path / f"after {stops}")
        ann.fit(network(backend), dataset, recipe(**case), (), None, checkpoints)
        for step in [*stops, 10**6]:
            net = network(backend)
            reports = ann.fit(net, dataset, longer, (), stopping_at(step), checkpoints)
        results.append((net.to_bytes(), known(reports)))
    assert results[0] == results[1]
    whole = ann.fit(network(backend), dataset, longer)
    assert [report.learning_rate for report in reports[3:]] == [
        report.learning_rate for report in whole[3:]
    ]
    for epochs in (4, 6):  # it has five now; and an unfinished run may not change
        with pytest.raises(ann.CheckpointError, match=f"epochs is {epochs} and was 5"):
            if epochs > 5:
                checkpoints = ann.Checkpoints(tmp_path / "unfinished")
                ann.fit(network(backend), dataset, longer, (), stopping_at(9), checkpoints)
            ann.fit(network(backend), dataset, recipe(**case, epochs=epochs), (), None, checkpoints)


def test_a_finished_run_is_read_and_not_trained(dataset, tmp_path):
    backend, checkpoints = ann.get_backend("cpu"), ann.Checkpoints(tmp_path / "checkpoint")
    first, second = network(backend), network(backend)
    reports = ann.fit(first, dataset, recipe(), (), None, checkpoints)
    before = (tmp_path / "checkpoint").stat().st_mtime_ns

    def fail(*arguments):
        raise AssertionError

    assert ann.fit(second, dataset, recipe(), [fail], fail, checkpoints) == reports
    assert second.to_bytes() == first.to_bytes()
    assert (tmp_path / "checkpoint").stat().st_mtime_ns == before


def test_how_often_it_is_written(monkeypatch, dataset, tmp_path):
    written = []

    def note(path, run, state, arrays):
        written.append((state.epoch, state.step, state.finished))

    monkeypatch.setattr("ann.training.checkpointer.write_checkpoint", note)
    backend = ann.get_backend("cpu")

    def write(**options):
        written.clear()
        checkpoints = ann.Checkpoints(tmp_path / "x", **options)
        ann.fit(network(backend), dataset, recipe(), (), None, checkpoints)
        return list(written)

    end = (4, 0, True)
    assert write() == [end]
    assert write(epochs=1) == [(2, 0, False), (3, 0, False), end]
    assert write(epochs=2, seconds=None) == [(3, 0, False), end]
    every_step = [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]
    found = write(seconds=1e-9)
    assert [place[:2] for place in found if place[1]] == every_step and found[-1] == end


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", value) for value in (0, 1.5, True)),
        *(("seconds", value) for value in (0, "1", float("nan"))),
    ],
)
def test_wrong_intervals(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a"):
        ann.Checkpoints("x", **{name: value})


@pytest.fixture
def stopped(dataset, tmp_path):
    """The checkpoint of a run that was stopped after six steps."""
    path = tmp_path / "checkpoint"
    net = network(ann.get_backend("cpu"))
    ann.fit(net, dataset, recipe(), (), stopping_at(6), ann.Checkpoints(path))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {"learning_rate": 0.02}}, r"recipe learning_rate is 0\.02 and was 0\.01"),
        (
            {"recipe": {"epochs": 4, "dropout": 0.1}},
            r"recipe dropout is 0\.1 and was 0\.0; recipe epochs is 4 and was 3",
        ),
        ({"seed": 4}, "seed is 4 and was 3"),
        ({"activation": "tanh"}, "network layers is .*tanh.* and was .*sigmoid"),
        ({"dtype": "float64"}, "network dtype is 'float64' and was 'float32'"),
        ({"image": 1}, "data SHA-256 is '[0-9a-f]{64}' and was"),
        ({"label": 1}, "data SHA-256 is"),
    ],
)
def test_another_run_is_refused_and_named(dataset, stopped, change, message):
    options = {key: change[key] for key in ("seed", "activation", "dtype") if key in change}
    if "image" in change:
        images = dataset.train_images.copy()
        images[0, 0, 0] ^= 1
        dataset = dataclasses.replace(dataset, train_images=images)
    if "label" in change:
        labels = (dataset.train_labels + 1) % 10
        dataset = dataclasses.replace(dataset, train_labels=labels.astype(np.uint8))
    how = dataclasses.replace(recipe(), **change.get("recipe", {}))
    before = stopped.read_bytes()
    with pytest.raises(ann.CheckpointError, match=message) as caught:
        resume(stopped, dataset, how, **options)
    assert str(stopped) in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith("; name another path for a new run")
    assert stopped.read_bytes() == before


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The checkpoint after a function has changed its JSON and its arrays."""
    with np.load(path) as found:
        arrays = dict(found)
    about = json.loads(arrays.pop("about").tobytes())
    changed = change(about, arrays)
    arrays = changed if isinstance(changed, dict) else arrays
    with zipfile.ZipFile(path, "w", compression) as archive:
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", buffer.getvalue())


def three_reports(about, arrays):
    reports = [{**about["reports"][0], "epoch": number} for number in (1, 2, 3)]
    about.update(epoch=4, step=0, reports=reports)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version 1, expected 2; name another path"),
        ({"format": "x"}, "its format is not"),
        ({"step": 99}, "step 99"),
        ({"step": "1"}, "step '1'"),
        ({"epoch": True}, "epoch True"),
        ({"epoch": 0}, "epoch 0"),
        ({"epoch": 5}, "epoch 5"),
        ({"epoch": 10**18}, "epoch 1000000000000000000, step"),  # at once
        ({"seconds": None}, "seconds None"),
        ({"finished": 1}, "finished 1"),
        ({"reports": [{}]}, "damaged"),
        ({"reports": 7}, "damaged"),
        ({"run": 7}, "cannot resume a different run"),
        ({"reports": []}, "0 reports"),
        ({"reports": [], "epoch": 1, "finished": True, "step": 0}, "finished without an epoch"),
        (lambda about, arrays: about.pop("step"), "its fields are not"),
        (lambda about, arrays: about["run"].update(recipe=None), "cannot resume a different run"),
        (lambda about, arrays: about["reports"][0].update(loss=None), "loss None"),
        (lambda about, arrays: about["reports"][0].update(epoch="1"), "1 reports"),
        (lambda about, arrays: about["reports"][0]["validation"].update(count=0), "validation"),
        (lambda about, arrays: about.update(epoch=4, reports=3 * about["reports"]), "3 reports"),
        (lambda about, arrays: about["reports"][0].update(validation=None), "damaged: epoch"),
        (lambda about, arrays: about.update(epoch="x" * 10_000), "damaged: epoch 'xxx"),
        (lambda about, arrays: about.update(run={"x": "x" * 10_000}), "x is None and was 'xxx"),
        (three_reports, "epoch 4, step 0"),
        (lambda about, arrays: {**arrays, "v": arrays["v"][:-1]}, "damaged: wrong v"),
        (lambda about, arrays: {**arrays, "v": arrays["v"].astype(np.float64)}, "damaged: wrong v"),
        (lambda about, arrays: arrays.pop("m") is None, "damaged: wrong m"),
    ],
)
def test_a_checkpoint_that_is_not_one(dataset, stopped, change, message):
    fields = change if isinstance(change, dict) else {}
    rewritten(stopped, (lambda about, arrays: about.update(fields)) if fields else change)
    net = network(ann.get_backend("cpu"))
    before = net.to_bytes()
    with pytest.raises(ann.CheckpointError, match=message) as caught:
        ann.fit(net, dataset, recipe(), (), None, ann.Checkpoints(stopped))
    assert len(str(caught.value)) < 3000
    assert net.to_bytes() == before


def test_a_checkpoint_from_before_a_hyperparameter_was_added(dataset, stopped):
    rewritten(stopped, lambda about, arrays: about["run"]["recipe"].pop("max_norm") == 0)
    resume(stopped, dataset)
    with pytest.raises(ann.CheckpointError, match=r"recipe max_norm is 0\.5 and was 0\.0"):
        resume(stopped, dataset, recipe(max_norm=0.5))


def test_damage_and_danger(dataset, stopped, tmp_path):
    whole = stopped.read_bytes()
    harmless = {"network": np.zeros(3, dtype=np.float32), "about": np.array([print], dtype=object)}
    buffer = io.BytesIO()
    np.savez(buffer, **harmless)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(whole)
    rewritten(
        bomb, lambda about, arrays: {**arrays, "zeros": np.zeros(10**7)}, zipfile.ZIP_DEFLATED
    )
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    others = []
    for header in (
        b"{'descr': (",
        b"'" * 3,
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 26 + b",)}",
    ):
        text = header + b" " * (117 - len(header)) + b"\n"
        with zipfile.ZipFile(tmp_path / "other", "w") as archive:
            archive.writestr("network.npy", b"\x93NUMPY\x01\x00" + bytes([len(text), 0]) + text)
        others.append((tmp_path / "other").read_bytes())
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr("network.npy", "hello")
    others.append((tmp_path / "other").read_bytes())
    encrypted = bytearray(whole)
    encrypted[whole.rindex(b"PK\x01\x02") + 8] |= 1
    others.append(bytes(encrypted))
    for data in (
        *others,
        b"",
        b"x",
        whole[:-1],
        whole[:1000],
        bytes(flipped),
        pickle.dumps(1),
        buffer.getvalue(),
        bomb.read_bytes(),
    ):
        stopped.write_bytes(data)
        with pytest.raises(ann.CheckpointError, match="not a checkpoint, or damaged"):
            resume(stopped, dataset)
    stopped.unlink()
    stopped.mkdir()
    with pytest.raises(ann.CheckpointError, match="cannot be read"):
        resume(stopped, dataset)
