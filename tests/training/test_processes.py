"""Several processes that train one network: the same training as one, to rounding, whatever their number."""

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


def trained(processes, recipe, data, backend=None, **options):
    network = network_for(
        recipe,
        backend or ann.get_backend("cpu"),
        options.pop("seed", 3),
        options.pop("dtype", "float32"),
    )
    reports = ann.fit(network, data, recipe, processes=processes, **options)
    return network.backend.to_host(network.parameters).copy(), reports


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_the_same_training_as_alone(data, name):
    recipe = CASES[name]
    expected, reports = trained(SINGLE_PROCESS, recipe, data)
    for parameters, found in fake_processes.together(
        2, lambda processes: trained(processes, recipe, data)
    ):
        # in float32, after tens of steps, of sums in another order
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=2e-3 * np.abs(expected).max())
        assert [report.loss for report in found] == pytest.approx(
            [report.loss for report in reports], rel=1e-3
        )


@pytest.mark.parametrize("name", CASES)
def test_the_same_training_as_alone_to_rounding(data, name):
    """In float64 nothing but rounding is left to differ."""
    recipe = CASES[name]
    expected, reports = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    members = fake_processes.together(
        3, lambda processes: trained(processes, recipe, data, dtype="float64")
    )
    for parameters, found in members:
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(parameters, members[0][0])  # the very same in all
        assert [report.loss for report in found] == pytest.approx(
            [report.loss for report in reports], rel=1e-9
        )


@pytest.mark.parametrize(
    "name",
    [
        "committee",
        pytest.param("regularized", marks=pytest.mark.slow),
        pytest.param("batch norm", marks=pytest.mark.slow),
    ],
)
def test_on_the_strict_device(data, name):
    recipe = CASES[name]
    expected, _ = trained(SINGLE_PROCESS, recipe, data)
    for parameters, _ in fake_processes.together(
        2, lambda processes: trained(processes, recipe, data, make_backend("strict"))
    ):
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=2e-3 * np.abs(expected).max())


def test_more_processes_than_images_in_the_last_batch(data):
    """Of 300 images, batches of 23 leave 1."""
    recipe = ann.Recipe(hidden=(9,), batch_size=23, epochs=2, batch_norm=True)
    expected, reports = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    for parameters, found in fake_processes.together(
        5, lambda processes: trained(processes, recipe, data, dtype="float64")
    ):
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-9)
        assert found[-1].loss == pytest.approx(reports[-1].loss, rel=1e-9)


def test_held_out_images_and_early_stopping(data):
    recipe = ann.Recipe(hidden=(9,), batch_size=40, epochs=60, validation=101, early_stopping=1)
    expected, reports = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    assert len(reports) < 60
    for parameters, found in fake_processes.together(
        3, lambda processes: trained(processes, recipe, data, dtype="float64")
    ):
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-9)
        assert [report.validation.errors for report in found] == [
            report.validation.errors for report in reports
        ]
        assert found[-1].validation.loss == pytest.approx(reports[-1].validation.loss, rel=1e-9)


def test_weights_of_images(data, rng):
    weights = rng.integers(0, 3, 300).astype(float)
    recipe = CASES["adamw"]
    expected, _ = trained(SINGLE_PROCESS, recipe, data, dtype="float64", weights=weights)
    for parameters, _ in fake_processes.together(
        3, lambda processes: trained(processes, recipe, data, dtype="float64", weights=weights)
    ):
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 3), (3, 1), (2, 1)])
@pytest.mark.parametrize("batches", [5, 10])
def test_resumed_with_another_number(data, tmp_path, before, after, batches):
    """Stopped by one process alone, in the middle of an epoch; gone on with by others."""
    recipe = ann.Recipe(
        hidden=(9,), batch_size=45, epochs=4, batch_norm=True, average=0.9, validation=30
    )
    expected, reports = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    checkpoints = ann.Checkpoints(tmp_path / "run.npz", seconds=None)

    def stopped(processes):
        count = 0

        def on_batch(images):
            nonlocal count
            count += 1
            return processes.rank == processes.size - 1 and count == batches

        return trained(
            processes, recipe, data, dtype="float64", on_batch=on_batch, checkpoints=checkpoints
        )

    for _, found in fake_processes.together(before, stopped):
        assert len(found) == (batches - 1) // 6
    members = fake_processes.together(
        after,
        lambda processes: trained(
            processes, recipe, data, dtype="float64", checkpoints=checkpoints
        ),
    )
    for parameters, found in members:
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-9)
        assert [report.loss for report in found] == pytest.approx(
            [report.loss for report in reports], rel=1e-9
        )


