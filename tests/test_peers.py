"""The same computation by independent implementations, PyTorch and SciPy (the extra ``peers``)."""

from types import SimpleNamespace

import numpy as np
import pytest

import ann
from ann.analysis.metrics import mcnemar
from ann.nn.batch_norm import BatchNorm
from ann.nn.initializers import he
from ann.nn.layers import ActivationLayer, Dense
from ann.nn.network import Network
from ann.optim.constraints import GradientClipping
from ann.optim.registry import get_optimizer
from ann.optim.scalars import Scalars
from ann.optim.schedules import get_schedule
from ann.training.batches import ImageSet
from ann.training.trainer import Trainer
from support import optional
from support.networks import network_of

torch = optional("torch")
torch.set_num_threads(1)  # for products this small, threads that wait cost the most


class ScaledTanh(torch.nn.Module):
    """1.7159 tanh(2 z / 3)"""

    def forward(self, z):
        return 1.7159 * torch.tanh(2 / 3 * z)


ACTIVATIONS = {
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "leaky-relu": torch.nn.LeakyReLU,
    "scaled-tanh": lambda: ScaledTanh(),
    "softplus": torch.nn.Softplus,
    "swish": torch.nn.SiLU,
    "gelu": lambda: torch.nn.GELU(approximate="tanh"),
    "softmax": lambda: torch.nn.Softmax(dim=-1),
    "identity": torch.nn.Identity,
}


def torch_twin(net, activation, output):
    """A torch.nn.Sequential with the network's weights, but without the output activation, as
    ``logits``.
    """
    modules = []
    for weight, bias in net.weights_and_biases():
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias.copy()))
        modules += [linear, ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*modules[:-1])


def torch_loss(logits, targets, output, loss):
    if loss == "quadratic":
        return 0.5 * (ACTIVATIONS[output]()(logits) - targets).square().sum(dim=1).mean()
    if output == "softmax":
        return torch.nn.functional.cross_entropy(logits, targets)
    return (
        torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        .sum(dim=1)
        .mean()
    )


def vector(twin):
    """The twin's parameters in the network's order: all weights, and then all biases."""
    linears = [module for module in twin if isinstance(module, torch.nn.Linear)]
    weights = [linear.weight.detach().numpy().T.ravel() for linear in linears]
    return np.concatenate([*weights, *(linear.bias.detach().numpy() for linear in linears)])


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.99)),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.99)),
}

CASES = [
    *[(activation, "sigmoid", "cross-entropy") for activation in ACTIVATIONS],
    *[("relu", "softmax", "cross-entropy")],
    *[("sigmoid", output, "quadratic") for output in ACTIVATIONS],
]


def data(rng, count=20, inputs=30, classes=10):
    return rng.random((count, inputs), dtype=np.float32), np.eye(classes, dtype=np.float32)[
        rng.integers(0, classes, count)
    ]


@pytest.mark.parametrize(("activation", "output", "loss"), CASES)
def test_one_training_step_is_pytorch_s(activation, output, loss, rng):
    net = network_of(
        ann.get_backend("cpu"), 30, 16, 12, 10, activation=activation, output=output, loss=loss
    )
    twin = torch_twin(net, activation, output)
    x, t = data(rng)
    torch_value = torch_loss(twin(torch.from_numpy(x)), torch.from_numpy(t), output, loss)
    torch_value.backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    value = net.train_batch(x, t, 0.1)
    assert value == pytest.approx(torch_value.item(), rel=1e-6)
    np.testing.assert_allclose(net.parameters, vector(twin), rtol=0, atol=1e-6)


def loss_of(weight, bias, other, x, t):
    """A loss of two matrices with a bias between them."""
    return (torch.tanh(x @ weight + bias) @ other - t).square().sum(dim=1).mean()


