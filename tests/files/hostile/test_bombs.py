"""Files that would take all memory or all time, and other broken streams."""

import pickle
import struct

import numpy as np
import pytest

import ann
from ann.files.model_schema import FORMAT
from hostile.harness import assert_no_model
from hostile.pickles import in_a_model, in_containers, text, whole
from support.model_files import model_bytes

HUGE = {
    "SHORT_BINUNICODE": b"\x8c\xff",
    "BINUNICODE": b"X\xff\xff\xff\xff",
    "BINUNICODE8": b"\x8d" + struct.pack("<Q", 2**63 - 1),
    "SHORT_BINBYTES": b"C\xff",
    "BINBYTES": b"B\xff\xff\xff\xff",
    "BINBYTES8": b"\x8e" + struct.pack("<Q", 2**63 - 1),
    "BINBYTES8 negative": b"\x8e" + b"\xff" * 8,
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**40),
    "BINSTRING": b"T\xff\xff\xff\x7f",
    "SHORT_BINSTRING": b"U\xff",
    "LONG1": b"\x8a\xff",
    "LONG1 of nine bytes": b"\x8a\x09" + b"\xff" * 9,
    "LONG4": b"\x8b\xff\xff\xff\x7f",
    "LONG4 of a megabyte": b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20,
    "LONG of digits": b"L" + b"9" * 100_000 + b"L\n",
    "INT of digits": b"I" + b"9" * 100_000 + b"\n",
    "FLOAT of digits": b"F" + b"9" * 100_000 + b"\n",
    "STRING": b"S'" + b"x" * 100_000 + b"'\n",
    "UNICODE": b"V" + b"x" * 100_000 + b"\n",
    "GLOBAL without an end": b"c" + b"x" * 100_000,
    "INST without an end": b"(i" + b"x" * 100_000,
    "LONG_BINPUT": b"Nr\xff\xff\xff\xff",
    "LONG_BINPUT of a billion": b"Nr" + struct.pack("<I", 10**9),
    "LONG_BINGET": b"Nj\xff\xff\xff\xff",
    "PUT": b"Np999999999999\n",
    "GET": b"Ng999999999999\n",
    "FRAME": b"\x95" + b"\xff" * 8 + b"N",
}
BROKEN = {
    "nothing": b"",
    "MARK": b"(",
    "marks": b"(" * 1000,
    "POP": b"0",
    "POP_MARK": b"1",
    "DUP": b"N2",
    "doubled by DUP": b"]" + b"2a" * 40,
    "two values": b"NN",
    "STOP in the middle": b"N.N",
    "PROTO in the middle": b"N\x80\x04",
    "a frame that is cut": b"\x95\x00",
    "TUPLE without a mark": b"t",
    "TUPLE1 of nothing": b"\x85",
    "TUPLE3 of two": b"NN\x87",
    "TUPLE2 of a mark": b"(N\x86",
    "APPEND to nothing": b"Na",
    "APPEND to a dict": b"}Na",
    "APPEND to a tuple": b")Na",
    "APPEND of itself": b"]\x94h\x00a",
    "APPENDS without a mark": b"]e",
    "APPENDS to a mark": b"((Ne",
    "SETITEM of a list": b"]NNs",
    "SETITEM with a list for a key": b"}]Ns",
    "SETITEM with a number for a key": b"}K\x01Ns",
    "SETITEM with a bool for a key": b"}\x88Ns",
    "SETITEM twice": b"}" + text("a") + b"Ns" + text("a") + b"Ns",
    "SETITEMS twice": b"}(" + text("a") + b"N" + text("a") + b"Nu",
    "SETITEMS of three": b"}(" + text("a") + b"N" + text("b") + b"u",
    "SETITEM of itself": b"}\x94" + text("a") + b"h\x00s",
    "MEMOIZE of nothing": b"\x94",
    "BINPUT of nothing": b"q\x00",
    "BINPUT out of order": b"Nq\x01",
    "BINPUT twice": b"Nq\x00q\x00",
    "BINGET of nothing": b"h\x00",
    "BINGET of a mark": b"(\x94h\x00",
    "BINGET of a list": b"]\x94h\x00\x86",
    "STACK_GLOBAL of nothing": b"\x93",
    "STACK_GLOBAL of numbers": b"K\x01K\x02\x93",
    "GLOBAL of one line": b"cnumpy\n",
    "GLOBAL of no letters": b"c\n\n",
    "GLOBAL that is not UTF-8": b"c\xff\n\xff\n",
    "REDUCE of nothing": b"R",
    "REDUCE of numbers": b"K\x01)R",
    "REDUCE without a tuple": b"cnumpy\nndarray\nNR",
    "BUILD of nothing": b"b",
    "BUILD of a number": b"K\x01)b",
    "text that is not UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
    "text with half a character": b"X\x01\x00\x00\x00\xc3",
    "text with a surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80",
    "an int that is cut": b"J\x00",
    "a float that is cut": b"G\x00\x00",
    "an instruction that nobody knows": b"\xff",
    "EMPTY_SET": b"\x8f",
    "FROZENSET": b"(\x91",
    "a newline": b"\n",
}


