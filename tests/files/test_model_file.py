import copy
import functools
import gzip
import io
import json
import operator
import os
import pickle
import pickletools
import subprocess
import sys
import warnings

import numpy as np
import pytest

import ann
from ann.export.formats import safetensors_bytes
from ann.files.model_schema import checksum
from ann.files.pickle.reader import read_pickle
from ann.nn.activations import ACTIVATIONS, Activation
from support import ROOT, optional
from support.digits import write_mnist_like
from support.model_files import rewrite
from support.networks import network_of


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pickle"
    net = network_of(ann.get_backend("cpu"), 5, 4, 3, activation="tanh", output="softmax", seed=9)
    net.recipe = ann.Recipe().training_fields()
    net.save(path)
    return path


def test_round_trip(backend, tmp_path, rng):
    net = network_of(backend, 5, 4, 3, activation="gelu", output="softmax", seed=9)
    x = rng.random((6, 5), dtype=np.float32)
    net.train_batch(x, rng.integers(0, 3, 6), 0.1)
    net.recipe = ann.Recipe(epochs=7).training_fields()
    net.save(tmp_path / "one")
    twin = ann.load_model(tmp_path / "one", backend)
    np.testing.assert_array_equal(backend.to_host(twin.parameters), backend.to_host(net.parameters))
    np.testing.assert_array_equal(twin.apply(x), net.apply(x))
    assert (twin.layer_list, twin.loss_name, twin.seed, twin.recipe) == (
        net.layer_list,
        "cross-entropy",
        9,
        net.recipe,
    )
    twin.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_self_test_leaves_other_threads_their_warnings(saved, monkeypatch, tmp_path):
    """Filters of warnings belong to the whole process, and two threads may load at once."""
    filters = warnings.filters
    seen = []
    curve = lambda xp, z: seen.append(warnings.filters) or xp.tanh(z)  # noqa: E731
    own = Activation("tanh", curve, ACTIVATIONS["tanh"].derivative)
    monkeypatch.setitem(ACTIVATIONS, "tanh", own)
    ann.load_model(saved)
    assert seen and all(each is filters for each in seen)


def test_any_device_writes_the_same_bytes(backend, tmp_path):
    network_of(backend, 5, 4, 3).save(tmp_path / "here")
    network_of(ann.get_backend("cpu"), 5, 4, 3).save(tmp_path / "numpy")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "numpy").read_bytes()


def test_plain_pickle_reads_it_without_this_package(saved):
    """An interpreter that cannot import ann gets real arrays that compute."""
    program = (
        "import sys, pickle; sys.modules['ann'] = None\n"
        f"model = pickle.load(open({str(saved)!r}, 'rb'))\n"
        "layer = model['layers'][0]\n"
        "print(model['format'], model['version'], model['loss'], layer['activation'])\n"
        "print(type(layer['weight']).__name__, layer['weight'].dtype, layer['bias'].shape)\n"
        "print((layer['weight'] @ layer['weight'].T).shape)"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "ann-mlp 3 cross-entropy tanh\nndarray float32 (4,)\n(5, 5)\n"


CALLS = {"GLOBAL", "INST", "OBJ", "NEWOBJ", "BUILD", "EXT1", "PERSID", "BINPERSID"}


def test_its_only_global_is_ndarray(saved):
    strings, names = [], set()
    for opcode, argument, _ in pickletools.genops(saved.read_bytes()):
        if isinstance(argument, str):
            strings.append(argument)
        if opcode.name == "STACK_GLOBAL":
            names.add(tuple(strings[-2:]))
        assert opcode.name not in CALLS
    assert names == {("numpy", "ndarray")}


def test_arrays_are_little_endian_float32(saved):
    for layer in pickle.loads(saved.read_bytes())["layers"]:
        assert layer["weight"].dtype.str == layer["bias"].dtype.str == "<f4"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.zeros(3).reshape,
            "it names 'builtins', 'getattr', and only NumPy's arrays are allowed",
        ),
        (np.dtype("f4"), "broken pickle instruction 0x2e"),
        (np.dtype("i4"), "an array of 'i4'; known: f4, f8, u1"),
        (np.zeros(3, dtype="M8[s]"), "an array of 'M8'; known: f4, f8, u1"),
        (np.array([print]), "an array of 'O8'; known: f4, f8, u1"),
        (np.zeros(3, dtype=[("a", "f4")]), "an array of 'V4'; known: f4, f8, u1"),
        (np.zeros((0, 3)), "an array whose data do not fit"),
        (np.zeros((1,) * 5), "an array whose data do not fit"),
        (np.ndarray, "broken pickle instruction 0x2e"),
        (b"bytes", "broken pickle instruction 0x2e"),
        ("x" * 70_000, "broken pickle instruction 0x2e"),
        (
            ["x" * 60_000 + str(number) for number in range(80)],
            "strings of more than 1048576 bytes in all",
        ),
        (np.float64(1), "it names 'numpy._core.multiarray', 'scalar'"),
        (print, "it names 'builtins', 'print'"),
        ({1, 2}, "forbidden pickle instruction 0x8f"),
        (1 << 80, "an integer of more than 8 bytes"),
        ({1: 2}, "broken pickle instruction"),
    ],
)
def test_values_outside_the_subset(value, message):
    with pytest.raises(ValueError, match=message):
        read_pickle(pickle.dumps(value, protocol=4))


