"""A recorded step computes the same: NumPy replays its calls, and a pretended GPU launches its
graph.
"""

import dataclasses
import gc
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

import ann
import ann.backends.phases
import ann.backends.recorder
from ann.backends import blas
from ann.backends.gpu import GpuBackend
from ann.backends.gpu_recorder import GpuRecorder
from ann.backends.recorder import CpuRecorder
from ann.backends.tracer import Symbol
from ann.nn.activations import ACTIVATIONS
from ann.optim.optimizer import Optimizer
from ann.optim.registry import OPTIMIZERS
from ann.training.batches import ImageSet, lit_pixels
from ann.training.fastest_device import choose_backend
from ann.training.trainer import Trainer
from support.backends import Plain, assert_same, make_backend, slow_on_strict
from support.fake_cupy import pretend_cupy
from support.networks import CASES, REGULARIZED, network_of, recipe_of


def trained(
    backend, dataset, case=("sigmoid", "sigmoid", "cross-entropy", "adamw"), dtype="float32"
):
    activation, output, loss, _ = case
    recipe = recipe_of(*case, epochs=4)  # 170 images: the last batch is smaller
    if activation == "tanh":
        recipe = dataclasses.replace(recipe, **REGULARIZED, batch_norm=True)
    net = network_of(
        backend, 64, 12, 8, 10, activation=activation, output=output, loss=loss, dtype=dtype
    )
    reports = ann.fit(net, dataset, recipe)
    return [report.loss for report in reports], backend.to_host(net.parameters).copy()


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_are_the_steps(monkeypatch, case, dataset, pretended):
    """With NumPy's replays and with graphs. Every formula can be traced. Otherwise it would be
    called again in each step, which is correct but slow.
    """
    expected = trained(Plain(), dataset, case)
    backend, _ = pretended()
    assert_same(trained(backend, dataset, case), expected)
    prepare = ann.backends.recorder.prepare

    def checked(function, *arguments):
        try:
            return prepare(function, *arguments)
        except Exception as error:
            pytest.fail(f"{function}: {error!r}")

    monkeypatch.setattr(ann.backends.recorder, "prepare", checked)
    assert_same(trained(ann.get_backend("cpu"), dataset, case), expected)


