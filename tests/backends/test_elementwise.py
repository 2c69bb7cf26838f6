"""``elementwise`` computes the formula, however a backend does it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ann

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
    "softmax": lambda xp, x: xp.exp(-abs(x)) / (1.0 + xp.sum(xp.exp(-abs(x)), axis=-1, keepdims=True)),
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
    """A program: lines (function, numbers of earlier values), and the values that are returned."""
    values, lines = len(SHAPES), []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            lines.append((UNARY[draw(st.sampled_from(sorted(UNARY)))], draw(st.integers(0, values - 1))))
        else:
            places = [draw(st.integers(0, values - 1)) for _ in range(2)]
            lines.append((BINARY[draw(st.sampled_from(sorted(BINARY)))], *places))
        values += 1
    returned = draw(st.lists(st.integers(len(SHAPES), values - 1), min_size=1, max_size=3))

    def formula(xp, *arguments):
        found = list(arguments)
        for function, *places in lines:
            found.append(function(xp, *(found[place] for place in places)))
        return tuple(found[place] for place in returned)

    return formula, len(returned)


@given(formulas(), st.lists(st.integers(0, 5), min_size=3, max_size=3), st.booleans(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_replay_is_the_formula(made, places, by_columns, data):
    """Outs among the arguments, numbers that change between replays, several outs, broadcasting."""
    formula, count = made
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arguments = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    if by_columns:
        arguments = [np.asfortranarray(array) for array in arguments]
    shared = len({*places[:count]}) == count
    outs = tuple(
        arguments[place] if shared and place < 3 else np.full_like(arguments[0], np.nan) for place in places[:count]
    )
    recorder = ann.get_backend("cpu").recorder()
    before = [array.copy() for array in arguments]
    with np.errstate(all="ignore"):
        replay = recorder.compile(lambda: recorder.elementwise(formula, *arguments, out=outs))
        for _ in range(3):
            expected = [np.broadcast_to(one, (3, 4)) for one in formula(np, *before)]
            for out, right in zip(outs, expected, strict=True):
                np.testing.assert_allclose(out, right, rtol=2e-5, atol=1e-5)
            for array, other in zip(arguments, before, strict=True):
                changed = any(array is out for out in outs)
                assert changed or (array == other).all()
                array[...] = rng.standard_normal(array.shape)
            before = [array.copy() for array in arguments]
            replay()