def test_values_of_the_subset():
    value = {
        "none": None,
        "bools": [True, False],
        "ints": [0, -1, 255, 65535, 2**31 - 1, -(2**31), 2**62],
        "floats": (0.1, -1e300, float("inf")),
        "text": ["", "ä€", "x" * 300],
        "nested": [[], {}, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"a": {"b": []}}],
        "same": ["text", "text"],
    }
    for protocol in range(2, 6):
        assert read_pickle(pickle.dumps(value, protocol=protocol)) == value


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("optimized", [False, True])
def test_arrays_as_numpy_pickles_them(protocol, optimized, rng):
    square = rng.standard_normal((200, 100)).astype("f4")
    value = {
        "f4": square,
        "f8": square.astype("f8"),
        "u1": rng.integers(0, 256, (3, 4, 5), dtype=np.uint8),
        "big-endian": square.astype(">f4"),
        "columns first": np.asfortranarray(square),
        "strided": square[::2, ::3],
        "read-only": np.frombuffer(square.tobytes(), dtype="f4"),
        "one": square[:1, :1].copy(),
    }
    data = pickle.dumps(value, protocol=protocol)
    found = read_pickle(pickletools.optimize(data) if optimized else data)
    assert found.keys() == value.keys()
    for name, array in value.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and not found[name].flags.writeable


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_as_other_versions_of_numpy_pickle_them(protocol):
    """NumPy 1 names its functions in numpy.core, NumPy 2 in numpy._core."""
    here, there = (b"_core", b"core") if np.__version__ >= "2" else (b"core", b"_core")
    array = np.arange(6, dtype="f4").reshape(2, 3)
    data = pickle.dumps(array, protocol=protocol)
    for kind in (b"numpy.%s.multiarray", b"numpy.%s.numeric"):
        old, new = kind % here, kind % there
        if protocol < 4:
            data = data.replace(b"c" + old, b"c" + new)
        else:
            data = data.replace(
                b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new
            )
    assert there in data and here not in data.replace(there, b"")
    np.testing.assert_array_equal(read_pickle(data), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x04N", "it ends at byte 3"),
        (b"\x80\x04NN.", "left over"),
        (b"\x80\x04N.N", "left over"),
        (b"\x80\x04X\xff\xff\x00\x00abc.", "in the middle"),
        (b"\x80\x04X\xff\xff\xff\xffabc.", "in the middle"),
        (b"\x80\x04}(\x8c\x01aN\x8c\x01aNu.", "broken"),
        (b"\x80\x04]\x94h\x00a.", "used twice"),
        (b"\x80\x04" + b"N0" * 60_000, "forbidden"),
        (b"\x80\x04cnumpy\ndtype\n)" + b"\x85" * 5000 + b"K\x00K\x01\x87R.", "broken"),
        (b"\x80\x04" + b"N\x85" * 60_000 + b".", "more than 100000"),
        (b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93K\x01R.", "not|broken"),
    ],
)
def test_malformed_streams(data, message):
    with pytest.raises(ValueError, match=message):
        read_pickle(data)


