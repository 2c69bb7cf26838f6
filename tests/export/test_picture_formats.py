"""Networks with convolution in ONNX Runtime, PyTorch and NumPy."""

import io
import itertools
import json
import re

import numpy as np
import pytest
from hostile.harness import assert_no_model

import ann
from ann.export.formats import npz_bytes, safetensors_bytes
from support import optional
from support.exports import changed, onnx_outputs
from support.pictures import CONV_LIST
from support.readme import blocks

CASES = list(itertools.product(range(8), (1, 3)))


def random_network(seed, committee=1):
    """A network with two convolutions with random kernels, strides and padding, and some
    pooling.
    """
    rng = np.random.default_rng([seed, 12])
    activation = str(rng.choice(["relu", "tanh", "gelu"]))
    layers = []
    shape = (int(rng.integers(1, 3)), *map(int, rng.integers(9, 15, 2)))
    for _ in range(2):
        layers.append(
            {
                "type": "conv2d",
                "filters": int(rng.integers(2, 6)),
                "kernel": int(rng.integers(1, min(6, min(shape[1:]) + 1))),
                "stride": int(rng.integers(1, 4)),
                "padding": str(rng.choice(["valid", "same"])),
                "activation": activation,
            }
        )
        layers[0]["input_shape"] = layers[0].get("input_shape", shape)
        shape = outputs_of(layers)
        size = max(side for side in (1, 2, 3) if shape[1] % side == shape[2] % side == 0)
        if size > 1:
            layers.append({"type": str(rng.choice(["max_pool2d", "average_pool2d"])), "size": size})
            shape = outputs_of(layers)
    layers.append({"output_dim": 7, "activation": activation})
    layers.append({"output_dim": 5, "activation": "softmax"})
    net = ann.NeuralNetwork(layers, seed=seed, committee=committee)
    net.parameters += 0.05 * rng.standard_normal(net.parameters.shape, dtype=np.float32)
    return net


def outputs_of(layers):
    """The output shape of layers for pictures."""
    net = ann.NeuralNetwork([*layers, {"output_dim": 1, "activation": "sigmoid"}])
    shapes = [getattr(layer, "output_shape", None) for layer in net.network.layers[:-1]]
    return [shape for shape in shapes if shape][-1]


def images_for(net, count=50):
    return np.random.default_rng(3).integers(0, 256, (count, net.input_dim), dtype=np.uint8)


def same_zeros(side, kernel, stride):
    """The zeros before and after a side that give a window ceil(side / stride) positions."""
    zeros = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return zeros // 2, zeros - zeros // 2