def doubling(levels):
    """A tuple of two equal tuples, and so on: exponentially large when it is printed or copied."""
    return b"N\x94" + b"".join(b"h%ch%c\x86\x94" % (level, level) for level in range(levels))


def layers_of(count):
    """A model with this many layers of one weight each."""
    weight = pickle.dumps({"weight": np.ones((1, 1), "f4"), "bias": np.ones(1, "f4")}, protocol=4)[
        2:-1
    ]
    layer = (
        b"}("
        + text("input_dim")
        + b"K\x01"
        + text("output_dim")
        + b"K\x01"
        + text("activation")
        + text("relu")
    )
    return b"](" + (layer + weight + b"u") * count + b"e"


ENCODED = b"c_codecs\nencode\n\x94" + text("x" * 60_000) + b"\x94" + text("latin1") + b"\x94](00"
ENCODED = ENCODED[:-4] + b"\x86R0" + b"h\x00h\x01h\x02\x86R0" * 14_000 + b"N"
ZEROS = b"cnumpy\nndarray\n(J" + struct.pack("<i", 10**7) + b"\x85" + text("|u1")
ZEROS += b"B" + struct.pack("<I", 10**7) + bytes(10**7) + b"tR"

LARGE = {
    "deep lists": b"]" * 90_000 + b"a" * 89_999,
    "deep tuples": b"N" + b"\x85" * 90_000,
    "a deep tuple as a name": text("numpy") + b"N" + b"\x85" * 90_000 + b"\x93",
    "deep dicts": (b"}" + text("a")) * 30_000 + b"N" + b"s" * 30_000,
    "doubling": doubling(60),
    "numbers": b"](" + b"K\x01" * 99_990 + b"e",
    "too many instructions": b"](" + b"K\x01" * 100_001 + b"e",
    "lists": b"](" + b"]" * 99_990 + b"e",
    "dicts": b"](" + b"}" * 99_990 + b"e",
    "long texts": b"](" + text("x" * 60_000) * 300 + b"e",
    "texts of wide characters": b"](" + text("x" * 60_000 + "\U0001f600") * 60 + b"e",
    "one text used often": b"](" + text("\x01" * 60_000) + b"\x94" + b"h\x00" * 99_000 + b"e",
    "a short text used often": b"](" + text("\x01" * 200) + b"\x94" + b"h\x00" * 99_000 + b"e",
    "texts as bytes": ENCODED,
    "an array as a shape": b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    + ZEROS
    + b"\x85C\x01btR",
    "memoized": b"N" + b"\x94" * 99_000,
    "names": b"](" + b"cnumpy\nndarray\n0" * 30_000 + b"e",
    "types": b"](" + b"cnumpy\ndtype\n(" * 10_000 + b"e",
    "keys": b"}(" + b"".join(text(str(number)) + b"N" for number in range(40_000)) + b"u",
    "keys of one hash": b"}("
    + b"".join(text("a" * number) + b"N" for number in range(2000))
    + b"u",
    "many layers": layers_of(2000),
    "marks": b"(" * 200_000,
    "bytes": b"B" + struct.pack("<I", 20 * 2**20) + bytes(20 * 2**20),
    "bytes in pieces": b"](" + (b"B" + struct.pack("<I", 2**20) + bytes(2**20)) * 20 + b"e",
}


