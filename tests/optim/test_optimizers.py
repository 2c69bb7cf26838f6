import numpy as np
import pytest

import ann
from ann.optim.muon import Orthogonalization
from ann.optim.optimizer import Optimizer
from ann.optim.registry import OPTIMIZERS, get_optimizer
from ann.optim.scalars import Scalars

SHAPES, WEIGHTS, SIZE = (
    [(2, 3), (3, 1)],
    [slice(0, 6), slice(6, 9)],
    13,
)  # the last four do not decay
DECAYING = np.arange(SIZE) < 9
RATES = (0.1, 0.05, 0.2, 0.1)


def run(backend, name, rng, momentum=0.9, weight_decay=0.0, **options):
    """The parameters after four steps with given gradients."""
    parameters = backend.from_host(rng.standard_normal(SIZE))
    gradients, scalars = backend.xp.zeros_like(parameters), Scalars(backend, parameters.dtype)
    options |= {"momentum": momentum, "weight_decay": weight_decay}
    optimizer = get_optimizer(name, backend, parameters, gradients, SHAPES, scalars, **options)
    rates = scalars.table(0, RATES)
    for step in range(len(RATES)):
        old = optimizer.accumulate * backend.to_host(gradients)  # as the backward pass does it
        gradients[...] = backend.from_host(old + rng.standard_normal(SIZE))
        scalars.vector[...] = rates[step, :]
        optimizer.update()
    return backend.to_host(parameters)


def orthogonal(matrix):
    """Muon's polynomial, applied five times to the singular values."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / (np.sqrt((values**2).sum()) + 1e-7)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left * values @ right


def muon_formula(rng, momentum, weight_decay):
    """For the weights; the formula for the biases is AdamW's."""
    p, v = rng.standard_normal(SIZE), np.zeros(SIZE)
    for rate in RATES:
        g = rng.standard_normal(SIZE)
        v = momentum * v + g
        for place, shape in zip(WEIGHTS, SHAPES, strict=True):
            step = orthogonal((g + momentum * v)[place].reshape(shape)).ravel()
            p[place] = (1 - rate * weight_decay) * p[place] - rate * 0.2 * np.sqrt(
                max(shape)
            ) * step
    return p