AGAIN = {"input_dim": 4, "output_dim": 3, "activation": "softmax"}
AGAIN |= {"weight": np.ones((4, 3), "f4"), "bias": np.ones(3, "f4")}
SHAPES = r"examples: \w+ has shape \({}\), expected \({}\)"


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["format"], "zip", "its format is not 'ann-mlp'"),
        (["version"], 4, "its version is 4, expected 3; update ann if it is later"),
        (["version"], "1", "its version is '1'"),
        (["version"], True, "its version is True"),
        (["version"], 2, "its version is 2, expected 3"),
        (["extra"], 1, "it has an unknown field, 'extra'"),
        (
            ["seed"],
            -1,
            "seed is not a whole number.*; its SHA-256 is right, so it was .* like that",
        ),
        (["seed"], True, "seed is not a whole number"),
        (["examples"], 3, "examples: expected images, outputs"),
        (["examples"], {"images": np.ones((16, 5), "u1")}, "examples: expected images, outputs"),
        (["examples", "images"], None, "images is not an array of uint8 with two axes"),
        (["examples", "images"], np.ones((16, 5), "f4"), "images is not an array of uint8"),
        (["examples", "images"], np.ones((16, 6), "u1"), SHAPES.format("16, 6", "16, 5")),
        (["examples", "images"], np.ones((999, 5), "u1"), "examples: 999 images, expected 1 to 16"),
        (["examples", "outputs"], np.ones((15, 3), "f4"), SHAPES.format("15, 3", "16, 3")),
        (["examples", "outputs"], np.full((16, 3), np.inf, "f4"), "outputs holds numbers that are"),
        (["loss"], 3, "unknown loss 3; known: cross-entropy, quadratic"),
        (["loss"], "hinge", "unknown loss 'hinge'"),
        (["preprocessing"], {"scale": 1.0}, "preprocessing is not a scale of 1/255"),
        (["recipe"], 7, "recipe is not a dict"),
        (["layers"], [], "layers: expected a list of at least one layer"),
        (["layers"], 5, "layers is not a list"),
        (["layers", 1], 5, "layer 2 is 5"),
        (["layers", 0], AGAIN, "layer 2: input_dim is 4, but layer 1 has output_dim 3"),
        (["layers", 0, "weight"], np.ones((5, 4), "u1"), "layer 1: weight is an array of uint8"),
        (["layers", 0, "weight"], [1.0], "layer 1: weight is not an array"),
        (["layers", 0, "input_dim"], 6, r"weight has shape \(5, 4\), expected \(6, 4\)"),
        (
            ["layers", 0, "input_dim"],
            "5",
            "layer 1: input_dim: expected a whole number of at least 1, got '5'",
        ),
        (
            ["layers", 1, "bias"],
            np.full(3, np.nan, "f4"),
            "layer 2: bias holds numbers that are not",
        ),
        (["layers", 1, "activation"], "x", "layer 2: unknown activation 'x'"),
    ],
)
def test_contents_that_are_not_a_network(saved, keys, value, message):
    def change(contents):
        *outer, last = keys
        functools.reduce(operator.getitem, outer, contents)[last] = value

    rewrite(saved, change)
    with pytest.raises(ann.ModelFileError, match=message) as caught:
        ann.load_model(saved)
    assert str(saved) in str(caught.value) and "\n" not in str(caught.value)


def test_open_files(saved, tmp_path):
    with open(saved, "rb") as file:
        assert ann.load_model(file).to_bytes() == saved.read_bytes()
    with open(saved) as file, pytest.raises(ann.ModelFileError, match="it is open as text"):
        ann.load_model(file)
    with pytest.raises(ann.ModelFileError, match=r"^the open file: .* it ends at byte"):
        ann.load_model(io.BytesIO(saved.read_bytes()[:-100]))
    with pytest.raises(
        ann.ModelFileError, match=r"the open file: cannot be read: it has more than"
    ):
        ann.load_model(io.BytesIO(bytes(2**28 + 1)))


def test_open_files_that_cannot_be_read(saved, tmp_path):
    cut = io.BytesIO(gzip.compress(saved.read_bytes())[:1000])
    with pytest.raises(
        ann.ModelFileError, match=r"^the open file: cannot be read: EOFError: Compr"
    ):
        ann.load_model(gzip.GzipFile(fileobj=cut))
    with pytest.raises(ann.ModelFileError, match=r"the open file: .* open as text"):
        ann.load_model(io.StringIO("text"))
    with open(tmp_path / "new", "wb") as file, pytest.raises(ann.ModelFileError, match="Unsupp"):
        ann.load_model(file)
    with pytest.raises(ann.ModelFileError, match=r"^the open file: .* closed file"):
        cut.close()
        ann.load_model(cut)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda contents: contents.pop("seed"), "it lacks 'seed'"),
        (
            lambda contents: contents["layers"].append(contents["layers"][0]),
            "something other than a string is used twice",
        ),
    ],
)
def test_contents_that_are_missing_or_used_twice(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ann.ModelFileError, match=message):
        ann.load_model(saved)