def test_a_stop_after_a_checkpoint_that_could_not_be_written(data, tmp_path, monkeypatch):
    """What the first process has still to write, the others know of."""
    recipe = ann.Recipe(hidden=(9,), batch_size=45, epochs=4)
    expected, _ = trained(SINGLE_PROCESS, recipe, data, dtype="float64")
    write, calls = ann.training.checkpointer.write_checkpoint, []

    def full_at_first(*rest):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device", "run.npz")
        write(*rest)

    monkeypatch.setattr("ann.training.checkpointer.write_checkpoint", full_at_first)
    path = tmp_path / "run.npz"

    def stopped(processes):
        count = 0

        def on_batch(images):
            nonlocal count
            count += 1
            if count == 2:  # an hour passes before the third step, the last one, has ended
                clock.append(3600.0)
            return count == 3

        once = ann.Checkpoints(path, seconds=3600)
        return trained(
            processes, recipe, data, dtype="float64", on_batch=on_batch, checkpoints=once
        )

    clock = [0.0]
    monkeypatch.setattr("ann.training.checkpointer.monotonic", lambda: clock[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [reports for _, reports in fake_processes.together(2, stopped)] == [[], []]
    assert len(calls) == 2 and path.exists()
    monkeypatch.undo()
    checkpoints = ann.Checkpoints(path, seconds=None)
    members = fake_processes.together(
        3,
        lambda processes: trained(
            processes, recipe, data, dtype="float64", checkpoints=checkpoints
        ),
    )
    for parameters, _ in members:
        np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-9)


def test_a_callback_of_one_ends_all(data):
    def work(processes):
        ends = [lambda report: processes.rank == 1 and report.epoch == 2]
        return trained(processes, CASES["sgd"], data, callbacks=ends)

    assert [len(reports) for _, reports in fake_processes.together(3, work)] == [2, 2, 2]


def test_one_line_for_what_differs(data, tmp_path):
    other = ann.load_dataset(write_mnist_like(tmp_path / "other", seed=1))
    recipe = CASES["sgd"]

    def with_other_data(processes):
        return trained(processes, recipe, other if processes.rank == 2 else data)

    def with_another_seed(processes):
        return trained(processes, recipe, data, seed=3 + processes.rank)

    def with_another_recipe(processes):
        return trained(
            processes, dataclasses.replace(recipe, momentum=0.5) if processes.rank else recipe, data
        )

    def with_too_few(processes):
        return trained(processes, ann.Recipe(hidden=(4,), batch_size=2), data)

    def with_an_error_in_one(processes):
        return trained(
            processes, ann.Recipe(hidden=(4,), batch_size=400 if processes.rank == 1 else 40), data
        )

    for work, words in (
        (with_other_data, "process 2 differs from process 0 in its data"),
        (with_another_seed, "process 1 differs from process 0 in its seed: 4, not 3"),
        (with_another_recipe, "process 1 differs from process 0 in its recipe"),
        (with_too_few, "batch_size: 2 images a batch are too few for 3 processes"),
        (with_an_error_in_one, "process 1: batch_size: 400 is more than the 300 training images"),
    ):
        found = fake_processes.together(3, work)
        assert all(
            isinstance(error, (ValueError, ann.AnnError)) and words in str(error) for error in found
        ), found


def test_divergence_is_the_same_in_all(data):
    recipe = ann.Recipe(
        hidden=(9,), activation="relu", optimizer="sgd", learning_rate=1e30, batch_size=50, epochs=5
    )

    def work(processes):
        return trained(processes, recipe, data)

    assert [type(error) for error in fake_processes.together(2, work)] == [ann.DivergenceError] * 2


def test_shares_are_all_of_a_batch():
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


def test_what_the_first_raises_all_raise():
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
