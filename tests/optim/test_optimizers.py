import numpy as np
import pytest

import ann
from ann.optim.muon import Orthogonalization
from ann.optim.registry import OPTIMIZERS, get_optimizer

WEIGHTS, SHAPES, SIZE = [slice(0, 6), slice(8, 11)], [(2, 3), (3, 1)], 13  # the others are biases
DECAYING = np.isin(np.arange(SIZE), [*range(6), *range(8, 11)])
RATES = (0.1, 0.05, 0.2, 0.1)


def run(backend, name, rng, momentum=0.9, weight_decay=0.0, **options):
    """Parameters after four steps along given gradients."""
    parameters = backend.from_host(rng.standard_normal(SIZE).astype(np.float64))
    gradients = backend.xp.zeros_like(parameters)
    optimizer = get_optimizer(
        name, backend, parameters, gradients, WEIGHTS, SHAPES, momentum=momentum, weight_decay=weight_decay, **options
    )
    for step, rate in enumerate(RATES, start=1):
        kept = optimizer.memory * backend.to_host(gradients)  # as the backward pass does it
        gradients[...] = backend.from_host(kept + rng.standard_normal(SIZE))
        optimizer.update(backend.from_host(np.array(optimizer.numbers(step, rate))))
    return backend.to_host(parameters)


def orthogonal(matrix):
    """Muon's polynomial, applied five times to the singular values themselves."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / (np.sqrt((values**2).sum()) + 1e-7)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left * values @ right


def muon_formula(rng, momentum, weight_decay):
    """For the weights; the biases are AdamW's."""
    p, v = rng.standard_normal(SIZE), np.zeros(SIZE)
    for rate in RATES:
        g = rng.standard_normal(SIZE)
        v = momentum * v + g
        for place, shape in zip(WEIGHTS, SHAPES, strict=True):
            step = orthogonal((g + momentum * v)[place].reshape(shape)).ravel()
            p[place] = (1 - rate * weight_decay) * p[place] - rate * 0.2 * np.sqrt(max(shape)) * step
    return p


def formula(name, rng, momentum=0.9, weight_decay=0.0):
    """The same from the papers' formulas, out of place."""
    if name == "muon":
        weights = muon_formula(rng, momentum, weight_decay)
        biases = formula("adamw", np.random.default_rng(1), momentum, 0.0)
        return np.where(DECAYING, weights, biases)
    p, v, s = rng.standard_normal(SIZE), np.zeros(SIZE), np.zeros(SIZE)
    decay = np.where(DECAYING, weight_decay, 0.0)
    for k, rate in enumerate(RATES, start=1):
        g = rng.standard_normal(SIZE)
        if name == "adamw":
            p = p - rate * decay * p
        else:
            g = g + decay * p
        if name in ("sgd", "nesterov"):
            v = momentum * v + g
            p = p - rate * (g + momentum * v if name == "nesterov" else v)
        elif name == "rmsprop":
            s = 0.99 * s + (1 - 0.99) * g**2
            v = momentum * v + g / (np.sqrt(s) + 1e-8)
            p = p - rate * v
        else:
            v = momentum * v + (1 - momentum) * g
            s = 0.99 * s + (1 - 0.99) * g**2
            p = p - rate * (v / (1 - momentum**k)) / (np.sqrt(s / (1 - 0.99**k)) + 1e-8)
    return p


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_the_formula(backend, name, momentum, weight_decay):
    found = run(backend, name, np.random.default_rng(1), momentum, weight_decay)
    expected = formula(name, np.random.default_rng(1), momentum, weight_decay)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_whose_gradients_are_changed_has_its_memory_in_them(backend, name):
    arguments = {"momentum": 0.9, "weight_decay": 0.01}
    expected = formula(name, np.random.default_rng(1), **arguments)
    found = run(backend, name, np.random.default_rng(1), **arguments, own_velocity=True)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    vectors = backend.from_host(np.zeros(SIZE)), backend.from_host(np.zeros(SIZE))
    assert get_optimizer(name, backend, *vectors, WEIGHTS, SHAPES, **arguments, own_velocity=True).memory == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_leaves_biases_alone(backend, name):
    plain, decayed = (run(backend, name, np.random.default_rng(1), weight_decay=decay) for decay in (0.0, 0.1))
    np.testing.assert_array_equal(plain != decayed, DECAYING)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="unknown optimizer 'sdg'; known: sgd, nesterov, adam, adamw, rmsprop, muon"):
        get_optimizer("sdg", ann.get_backend("cpu"), np.zeros(1), np.zeros(1), [], [], momentum=0, weight_decay=0)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (5, 1), (1, 5), (16, 16)])
def test_orthogonalization(backend, shape, rng):
    """Directions that matter little become about as long as those that matter much, and none turns."""
    left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = np.linspace(0.05, 1.0, min(shape))
    matrix = backend.from_host((left * values @ right).astype(np.float32))
    Orthogonalization(backend, matrix).apply()
    found = backend.to_host(matrix)
    np.testing.assert_allclose(found, orthogonal(left * values @ right), rtol=0, atol=1e-5)
    lengths = np.diag(left.T @ found @ right.T)
    assert lengths.min() > 0.5 and lengths.max() < 1.3
    zero = backend.xp.zeros_like(matrix)
    Orthogonalization(backend, zero).apply()
    np.testing.assert_array_equal(backend.to_host(zero), 0)