def test_paths_that_are_not_model_files(tmp_path, saved):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello")
    np.savez(tmp_path / "checkpoint.npz", a=1)
    (tmp_path / "list").write_bytes(pickle.dumps([1], protocol=4))
    (tmp_path / "short").write_bytes(saved.read_bytes()[:-100])
    os.mkfifo(tmp_path / "pipe")
    for name, message in [
        ("absent", "no such model file; scripts/train.py makes one"),
        (".", "this is a folder; the model of a run is model.pickle in it"),
        ("empty", "not a pickle of protocol 2 to 5"),
        ("text", "not a pickle of protocol 2 to 5"),
        ("list", "its format is not"),
        ("short", "it ends at byte"),
        ("pipe", "cannot be read: not a regular file"),
        ("nul\0", "cannot be read"),
        (
            "checkpoint.npz",
            "this is a zip file, such as a checkpoint or an exported .npz; load a .pickle or",
        ),
    ]:
        with pytest.raises(ann.ModelFileError, match=message):
            ann.load_model(tmp_path / name)
    with pytest.raises(ann.ModelFileError, match="not a regular file"):
        ann.load_model("/dev/zero")


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ann.ModelFileError, match="1099511627776 bytes; the limit is 268435456"):
        ann.load_model(tmp_path / "huge")


@pytest.mark.parametrize("value", ["\x1b]0;owned\x07\x1b[2J", "x" * 10_000_000, "a\nb"])
def test_messages_show_no_raw_value(tmp_path, saved, value):
    for change in (
        lambda c: c.update(version=value),
        lambda c: c.update({value: 1}),
        lambda c: c.update(loss=value),
        lambda c: c["layers"][0].update(activation=value),
    ):
        path = tmp_path / "changed"
        path.write_bytes(saved.read_bytes())
        rewrite(path, change)
        with pytest.raises(ann.ModelFileError) as caught:
            ann.load_model(path)
        message = str(caught.value)
        assert len(message) < 500 and message.isprintable()
    name = (
        "\x8c\x05numpy".encode("latin1")
        + b"X"
        + len(value).to_bytes(4, "little")
        + value.encode()
        + b"\x93."
    )
    with pytest.raises(ValueError, match=r"it names 'numpy'|broken") as caught:
        read_pickle(b"\x80\x04" + name)
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_networks_that_could_not_be_loaded_are_not_saved(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    net = network_of(ann.get_backend("cpu"), 5, 4, 3)
    net.parameters[0] = np.nan
    with pytest.raises(ValueError, match=r"layer 1: weight holds numbers that are not finite$"):
        net.save(path)
    layers = [{"input_dim": 1, "output_dim": 1, "activation": "relu"}] * 3999
    deep = ann.NeuralNetwork([*layers, {"input_dim": 1, "output_dim": 1, "activation": "sigmoid"}])
    with pytest.raises(ValueError, match="more than 100000 pickle instructions"):
        deep.save(path)
    assert path.read_bytes() == b"old"


class Unwilling:
    def __reduce__(self):
        raise RuntimeError("no")


ENDLESS = {}
ENDLESS["again"] = ENDLESS


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return {"deep": value}


TOO_MUCH = {
    "an int": 2**63,
    "a negative int": -(2**63) - 1,
    "a huge int": 10**5000,
    "half a character": "\ud800",
    "a long string": "x" * (2**16 + 1),
    "many bytes": "\u00e9" * (2**15 + 1),
    "an array": np.zeros(3),
}


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"rate": np.float32(1)}, ""),
        ({"tags": {1, 2}}, ""),
        ({1: 2}, ""),
        (nested(22), "containers nested"),
        (nested(5000), "containers nested"),
        (ENDLESS, "containers nested"),
        ({"x": Unwilling()}, "TypeError: Unwilling"),
        *(
            (recipe, "its recipe holds an array")
            for value in TOO_MUCH.values()
            for recipe in ({"a": value}, {"a": [(value,)]}, {"a": {"b": value}})
        ),
    ],
)
def test_recipes_that_cannot_be_saved(tmp_path, recipe, reason):
    net = network_of(ann.get_backend("cpu"), 5, 4, 3)
    net.recipe = recipe
    with pytest.raises(ValueError, match=f"this model cannot be saved: ({reason})"):
        net.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


