"""Several processes that train one network, with the result of a single process, up to rounding."""

import dataclasses
import itertools
import threading
import warnings

import numpy as np
import pytest

import ann
from ann.training.distributed import SINGLE_PROCESS, check_same, on_all, on_first, shard
from support import fake_processes
from support.backends import make_backend
from support.digits import write_mnist_like
from support.fake_processes import CASES, network_for


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return ann.load_dataset(write_mnist_like(tmp_path_factory.mktemp("data") / "small"))


def trained(processes, recipe, data, backend="numpy", seed=3, dtype="float32", **options):
    network = network_for(recipe, make_backend(backend), seed, dtype)
    reports = ann.fit(network, data, recipe, processes=processes, **options)
    return network.backend.to_host(network.parameters).copy(), reports


def together(size, *arguments, **options):
    return fake_processes.together(size, lambda one: trained(one, *arguments, **options))


def assert_the_same_training(members, alone, dtype="float64"):
    """Compare up to rounding. In float32 it grows over tens of steps, because the order of sums
    differs.
    """
    expected, reports = alone
    atol, rtol = (1e-9, 1e-9) if dtype == "float64" else (2e-3 * np.abs(expected).max(), 1e-3)
    for parameters, found in members:
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=atol)
        np.testing.assert_array_equal(parameters, members[0][0])  # the very same in all
        for one, other in zip(found, reports, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=rtol)
            if other.validation:
                assert one.validation.errors == other.validation.errors
                assert one.validation.loss == pytest.approx(other.validation.loss, rel=rtol)


@pytest.mark.parametrize(
    ("size", "dtype"),
    [pytest.param(2, "float32", marks=pytest.mark.slow), (3, "float64")],
)
@pytest.mark.parametrize("name", CASES)
def test_the_same_training_as_alone(data, name, size, dtype):
    arguments = CASES[name], data, "numpy", 3, dtype
    alone = trained(SINGLE_PROCESS, *arguments)
    assert_the_same_training(together(size, *arguments), alone, dtype)


@pytest.mark.parametrize(
    "name",
    [
        "committee",
        pytest.param("regularized", marks=pytest.mark.slow),
        pytest.param("batch norm", marks=pytest.mark.slow),
    ],
)
def test_on_the_strict_device(data, name):
    alone = trained(SINGLE_PROCESS, CASES[name], data)
    assert_the_same_training(together(2, CASES[name], data, "strict"), alone, "float32")


FEW = {"hidden": (9,), "batch_size": 23, "epochs": 2, "batch_norm": True}
EARLY = {"hidden": (9,), "batch_size": 40, "epochs": 60, "validation": 101, "early_stopping": 1}


@pytest.mark.parametrize(
    ("size", "fields", "epochs"),
    [
        (5, FEW, range(2, 3)),  # of 300 images, batches of 23 leave 1
        (3, EARLY, range(1, 60)),
    ],
    ids=["more processes than images in the last batch", "early stopping"],
)
def test_special_trainings(data, size, fields, epochs):
    alone = trained(SINGLE_PROCESS, ann.Recipe(**fields), data, dtype="float64")
    assert len(alone[1]) in epochs
    assert_the_same_training(together(size, ann.Recipe(**fields), data, dtype="float64"), alone)


def test_weights_of_images(data, rng):
    options = {"weights": rng.integers(0, 3, 300).astype(float), "dtype": "float64"}
    alone = trained(SINGLE_PROCESS, CASES["adamw"], data, **options)
    assert_the_same_training(together(3, CASES["adamw"], data, **options), alone)


@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 3), (3, 1), (2, 1)])
@pytest.mark.parametrize("batches", [5, 10])
def test_resumed_with_another_number(data, tmp_path, before, after, batches):
    """One process stops the run in the middle of an epoch; other numbers of processes resume it."""
    fields = {"batch_norm": True, "average": 0.9, "validation": 30}
    recipe = ann.Recipe(hidden=(9,), batch_size=45, epochs=4, **fields)
    alone = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    options = {"dtype": "float64"}
    options["checkpoints"] = ann.Checkpoints(tmp_path / "run.npz", seconds=None)

    def stopped(processes):
        counts = itertools.count(1)
        is_last = processes.rank == processes.size - 1
        on_batch = lambda images: next(counts) == batches and is_last  # noqa: E731
        return trained(processes, recipe, data, on_batch=on_batch, **options)

    for _, found in fake_processes.together(before, stopped):
        assert len(found) == (batches - 1) // 6
    assert_the_same_training(together(after, recipe, data, **options), alone)


