"""A step that several threads share gives the same results as in one thread."""

import gc
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

import ann
import ann.backends.phases
from ann.backends.phases import Part, Task, schedule
from ann.backends.recorder import CpuRecorder


@pytest.fixture
def shared(monkeypatch):
    """Every step is shared among three threads."""
    monkeypatch.setattr(ann.backends.phases, "LARGE", 0)
    monkeypatch.setattr(ann.backends.phases, "processors", lambda: 3)


def slow(function):
    def call():
        time.sleep(0.01)
        function()

    return call


@pytest.mark.parametrize("known", [True, False])
def test_a_thread_waits_for_what_it_reads(shared, known):
    a, b, total = np.zeros(3), np.zeros(1), np.zeros(1)

    def write(number):
        return slow(lambda: a.__setitem__(number, a[number] + 1.0))

    def part(call, reads, writes):
        return Part([call], reads, writes) if known else Part([call])

    rows = [a[number : number + 1] for number in range(3)]
    tasks = [
        Task(lambda count: [part(write(n), [rows[n]], [rows[n]]) for n in range(count)]),
        Task(lambda count: [part(lambda: total.__iadd__(a.sum()), [a, total], [total])]),
        Task(lambda count: [part(write(n), [rows[n]], [rows[n]]) for n in range(count)]),
        Task(lambda count: [part(lambda: b.__iadd__(a.sum()), [a, b], [b])]),
    ]
    play = schedule(tasks)
    play()
    assert (total.item(), b.item()) == (3.0, 6.0)
    play()
    assert (total.item(), b.item()) == (12.0, 18.0)


def test_threads_do_not_wait_for_each_other_without_need(shared):
    """Otherwise the second call of the first thread would come before the first call of the
    third.
    """
    order = []
    arrays = [np.zeros(1) for _ in range(3)]

    def task(name):
        def divide(count):
            return [Part([lambda n=n: order.append((name, n))], [], [arrays[n]]) for n in range(3)]

        return Task(divide)

    schedule([task("first"), task("second")])()
    for thread in range(3):
        assert [name for name, n in order if n == thread] == ["first", "second"]
    (phases,) = schedule([task("first"), task("second")]).args
    assert [list(map(len, phase)) for phase in phases] == [[2, 2, 2]]


def test_after_an_error_in_a_thread_the_others_continue(shared):
    recorder = CpuRecorder("")
    x, y, z = np.ones((30, 4)), np.zeros((30, 4)), np.zeros((4, 4))

    def step():
        recorder.elementwise(lambda xp, x: 1 / x, x, out=y)
        recorder.matmul(y.T, x, out=z)  # waits for all of y

    play = recorder.compile(step)
    for row in (0, 29):
        x[row] = 0.0
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            play()
        x[row] = 1.0
        z[...] = np.nan
        play()
        np.testing.assert_array_equal(z, np.full((4, 4), 30.0))


def test_shared_steps_in_several_threads_at_once(shared):
    """Each needs three threads at the same time, more than there are."""

    def train(number):
        recorder = CpuRecorder("")
        x, w, y = (np.full((30, 30), float(value)) for value in (1, number, 0))

        def step():
            recorder.matmul(x, w, out=y)
            recorder.elementwise(lambda xp, w, y: 0.5 * w + y / 60, w, y, out=w)

        play = recorder.compile(step)
        for _ in range(100):
            play()
        found[number] = w.copy()

    found = {}
    threads = [threading.Thread(target=train, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, w in found.items():
        np.testing.assert_allclose(w, number)
    assert len(found) == 5


def test_after_ctrl_c_within_a_step_the_next_one_is_whole(shared):
    """After Ctrl-C, no thread writes to the arrays or waits for another thread."""
    a, total, stops = np.zeros(3), np.zeros(1), [True, False]

    def first():
        if stops.pop(0):
            raise KeyboardInterrupt
        a[0] += 1.0

    def add(number):
        return slow(lambda: a.__setitem__(number, a[number] + 1.0))

    def divide(count):
        return [
            Part([call], [a[n : n + 1]], [a[n : n + 1]])
            for n, call in enumerate((first, add(1), add(2)))
        ]

    play = schedule(
        [Task(divide), Task(lambda count: [Part([lambda: total.__iadd__(a.sum())], [a], [total])])]
    )
    with pytest.raises(KeyboardInterrupt):
        while True:
            play()
    assert a.tolist() == [0.0, 1.0, 1.0]
    play()
    assert a.tolist() == [1.0, 2.0, 2.0]
    assert total == 5.0


def test_a_call_may_share_work_itself(shared):
    """For example, a user's activation may apply a network."""
    found = np.zeros(9)

    def one(number):
        return lambda: found.__setitem__(number, 1.0)

    def inner(first):
        return lambda: ann.backends.phases.run_together([one(first + n) for n in range(3)])

    ann.backends.phases.run_together([inner(0), inner(3), inner(6)])
    assert found.all()


def test_threads_do_not_keep_the_arrays_of_a_step(shared):
    class Numbers(np.ndarray):
        """An array that can be weakly referenced."""

    a = np.zeros(3).view(Numbers)
    freed = weakref.ref(a)
    calls = [partial(np.negative, a, a) for _ in range(3)]
    ann.backends.phases.run_together(calls)
    del a, calls
    gc.collect()
    assert freed() is None


def test_processors_share_the_images_of_a_prediction(monkeypatch):
    monkeypatch.setattr("ann.backends.cpu.processors", lambda: 3)
    net = ann.NeuralNetwork(ann.Recipe(hidden=(12,)).layer_list(20, 3))
    images = np.random.default_rng(0).random((3100, 20), dtype=np.float32)
    alone = np.concatenate(
        [net.apply(images[start : start + 100]) for start in range(0, 3100, 100)]
    )
    np.testing.assert_allclose(net.apply(images), alone, rtol=1e-5, atol=1e-6)
