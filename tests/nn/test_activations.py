import math

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS, get_activation
from support.backends import Plain, assert_device_array
from support.digits import write_mnist_like
from support.gradients import assert_gradient
from support.networks import network_of, recipe_of

NAMES = tuple(ACTIVATIONS)

FORMULAS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "scaled-tanh": lambda z: 1.7159 * np.tanh(2 * z / 3),
    "relu": lambda z: np.where(z > 0, z, 0),
    "leaky-relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "swish": lambda z: z / (1 + np.exp(-z)),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
    "identity": lambda z: z,
}


def outputs(backend, name, z):
    device = backend.from_host(z)
    out = backend.xp.empty_like(device)
    with backend.ignore_overflow():
        backend.elementwise(get_activation(name).function, device, out=out)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_function_is_the_formula(backend, name, rng):
    z = rng.standard_normal((5, 4)) * 3
    np.testing.assert_allclose(
        backend.to_host(outputs(backend, name, z)), FORMULAS[name](z), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("name", ["sigmoid", "gelu"])
def test_small_outputs_keep_their_digits_in_float32(backend, name):
    z = np.array([[-3, -4, -5, -6, -7, -8]])
    found = backend.to_host(outputs(backend, name, z.astype(np.float32)))
    u = {"sigmoid": z, "gelu": 2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)}[name]
    factor = {"sigmoid": 1, "gelu": z}[name]
    np.testing.assert_allclose(found, factor / (1 + np.exp(-u)), rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_and_out_may_be_the_input(backend, name, rng):
    z = rng.standard_normal((5, 4)).astype(np.float32)
    out = outputs(backend, name, z)
    assert_device_array(backend, out, (5, 4))
    inplace = backend.from_host(z.copy())
    backend.elementwise(get_activation(name).function, inplace, out=inplace)
    np.testing.assert_array_equal(backend.to_host(inplace), backend.to_host(out))


@pytest.mark.parametrize("name", NAMES)
def test_derivative(backend, name, rng):
    activation = get_activation(name)
    z = rng.standard_normal((5, 4)) * 2
    weights = rng.standard_normal((5, 4))  # the function checked is sum(weights * f(z))
    y = outputs(backend, name, z)
    grad, device_z = backend.from_host(weights.copy()), backend.from_host(z)
    saved = y if activation.derivative_of == "output" else device_z
    backend.elementwise(activation.chain_rule, grad, saved, out=grad)
    assert_gradient(
        lambda point: float((weights * backend.to_host(outputs(backend, name, point))).sum()),
        backend.to_host(grad),
        z,
        rng,
    )


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_the_slope_of_each_output_along_its_own_input(backend, name, rng):
    activation = get_activation(name)
    z = rng.standard_normal((5, 4))
    y = outputs(backend, name, z)
    saved = y if activation.derivative_of == "output" else backend.from_host(z)
    found = backend.to_host(activation.derivative(backend.xp, saved))
    for column in range(4):
        step = 1e-6 * (np.arange(4) == column)
        slope = (FORMULAS[name](z + step) - FORMULAS[name](z - step)) / 2e-6
        np.testing.assert_allclose(found[:, column], slope[:, column], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e4, 88.0, 20.0])
def test_large_sums_stay_finite(backend, name, size):
    z = np.array([[-size, size, 0.0, 1.0]], dtype=np.float32)
    activation = get_activation(name)
    y = outputs(backend, name, z)
    grad = backend.from_host(np.ones_like(z))
    saved = y if activation.derivative_of == "output" else backend.from_host(z)
    with backend.ignore_overflow():
        backend.elementwise(activation.chain_rule, grad, saved, out=grad)
    assert np.isfinite(backend.to_host(y)).all()
    assert np.isfinite(backend.to_host(grad)).all()


def test_sigmoid_has_hardly_a_denormal_tail():
    """Denormal numbers are slow. The sigmoid has them only for sums between -88.8 and -87.3, and
    is 0 below.
    """
    z = np.linspace(-120, 0, 1000, dtype=np.float32)[None, :]
    y = outputs(ann.get_backend("cpu"), "sigmoid", z)
    denormal = z[(y > 0) & (y < np.finfo(np.float32).tiny)]
    assert denormal.size and denormal.min() > -88.8 and denormal.max() < -87.3


def test_unknown_name_lists_the_known():
    with pytest.raises(
        ValueError, match=r"unknown activation 'sigmoyd'; known: sigmoid, tanh, scaled-tanh, relu"
    ):
        get_activation("sigmoyd")


def softsign(xp, z):
    return z / (1 + xp.abs(z))


def softsign_derivative(xp, z):
    return 1 / (1 + xp.abs(z)) ** 2


@pytest.fixture
def registry(monkeypatch):
    """Forgets what a test registers."""
    for name in ("softsign", "mine"):
        monkeypatch.setitem(ACTIVATIONS, name, None)
        del ACTIVATIONS[name]


