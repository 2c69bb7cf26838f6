"""Files for other programs, read and computed by those programs."""

import base64
import importlib
import io
import json
import math
import re
import struct

import numpy as np
import pytest
from hostile.harness import assert_no_model

import ann
from ann.export.formats import FORMS, npz_bytes, onnx_bytes, safetensors_bytes
from ann.files.model_file import read_model
from ann.nn.activations import ACTIVATIONS, Activation
from support import optional
from support.exports import changed, onnx_outputs
from support.networks import network_of
from support.own_activations import OWN, UNTRANSLATABLE, none
from support.programs import FAST, run


def small(activation="tanh", output="sigmoid", committee=1):
    layers = network_of(ann.get_backend("cpu"), 12, 9, 7, 4, activation=activation).layer_list
    layers[-1]["activation"] = output
    net = ann.NeuralNetwork(layers, "quadratic", seed=3, committee=committee)
    net.parameters *= 3
    net.recipe = {"optimizer": "sgd"}
    return net


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (50, 12), dtype=np.uint8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("committee", [1, 3])
def test_onnx_runtime_computes_the_same(activation, committee, images):
    hidden = activation if activation != "softmax" else "tanh"
    output = activation if activation in ("softmax", "identity") else "sigmoid"
    net = small(hidden, output, committee)
    found = onnx_outputs(net, images)
    assert found.dtype == np.float32 and found.shape == (50, 4)
    np.testing.assert_allclose(found, net.apply(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_onnx_runtime_computes_custom_activations(monkeypatch, name, images):
    monkeypatch.setitem(ACTIVATIONS, "own", Activation("own", OWN[name], none))
    net = small("own")
    np.testing.assert_allclose(onnx_outputs(net, images), net.apply(images), rtol=1e-5, atol=1e-5)


def test_pytorch_loads_the_state(images):
    torch, tensors = optional("torch"), optional("safetensors.torch")
    net = small("relu", "softmax")
    linear = torch.nn.Linear
    twin = torch.nn.Sequential(
        *(
            linear(12, 9),
            torch.nn.ReLU(),
            linear(9, 7),
            torch.nn.ReLU(),
            linear(7, 4),
            torch.nn.Softmax(dim=1),
        )
    )
    twin.load_state_dict(tensors.load(safetensors_bytes(net)))
    with torch.no_grad():
        found = twin(torch.from_numpy(images / np.float32(255))).numpy()
    np.testing.assert_allclose(found, net.apply(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("committee", [1, 3])
def test_safetensors_are_read_back(backend, tmp_path, committee):
    optional("safetensors")
    net = small(committee=committee)
    (tmp_path / "x.safetensors").write_bytes(safetensors_bytes(net))
    twin = ann.load_model(tmp_path / "x.safetensors", backend)
    assert twin.to_bytes() == net.to_bytes()


DEEP = {"a": 1}
for _ in range(100):
    DEEP = {"a": DEEP}


def cut_in_two(header, about):
    """The same tensor in two parts."""
    start, stop = header["0.bias"]["data_offsets"]
    header["0.bias"] |= {"shape": [4], "data_offsets": [start, start + 16]}
    header["more"] = {"dtype": "F32", "shape": [5], "data_offsets": [start + 16, stop]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, about: header.pop("__metadata__"), "it lacks '__metadata__'"),
        (lambda header, about: header.pop("0.bias"), "not where it should be"),
        (lambda header, about: header.update(more=header.pop("0.bias")), "it lacks '0.bias'"),
        (cut_in_two, "no layer needs 'more'"),
        (lambda header, about: about["layers"].append(3), "not a safetensors file"),
        (lambda header, about: about["layers"].__setitem__(0, 3), "not a safetensors file"),
        (lambda header, about: about.update(layers=3), "not a safetensors file"),
        (lambda header, about: about.pop("loss"), "its metadata lacks 'loss'"),
        (lambda header, about: about.update(more=3), "has an unknown field, 'more'"),
        (lambda header, about: about["layers"][0].update(more=3), "'more' is unknown"),
        (
            lambda header, about: about["layers"][0].update(input_dim=13),
            r"shape \(12, 9\), expected \(13, 9\)",
        ),
        (lambda header, about: about["layers"][0].update(activation="x"), "unknown activation 'x'"),
        (lambda header, about: about.update(loss="hinge"), "unknown loss 'hinge'"),
        (lambda header, about: about.update(seed=2**70), "seed"),
        (lambda header, about: about.update(recipe=DEEP), "nested more than 20 deep"),
        (
            lambda header, about: about.update(preprocessing={"scale": 1}),
            "preprocessing is not a scale of 1/255",
        ),
        (lambda header, about: about.update(recipe="x" * 2**20), "the limit is 1048576"),
        (
            lambda header, about: about.update(examples={"count": 3}),
            "its set of examples lacks 'images'",
        ),
        (lambda header, about: about.update(examples=3), "not a safetensors file"),
        (lambda header, about: about["examples"].update(count=5), "not a safetensors file"),
        (lambda header, about: about["examples"].update(images="?"), "not a safetensors file"),
        *(
            (
                lambda header, about, count=count: about["examples"].update(count=count),
                "count is not a whole number above 0",
            )
            for count in (0, -1, True, 1.9, " 1 ", math.inf, math.nan)
        ),
        (
            lambda header, about: about["layers"][0].update(weight=3),
            "the layer of 0.weight has arrays",
        ),
        (
            lambda header, about: about["layers"][0].update(input_dim=0),
            "layer 1: 'input_dim' is 0",
        ),
        (
            lambda header, about: about["layers"][0].update(input_dim=10**400),
            "'input_dim' is a huge integer, .* from 1 to 1048576",
        ),
        (lambda header, about: about.update(seed=10**400), "seed"),
        (lambda header, about: about.update(recipe={"a": 10**400}), "recipe"),
        (lambda header, about: about.update(recipe={"a": "\ud800"}), "recipe"),
        (lambda header, about: about.update(recipe={"\ud800": 1}), "recipe"),
        (lambda header, about: about.update(loss="\ud800"), r"unknown loss '\\ud800'"),
        (lambda header, about: header["0.bias"].update(shape=[]), "is not an F32 tensor"),
        (lambda header, about: header["0.bias"].update(shape="99"), "is not an F32 tensor"),
        (
            lambda header, about: header["0.bias"].update(shape=[1] * 5 + [9]),
            "is not an F32 tensor",
        ),
        (lambda header, about: header["0.bias"].update(data_offsets=3), "not a safetensors file"),
        (
            lambda header, about: header["0.bias"].update(data_offsets=["a", 3]),
            "not a safetensors file",
        ),
        (lambda header, about: about["examples"].update(count=1), "examples: images has shape"),
        (lambda header, about: header["0.bias"].update(dtype="I32"), "is not an F32 tensor"),
        (lambda header, about: header["0.bias"].update(dtype="F16"), "is not an F32 tensor"),
        (
            lambda header, about: header["0.bias"].update(data_offsets=[0, 2**60]),
            "is not an F32 tensor",
        ),
        (
            lambda header, about: header["0.bias"].update(data_offsets=[-36, 0]),
            "is not an F32 tensor",
        ),
        (
            lambda header, about: header["0.bias"].update(shape=[3, 3]),
            "it lacks|not a safetensors file|has shape",
        ),
        (lambda header, about: header["0.bias"].update(shape=[9.0]), "is not an F32 tensor"),
        (
            lambda header, about: header["2.bias"].update(
                data_offsets=header["4.bias"]["data_offsets"]
            ),
            "where it should",
        ),
    ],
)
def test_hostile_safetensors(tmp_path, change, message):
    optional("safetensors.numpy")
    found = assert_no_model(tmp_path / "x", changed(safetensors_bytes(small()), change))
    assert re.search(message, found)


@pytest.mark.parametrize(
    "change",
    [
        lambda header, about: header["0.bias"].update(shape=[0] + [2**16] * 140_000),
        lambda header, about: about.update(layers="x" * 1_000_000),
        lambda header, about: about.update(layers=[0] * 340_000),
        lambda header, about: about.update(recipe={f"{number}": 0 for number in range(70_000)}),
        lambda header, about: header.update({f"{number}": 0 for number in range(80_000)}),
    ],
    ids=["axes", "a text of layers", "numbers of layers", "names in a recipe", "names of tensors"],
)
@pytest.mark.slow
def test_large_headers_of_safetensors_are_refused_at_little_cost(tmp_path, change):
    optional("safetensors.numpy")
    data = changed(safetensors_bytes(small()), change, right=False)
    assert len(data) < 2**20 + 2**14
    assert_no_model(tmp_path / "x", data)


@pytest.mark.slow
def test_a_header_full_of_empty_layers(tmp_path):
    optional("safetensors.numpy")

    def change(header, about):
        for name in header.keys() - {"__metadata__"}:
            del header[name]
        about.update(layers=[{}] * 250_000)

    data = safetensors_bytes(small())
    length = struct.unpack("<Q", data[:8])[0]
    message = assert_no_model(tmp_path / "x", changed(data[: 8 + length], change))
    assert "layers is not a list, or has more than 4096 layers" in message


@pytest.mark.parametrize("code", ["utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_safetensors_are_utf_8(tmp_path, code):
    optional("safetensors.numpy")
    data = safetensors_bytes(small())
    length = struct.unpack("<Q", data[:8])[0]
    text = data[8 : 8 + length].decode().replace('"seed', '"\u00e9\u00e9').encode(code)
    assert_no_model(tmp_path / "x", struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize("form", [".pickle", ".safetensors"])
@pytest.mark.parametrize("committee", [1, 3])
def test_weights_that_cancel_are_saved_and_read_back(tmp_path, rng, form, committee):
    """The outputs depend on the order of a sum, so the file has no examples."""
    optional("safetensors.numpy")
    layers = network_of(ann.get_backend("cpu"), 784, 600, 10).layer_list
    net = ann.NeuralNetwork(layers, "quadratic", committee=committee)
    net.parameters[:] = rng.choice([-1e7, 1e7], net.parameters.shape)
    (tmp_path / f"x{form}").write_bytes(
        net.to_bytes() if form == ".pickle" else safetensors_bytes(net)
    )
    twin = ann.load_model(tmp_path / f"x{form}")
    np.testing.assert_array_equal(twin.parameters, net.parameters)


def test_safetensors_with_a_name_twice(tmp_path):
    optional("safetensors.numpy")
    data = safetensors_bytes(small())
    length = struct.unpack("<Q", data[:8])[0]
    text = data[8 : 8 + length].rstrip()
    twice = text[:-1] + b',"0.bias":' + json.dumps(json.loads(text)["0.bias"]).encode() + b"}"
    found = assert_no_model(
        tmp_path / "x", struct.pack("<Q", len(twice)) + twice + data[8 + length :]
    )
    assert "a name appears twice in an object" in found


@pytest.mark.parametrize("committee", [1, 3])
def test_damaged_safetensors(tmp_path, rng, committee):
    """Every changed bit is noticed, unless it has no meaning: a space in the JSON, or the order
    of tensors.
    """
    optional("safetensors.numpy")
    net = small(committee=committee)
    whole = safetensors_bytes(net)
    for length in range(9, len(whole), 97):
        assert_no_model(tmp_path / "x", whole[:length])
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(600):
        data, place = bytearray(whole), rng.integers(0, len(whole))
        data[place] ^= 1 << rng.integers(0, 8)
        (tmp_path / "x").write_bytes(data)
        try:
            loaded = ann.load_model(tmp_path / "x")
        except ann.ModelFileError as error:
            assert str(error).isprintable() and len(str(error)) < 700
        else:
            assert place < start
            np.testing.assert_array_equal(loaded.parameters, net.parameters)


def test_safetensors_have_the_examples_and_a_checksum(tmp_path):
    optional("safetensors.numpy")
    net = small()
    (tmp_path / "x").write_bytes(safetensors_bytes(net))
    net.save(tmp_path / "y")
    one, other = (read_model(tmp_path / name) for name in "xy")
    for name in ("images", "outputs"):
        np.testing.assert_array_equal(one["examples"][name], other["examples"][name])

    def spoil(header, about):
        about["examples"] = None

    message = assert_no_model(tmp_path / "x", changed(safetensors_bytes(net), spoil, right=False))
    assert "it was damaged or edited after it was saved" in message

    def lie(header, about):
        outputs = np.frombuffer(base64.b64decode(about["examples"]["outputs"]), "<f4") + np.float32(
            0.1
        )
        about["examples"]["outputs"] = base64.b64encode(outputs.tobytes()).decode()

    assert "its self-test fails" in assert_no_model(
        tmp_path / "x", changed(safetensors_bytes(net), lie)
    )


@pytest.mark.parametrize(
    "widths",
    [
        *((4, 4000), (784, 4096), (70_000, 2)),
        pytest.param((4, *[4] * 1500), marks=pytest.mark.slow, id="deep"),
    ],
)
def test_written_safetensors_are_read_back(tmp_path, widths):
    optional("safetensors.numpy")
    net = network_of(ann.get_backend("cpu"), *widths)
    (tmp_path / "x").write_bytes(safetensors_bytes(net))
    np.testing.assert_array_equal(ann.load_model(tmp_path / "x").parameters, net.parameters)


def test_too_much_for_a_header():
    optional("safetensors.numpy")
    net = small()
    net.recipe = {f"value {number}": "\u00e9" * 1000 for number in range(200)}
    with pytest.raises(
        ValueError, match="cannot be saved as safetensors: its safetensors header has"
    ):
        safetensors_bytes(net)


@pytest.mark.slow
def test_large_safetensors_are_refused_at_little_cost(tmp_path):
    """Because of the last number of an example, a weight that is not finite, or the checksum."""
    optional("safetensors.numpy")
    layers = network_of(ann.get_backend("cpu"), 6000, 6000, 2).layer_list
    net = ann.NeuralNetwork(layers, parameters=np.zeros(6001 * 6000 + 6001 * 2, np.float32))
    whole = safetensors_bytes(net)
    del net

    def lie(header, about):
        about["examples"]["outputs"] = base64.b64encode(
            np.full((16, 2), 0.1, "<f4").tobytes()
        ).decode()

    def break_off(header, about):
        about["loss"] = "hinge"

    for change, right, message in (
        (lie, True, "its self-test fails"),
        (break_off, True, "unknown loss 'hinge'"),
        (break_off, False, "it was damaged or edited"),
    ):
        assert message in assert_no_model(tmp_path / "x", changed(whole, change, right))


@pytest.mark.parametrize("text", ["\x1b[31mX\u202e", "\x07"])
def test_names_in_safetensors_are_harmless(tmp_path, text):
    optional("safetensors.numpy")
    for change in (
        lambda header, about: header["0.bias"].update(dtype=text),
        lambda header, about: header.update({text: header.pop("0.bias")}),
    ):
        assert assert_no_model(
            tmp_path / "x", changed(safetensors_bytes(small()), change)
        ).isprintable()


@pytest.mark.parametrize("committee", [1, 3])
def test_npz(committee):
    net = small(committee=committee)
    found = np.load(io.BytesIO(npz_bytes(net)), allow_pickle=False)
    about = json.loads(str(found["about"]))
    assert (
        about["layers"] == net.layer_list
        and about["recipe"] == net.recipe
        and about["committee"] == committee
    )
    for number, (weight, bias) in enumerate(net.weights_and_biases(), start=1):
        np.testing.assert_array_equal(found[f"weight{number}"], weight)
        np.testing.assert_array_equal(found[f"bias{number}"], bias)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.slow
def test_on_the_command_line(tmp_path, small_data, form):
    for name in ("onnx", "safetensors"):
        optional(name)
    run("train", "--data", small_data, *FAST, cwd=tmp_path)
    out, _ = run("export", "--to", f"model{form}", cwd=tmp_path)
    data = (tmp_path / f"model{form}").read_bytes()
    assert f"saved {tmp_path / f'model{form}'}, {len(data) / 1e6:.2f} MB" in out
    net = ann.load_model(tmp_path / "mnist_ann.pickle")
    assert data == FORMS[form](net) or form == ".npz"  # in which there is the time
    if form == ".safetensors":
        test, _ = run("test", "--data", small_data, "--model", "model.safetensors", cwd=tmp_path)
        expected = run("test", "--data", small_data, cwd=tmp_path)[0]
        assert test == expected.replace("mnist_ann.pickle", "model.safetensors")


@pytest.mark.parametrize(
    ("form", "module"), [(".onnx", "onnx"), (".safetensors", "safetensors.numpy")]
)
def test_without_the_libraries(monkeypatch, tmp_path, form, module):
    real = importlib.import_module

    def without(name, *rest):
        if name == module:
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    data = (
        safetensors_bytes(small())
        if form == ".safetensors" and optional("safetensors.numpy")
        else b""
    )
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(
        ImportError,
        match=rf"this format needs {module.split('.')[0]}: pip install -e \".\[export\]\"",
    ):
        FORMS[form](small())
    if data:
        (tmp_path / "x").write_bytes(data)
        ann.load_model(tmp_path / "x")  # which needs nothing


@pytest.mark.parametrize("reason", UNTRANSLATABLE)
def test_networks_that_onnx_cannot_express(monkeypatch, reason):
    optional("onnx")
    monkeypatch.setitem(ACTIVATIONS, "own", Activation("own", UNTRANSLATABLE[reason], none))
    with pytest.raises(
        ValueError, match=f"the activation 'own' cannot be exported to ONNX: .*{reason}"
    ):
        onnx_bytes(small("own"))
