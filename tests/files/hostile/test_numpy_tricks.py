"""The parts of NumPy's own pickles, combined so that NumPy would crash, read any memory or fill
it.
"""

import struct

import numpy as np
import pytest

from ann.files.pickle.reader import read_pickle
from hostile.harness import assert_no_model
from hostile.pickles import RECONSTRUCT, arguments, in_containers, text, whole

NDARRAY = b"cnumpy\nndarray\n"
DTYPE = b"cnumpy\ndtype\n"
FROM = b"cnumpy._core.numeric\n_frombuffer\n"
CALL = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\n"  # a class of NumPy follows
ENCODE = b"c_codecs\nencode\n"
F4_STATE = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
F4 = DTYPE + b"(" + text("f4") + b"\x89\x88tR" + F4_STATE
FOUR = b"C\x04\0\0\0\0"
LITTLE, ROWS_FIRST = text("<f4"), text("C")


def array(shape=b"K\x01\x85", dtype=LITTLE, data=FOUR):
    return NDARRAY + b"(" + shape + dtype + data + b"tR"


def built(version=b"K\x01", shape=b"K\x01\x85", dtype=F4, fortran=b"\x89", data=FOUR):
    return RECONSTRUCT + b"(" + version + shape + dtype + fortran + data + b"tb"


def frombuffer(data=FOUR, dtype=F4, shape=b"K\x01\x85", order=ROWS_FIRST):
    return FROM + b"(" + data + dtype + shape + order + b"tR"


def long(value):
    data = value.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + data


def kind(code):
    return DTYPE + b"(" + text(code) + b"\x89\x88tR"


def state(*, version=3, order="<", rest=(None, None, None, -1, -1, 0)):
    return DTYPE + b"(" + text("f4") + b"\x89\x88tR" + arguments(version, order, *rest) + b"b"


SHAPES = {
    "huge": long(2**62) + b"\x85",
    "huge product": long(2**32) + long(2**32) + b"\x86",
    "wrapping to one": long(2**62) + long(4) + b"\x86",
    "negative": long(-1) + b"\x85",
    "minus one of two": long(-1) + long(-1) + b"\x86",
    "none": b")",
    "zero": b"K\x00\x85",
    "zero of many": long(2**40) + b"K\x00\x86",
    "float": b"G" + struct.pack(">d", 1.0) + b"\x85",
    "bool": b"\x88\x85",
    "text": text("1") + b"\x85",
    "list": b"]K\x01a",
    "number": b"K\x01",
    "none at all": b"N",
    "array": array() + b"\x85",
    "array alone": array(),
    "five axes": b"(" + b"K\x01" * 5 + b"t",
    "many axes": b"(" + b"K\x01" * 5000 + b"t",
    "two": b"K\x02\x85",
    "nested": b"K\x01\x85\x85",
}
TYPES = "O O8 |O V4 S4 U1 f2 f16 c8 i4 u4 i1 b1 ? m8 M8[D] (4,)u1 f float32 >f4 =f4 V0 a p P n"
TYPES = [
    *TYPES.split(),
    "<f4,<f4",
    "O,O",
    "f4, (2,)f4",
    "<f4 ",
    "f4\0",
    "",
    "x" * 1000,
    "{'a': 'f4'}",
]