def test_a_custom_activation(registry, backend, rng, tmp_path):
    ann.register_activation("softsign", softsign, softsign_derivative)
    test_derivative(backend, "softsign", rng)
    test_float32_stays_and_out_may_be_the_input(backend, "softsign", rng)
    dataset = ann.load_dataset(write_mnist_like(tmp_path / "data", train=170))
    recipe = recipe_of("softsign", "softmax", "cross-entropy", "nesterov", epochs=3)
    nets = [
        network_of(each, 64, 12, 8, 10, activation="softsign", output="softmax")
        for each in (backend, Plain())
    ]
    for net in nets:
        reports = ann.fit(net, dataset, recipe)
        assert reports[-1].loss < reports[0].loss
    np.testing.assert_allclose(
        backend.to_host(nets[0].parameters), nets[1].parameters, rtol=1e-3, atol=2e-5
    )
    nets[0].save(tmp_path / "model")
    loaded = ann.load_model(tmp_path / "model")
    np.testing.assert_allclose(
        loaded.apply(dataset.test_images), nets[0].apply(dataset.test_images), rtol=1e-5, atol=1e-7
    )
    del ACTIVATIONS["softsign"]
    with pytest.raises(
        ann.ModelFileError, match=r"layer 1: unknown activation 'softsign'.*register_activation"
    ):
        ann.load_model(tmp_path / "model")


def test_registering_again_replaces(registry):
    ann.register_activation("mine", softsign, softsign_derivative)
    ann.register_activation("mine", lambda xp, z: 2 * z, lambda xp, z: xp.full_like(z, 2))
    assert outputs(ann.get_backend("cpu"), "mine", np.ones((1, 1))) == 2


def test_a_network_keeps_its_activation(registry, tmp_path):
    """Also in training, and if another activation gets its name."""
    dataset = ann.load_dataset(write_mnist_like(tmp_path / "data", train=170))
    recipe = recipe_of("tanh", "softmax", "cross-entropy", "sgd", epochs=1)
    ann.register_activation("mine", softsign, softsign_derivative)
    nets = [
        network_of(ann.get_backend("cpu"), 64, 5, 10, activation="mine", output="softmax")
        for _ in range(2)
    ]
    ann.fit(nets[0], dataset, recipe)
    ann.register_activation("mine", lambda xp, z: 2 * z, lambda xp, z: xp.full_like(z, 2))
    ann.fit(nets[1], dataset, recipe)
    np.testing.assert_array_equal(*(net.parameters for net in nets))


@pytest.mark.parametrize(
    ("name", "curve", "derivative", "message"),
    [
        ("relu", softsign, softsign_derivative, "activation 'relu' is built in"),
        ("two words", softsign, softsign_derivative, "expected a word of letters"),
        (7, softsign, softsign_derivative, "expected a word of letters"),
        ("mine", 3, softsign_derivative, "'mine': its function cannot be called"),
        ("mine", softsign, lambda xp, z: xp.no_such(z), "its derivative fails: AttributeError"),
        (
            "mine",
            lambda xp, z: z * np.float64(2),
            softsign_derivative,
            r"its function makes float64 of shape .* \(NumPy numbers in a formula give float64\)",
        ),
        ("mine", softsign, lambda xp, z: 1.0, "its derivative makes a float from a float32 array"),
        (
            "mine",
            lambda xp, z: xp.sum(z, axis=-1),
            softsign_derivative,
            r"makes float32 of shape \(1,\)",
        ),
        (
            "mine",
            lambda xp, z: z / xp.zeros_like(z),
            softsign_derivative,
            "its function is not finite",
        ),
        (
            "mine",
            lambda xp, z: xp.multiply(z, 2.0, out=z),
            softsign_derivative,
            "its function changes its argument",
        ),
        (
            "mine",
            softsign,
            lambda xp, z: z * (1 if z.dtype == xp.float32 else xp.nan),
            "its derivative gives nan",
        ),
        (
            "mine",
            lambda xp, z: xp.astype(z, xp.float32),
            lambda xp, z: xp.ones_like(z),
            "its function makes float32 of shape .* from a float64 array",
        ),
        (
            "mine",
            lambda xp, z: xp.maximum(z, 0 * z),
            lambda xp, z: xp.astype(z > 0, xp.float32),
            r"its derivative makes float32 of .* type \(use z\.dtype instead of a fixed type\)",
        ),
        (
            "mine",
            softsign,
            lambda xp, z: softsign_derivative(xp, z) if z.dtype == xp.float32 else z["no"],
            "its derivative fails: IndexError",
        ),
        (
            "mine",
            softsign,
            softsign,
            r"at z = -3.1 the slope is 0\.059\d*, its derivative gives -0\.756",
        ),
    ],
)
def test_wrong_activations(registry, name, curve, derivative, message):
    with pytest.raises(ValueError, match=message):
        ann.register_activation(name, curve, derivative)
    assert "mine" not in ACTIVATIONS