PAIR = (1, 2)


@pytest.mark.parametrize(
    "recipe",
    [
        {"a": PAIR, "b": PAIR},
        {"a": [PAIR, (PAIR, PAIR)], "b": ((), ())},
        {"a": 2**63 - 1, "b": -(2**63), "c": 2**40},
        {"a": "x" * 2**16, "\u00e9": "\u00e9" * 2**15},
        {"a": [], "b": {}, "c": None, "d": [True, 1.5, -0.0]},
    ],
    ids=["a tuple twice", "tuples in tuples", "large ints", "long strings", "empty containers"],
)
@pytest.mark.parametrize("form", [".pickle", ".safetensors"])
def test_recipes_that_can_be_saved(tmp_path, recipe, form):
    net = network_of(ann.get_backend("cpu"), 5, 4, 3)
    net.recipe = recipe
    path = tmp_path / f"model{form}"
    if form == ".safetensors":
        optional("safetensors.numpy")
        path.write_bytes(safetensors_bytes(net))
        recipe = json.loads(json.dumps(recipe))  # tuples are lists there
    else:
        net.save(path)
    assert ann.load_model(path).recipe == recipe


def test_equal_strings_give_equal_bytes(tmp_path):
    """Whether two equal strings are the same object must not change the file."""
    files = []
    for text in ("sigmoid", "".join(["sig", "moid"])):
        net = network_of(ann.get_backend("cpu"), 5, 4, 3)
        net.recipe = {"activation": text, "again": "sigmoid"}
        files.append(net.to_bytes())
    assert files[0] == files[1]


def test_a_wrong_device_is_not_the_file_s_fault(saved):
    with pytest.raises(ValueError, match="device: unknown 'tpu'"):
        ann.load_model(saved, device="tpu")


@pytest.mark.parametrize("name", ["network", "committee"])
def test_model_files_from_before_the_redesign(tmp_path, name):
    """Commit 1ac3de6, the first with version 3, wrote them."""
    path = ROOT / f"tests/files/saved/{name}.model"
    contents = pickle.loads(path.read_bytes())
    images, outputs = (contents["examples"][key] for key in ("images", "outputs"))
    net = ann.load_model(path)
    np.testing.assert_allclose(net.apply(images), outputs, rtol=1e-5, atol=1e-6)
    again = pickle.loads(net.to_bytes())
    for key in contents.keys() - {"layers", "examples", "sha256"}:
        assert again[key] == contents[key]
    for old, new in zip(contents["layers"], again["layers"], strict=True):
        assert old.keys() == new.keys() and old["activation"] == new["activation"]
        np.testing.assert_array_equal(old["weight"], new["weight"])
        np.testing.assert_array_equal(old["bias"], new["bias"])
    np.testing.assert_array_equal(again["examples"]["images"], images)
    np.testing.assert_allclose(again["examples"]["outputs"], outputs, rtol=1e-5, atol=1e-6)


def test_models_that_other_programs_wrote(saved):
    """With NumPy's own arrays, in other types and byte orders."""
    expected = ann.load_model(saved)
    contents = pickle.loads(saved.read_bytes())

    def write(layers, protocol):
        changed = contents | {"layers": layers}
        saved.write_bytes(pickle.dumps(changed | {"sha256": checksum(changed)}, protocol=protocol))

    for protocol in range(2, 6):
        for kind in ("<f4", ">f4", "<f8"):
            layers = [
                layer | {name: layer[name].astype(kind) for name in ("weight", "bias")}
                for layer in contents["layers"]
            ]
            write(layers, protocol)
            np.testing.assert_array_equal(ann.load_model(saved).parameters, expected.parameters)
    layers[1]["bias"] = np.full(3, 1e39)  # more than float32 holds
    write(layers, protocol)
    with pytest.raises(ann.ModelFileError, match="layer 2: bias holds numbers that are not finite"):
        ann.load_model(saved)