def along_pytorch_s_gradients(name, rule, tensors, rate, **hyperparameters):
    """Twenty steps of both optimizers with the same gradients: our parameters and PyTorch's.

    tensors: the weights and then the rest, in the order of our vectors.
    """

    def flat(parts):
        return torch.cat([part.detach().ravel() for part in parts]).numpy().copy()

    backend = ann.get_backend("cpu")
    parameters = flat(tensors)
    gradients, scalars = np.zeros_like(parameters), Scalars(backend, parameters.dtype)
    shapes = [tuple(tensor.shape) for tensor in tensors if tensor.ndim == 2]
    own = get_optimizer(name, backend, parameters, gradients, shapes, scalars, **hyperparameters)
    rates = scalars.table(0, [rate] * 20)
    random = torch.Generator().manual_seed(1)
    for row in rates:
        x, t = torch.rand(20, 30, generator=random), torch.rand(20, 10, generator=random)
        rule.zero_grad()
        weight, other, bias = tensors
        loss_of(weight, bias, other, x, t).backward()
        gradients[...] = own.accumulate * gradients + flat([tensor.grad for tensor in tensors])
        rule.step()
        scalars.vector[...] = row
        own.update()
    return parameters, flat(tensors)


def tensors():
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=random).requires_grad_()
        for shape in ((30, 16), (16, 10), (16,))
    ]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twenty_steps_of_each_optimizer_are_pytorch_s(optimizer, weight_decay):
    *weights, bias = parts = tensors()
    groups = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": [bias], "weight_decay": 0.0},
    ]
    rule = OPTIMIZERS[optimizer](groups)
    ours, theirs = along_pytorch_s_gradients(
        optimizer, rule, parts, rule.defaults["lr"], momentum=0.9, weight_decay=weight_decay
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_muon_is_pytorch_s():
    """PyTorch computes in bfloat16, with three digits, so only the directions of the steps are
    compared.
    """
    *weights, bias = parts = tensors()
    start = torch.cat([part.detach().ravel() for part in weights]).numpy().astype(np.float64)
    rule = torch.optim.Muon(
        weights, lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    biases = torch.optim.Adam([bias], lr=0.01, betas=(0.9, 0.99))
    both = SimpleNamespace(
        step=lambda: (rule.step(), biases.step()),
        zero_grad=lambda: (rule.zero_grad(), biases.zero_grad()),
    )
    ours, theirs = along_pytorch_s_gradients(
        "muon", both, parts, 0.01, momentum=0.9, weight_decay=0.1
    )
    np.testing.assert_allclose(ours[-16:], theirs[-16:], rtol=0, atol=0.02)
    for place in (slice(0, 480), slice(480, 640)):
        our_step, their_step = ((vector[: len(start)] - start)[place] for vector in (ours, theirs))
        cosine = our_step @ their_step / np.sqrt((our_step @ our_step) * (their_step @ their_step))
        assert cosine > 0.99
        assert np.linalg.norm(our_step) / np.linalg.norm(their_step) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_are_pytorch_s(activation, rng):
    net = network_of(ann.get_backend("cpu"), 30, 16, 10, activation=activation, output="softmax")
    x, _ = data(rng)
    expected = torch.softmax(torch_twin(net, activation, "softmax")(torch.from_numpy(x)), dim=-1)
    np.testing.assert_allclose(net.apply(x), expected.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_one_cycle_is_pytorch_s():
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(rule, 0.5, total_steps=50, cycle_momentum=False)
    ours = get_schedule("one-cycle", 0.5, 50)
    for step in range(50):
        assert ours(step) == pytest.approx(schedule.get_last_lr()[0], rel=1e-6)
        rule.step()
        if step < 49:
            schedule.step()


def test_batch_normalisation_is_pytorch_s(rng):
    """The outputs and gradients of one layer in training."""
    net = network_of(ann.get_backend("cpu"), 30, 16, 10, activation="tanh")
    twin = torch_twin(net, "tanh", "sigmoid")
    normalize = torch.nn.BatchNorm1d(16)
    with torch.no_grad():
        normalize.bias.copy_(twin[0].bias)
    twin[0].bias = None
    twin.insert(1, normalize)
    (weight, bias), (last_weight, last_bias) = net.weights_and_biases()
    norm = BatchNorm(16)
    norm.statistics = np.zeros((2, 16), np.float32)
    layers = [Dense(30, 16, he, bias=False), norm, ActivationLayer("tanh"), Dense(16, 10, he)]
    ours = Network(
        net.backend,
        layers,
        net.network.loss,
        np.float32,
    )
    values = {"gain": np.ones(16), "shift": bias}
    for layer, arrays in zip(
        layers,
        ({"weight": weight}, values, {}, {"weight": last_weight, "bias": last_bias}),
        strict=True,
    ):
        for name, array in arrays.items():
            getattr(layer, name)[...] = array
    x, t = data(rng)
    loss = torch_loss(twin(torch.from_numpy(x)), torch.from_numpy(t), "sigmoid", "cross-entropy")
    loss.backward()
    assert float(ours.compute_gradients(x, t)) == pytest.approx(loss.item(), rel=1e-5)
    for found, expected in (
        (norm.gain_gradient[0], normalize.weight.grad),
        (norm.shift_gradient[0], normalize.bias.grad),
        (layers[0].weight_gradient.T, twin[0].weight.grad),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("limit", [0.01, 100.0])
def test_clipping_is_pytorch_s(limit, rng):
    gradient = torch.from_numpy(rng.standard_normal(500).astype(np.float32))
    ours = gradient.numpy().copy()
    GradientClipping(ann.get_backend("cpu"), ours, limit)()
    parameter = torch.zeros(500, requires_grad=True)
    parameter.grad = gradient
    torch.nn.utils.clip_grad_norm_([parameter], limit)
    np.testing.assert_allclose(ours, gradient.numpy(), rtol=1e-4)


def test_label_smoothing_is_pytorch_s(rng):
    labels, logits = rng.integers(0, 10, 20), rng.standard_normal((20, 10)).astype(np.float32)
    net = network_of(ann.get_backend("cpu"), 4, 10, output="softmax")
    recipe = ann.Recipe(label_smoothing=0.1)
    targets = ImageSet(net, np.zeros((20, 4), np.uint8), labels, recipe).targets
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=0.1
    )
    assert float(net.network.loss.value(net.backend, logits, targets)) == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_adversarial_training_is_pytorch_s(rng):
    """Three steps with momentum; autograd finds how images are moved, and the gradients of both
    halves.
    """
    pixels, labels = rng.integers(0, 256, (20, 30), dtype=np.uint8), rng.integers(0, 10, 20)
    pixels[:, ::3] = 0  # black in all images, and lit in moved ones
    net = network_of(ann.get_backend("cpu"), 30, 16, 12, 10, activation="tanh", output="softmax")
    twin = torch_twin(net, "tanh", "softmax")
    rule = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    targets = torch.from_numpy(np.eye(10, dtype=np.float32)[labels])
    for _ in range(3):
        x = torch.from_numpy(pixels / np.float32(255)).requires_grad_()
        (direction,) = torch.autograd.grad(
            torch_loss(twin(x), targets, "softmax", "cross-entropy"), x
        )
        moved = (x + 0.4 * direction / direction.norm(dim=1, keepdim=True)).detach()
        rule.zero_grad()
        losses = [
            torch_loss(twin(images), targets, "softmax", "cross-entropy")
            for images in (x.detach(), moved)
        ]
        (sum(losses) / 2).backward()
        rule.step()
    recipe = ann.Recipe(optimizer="sgd", weight_decay=0.0, batch_size=20, adversarial=0.4)
    trainer = Trainer(net, ImageSet(net, pixels, labels), recipe)
    for epoch in range(1, 4):
        list(trainer.epoch(np.arange(20), epoch, [0.1]))
    np.testing.assert_allclose(net.parameters, vector(twin), rtol=0, atol=2e-6)


def test_tensors_are_accepted(rng):
    x, y = rng.random((40, 6), dtype=np.float32), rng.integers(0, 3, 40)
    recipe = ann.Recipe(hidden=(5,), epochs=2, batch_size=10)
    data = ann.Dataset(torch.from_numpy(x), torch.from_numpy(y), x[:0], y[:0])
    net = recipe.network(data)
    twin = recipe.network(ann.Dataset(x, y, x[:0], y[:0]))
    ann.fit(net, data, recipe)
    ann.fit(twin, ann.Dataset(x, y, x[:0], y[:0]), recipe)
    assert (net.predict_proba(torch.from_numpy(x)) == twin.predict_proba(x)).all()
    assert net.evaluate(torch.from_numpy(x), torch.from_numpy(y)) == twin.evaluate(x, y)
    with pytest.raises(ValueError, match=r"X: expected a NumPy array, got torch.Tensor, which"):
        net.predict(torch.from_numpy(x).requires_grad_())


def test_mcnemar_is_the_binomial_test():
    stats = optional("scipy.stats")
    for first in range(0, 30, 3):
        for second in range(1, 60, 4):
            expected = stats.binomtest(min(first, second), first + second, 0.5).pvalue
            assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