def pytorch_twin(torch, net):
    """The modules that a user would write for the layer list."""
    nn, modules, pictures = torch.nn, [], False
    functions = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "gelu": lambda: nn.GELU(approximate="tanh"),
        "softmax": lambda: nn.Softmax(dim=1),
    }
    channels, *sides = net.layer_list[0]["input_shape"]
    for spec in net.layer_list:
        if "kernel" in spec:
            kernel, stride = spec["kernel"], spec["stride"]
            padding = {"padding": "same"} if spec["padding"] == "same" and stride == 1 else {}
            if spec["padding"] == "same" and stride > 1:
                above, left = (same_zeros(side, kernel, stride) for side in sides)
                modules.append(nn.ZeroPad2d((*left, *above)))
            modules.append(nn.Conv2d(channels, spec["filters"], kernel, stride, **padding))
            channels, pictures = spec["filters"], True
            same = spec["padding"] == "same"
            sides = [
                -(-side // stride) if same else (side - kernel) // stride + 1 for side in sides
            ]
        elif "size" in spec:
            pool = nn.MaxPool2d if spec["type"] == "max_pool2d" else nn.AvgPool2d
            modules.append(pool(spec["size"]))
            sides, pictures = [side // spec["size"] for side in sides], True
        else:
            if pictures:
                modules.append(nn.Flatten())
            modules.append(nn.Linear(spec["input_dim"], spec["output_dim"]))
            pictures = False
        if "activation" in spec:
            modules.append(functions[spec["activation"]]())
    return nn.Sequential(*modules)


def in_pytorch(torch, twin, net, images):
    x = torch.from_numpy(images / 255.0).reshape(-1, *net.layer_list[0]["input_shape"])
    with torch.no_grad():
        return twin(x.to(next(twin.parameters()).dtype)).numpy()


@pytest.mark.parametrize(("seed", "committee"), CASES)
def test_onnx_runtime_computes_the_same(seed, committee):
    net = random_network(seed, committee)
    found = onnx_outputs(net, images_for(net))
    np.testing.assert_allclose(found, net.apply(images_for(net)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("committee", [1, 3])
@pytest.mark.parametrize("activation", ["softmax", "identity"])
def test_onnx_with_pooling_first(activation, committee):
    """The members share the pictures at first; softmax is over all numbers of a picture."""
    first, *rest = CONV_LIST
    conv = {**first, "activation": activation}
    del conv["input_shape"]
    pool = {"type": "average_pool2d", "size": 2, "input_shape": [2, 12, 8]}
    for layers in ([pool, conv, *rest[1:]], [pool, *rest[1:]]):
        net = ann.NeuralNetwork(layers, committee=committee)
        found = onnx_outputs(net, images_for(net))
        np.testing.assert_allclose(found, net.apply(images_for(net)), rtol=0, atol=1e-5)


def test_a_thousand_images_in_onnx_runtime(mnist):
    recipe = ann.Recipe(hidden=("conv8x5", "pool2", 32), activation="relu", epochs=1)
    net = ann.NeuralNetwork(recipe.layer_list(784, 10))
    few = ann.Dataset(
        mnist.train_images[:2000], mnist.train_labels[:2000], mnist.test_images, mnist.test_labels
    )
    ann.fit(net, few, recipe)
    images = mnist.test_images[:1000].reshape(1000, 784)
    np.testing.assert_allclose(onnx_outputs(net, images), net.apply(images), rtol=0, atol=1e-5)


# PyTorch warns that padding "same" costs a copy where kernels are even
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("seed", range(8))
def test_pytorch_loads_the_state(seed):
    torch, tensors = optional("torch"), optional("safetensors.torch")
    net = random_network(seed)
    state = tensors.load(safetensors_bytes(net))
    twin = pytorch_twin(torch, net)
    twin.load_state_dict(state)
    images = images_for(net)
    found = in_pytorch(torch, twin, net, images)
    np.testing.assert_allclose(found, net.apply(images), rtol=0, atol=1e-5)
    exact = ann.NeuralNetwork(
        net.layer_list, dtype="float64", parameters=net.parameters.astype(np.float64)
    )
    found = in_pytorch(torch, twin.double(), net, images)
    np.testing.assert_allclose(found, exact.apply(images / 255.0), rtol=0, atol=1e-6)


def test_pytorch_loads_the_state_into_the_modules_of_the_guide():
    torch, tensors = optional("torch"), optional("safetensors.torch")
    recipe = ann.Recipe(
        hidden=("conv8x5", "pool2", 64), activation="relu", output_activation="softmax"
    )
    net = ann.NeuralNetwork(recipe.layer_list(784, 10))
    (example,) = blocks("python pytorch", "scripts/README.md")
    twin = eval(example, {**vars(torch.nn)})
    twin.load_state_dict(tensors.load(safetensors_bytes(net)))
    found = in_pytorch(torch, twin, net, images_for(net))
    np.testing.assert_allclose(found, net.apply(images_for(net)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("seed", "committee"), CASES)
def test_safetensors_are_read_back(seed, committee, tmp_path):
    optional("safetensors")
    net = random_network(seed, committee)
    (tmp_path / "x.safetensors").write_bytes(safetensors_bytes(net))
    assert ann.load_model(tmp_path / "x.safetensors").to_bytes() == net.to_bytes()


@pytest.mark.parametrize("committee", [1, 3])
def test_npz_numbers_arrays_by_layer(committee):
    net = ann.NeuralNetwork(CONV_LIST, committee=committee)
    found = np.load(io.BytesIO(npz_bytes(net)), allow_pickle=False)
    layers = json.loads(str(found["about"]))["layers"]
    assert layers == net.layer_list
    for number, (weight, bias) in zip((1, 3, 4), net.weights_and_biases(), strict=True):
        np.testing.assert_array_equal(found[f"weight{number}"], weight)
        np.testing.assert_array_equal(found[f"bias{number}"], bias)
    assert len(found.files) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, about: about["layers"][0].update(weight=3), "layer of 0.weight has arrays"),
        (lambda header, about: about["layers"][0].update(type="conv3d"), "unknown type 'conv3d'"),
        (lambda header, about: about["layers"][0].update(type=[]), "not a model file"),
        (
            lambda header, about: about["layers"][0].update(kernel=2),
            "size 2 does not divide",
        ),
        (
            lambda header, about: about["layers"][0].update(kernel="\x1b"),
            r"kernel: expected .*'.x1b'",
        ),
        (lambda header, about: about["layers"][0].pop("kernel"), "kernel is missing"),
        (lambda header, about: about["layers"][0].pop("activation"), "it lacks|no layer needs"),
        (lambda header, about: about["layers"][1].update(activation="relu"), "it lacks"),
        (lambda header, about: about["layers"][1].update(bias=3), "an unknown field, 'bias'"),
        (lambda header, about: about["layers"][1].update(size=2**70), "size"),
        (lambda header, about: about["layers"].reverse(), "it lacks|expected"),
        (
            lambda header, about: about["layers"][0].update(padding="same", stride="2"),
            "not a safetensors file",
        ),
        (
            lambda header, about: header["0.weight"].update(shape=[4, 9]),
            "not a safetensors file",
        ),
        (
            lambda header, about: header["0.weight"].update(shape=[1, 4, 3, 3]),
            r"weight has shape \(36, 1\)",
        ),
        (
            lambda header, about: header["0.weight"].update(shape=[1, 1, 4, 1, 3, 3]),
            "is not an F32 tensor",
        ),
    ],
)
def test_hostile_safetensors(change, message, tmp_path):
    optional("safetensors.numpy")
    data = changed(safetensors_bytes(ann.NeuralNetwork(CONV_LIST)), change)
    found = assert_no_model(tmp_path / "x", data)
    assert re.search(message, found), found
    assert found.isprintable()
