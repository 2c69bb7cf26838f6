"""A step on a GPU is a few kernels. Each does much of the step, and their order may change."""

import numpy as np
import pytest

from support.backends import BACKENDS, Plain, make_backend


def scaled(xp, x, y):
    return 0.5 * x - y


def both(xp, x, y):
    return xp.maximum(x, y), 0.5 * (x + y)


def softmax(xp, x):
    powers = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


def running(xp, x):
    """An operation that our kernels cannot do."""
    return xp.cumsum(0.3 * x, axis=-1)


class Views:
    """Arrays (4, 6), some of which share memory, and smaller arrays."""

    def __init__(self, backend, seed):
        xp, rng = backend.xp, np.random.default_rng(seed)
        vector = backend.from_host(rng.standard_normal(60).astype(np.float32))
        columns = backend.from_host(rng.standard_normal((6, 4)).astype(np.float32))
        parts = [
            xp.reshape(vector[start : start + 24], (4, 6), copy=False) for start in (0, 12, 24)
        ]
        self.full = [*parts, columns.mT]
        row = xp.reshape(vector[48:54], (1, 6), copy=False)
        column = xp.reshape(vector[54:58], (4, 1), copy=False)
        self.small = [row, column, vector[59, ...]]
        self.bytes = backend.from_host(np.zeros((4, 6), np.uint8))
        self.table = backend.from_host(rng.integers(0, 255, (9, 6), dtype=np.uint8))
        self.indices = backend.from_host(rng.integers(0, 9, 4))
        self.square = backend.from_host(np.zeros((4, 4), np.float32))


def program(seed):
    """Random operations: (name, numbers of the arrays that it reads, and of those that it
    writes).
    """
    views, rng = Views(Plain(), seed), np.random.default_rng(seed)
    lines = []
    while len(lines) < 12:
        name = str(rng.choice(["add", "scaled", "both", "softmax", "running", "take", "product"]))
        reads = [int(number) for number in rng.integers(4, size=2)]
        writes = [int(number) for number in rng.permutation(4)[: 1 + (name == "both")]]
        outs = [views.full[number] for number in writes]
        # As the contract of ``elementwise`` has it, an out may be an argument, but not a part of it
        read = [views.full[one] for one in reads if one not in writes or name == "product"]
        pairs = [(one, out) for one in read for out in outs]
        if not any(np.shares_memory(*pair) for pair in [*pairs, outs if len(outs) > 1 else (0, 1)]):
            lines.append((name, reads, writes, int(rng.integers(3))))
    return lines


def run(backend, views, lines):
    for name, reads, writes, small in lines:
        x, y = (views.full[number] for number in reads)
        out, *others = (views.full[number] for number in writes)
        if name == "add":
            backend.xp.add(x, views.small[small], out=out)
        elif name == "scaled":
            backend.elementwise(scaled, x, y, out=out)
        elif name == "both":
            backend.elementwise(both, x, y, out=(out, *others))
        elif name == "softmax":
            backend.elementwise(softmax, x, out=out)
        elif name == "running":
            backend.elementwise(running, x, out=out)
        elif name == "take":
            backend.xp.take(views.table, views.indices, axis=0, out=views.bytes)
            backend.copyto(views.bytes, out=out)
            backend.xp.multiply(out, 1 / 255, out=out)
        else:
            backend.matmul(x, y.mT, out=views.square, alpha=0.1)
            backend.elementwise(scaled, views.square, views.small[1], out=views.square)
            backend.xp.add(out, views.square[:, :1], out=out)


@pytest.mark.parametrize(
    ("name", "seeds"), [("pretended", 60), *([("cupy", 4)] if "cupy" in BACKENDS else [])]
)
def test_random_steps_compute_what_is_written(pretended, name, seeds):
    for seed in range(seeds):
        backend = pretended()[0] if name == "pretended" else make_backend(name)
        lines, recorder = program(seed), backend.recorder()
        found, expected = Views(backend, seed), Views(Plain(), seed)
        play = recorder.compile(lambda: run(recorder, found, lines))  # noqa: B023
        for _ in range(3):
            run(Plain(), expected, lines)
            for one, other in zip(found.full, expected.full, strict=True):
                message = f"seed {seed}: {lines}"
                np.testing.assert_allclose(
                    backend.to_host(one), other, rtol=1e-4, atol=1e-4, err_msg=message
                )
            play()


def test_a_kernel_that_cannot_be_compiled_is_reported(pretended, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("no compiler\nmore lines")

    backend = pretended()[0]
    recorder = backend.recorder()
    x, y, out = (backend.from_host(np.full((4, 6), number)) for number in (1.0, 2.0, 3.0))
    monkeypatch.setattr(backend.xp, "ElementwiseKernel", refuse)
    with pytest.warns(RuntimeWarning, match="kernel for scaled cannot be compiled.*: no compiler$"):
        recorder.compile(lambda: recorder.elementwise(scaled, x, y, out=out))
    np.testing.assert_array_equal(backend.to_host(out), np.full((4, 6), -1.5))


def times(factor):
    return lambda xp, x: x * factor


@pytest.mark.parametrize("recorded", [False, True])
def test_formulas_that_differ_in_the_type_of_a_number_are_different(pretended, recorded):
    """One line makes both, but an integer wraps around in bytes, where a float does not."""
    backend = pretended()[0]
    pixels = backend.from_host(np.full(3, 200, np.uint8))
    for factor, expected in ((2, 144.0), (2.0, 400.0)):
        out = backend.from_host(np.zeros(3, np.float32))
        where = backend.recorder() if recorded else backend
        where.compile(lambda: where.elementwise(times(factor), pixels, out=out))  # noqa: B023
        np.testing.assert_array_equal(backend.to_host(out), np.full(3, expected))