def test_without_direct_calls_of_blas(monkeypatch, dataset):
    expected = trained(ann.get_backend("cpu"), dataset, dtype="float64")
    monkeypatch.setattr(blas, "_library", dict)
    assert_same(
        trained(ann.get_backend("cpu"), dataset, dtype="float64"), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_work_shared_among_processors_is_the_same(monkeypatch, dataset, optimizer):
    case = ("sigmoid", "sigmoid", "cross-entropy", optimizer)
    alone = trained(ann.get_backend("cpu"), dataset, case)
    monkeypatch.setattr(ann.backends.phases, "LARGE", 0)
    monkeypatch.setattr(ann.backends.phases, "processors", lambda: 3)
    shared = trained(ann.get_backend("cpu"), dataset, case)
    assert_same(shared, alone, rtol=1e-6, atol=1e-7)


def test_an_error_in_a_shared_part_is_raised(monkeypatch):
    monkeypatch.setattr(ann.backends.phases, "LARGE", 0)
    monkeypatch.setattr(ann.backends.phases, "processors", lambda: 3)
    recorder = ann.get_backend("cpu").recorder()
    x, out = np.ones(30), np.zeros(30)
    play = recorder.compile(lambda: recorder.elementwise(lambda xp, x: 1 / x, x, out=out))
    play()
    x[-1] = 0  # in the last part, which is another thread's
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        play()


def test_numbers_are_read_again_and_results_keep_their_arrays():
    recorder = ann.get_backend("cpu").recorder()
    x, out = np.arange(4.0), np.zeros(4)

    def step():
        half = recorder.xp.multiply(x, 0.5)
        recorder.xp.add(half, recorder.xp.sum(half, axis=0, keepdims=True), out=out)

    play = recorder.compile(step)
    np.testing.assert_array_equal(out, x / 2 + 3)
    x *= 2
    play()
    np.testing.assert_array_equal(out, x / 2 + 6)
    assert (
        recorder.xp.float32 is np.float32 and recorder.xp.add is np.add
    )  # outside of a record it is NumPy


def test_temporary_arrays_cannot_be_recorded():
    recorder = ann.get_backend("cpu").recorder()
    with pytest.raises(TypeError, match="sum returns a float64: only functions that return arrays"):
        recorder.compile(lambda: recorder.xp.sum(np.ones(3)))
    assert recorder.xp.add is np.add  # and nothing is recorded any more


@pytest.mark.slow
def test_a_recorder_sees_every_call_of_a_step(monkeypatch, dataset):
    """Outside formulas, a + b or a[...] = b would compute without being recorded."""
    backend = make_backend("strict")
    array_type = type(backend.from_host(np.zeros(1)))
    formulas, elementwise = [], type(backend).elementwise

    def guarded(operator):
        def guard(self, *arguments):
            assert formulas, "an operator in a recorded step"
            return operator(self, *arguments)

        return guard

    def in_formula(self, function, *arrays, **options):
        formulas.append(function)
        elementwise(self, function, *arrays, **options)
        formulas.pop()

    def compile(function):
        function()  # buffers are made, and filled with ones

        def play():
            with monkeypatch.context() as context:
                # A formula, which is traced, may have operators
                context.setattr(type(backend), "elementwise", lambda *arguments, **options: None)
                for name in (
                    "add",
                    "sub",
                    "mul",
                    "truediv",
                    "pow",
                    "matmul",
                    "neg",
                    "abs",
                    "gt",
                    "lt",
                    "eq",
                ):
                    for full in (f"__{prefix}{name}__" for prefix in ("", "r", "i")):
                        if hasattr(array_type, full):
                            context.setattr(array_type, full, guarded(getattr(array_type, full)))
                function()

        return play

    monkeypatch.setattr(type(backend), "elementwise", in_formula)
    monkeypatch.setattr(type(backend), "compile", lambda self, function: compile(function))
    for case in CASES:
        trained(backend, dataset, *case.values)
    with pytest.raises(AssertionError, match="operator"):
        backend.compile(lambda: backend.xp.ones(1) + 1.0)()


def test_an_epoch_allocates_nothing_large_after_its_first_step(tmp_path):
    """With the default network, so that nobody accidentally makes it slow."""
    images = np.random.default_rng(0).integers(0, 256, (2000, 784), dtype=np.uint8)
    labels = np.arange(2000, dtype=np.uint8) % 10
    for optimizer in ("sgd", "adamw"):
        recipe = ann.Recipe(optimizer=optimizer, batch_size=200)
        net = ann.NeuralNetwork(recipe.layer_list(784, 10))
        trainer = Trainer(net, ImageSet(net, images, labels), recipe)
        order, rates = np.arange(2000), [1e-3] * 10
        list(trainer.epoch(order, 1, rates))
        largest = []

        with net.backend.ignore_overflow():
            for _ in trainer.epoch(order, 2, rates):
                if not tracemalloc.is_tracing():
                    tracemalloc.start()
                    tracemalloc.reset_peak()
                largest.append(tracemalloc.get_traced_memory()[1])
            trainer.loss.sum(order)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Everything that is alive at a time is together below this, so each array is, too. The
        # evaluation of the loss at the end holds six arrays of 64 kB.
        assert max(largest) < 64 * 1024, optimizer
        assert peak < 7 * 64 * 1024, optimizer


def test_without_graphs_training_works_and_warns(monkeypatch, dataset):
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", None)
    backend = GpuBackend(pretend_cupy(), "pretended")
    with pytest.warns(
        RuntimeWarning,
        match=r'without CUDA graphs.*nvmath-python is not installed; pip install -e "\.\[gpu\]"',
    ):
        found = trained(backend, dataset)
    assert_same(found, trained(Plain(), dataset))


def test_without_a_captured_graph_training_works_and_warns(pretended, dataset):
    backend, _ = pretended(capturable=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = trained(backend, dataset)
    assert len(caught) == 1 and "cudaErrorStreamCaptureUnsupported; a newer NVIDIA driver" in str(
        caught[0].message
    )
    assert_same(found, trained(Plain(), dataset))


def reads_values(xp, z):
    if xp is not np and xp.capture.calls is not None:
        raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
    return xp.tanh(z) + 0.0 * float(xp.sum(z))


def test_an_activation_that_cannot_be_captured_is_named_once(pretended, dataset, monkeypatch):
    backend, _ = pretended()
    monkeypatch.setitem(ACTIVATIONS, "reading", None)  # so that it is gone after the test
    del ACTIVATIONS["reading"]
    ann.register_activation("reading", reads_values, lambda xp, z: 1.0 - xp.tanh(z) ** 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = trained(
            backend, dataset, ("reading", "sigmoid", "cross-entropy", "adamw")
        )  # two sizes of batches
    assert_same(found, trained(Plain(), dataset, ("reading", "sigmoid", "cross-entropy", "adamw")))
    (warning,) = caught
    assert "the formula reads_values cannot be captured (the current stream" in str(warning.message)
    assert "xp.where" in str(warning.message) and "pip" not in str(warning.message)


@pytest.mark.parametrize(
    ("precision", "dtype", "kind"),
    [
        ("float32", "float32", "COMPUTE_32F"),
        ("tf32", "float32", "COMPUTE_32F_FAST_TF32"),
        ("tf32", "float64", "COMPUTE_64F"),
    ],
)
def test_products_have_the_precision_asked_for(pretended, dataset, precision, dtype, kind):
    backend, cublas = pretended(precision)
    trained(backend, dataset, dtype=dtype)
    # three layers, the first without a gradient of its inputs; each batch size runs eagerly once
    # and is captured once
    assert cublas.products == {kind: 11 * 2 * 2}


@pytest.mark.parametrize(
    "fields", [{"shift": 1.0, "rotation": 9.0, "elastic": 0.5}, {"batch_norm": True}], ids=str
)
def test_every_kind_of_training_chooses_a_device_and_runs_as_a_graph(
    monkeypatch, dataset, pretended, fields
):
    backend, _ = pretended()
    found = {"auto": backend, "cpu": ann.get_backend("cpu")}
    monkeypatch.setattr("ann.training.fastest_device.get_backend", lambda name, *rest: found[name])
    recipe = ann.Recipe(hidden=(12,), batch_size=45, epochs=3, **fields)
    assert choose_backend(dataset, recipe) in found.values()
    too_many = dataclasses.replace(recipe, validation=len(dataset.train_images) + 1)
    assert choose_backend(dataset, too_many) in found.values()  # ``fit`` reports it
    results = []
    for where in (backend, Plain()):
        net = network_of(where, 64, 12, 10)
        reports = ann.fit(net, dataset, recipe)
        results.append(([report.loss for report in reports], where.to_host(net.parameters).copy()))
    assert_same(*results)


@pytest.mark.parametrize("gpu_is_slow", [False, True])
def test_the_faster_device_is_chosen_without_side_effects(
    monkeypatch, dataset, pretended, gpu_is_slow
):
    backend, _ = pretended()
    synchronize = backend.synchronize
    seconds = iter(range(10_000))
    now = {"cpu": 0.0}

    def clock():
        now["cpu"] += next(seconds) * 0.0 + (0.002 if gpu_is_slow else 0.001)
        return now["cpu"]

    cpu = ann.get_backend("cpu")
    monkeypatch.setattr(
        "ann.training.fastest_device.get_backend",
        lambda name, *rest: {"auto": backend, "cpu": cpu}[name],
    )

    def wait():
        synchronize()
        now["cpu"] += 1.0 if gpu_is_slow else 0.0

    monkeypatch.setattr(backend, "synchronize", wait)
    monkeypatch.setattr(cpu, "synchronize", lambda: now.update(cpu=now["cpu"] + 0.01))
    monkeypatch.setattr("ann.training.fastest_device.time.perf_counter", clock)
    recipe = ann.Recipe(hidden=(12,), batch_size=20, epochs=2)
    chosen = choose_backend(dataset, recipe)
    assert chosen is (cpu if gpu_is_slow else backend)
    factor, rest = chosen.description.split("x faster on this network; ")
    assert float(factor) > 1 and rest in ("NumPy", "pretended")
    results = []
    for net in (
        network_of(chosen, 64, 12, 10),
        network_of(type(chosen)(chosen.xp, "again"), 64, 12, 10),
    ):
        ann.fit(net, dataset, recipe)
        results.append(chosen.to_host(net.parameters))
    np.testing.assert_array_equal(*results)


def test_the_start_of_an_epoch_does_not_count_as_time_of_steps(monkeypatch, dataset, pretended):
    """On a GPU that starts each epoch slowly and then is fast."""
    backend, cpu, now = pretended()[0], ann.get_backend("cpu"), [0.0]
    costs = {"gpu": (1.0, 0.001), "cpu": (0.0, 0.01)}  # seconds, once and for each step

    class Timed(Trainer):
        def __init__(self, network, *arguments):
            super().__init__(network, *arguments)
            self.device = network.backend.name

        def epoch(self, *arguments):
            once, each = costs[self.device]
            now[0] += once
            for count in super().epoch(*arguments):
                now[0] += each
                yield count

    monkeypatch.setattr("ann.training.fastest_device.Trainer", Timed)
    monkeypatch.setattr("ann.training.fastest_device.time.perf_counter", lambda: now[0])
    monkeypatch.setattr(
        "ann.training.fastest_device.get_backend",
        lambda name, *rest: {"auto": backend, "cpu": cpu}[name],
    )
    for size, faster in (
        (1, backend),
        (2, cpu),
    ):  # 170 and 85 steps: 1.17 against 1.7 s, 1.085 against 0.85
        chosen = choose_backend(dataset, ann.Recipe(hidden=(12,), batch_size=size))
        assert chosen is faster
        assert chosen.description.startswith({1: "1.5x", 2: "1.3x"}[size])


@pytest.mark.parametrize("size", [170, 100])
def test_the_choice_of_a_device_for_epochs_of_one_or_two_steps(
    monkeypatch, dataset, pretended, size
):
    found = {"auto": pretended()[0], "cpu": ann.get_backend("cpu")}
    monkeypatch.setattr("ann.training.fastest_device.get_backend", lambda name, *rest: found[name])
    assert choose_backend(dataset, ann.Recipe(hidden=(12,), batch_size=size)) in found.values()


def test_without_a_gpu_no_device_is_tried(monkeypatch, dataset):
    monkeypatch.setattr("ann.training.fastest_device.seconds_an_epoch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert (
        choose_backend(dataset, ann.Recipe()).description == "NumPy, because CuPy is not installed"
    )


def test_precisions_are_checked():
    with pytest.raises(ValueError, match="precision: unknown 'bf16'; known: float32, tf32"):
        ann.get_backend("cpu", "bf16")
    with pytest.raises(ann.DeviceError, match="precision tf32 needs a GPU; use float32 on the CPU"):
        ann.get_backend("cpu", "tf32")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_second_training_starts_with_a_new_optimizer(dataset, optimizer):
    recipe = ann.Recipe(
        hidden=(12,),
        optimizer=optimizer,
        learning_rate=0.01,
        weight_decay=0,
        batch_size=45,
        epochs=2,
    )
    net = network_of(ann.get_backend("cpu"), 64, 12, 10)
    ann.fit(net, dataset, dataclasses.replace(recipe, batch_size=32))
    again = ann.NeuralNetwork(net.layer_list, parameters=net.parameters.copy())
    for one in (net, again):
        ann.fit(one, dataset, recipe)
    np.testing.assert_array_equal(net.parameters, again.parameters)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_looking_at_gradients_in_a_callback_changes_nothing(dataset, optimizer):
    recipe = ann.Recipe(
        hidden=(12,), optimizer=optimizer, learning_rate=0.01, batch_size=45, epochs=3
    )
    results = []
    for look in (False, True):
        net = network_of(ann.get_backend("cpu"), 64, 12, 10)
        x, t = np.ones((2, 64), np.float32), np.eye(10, dtype=np.float32)[:2]
        look_at = [lambda report, net=net.network, x=x, t=t: net.compute_gradients(x, t)]
        ann.fit(net, dataset, recipe, look_at if look else [])
        results.append(net.parameters.copy())
    np.testing.assert_array_equal(*results)


def test_three_outputs_shared_among_processors(monkeypatch, dataset):
    """As many as Adam has."""
    monkeypatch.setattr(ann.backends.phases, "LARGE", 0)
    monkeypatch.setattr(ann.backends.phases, "processors", lambda: 2)
    net = network_of(ann.get_backend("cpu"), 64, 3, 10)
    ann.fit(net, dataset, ann.Recipe(hidden=(3,), batch_size=45, epochs=1))
    assert np.isfinite(net.parameters).all()


def test_a_gpu_without_graphs_lets_go_of_optimizers(monkeypatch, dataset):
    """The fused kernels are kept for the next training; they must not keep the vectors of the
    last one alive.
    """
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", None)
    backend = GpuBackend(pretend_cupy(), "pretended")
    before = live_optimizers()
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="without CUDA graphs"):
            trained(backend, dataset)
    assert live_optimizers() == before


@pytest.mark.parametrize(
    "fields",
    [{}, REGULARIZED, {"batch_norm": True}, {"adversarial": 0.1}, {"rotation": 5.0}],
    ids=str,
)
@pytest.mark.parametrize("where", ["as written", "recorded", "graphs", "no graphs"])
def test_a_training_frees_its_memory_when_it_returns(dataset, pretended, where, fields):
    """At once, not only when Python's garbage collector runs."""
    if where in ("as written", "recorded"):
        backend = Plain() if where == "as written" else ann.get_backend("cpu")
    else:
        backend, _ = pretended(capturable=where == "graphs")
    recipe = ann.Recipe(hidden=(12,), batch_size=64, epochs=2, **fields)
    net = network_of(backend, 64, 12, 10)
    gc.collect()
    gc.freeze()  # what is there already is not counted, which would take long
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about missing graphs
            ann.fit(net, dataset, recipe)
        assert live_trainings() == 0
    finally:
        gc.enable()


def live_trainings():
    """How many objects of trainings are alive; a GPU's recorder holds most of the memory."""
    # not isinstance, which reads attributes of other libraries' objects, and some of those warn
    kinds = Trainer, Optimizer, GpuRecorder, CpuRecorder, Symbol
    return sum(issubclass(type(thing), kinds) for thing in gc.get_objects())


def live_optimizers():
    gc.collect()
    return sum(issubclass(type(thing), Optimizer) for thing in gc.get_objects())


def left_out(net, size=64):
    """Which inputs have no weights."""
    return (net.weights_and_biases()[0][0].reshape(size, -1) == 0).all(axis=1)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@slow_on_strict
def test_training_without_black_pixels_is_exact(dataset, backend, optimizer, decay):
    """Compared with a network that is trained with all pixels, because its first weights were
    changed.
    """
    recipe = ann.Recipe(
        hidden=(12,),
        optimizer=optimizer,
        weight_decay=decay,
        learning_rate=0.01,
        batch_size=45,
        epochs=3,
    )
    net, other = (network_of(backend, 64, 12, 10, dtype="float64") for _ in range(2))
    reports = ann.fit(net, dataset, recipe)
    black = ~dataset.train_images.reshape(-1, 64).any(axis=0)
    if optimizer == "muon":  # whose steps depend on the shape of the weights
        assert not left_out(net).any()
        return
    assert (black >= left_out(net)).all() and left_out(net).sum() > black.sum() - 8
    first = other.network.layers[0].weight
    first[...] = backend.from_host(np.where(left_out(net)[:, None], 0, backend.to_host(first)))
    expected = ann.fit(other, dataset, recipe)
    found = [([report.loss for report in run], backend.to_host(one.parameters).copy())
             for run, one in ((reports, net), (expected, other))]  # fmt: skip
    assert_same(*found, rtol=1e-9, atol=1e-12)


def test_lit_pixels(rng):
    net, recipe = network_of(ann.get_backend("cpu"), 64, 3), ann.Recipe()
    for count in (0, 1, 7, 8, 9, 30, 64):
        pixels = rng.integers(1, 256, (5, 64), dtype=np.uint8)
        black = set(rng.permutation(64)[:count].tolist())
        pixels[:, list(black)] = 0
        kept = lit_pixels(net, pixels, recipe)
        if kept is None:
            assert count < 8
            continue
        assert {*range(64)} - black <= {*kept.tolist()} and (np.diff(kept) > 0).all()
        assert len(kept) % 8 == 0 and len(kept) <= max(8, 64 - count + 7)
    for fields in ({"rotation": 5.0}, {"adversarial": 0.1}):
        assert lit_pixels(net, pixels, ann.Recipe(**fields)) is None
    net.train_batch(np.full((5, 64), 255, np.uint8), np.zeros(5, np.int64), 1.0)
    assert lit_pixels(net, pixels, recipe) is None


@pytest.mark.parametrize("committee", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trained_weights_of_black_pixels_are_kept(dataset, backend, dtype, committee):
    """Here the training was stopped, so the network has no recipe."""
    recipe = ann.Recipe(hidden=(12,), weight_decay=0.0, batch_size=45, epochs=1)
    bright = dataclasses.replace(dataset, train_images=255 - dataset.train_images)
    net = network_of(backend, 64, 12, 10, dtype=dtype, committee=committee)
    ann.fit(net, bright, recipe, on_batch=lambda size: True)
    black = ~dataset.train_images.reshape(-1, 64).any(axis=0)
    assert black.any() and net.recipe is None
    before = net.weights_and_biases()[0][0][..., black, :].copy()
    ann.fit(net, dataset, recipe)
    np.testing.assert_array_equal(net.weights_and_biases()[0][0][..., black, :], before)


def test_a_stopped_epoch_keeps_its_steps(backend, dataset):
    """The network has the parameters in the usual order, as at the end of an epoch."""

    class StopError(Exception):
        pass

    def stop(size):
        raise StopError

    net = network_of(backend, 64, 12, 10)
    start = backend.to_host(net.parameters).copy()
    with pytest.raises(StopError):
        ann.fit(
            net, dataset, ann.Recipe(hidden=(12,), batch_size=45, weight_decay=0.0), on_batch=stop
        )
    moved = backend.to_host(net.parameters) != start
    assert moved[: 48 * 12].any() and np.isfinite(backend.to_host(net.parameters)).all()
    assert left_out(net).any()


@pytest.mark.parametrize("trained_before", [False, True])
def test_training_continues_from_parameters_that_a_callback_changed(
    backend, dataset, trained_before
):
    recipe = ann.Recipe(hidden=(12,), batch_size=45, epochs=3)
    found = []
    for halves in (False, True):
        net = network_of(backend, 64, 12, 10, dtype="float64")
        net.recipe = {} if trained_before else None

        def halve(report, net=net):
            net.parameters[...] = backend.from_host(backend.to_host(net.parameters) / 2)

        ann.fit(net, dataset, recipe, [halve] if halves else [])
        found.append(np.abs(backend.to_host(net.parameters)).max())
    assert found[1] < 0.9 * found[0]