def test_a_stop_after_a_checkpoint_that_could_not_be_written(data, tmp_path, monkeypatch):
    """The other processes know that the first one still has to write it."""
    recipe = ann.Recipe(hidden=(9,), batch_size=45, epochs=4)
    alone = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    write, calls = ann.training.checkpointer.write_checkpoint, []

    def full_at_first(*rest):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device", "run.npz")
        write(*rest)

    monkeypatch.setattr("ann.training.checkpointer.write_checkpoint", full_at_first)
    path = tmp_path / "run.npz"

    def stopped(processes):
        counts = itertools.count(1)

        def on_batch(images):
            count = next(counts)
            if count == 2:  # an hour passes before the third step, the last one, has ended
                clock.append(3600.0)
            return count == 3

        options = {"on_batch": on_batch, "checkpoints": ann.Checkpoints(path, seconds=3600)}
        return trained(processes, recipe, data, dtype="float64", **options)

    clock = [0.0]
    monkeypatch.setattr("ann.training.checkpointer.monotonic", lambda: clock[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [reports for _, reports in fake_processes.together(2, stopped)] == [[], []]
    assert len(calls) == 2 and path.exists()
    monkeypatch.undo()
    checkpoints = ann.Checkpoints(path, seconds=None)
    members = together(3, recipe, data, dtype="float64", checkpoints=checkpoints)
    assert_the_same_training(members, alone)


def test_a_callback_of_one_ends_all(data):
    def work(processes):
        ends = [lambda report: processes.rank == 1 and report.epoch == 2]
        return trained(processes, CASES["sgd"], data, callbacks=ends)

    assert [len(reports) for _, reports in fake_processes.together(3, work)] == [2, 2, 2]


def test_differences_between_processes_are_one_line(data, tmp_path):
    other = ann.load_dataset(write_mnist_like(tmp_path / "other", seed=1))
    recipe = CASES["sgd"]
    another = dataclasses.replace(recipe, momentum=0.5)
    few, many = (ann.Recipe(hidden=(4,), batch_size=size) for size in (2, 400))
    for work, words in (
        (
            lambda one: trained(one, recipe, other if one.rank == 2 else data),
            "process 2 differs from process 0 in its data",
        ),
        (
            lambda one: trained(one, recipe, data, seed=3 + one.rank),
            "process 1 differs from process 0 in its seed: 4, not 3",
        ),
        (
            lambda one: trained(one, another if one.rank else recipe, data),
            "process 1 differs from process 0 in its recipe",
        ),
        (
            lambda one: trained(one, few, data),
            "batch_size: 2 images per batch are too few for 3 processes",
        ),
        (
            lambda one: trained(one, many if one.rank == 1 else recipe, data),
            "process 1: batch_size: 400 is more than the 300 training images",
        ),
    ):
        for error in fake_processes.together(3, work):
            assert isinstance(error, (ValueError, ann.AnnError)) and words in str(error)


def test_divergence_is_the_same_in_all(data):
    fields = {"activation": "relu", "optimizer": "sgd", "learning_rate": 1e30}
    recipe = ann.Recipe(hidden=(9,), batch_size=50, epochs=5, **fields)
    assert [type(error) for error in together(2, recipe, data)] == [ann.DivergenceError] * 2


def test_shards_make_up_the_batch():
    for size in (1, 2, 3, 7):
        for images in range(1, 25):
            parts = [
                shard(fake_processes.Member(rank, size, None, None), slice(100, 100 + images))
                for rank in range(size)
            ]
            counted = [part for part, share in parts if share]
            assert counted[0].start == 100 and counted[-1].stop == 100 + images
            assert all(one.stop == next_one.start for one, next_one in itertools.pairwise(counted))
            assert sum(share for _, share in parts) == pytest.approx(1)
            lengths = [part.stop - part.start for part in counted]
            assert max(lengths) - min(lengths) <= 1
            assert all(part == slice(100, 101) for part, share in parts if not share)


def test_alone_nothing_is_exchanged():
    assert shard(SINGLE_PROCESS, slice(3, 9)) == (slice(3, 9), 1.0)
    assert SINGLE_PROCESS.gather(7) == [7]
    assert SINGLE_PROCESS.any_process(True) and not SINGLE_PROCESS.any_process(False)
    assert on_first(SINGLE_PROCESS, lambda: 3) == 3 and on_all(SINGLE_PROCESS, lambda: 4) == 4
    check_same(SINGLE_PROCESS, {"a": object()})
    array = np.ones(3)
    SINGLE_PROCESS.sum(array)
    assert array.tolist() == [1, 1, 1]
    with pytest.raises(KeyError, match="x"):
        on_all(SINGLE_PROCESS, lambda: {}["x"])


def test_all_raise_the_error_of_the_first():
    def make():
        if threading.current_thread() is threading.main_thread():
            raise AssertionError
        raise OSError("no file")

    def work(processes):
        try:
            return on_first(processes, make)
        except OSError as error:
            return str(error)

    assert fake_processes.together(3, work) == ["no file"] * 3