def test_a_model_pickled_again_is_the_same_model(saved):
    """By the pickle module: the checksum is that of the contents, however they are written."""
    expected = ann.load_model(saved).to_bytes()
    contents = pickle.loads(saved.read_bytes())
    for protocol in range(2, 6):
        saved.write_bytes(pickle.dumps(contents, protocol=protocol))
        assert ann.load_model(saved).to_bytes() == expected


def test_damage_is_distinguished_from_wrong_contents(saved):
    whole = saved.read_bytes()
    weights = pickle.loads(whole)["layers"][0]["weight"]
    place = whole.index(weights.tobytes())
    for changed in (
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        whole.replace(b"tanh", b"relu", 1),
    ):
        saved.write_bytes(changed)
        with pytest.raises(
            ann.ModelFileError, match="damaged or edited after it was saved: its SHA-256 does not"
        ):
            ann.load_model(saved)
    saved.write_bytes(whole)
    rewrite(saved, lambda contents: contents.update(loss="hinge"))
    with pytest.raises(
        ann.ModelFileError, match=r"unknown .*; its SHA-256 is right, so it was not damaged"
    ):
        ann.load_model(saved)
    rewrite(saved, lambda contents: contents.update(loss="cross-entropy"))
    rewrite(saved, lambda contents: contents["layers"][0].update(activation="mine"))
    with pytest.raises(
        ann.ModelFileError,
        match=r"layer 1: unknown activation 'mine'; known: .*--import FILE[)]$",
    ):
        ann.load_model(saved)  # which may be a user's own


def test_a_loaded_model_works(backend, saved):
    contents = pickle.loads(saved.read_bytes())
    images, outputs = (contents["examples"][name] for name in ("images", "outputs"))
    assert images.shape == (16, 5) and images.dtype == np.uint8 and outputs.shape == (16, 3)
    net = ann.load_model(saved, backend)
    np.testing.assert_allclose(net.apply(images), outputs, rtol=1e-5, atol=1e-6)
    rewrite(saved, lambda c: c["examples"].update(outputs=outputs + np.float32(0.009)))
    ann.load_model(saved, backend)
    rewrite(saved, lambda c: c["examples"].update(outputs=outputs + np.float32(0.02)))
    with pytest.raises(ann.ModelFileError, match="its self-test fails: its outputs here differ"):
        ann.load_model(saved, backend)


def test_the_first_training_images_become_examples(backend, tmp_path):
    data = ann.load_dataset(write_mnist_like(tmp_path / "small"))
    net = network_of(backend, 64, 12, 10)
    ann.fit(net, data, ann.Recipe(epochs=1, batch_size=100))
    net.save(tmp_path / "model")
    contents = pickle.loads((tmp_path / "model").read_bytes())
    np.testing.assert_array_equal(
        contents["examples"]["images"], data.train_images[:16].reshape(16, 64)
    )
    for twin in (
        ann.load_model(tmp_path / "model"),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        net.member(0),
    ):
        assert twin.to_bytes() == net.to_bytes()


def test_outputs_that_depend_on_rounding_are_not_examples(tmp_path):
    """Such a network can be saved, and still loads on any machine."""
    layers = [{"input_dim": 4, "output_dim": 2, "activation": "sigmoid"}]
    net = ann.NeuralNetwork(
        layers,
        parameters=np.array([1e9, -1e9, 1e9, -1e9, 0, 0, 0, 0, -1, 1], dtype=np.float32) * 1e4,
    )
    net.self_test_images = np.full((16, 4), 100, dtype=np.uint8)
    net.save(tmp_path / "model")
    assert pickle.loads((tmp_path / "model").read_bytes())["examples"] is not None
    net.parameters[:] = np.array([1, 1, 1, 1, -2, -2, 0, 0, 0, 0], dtype=np.float32) * 1e9
    net.save(tmp_path / "model")
    assert pickle.loads((tmp_path / "model").read_bytes())["examples"] is None
    ann.load_model(tmp_path / "model")


def test_weights_that_overflow_cause_no_warning(tmp_path):
    layers = [
        {"input_dim": 2, "output_dim": 2, "activation": name}
        for name in ("relu", "relu", "softmax")
    ]
    net = ann.NeuralNetwork(layers, parameters=np.full(18, 3e38, dtype=np.float32))
    net.save(tmp_path / "model")
    assert pickle.loads((tmp_path / "model").read_bytes())["examples"] is None
    examples = {"images": np.ones((1, 2), np.uint8), "outputs": np.ones((1, 2), np.float32)}
    rewrite(tmp_path / "model", lambda contents: contents.update(examples=examples))
    with pytest.raises(ann.ModelFileError, match="its self-test fails"):
        ann.load_model(tmp_path / "model")