def formula(name, rng, momentum=0.9, weight_decay=0.0):
    """The same from the papers' formulas, with new arrays."""
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
def test_steps_are_the_formula_without_accumulation_too(backend, name):
    """If something changes the gradients before the update, the backward pass must not add to
    old ones.
    """
    hyperparameters = {"momentum": 0.9, "weight_decay": 0.01}
    expected = formula(name, np.random.default_rng(1), **hyperparameters)
    found = run(backend, name, np.random.default_rng(1), **hyperparameters, accumulate=False)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_the_backward_pass_may_accumulate_the_velocity_of_sgd_alone(backend):
    vectors = backend.from_host(np.zeros(SIZE)), backend.from_host(np.zeros(SIZE))
    for name in OPTIMIZERS:
        scalars = Scalars(backend, vectors[0].dtype)
        optimizer = get_optimizer(
            name, backend, *vectors, SHAPES, scalars, momentum=0.9, weight_decay=0
        )
        assert optimizer.accumulate == (0.9 if name == "sgd" else 0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_of_a_committee_are_updated_as_if_alone(backend, name, rng):
    p, g = rng.standard_normal((2, 4, SIZE))  # more members than a matrix has rows
    results = []
    for members in (slice(None), 0, 1, 2, 3):
        parameters, gradients = (
            backend.from_host(p[members].copy()),
            backend.from_host(g[members].copy()),
        )
        scalars = Scalars(backend, parameters.dtype)
        vectors = parameters, gradients
        optimizer = get_optimizer(
            name, backend, *vectors, SHAPES, scalars, momentum=0.9, weight_decay=0.1
        )
        scalars.vector[...] = scalars.table(0, [0.1])[0, :]
        optimizer.update()
        results.append(backend.to_host(parameters))
    np.testing.assert_allclose(results[0], np.stack(results[1:]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_is_all_that_an_optimizer_remembers(backend, name, rng):
    """A second optimizer with the state of the first takes the same next step."""
    p, g = rng.standard_normal((2, SIZE))
    results = []
    for steps in (2, 1):
        parameters, gradients = backend.from_host(p.copy()), backend.from_host(g.copy())
        scalars = Scalars(backend, parameters.dtype)
        vectors = parameters, gradients
        optimizer = get_optimizer(
            name, backend, *vectors, SHAPES, scalars, momentum=0.9, weight_decay=0.1
        )
        if results:
            parameters[...], state = results.pop()
            for key, vector in state.items():
                optimizer.state[key][...] = vector
        rates = scalars.table(2 - steps, [0.1] * steps)
        for step in range(steps):
            if step == 1:
                saved = [
                    backend.xp.asarray(v, copy=True)
                    for v in (parameters, *optimizer.state.values())
                ]
                results.append((saved[0], dict(zip(optimizer.state, saved[1:], strict=True))))
            old = optimizer.accumulate * backend.to_host(gradients)
            gradients[...] = backend.from_host(old + g * (2 - steps + step + 1))
            scalars.vector[...] = rates[step, :]
            optimizer.update()
        results.insert(0, parameters)
    np.testing.assert_array_equal(*map(backend.to_host, results))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_leaves_biases_alone(backend, name):
    plain, decayed = (
        run(backend, name, np.random.default_rng(1), weight_decay=decay) for decay in (0.0, 0.1)
    )
    np.testing.assert_array_equal(plain != decayed, DECAYING)


def test_unknown_optimizer():
    with pytest.raises(
        ValueError,
        match="unknown optimizer 'sdg'; known: sgd, nesterov, adam, adamw, rmsprop, muon",
    ):
        get_optimizer(
            "sdg",
            ann.get_backend("cpu"),
            np.zeros(1),
            np.zeros(1),
            [],
            None,
            momentum=0,
            weight_decay=0,
        )


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (5, 1), (1, 5), (16, 16)])
def test_orthogonalization(backend, shape, rng):
    """Singular values become about equal, and directions stay the same."""
    left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = np.linspace(0.05, 1.0, min(shape))
    matrix = backend.from_host((left * values @ right).astype(np.float32))
    Orthogonalization(backend, matrix)()
    found = backend.to_host(matrix)
    np.testing.assert_allclose(found, orthogonal(left * values @ right), rtol=0, atol=1e-5)
    lengths = np.diag(left.T @ found @ right.T)
    assert lengths.min() > 0.5 and lengths.max() < 1.3
    zero = backend.xp.zeros_like(matrix)
    Orthogonalization(backend, zero)()
    np.testing.assert_array_equal(backend.to_host(zero), 0)


def test_matrices_of_a_committee_become_orthogonal_as_if_alone(backend, rng):
    matrices = rng.standard_normal((2, 4, 3))
    device = backend.from_host(matrices.copy())
    Orthogonalization(backend, device)()
    expected = np.stack([orthogonal(matrix) for matrix in matrices])
    np.testing.assert_allclose(backend.to_host(device), expected, rtol=1e-9, atol=1e-12)


TUNED = {
    "sgd": (0.5, 1e-4),
    "nesterov": (0.5, 1e-4),
    "adam": (0.015, 1e-4),
    "adamw": (0.028, 0.08),
    "rmsprop": (0.0015, 1e-4),
    "muon": (0.028, 0.08),
}


@pytest.mark.parametrize("name", TUNED)
def test_defaults_do_not_change_by_accident(name):
    """They decide how recipes without rates train, and were found by experiments."""
    assert OPTIMIZERS[name].tuned == TUNED[name]
    assert OPTIMIZERS[name].adaptive == (name not in ("sgd", "nesterov"))
    assert OPTIMIZERS[name].sums_gradients == (name in ("sgd", "nesterov", "rmsprop"))
    assert OPTIMIZERS[name].decoupled_decay == (name in ("adamw", "muon"))


def test_an_optimizer_without_rates_of_its_own_has_cautious_ones():
    """A new optimizer has them until its rates are tuned."""
    assert Optimizer.tuned == (0.003, 1e-4) and Optimizer.adaptive
    assert not (Optimizer.sums_gradients or Optimizer.decoupled_decay or Optimizer.accumulate)
