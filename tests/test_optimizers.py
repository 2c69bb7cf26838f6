import numpy as np
import pytest

import ann
from ann.optimizers import OPTIMIZERS, get_optimizer

WEIGHTS, SIZE = [slice(0, 6), slice(8, 11)], 13  # the others are biases
DECAYING = np.isin(np.arange(SIZE), [*range(6), *range(8, 11)])
RATES = (0.1, 0.05, 0.2, 0.1)


def run(backend, name, rng, momentum=0.9, weight_decay=0.0, **options):
    """Parameters after four steps along given gradients."""
    parameters = backend.from_host(rng.standard_normal(SIZE).astype(np.float64))
    gradients = backend.xp.zeros_like(parameters)
    optimizer = get_optimizer(
        name, backend, parameters, gradients, WEIGHTS, momentum=momentum, weight_decay=weight_decay, **options
    )
    for step, rate in enumerate(RATES, start=1):
        kept = optimizer.memory * backend.to_host(gradients)  # as the backward pass does it
        gradients[...] = backend.from_host(kept + rng.standard_normal(SIZE))
        optimizer.update(backend.from_host(np.array(optimizer.numbers(step, rate))))
    return backend.to_host(parameters)


def formula(name, rng, momentum=0.9, weight_decay=0.0):
    """The same from the papers' formulas, out of place."""
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
    assert get_optimizer(name, backend, *vectors, WEIGHTS, **arguments, own_velocity=True).memory == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_leaves_biases_alone(backend, name):
    plain, decayed = (run(backend, name, np.random.default_rng(1), weight_decay=decay) for decay in (0.0, 0.1))
    np.testing.assert_array_equal(plain != decayed, DECAYING)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="unknown optimizer 'sdg'; known: sgd, nesterov, adam, adamw, rmsprop"):
        get_optimizer("sdg", ann.get_backend("cpu"), np.zeros(1), np.zeros(1), [], momentum=0, weight_decay=0)