CASES = {
    **{f"ndarray of shape {name}": array(shape=code) for name, code in SHAPES.items()},
    **{f"state of shape {name}": built(shape=code) for name, code in SHAPES.items()},
    **{f"buffer of shape {name}": frombuffer(shape=code) for name, code in SHAPES.items()},
    **{f"ndarray of {name!r}": array(dtype=text(name)) for name in TYPES},
    **{f"state of {name!r}": built(dtype=kind(name) + F4_STATE) for name in TYPES},
    **{f"buffer of {name!r}": frombuffer(dtype=kind(name)) for name in TYPES},
    "ndarray without bytes": array(data=b"N"),
    "ndarray at an offset": NDARRAY + b"(K\x01\x85" + text("<f4") + FOUR + b"K\x04tR",
    "ndarray with strides": NDARRAY + b"(K\x01\x85" + text("<f4") + FOUR + b"K\x00K\x7f\x85tR",
    "ndarray over an array": array(data=array()),
    "ndarray over text": array(data=text("abcd")),
    "ndarray over a name": array(data=NDARRAY),
    "ndarray of a type": array(dtype=F4),
    "ndarray alone": NDARRAY,
    "ndarray of nothing": NDARRAY + b")R",
    "a type alone": F4,
    "a type without an order": built(dtype=kind("f4")),
    "a type built twice": built(dtype=F4 + F4_STATE),
    "a type aligned": built(dtype=DTYPE + b"(" + text("f4") + b"\x88\x88tR" + F4_STATE),
    "a type not copied": built(dtype=DTYPE + b"(" + text("f4") + b"\x89\x89tR" + F4_STATE),
    "a type of a type": built(dtype=DTYPE + b"(" + F4 + b"\x89\x88tR"),
    "a type of ndarray": built(dtype=DTYPE + b"(" + NDARRAY + b"\x89\x88tR"),
    "a type with fields": built(dtype=state(rest=(None, ("a",), {"a": (1, 0)}, -1, -1, 0))),
    "a type with a base": built(dtype=state(rest=(("f4", (2,)), None, None, -1, -1, 0))),
    "a type with flags": built(dtype=state(rest=(None, None, None, -1, -1, 63))),
    "a type with a size": built(dtype=state(rest=(None, None, None, 8, 8, 0))),
    "a type with metadata": built(dtype=state(version=4, rest=(None, None, None, -1, -1, 0, {}))),
    "a type of version 2": built(dtype=state(version=2)),
    "a type of another order": built(dtype=state(order="=")),
    "a type of an order with no effect": built(dtype=state(order="|")),
    "a type of a long order": built(dtype=state(order="<<")),
    "a type with a list for an order": built(dtype=state(order=["<"])),
    "a type with a short state": built(
        dtype=DTYPE + b"(" + text("f4") + b"\x89\x88tR" + b"K\x03\x85b"
    ),
    "a type with no state": built(dtype=DTYPE + b"(" + text("f4") + b"\x89\x88tR" + b")b"),
    "reconstruct of a subclass": CALL + b"memmap\nK\x00\x85C\x01btR",
    "reconstruct of a matrix": CALL + b"matrix\nK\x00\x85C\x01btR",
    "reconstruct of a type": CALL + b"dtype\nK\x00\x85C\x01btR",
    "reconstruct of a shape": CALL + b"ndarray\n" + long(2**40) + b"\x85C\x01btR",
    "reconstruct of objects": CALL + b"ndarray\nK\x00\x85C\x01OtR",
    "reconstruct unbuilt": RECONSTRUCT,
    "reconstruct built twice": built() + b"(K\x01K\x01\x85" + F4 + b"\x89" + FOUR + b"tb",
    "state of version 2": built(version=b"K\x02"),
    "state of version True": built(version=b"\x88")[:-2] + b"t" + b"b0",
    "state with a list of objects": built(data=b"](" + NDARRAY + b"e"),
    "state with an order of text": built(fortran=text("x")),
    "state with too little": RECONSTRUCT + b"(K\x01K\x01\x85tb",
    "state with too much": RECONSTRUCT + b"(K\x01K\x01\x85" + F4 + b"\x89" + FOUR + b"Ntb",
    "state that is no tuple": RECONSTRUCT + b"]b",
    "state of a dict": b"}}b",
    "state of a list": b"]}b",
    "state of an array": array() + b"}b",
    "bytes used twice": b"\x80\x04"[2:] + FOUR + b"\x940" + array(data=b"h\x00") + b"\x85",
    "an unbuilt array used twice": RECONSTRUCT
    + b"\x94(K\x01K\x01\x85"
    + F4
    + b"\x89"
    + FOUR
    + b"tb0h\x00",
    "an array used twice": b"(" + array() + b"\x94h\x00t",
    "arguments used twice": b"(K\x01\x85" + text("<f4") + FOUR + b"t\x940" + NDARRAY + b"h\x00R",
    "arguments left over": b"(K\x01\x85" + text("<f4") + FOUR + b"t",
    "arguments in a list": b"](K\x01\x85" + text("<f4") + FOUR + b"ta",
    "buffer in another order": frombuffer(order=text("K")),
    "buffer without an order": FROM + b"(" + FOUR + F4 + b"K\x01\x85tR",
    "buffer over an array": frombuffer(data=array()),
    "encode to another codec": ENCODE + text("abcd") + text("zip") + b"\x86R",
    "encode with an error handler": ENCODE
    + b"("
    + text("abcd")
    + text("latin1")
    + text("x")
    + b"tR",
    "encode of bytes": ENCODE + FOUR + text("latin1") + b"\x86R",
    "encode of what is not latin1": ENCODE + text("a€") + text("latin1") + b"\x86R",
    "encode left over": ENCODE + text("abcd") + text("latin1") + b"\x86R",
    "a long text that is not latin1": ENCODE + text("a" * 70_000 + "€") + text("latin1") + b"\x86R",
    "a long text with one wide character": ENCODE
    + text("a" * 20_000_000 + "\U0001f600")
    + text("latin1")
    + b"\x86R",
    "a long text that is broken": ENCODE
    + b"X"
    + struct.pack("<I", 70_000)
    + b"\xc3" * 70_000
    + text("latin1")
    + b"\x86R",
    "a long text alone": text("a" * 70_000),
    "more text than there may be": (ENCODE + text("a" * 20_000_000) + text("latin1") + b"\x86R")
    * 2,
    "scalar": b"cnumpy._core.multiarray\nscalar\n(" + F4 + FOUR + b"tR",
    "an unpickler of ufuncs": b"cnumpy._core\n_ufunc_reconstruct\n"
    + arguments("os", "system")
    + b"R",
}


# What an ndarray with its own state or over a buffer has in common with one that is called
VARIANTS = ("state of shape", "state of '", "buffer of")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            code,
            id=name,
            marks=pytest.mark.slow if len(code) > 10**6 or name.startswith(VARIANTS) else (),
        )
        for name, code in CASES.items()
    ],
)
def test_trick(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    places = in_containers(code) if len(code) < 100_000 else {"alone": code}
    for place in places.values():
        assert_no_model(tmp_path / "model", whole(place))


def test_the_tricks_begin_with_what_is_allowed():
    """So they are refused because of what is wrong in them."""
    zero = np.zeros(1, dtype="f4")
    for code in (
        array(),
        built(),
        frombuffer(),
        array(data=ENCODE + text("abcd") + text("latin1") + b"\x86R"),
    ):
        found = read_pickle(whole(code))
        assert found.dtype == zero.dtype and found.shape == (1,)
