"""``elementwise`` computes the formula, on every backend."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ann
import ann.backends.phases
import ann.backends.recorder

UNARY = {
    "negative": lambda xp, x: -x,
    "exp": lambda xp, x: xp.exp(-x * x),
    "tanh": lambda xp, x: xp.tanh(x),
    "square": lambda xp, x: x**2,
    "root": lambda xp, x: xp.sqrt(abs(x)) + 0.5,
    "relu": lambda xp, x: xp.clip(x, 0.0, 100.0),
    "step": lambda xp, x: xp.astype(x > 0.25, x.dtype),
    "where": lambda xp, x: xp.where(x > 0.0, x, 0.01 * x),
    "half": lambda xp, x: 0.5 * x,
    "softmax": lambda xp, x: (
        xp.exp(-abs(x)) / (1.0 + xp.sum(xp.exp(-abs(x)), axis=-1, keepdims=True))
    ),
}
BINARY = {
    "add": lambda xp, x, y: x + y,
    "subtract": lambda xp, x, y: x - y,
    "multiply": lambda xp, x, y: x * y,
    "maximum": lambda xp, x, y: xp.maximum(x, y),
    "choose": lambda xp, x, y: xp.where(x > y, x, y - x),
    "scaled": lambda xp, x, y: 0.9 * x + y,
    "scaled both": lambda xp, x, y: 0.9 * x - 0.1 * y,
}
SHAPES = [(3, 4), (3, 4), (3, 4), (1, 4), (3, 1), ()]  # of the arguments; the outs have (3, 4)


@st.composite
def formulas(draw):
    """A program: lines (function, numbers of earlier values), and the values to return."""
    values, lines = len(SHAPES), []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            lines.append(
                (UNARY[draw(st.sampled_from(sorted(UNARY)))], draw(st.integers(0, values - 1)))
            )
        else:
            places = [draw(st.integers(0, values - 1)) for _ in range(2)]
            lines.append((BINARY[draw(st.sampled_from(sorted(BINARY)))], *places))
        values += 1
    returned = draw(st.lists(st.integers(0, values - 1), min_size=1, max_size=3))

    def formula(xp, *arguments):
        found = list(arguments)
        for function, *places in lines:
            found.append(function(xp, *(found[place] for place in places)))
        return tuple(found[place] for place in returned)

    return formula, len(returned)


@given(formulas(), st.permutations(range(6)), st.booleans(), st.booleans(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_replay_is_the_formula(made, places, by_columns, divided, data):
    """With outputs among the arguments, numbers that change, several outputs, and broadcasting."""
    formula, count = made
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arguments = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    if by_columns:
        arguments = [np.asfortranarray(array) for array in arguments]
    outs = tuple(
        arguments[place] if place < 3 else np.full_like(arguments[0], np.nan)
        for place in places[:count]
    )
    written = [id(array) for array in outs]
    recorder = ann.get_backend("cpu").recorder()

    def step():
        recorder.elementwise(formula, *arguments, out=outs)

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        if divided:
            patch.setattr(ann.backends.phases, "LARGE", 0)
            patch.setattr(ann.backends.phases, "processors", lambda: 2)
        run = partial(recorder.compile, step)  # and then the replay
        for _ in range(3):
            before = [array.copy() for array in arguments]
            expected = [np.broadcast_to(one, (3, 4)) for one in formula(np, *before)]
            run = run() or run
            for out, right in zip(outs, expected, strict=True):
                np.testing.assert_allclose(out, right, rtol=2e-5, atol=1e-5)
            for array, other in zip(arguments, before, strict=True):
                assert id(array) in written or (array == other).all()
                array[...] = rng.standard_normal(array.shape)


def moved_towards_each_other(xp, p, q):
    """Each sum alone could be computed in place, but not both: the second one reads p after the
    first.
    """
    a, b = 0.5 * p, 0.5 * q
    return p + b, q + a


PAIRS = {
    "moved": moved_towards_each_other,
    "swapped": lambda xp, p, q: (q, p),
    "moved and kept": lambda xp, p, q: (p - 0.1 * q, p),
    "integers": lambda xp, p, q: (3 * p + q, p - 2 * q),
}


@pytest.mark.parametrize(
    ("formula", "dtype"), [*((name, "float32") for name in PAIRS), ("integers", "int64")]
)
def test_outs_are_written_last(backend, formula, dtype):
    formula = PAIRS[formula]
    recorder = backend.recorder()
    hosts = [np.arange(start, start + 12, dtype=dtype).reshape(3, 4) for start in (1, 20)]
    p, q = arrays = [backend.from_host(host.copy()) for host in hosts]
    run = recorder.compile(lambda: recorder.elementwise(formula, p, q, out=(p, q)))
    for _ in range(3):
        for array, right in zip(arrays, formula(np, *hosts), strict=True):
            np.testing.assert_allclose(backend.to_host(array), right, rtol=1e-6, atol=1e-5)
        hosts = [host + 1 for host in hosts]
        for array, host in zip(arrays, hosts, strict=True):
            array[...] = backend.from_host(host.copy())
        run()


def filled(xp, z):
    y = xp.zeros_like(z)
    y.fill(0.5)
    return y


def assigned(xp, z):
    y = xp.zeros_like(z)
    y.flat = 0.5
    return y


UNUSUAL = {
    "one bound": lambda xp, z: xp.clip(z, 0.0, None) - xp.clip(z, None, -1.0),
    "condition of numbers": lambda xp, z: xp.where(xp.sign(z) + 1.0, z, 0.1 * z),
    "mean": lambda xp, z: (
        xp.sum(z, axis=-1, keepdims=True) / xp.sum(xp.ones_like(z), axis=-1, keepdims=True) + z
    ),
    "conversion": lambda xp, z: xp.asarray(z),
    "filled": filled,
    "assigned": assigned,
    "list": lambda xp, z: z * [1.0, 2.0, 3.0, 4.0],
    "product": lambda xp, z: z @ xp.ones((4, 4), dtype=z.dtype),
    "function of numbers": lambda xp, z: np.frompyfunc(lambda one: max(one, 0.0), 1, 1)(z).astype(
        z.dtype
    ),
}


@pytest.mark.parametrize("formula", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_formulas_of_users(monkeypatch, formula):
    """Formulas that a trace would misunderstand."""
    monkeypatch.setattr(ann.backends.phases, "LARGE", 0)
    monkeypatch.setattr(ann.backends.phases, "processors", lambda: 2)
    z, out = (
        np.linspace(-3.0, 3.0, 16, dtype=np.float32).reshape(4, 4),
        np.empty((4, 4), np.float32),
    )
    recorder = ann.get_backend("cpu").recorder()
    run = recorder.compile(lambda: recorder.elementwise(formula, z, out=out))
    for _ in range(2):
        np.testing.assert_allclose(out, formula(np, z), rtol=1e-6)
        z += 0.25
        run()


@pytest.mark.parametrize("recorded", [False, True])
def test_what_cannot_be_traced_is_the_formula_too(recorded):
    """Conditions, in-place operators, reductions along other axes, shapes, NumPy's own
    functions.
    """

    def formula(xp, x, y):
        if float(x[0, 0]) > 0.0:
            x = 2.0 * x
        z = x + y
        z += 1.0
        return z - xp.mean(z, axis=0) + xp.cumsum(z, axis=1), z.T.T

    backend = ann.get_backend("cpu")
    backend = backend.recorder() if recorded else backend
    x, y = np.arange(-3.0, 9.0).reshape(3, 4), np.full((3, 4), 0.5)
    outs = np.empty((3, 4)), np.empty((3, 4))
    run = backend.compile(lambda: backend.elementwise(formula, x, y, out=outs))
    for start in (-3.0, 2.0):
        x[...] = np.arange(start, start + 12).reshape(3, 4)
        run()
        for out, expected in zip(outs, formula(np, x, y), strict=True):
            np.testing.assert_allclose(out, expected)


def test_errors_of_a_formula_reach_the_caller():
    recorder = ann.get_backend("cpu").recorder()
    out = np.empty(3)
    with pytest.raises(AttributeError, match="no_such"):
        recorder.compile(lambda: recorder.elementwise(lambda xp, x: xp.no_such(x), out, out=out))


def test_types(backend):
    """Comparisons give 0 or 1, integers drop fractions and wrap around."""
    xp = backend.xp
    x = backend.from_host(np.array([-1.5, 0.0, 2.7], np.float32))
    bits = backend.from_host(np.array([1, 2, 2**31], np.uint32))
    floats, integers = xp.zeros(3, dtype=xp.float32), xp.zeros(3, dtype=xp.int64)
    recorder = backend.recorder()

    def step():
        recorder.elementwise(lambda xp, x: x > 0.0, x, out=floats)
        recorder.elementwise(lambda xp, x: 2.0 * x, x, out=integers)
        recorder.elementwise(lambda xp, bits: (bits ^ (bits >> 1)) * 3, bits, out=bits)

    recorder.compile(step)
    assert backend.to_host(floats).tolist() == [0.0, 0.0, 1.0]
    assert backend.to_host(integers).tolist() == [-3, 0, 5]
    assert backend.to_host(bits).tolist() == [3, 9, (2**31 + 2**30) * 3 % 2**32]


def test_numbers_are_not_rounded(backend):
    for value in (0.9, 1e-8, 123456.7, 3):
        x, out = (
            backend.xp.ones(3, dtype=backend.xp.float64),
            backend.xp.zeros(3, dtype=backend.xp.float64),
        )
        backend.elementwise(lambda xp, x, number: x * number + 0.1, x, value, out=out)
        np.testing.assert_allclose(backend.to_host(out), value + 0.1, rtol=1e-15)


def test_several_results_and_numbers_that_change(backend):
    """As in an optimizer: one formula updates the parameters and their velocities."""
    xp = backend.xp
    p, v, g = (backend.from_host(np.full(6, value, np.float32)) for value in (1.0, 0.0, 1.0))
    rates = backend.from_host(np.zeros(2, np.float32))
    recorder = backend.recorder()

    def formula(xp, p, v, g, rate, momentum):
        v = momentum * v + g
        return p - rate * v, v

    def step():
        recorder.elementwise(formula, p, v, g, rates[1, ...], 0.5, out=(p, v))

    rates[1] = 0.1
    run = recorder.compile(step)
    np.testing.assert_allclose(backend.to_host(p), 0.9)
    g[...] = xp.ones_like(g)
    rates[1] = 0.2
    run()
    np.testing.assert_allclose(backend.to_host(v), 1.5)
    np.testing.assert_allclose(backend.to_host(p), 0.6, rtol=1e-6)


def test_it_broadcasts(backend, rng):
    arrays = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((3, 4), (1, 4), (3, 1), (4,), ())
    ]
    device = [backend.from_host(array) for array in arrays]
    out = backend.xp.zeros((3, 4), dtype=backend.xp.float32)
    recorder = backend.recorder()

    def formula(xp, a, b, c, d, e):
        return (a + b) * c - d * e

    recorder.compile(lambda: recorder.elementwise(formula, *device, out=out))
    np.testing.assert_allclose(backend.to_host(out), formula(np, *arrays), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("divided", [False, True])
def test_a_single_number(monkeypatch, divided):
    if divided:
        monkeypatch.setattr(ann.backends.phases, "LARGE", 0)
        monkeypatch.setattr(ann.backends.phases, "processors", lambda: 2)
    recorder = ann.get_backend("cpu").recorder()
    x, square, copy = np.array(3.0), np.zeros(()), np.zeros(())

    def step():
        recorder.elementwise(lambda xp, x: x * x, x, out=square)
        recorder.copyto(square, out=copy)

    play = recorder.compile(step)
    assert copy == 9.0
    x[...] = 4.0
    play()
    assert copy == 16.0