def test_float64_networks_whose_answers_change_in_float32(tmp_path):
    """The file holds float32. If rounding changes the answers, it has no examples."""
    layers = [{"input_dim": 2, "output_dim": 1, "activation": "identity"}]
    net = ann.NeuralNetwork(layers, "quadratic", dtype="float64", parameters=[1e9 + 1, -1e9, 0])
    net.self_test_images = np.array([[9, 9], [5, 5]], dtype=np.uint8)
    net.save(tmp_path / "model")
    ann.load_model(tmp_path / "model")
    for value in (1e25, 1e300, 1e-300):
        net.parameters[:] = value
        with np.errstate(all="raise"):
            try:
                net.save(tmp_path / "model")
                ann.load_model(tmp_path / "model")
            except ValueError as error:
                assert value == 1e300 and "not finite" in str(error)


def test_networks_of_many_inputs_carry_fewer_random_examples():
    layers = [{"input_dim": 400_000, "output_dim": 1, "activation": "sigmoid"}]
    net = ann.NeuralNetwork(layers)
    assert len(pickle.loads(net.to_bytes())["examples"]["images"]) == 2
    net = ann.NeuralNetwork([{**layers[0], "input_dim": 2**20}])
    assert len(pickle.loads(net.to_bytes())["examples"]["images"]) == 1
    net = ann.NeuralNetwork([{**layers[0], "input_dim": 2**20 + 1}])
    with pytest.raises(
        ValueError,
        match=r"cannot be saved: layer 1: 'input_dim' is 1048577, .* number from 1 to 1048576",
    ):
        net.to_bytes()


def test_custom_examples(saved):
    net = ann.load_model(saved)
    assert net.self_test_images.base is None  # it does not keep the file in memory
    images = np.arange(20, dtype=np.uint8).reshape(4, 5)
    net.self_test_images = images
    images[:] = 0
    assert net.self_test_images.sum() == sum(range(20))
    for wrong in (
        images / 255.0,
        np.zeros((17, 5), np.uint8),
        np.zeros((4, 6), np.uint8),
        [[1] * 5],
        "x",
        3,
    ):
        with pytest.raises(ValueError, match="self_test_images: expected"):
            net.self_test_images = wrong
    net.self_test_images = None


def test_an_activation_that_raises(monkeypatch, saved):
    """A network with such a custom activation is saved without examples, and refused with them."""
    whole = saved.read_bytes()

    def fail(xp, z):
        raise RuntimeError("no")

    monkeypatch.setitem(ACTIVATIONS, "tanh", Activation("tanh", fail, fail))
    net = network_of(ann.get_backend("cpu"), 5, 4, 3, activation="tanh", output="softmax")
    net.save(saved)
    assert ann.load_model(saved).self_test_images is None
    saved.write_bytes(whole)
    with pytest.raises(ann.ModelFileError, match="its self-test fails"):
        ann.load_model(saved)


def test_names_of_files_are_shown_harmlessly(tmp_path):
    for name in ("a\nb\x1b[2J.pickle", "\udcff"):
        with pytest.raises(ann.ModelFileError) as caught:
            ann.load_model(tmp_path / name)
        assert str(caught.value).isprintable()


def test_without_memory_for_its_network(monkeypatch, saved):
    def fail(*unused):
        raise MemoryError

    monkeypatch.setattr("ann.files.model_file.parameter_vector", fail)
    with pytest.raises(ann.ModelFileError, match="there is not enough memory for its network"):
        ann.load_model(saved)
    monkeypatch.setattr("ann.files.model_file.read_pickle", fail)
    with pytest.raises(
        ann.ModelFileError,
        match="not a model file of this program: there is not enough memory for it",
    ):
        ann.load_model(saved)


def test_contents_instead_of_a_path(tmp_path):
    net = network_of(ann.get_backend("cpu"), 5, 3)
    for wrong in (net.to_bytes(), b"model.pickle", None, 3):
        with pytest.raises(TypeError, match=r"expected .*os.PathLike"):
            ann.load_model(wrong)