@pytest.mark.parametrize("family", [HUGE, BROKEN], ids=["huge", "broken"])
@pytest.mark.slow
def test_small_streams(tmp_path, family):
    for code in family.values():
        places = in_containers(code) if len(code) < 10_000 else {"alone": code}
        for place in places.values():
            assert_no_model(tmp_path / "model", whole(place))
            assert_no_model(tmp_path / "model", whole(place)[:-1])
        for protocol in (2, 5):
            assert_no_model(tmp_path / "model", whole(code, protocol))


@pytest.mark.parametrize("code", LARGE.values(), ids=list(LARGE))
@pytest.mark.slow
def test_large_streams(tmp_path, code):
    assert_no_model(tmp_path / "model", whole(in_a_model(code)["layers"]))


@pytest.mark.parametrize(
    "first",
    [b"\x80", b"\x80\x00", b"\x80\x01", b"\x80\x06", b"\x80\xff", b"", b"PK\x03\x04", b"\x93NUMPY"],
)
def test_other_beginnings(tmp_path, first):
    assert_no_model(tmp_path / "model", first + b"N.")
    assert_no_model(tmp_path / "model", first)


@pytest.mark.slow
def test_the_largest_files(tmp_path):
    """256 MiB of zeros, of instructions, and of one array."""
    for data in (bytes(2**28), b"\x80\x04" + b"N" * (2**28 - 2)):
        assert_no_model(tmp_path / "model", data)
    size = 2**28 - 200
    head = (
        b"\x80\x04}(" + text("format") + text(FORMAT) + text("version") + b"K\x03" + text("layers")
    )
    array = b"cnumpy\nndarray\n(J" + struct.pack("<i", size // 4) + b"\x85" + text("<f4")
    array += b"B" + struct.pack("<I", size // 4 * 4) + bytes(size // 4 * 4) + b"tR"
    assert_no_model(tmp_path / "model", head + array + b"u.")


def layer(*shape, activation="identity", **options):
    """A layer with weights of this shape, (I, O) or (K, I, O)."""
    weight, bias = np.zeros(shape, "f4", **options), np.zeros((*shape[:-2], shape[-1]), "f4")
    return {
        "input_dim": shape[-2],
        "output_dim": shape[-1],
        "activation": activation,
        "weight": weight,
        "bias": bias,
    }


def wrong_examples(inputs, outputs, count=16):
    """Examples in which only the last number is wrong."""
    expected = np.zeros((count, outputs), "f4")
    expected[-1, -1] = -9
    return {"images": np.ones((count, inputs), "u1"), "outputs": expected}


def pairs(count, width, activation):
    """Layers from one input to many and back, again and again."""
    return [layer(1, width, activation=activation), layer(width, 1, activation=activation)] * count


WIDEST = 2**20
MODELS = {
    "wide": ([layer(1, 10**6, activation="gelu"), layer(10**6, 1)], wrong_examples(1, 1, 1)),
    "of many members": ([layer(10**6, 1, 1)], wrong_examples(1, 1, 1)),
    "of several layers": ([layer(1, 1) for _ in range(200)], wrong_examples(1, 1)),
    "of many layers and members": (
        [layer(1000, 1, 1, activation="gelu") for _ in range(1500)],
        wrong_examples(1, 1, 5),
    ),
    "of a wide layer and many": (
        [layer(2, WIDEST, 1), *(layer(2, 1, 1, activation="gelu") for _ in range(1500))],
        wrong_examples(WIDEST, 1, 1),
    ),
    "of many inputs": ([layer(10**6, 1)], wrong_examples(10**6, 1, 1)),
    "of many outputs": ([layer(1, 10**6)], wrong_examples(1, 10**6, 1)),
    "of wide members": (
        [layer(20, 1, 10**5, activation="swish"), layer(20, 10**5, 1)],
        wrong_examples(1, 1, 1),
    ),
    "large": ([layer(8000, 7800)], wrong_examples(8000, 7800)),
    "of the widest layers": (
        [layer(1, WIDEST, activation="gelu"), layer(WIDEST, 60)],
        wrong_examples(1, 60, 1),
    ),
    "of most inputs": ([layer(WIDEST, 60)], wrong_examples(WIDEST, 60, 1)),
    "of most outputs": ([layer(58, WIDEST)], wrong_examples(58, WIDEST, 1)),
    "of the widest layers, again and again": (pairs(20, WIDEST, "gelu"), wrong_examples(1, 1, 1)),
    "of wide layers, again and again": (pairs(300, 2**16, "softplus"), wrong_examples(1, 1, 1)),
    "of many tiny members": (
        [layer(2**19, 2, 2, activation="softmax") for _ in range(8)],
        wrong_examples(2, 2, 1),
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_models_that_are_refused_for_their_examples_alone(tmp_path, name):
    """They are computed a few megabytes at a time, before anything of their size is built."""
    layers, examples = MODELS[name]
    layers = [{**one, "weight": one["weight"].copy(), "bias": one["bias"].copy()} for one in layers]
    data = model_bytes(layers, examples=examples)
    del layers
    message = assert_no_model(tmp_path / "model", data)
    assert "its self-test fails" in message


def test_too_many_examples(tmp_path):
    message = assert_no_model(
        tmp_path / "model", model_bytes([layer(100, 1, 4000)], examples=wrong_examples(1, 4000, 3))
    )
    assert "examples: 3 images, expected 1 to 2 for this network" in message


def test_arrays_in_columns(tmp_path):
    """Hashing and multiplying them would jump about in memory."""
    columns = [layer(2000, 1000)]
    columns[0]["weight"] = np.asfortranarray(columns[0]["weight"])
    data = model_bytes([layer(2000, 1000)], examples=None).replace(
        b"\x89", b"\x88"
    )  # NumPy's sign for such an array
    assert_no_model(tmp_path / "model", data)
    with pytest.raises(ValueError, match="not in C order"):
        model_bytes(columns, examples=None)


def test_members_that_are_too_wide_together(tmp_path):
    message = assert_no_model(tmp_path / "model", model_bytes([layer(3, 1, WIDEST)]))
    assert "its members together have layers of more than 2097152 numbers" in message


@pytest.mark.slow
def test_tiny_members_with_many_layers(tmp_path):
    """Softmax takes its time for each row, even a short one."""
    message = assert_no_model(
        tmp_path / "model",
        model_bytes([layer(2**19, 2, 2, activation="softmax") for _ in range(9)]),
    )
    assert "its members together have more than 4194304 layers" in message


def test_outputs_that_depend_on_the_order_of_a_sum(tmp_path):
    """The check before the network is built decides, so no network is built only to be refused."""
    weights = layer(3000, 1000)
    weights["weight"][0, 0], weights["weight"][2900, 0], weights["bias"][0] = -(2.0**30), 1, 2.0**30
    images = np.full((1, 3000), 255, "u1")
    outputs = np.zeros((1, 1000), "f4")
    outputs[0, 0] = 1  # if the bias comes first and the small weight last
    (tmp_path / "model").write_bytes(
        model_bytes([weights], examples={"images": images, "outputs": outputs})
    )
    net = ann.load_model(tmp_path / "model")
    assert abs(net.apply(images) - outputs).max() > 0.5


def test_too_little_memory_for_examples(tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(model_bytes([layer(4, 3)], examples=wrong_examples(4, 3)))

    def full(*arguments):
        raise MemoryError

    monkeypatch.setattr("ann.files.self_test.get_backend", full)
    with pytest.raises(ann.ModelFileError, match="not enough memory for its network"):
        ann.load_model(tmp_path / "model")
