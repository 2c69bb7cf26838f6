"""Pickles that reach a callable are refused, in every way that there is; many harm Python's
reader.
"""

import datetime
import functools
import json
import operator
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

from hostile.harness import assert_no_model
from hostile.pickles import called, in_a_model, in_containers, named, other_ways, whole

TARGETS = {
    "os": ("os", "mkdir", "hacked"),
    "posix": ("posix", "mkdir", "hacked"),
    "nt": ("nt", "mkdir", "hacked"),
    "builtins": ("builtins", "exec", "import os; os.mkdir('hacked')"),
    "Python 2": ("__builtin__", "eval", "__import__('os').mkdir('hacked')"),
    "subprocess": ("subprocess", "call", ["mkdir", "hacked"]),
    "getattr": ("builtins", "getattr", "x", "__class__"),
    "import": ("importlib", "import_module", "antigravity"),
    "numpy": ("numpy", "load", "hacked"),
    "numpy, deep": (
        "numpy.testing._private.utils",
        "runstring",
        "import os; os.mkdir('hacked')",
        {},
    ),
    "numpy scalar": ("numpy._core.multiarray", "scalar", "x"),
    "dotted": ("numpy", "ndarray.__class__", "x"),
    "dunder": ("numpy", "__builtins__", "x"),
    "ours": ("ann", "register_activation", "relu2", 1, 2),
    "ours, saving": ("ann.files.atomic", "write_atomically", "hacked", b"x"),
    "main": ("__main__", "hacked", 1),
    "codecs": ("_codecs", "decode", "x"),
    "empty": ("", "", ""),
    "line": ("os\nsystem", "x\n", ""),
}
WAYS = [
    (f"{target}, {naming}, {way}", code)
    for target, (module, name, *values) in TARGETS.items()
    for naming, function in named(module, name).items()
    for way, code in called(function, module, name, *values).items()
    if naming == "GLOBAL" or way == "REDUCE"
]
WAYS += other_ways().items()


QUICK = ("os", "numpy", "ours", *other_ways())  # of another package, of one allowed, of this one


@pytest.mark.parametrize(
    ("protocol", "target"),
    [
        pytest.param(4, target, marks=() if target in QUICK else pytest.mark.slow)
        for target in (*TARGETS, *other_ways())
    ]
    + [pytest.param(2, "os", marks=pytest.mark.slow)],
)
def test_every_way_to_a_callable(tmp_path, protocol, target):
    ways = [(name, code) for name, code in WAYS if name == target or name.startswith(f"{target}, ")]
    assert ways
    for name, code in ways:
        places = in_a_model(code) if target in ("os", *other_ways()) else in_containers(code)
        for place, whole_code in places.items():
            print(name, place)  # shown if it fails
            assert_no_model(tmp_path / "model", whole(whole_code, protocol))


CHILD = """
import json, os, pickle, sys
done = []
for name, code in json.loads(sys.stdin.read()):
    try:
        pickle.loads(bytes.fromhex(code))
    except BaseException:
        pass
    if os.path.isdir("hacked"):
        done.append(name)
        os.rmdir("hacked")
print(json.dumps(done))
"""


def test_the_attacks_are_real(tmp_path):
    """They harm Python's own reader, which runs in another process here."""
    cases = [
        (name, whole(code).hex()) for name, code in WAYS if name.startswith(("os,", "builtins,"))
    ]
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(cases),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    done = json.loads(child.stdout)
    for way in ("REDUCE", "OBJ", "INST", "in place of an array's bytes", "as a key", "in a set"):
        assert f"os, GLOBAL, {way}" in done
    for naming in ("STACK_GLOBAL", "of the memo", "kept in the memo", "put by number"):
        assert f"builtins, {naming}, REDUCE" in done
    assert len(done) > 20


class Reduced:
    """Is pickled as it is told."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce_ex__(self, protocol):
        return self.reduced


class Plain:
    def __init__(self):
        self.a = 1


OBJECTS = {
    "system": Reduced(os.system, ("mkdir hacked",)),
    "with a state": Reduced(os.mkdir, ("hacked",), {"a": 1}),
    "with items": Reduced(list, (), None, iter([1, 2]), None),
    "with a setter": Reduced(list, (), None, None, None, operator.setitem),
    "an object": Plain(),
    "partial": functools.partial(os.mkdir, "hacked"),
    "getter": operator.attrgetter("__class__"),
    "caller": operator.methodcaller("mkdir", "hacked"),
    "module": Reduced(__import__, ("antigravity",)),
    "code": Reduced(eval, ("__import__('os').mkdir('hacked')",)),
    "class": Reduced(type, ("X", (), {})),
    "namespace": types.SimpleNamespace(a=1),
    "complex": 1j,
    "set": {1, 2},
    "frozen set": frozenset({1}),
    "range": range(3),
    "slice": slice(1, 2),
    "bytes": b"x" * 10,
    "byte array": bytearray(b"x"),
    "time": datetime.datetime(2026, 1, 1),
    "exception": ValueError("x"),
    "function": len,
    "type": dict,
    "ellipsis": ...,
    "not implemented": NotImplemented,
    "huge int": 1 << 100,
    "generator": np.random.default_rng(0),
    "random state": np.random.RandomState(0),
    "ufunc": np.add,
    "scalar": np.float32(1),
    "bool scalar": np.bool_(1),
    "void": np.void(b"x"),
    "dtype": np.dtype("f4"),
    "record type": np.dtype([("a", "f4"), ("b", "O")]),
    "masked": np.ma.array([1.0], mask=[True]),
    "matrix": np.ones((2, 2)).view(np.matrix) if hasattr(np, "matrix") else None,
    "records": np.rec.array([(1, 2.0)]),
    "chars": np.char.array(["a"]),
    "objects": np.array([print, len]),
    "attack in an array": np.array([Reduced(os.mkdir, ("hacked",))]),
    "strings": np.array(["a", "b"]),
    "dates": np.array(["2026-01-01"], dtype="M8[D]"),
    "halves": np.zeros(3, dtype="f2"),
    "long doubles": np.zeros(3, dtype=np.longdouble),
    "complex numbers": np.zeros(3, dtype="c8"),
    "ints": np.zeros(3, dtype="i8"),
    "bools": np.zeros(3, dtype=bool),
    "no axes": np.float32(1) * np.ones((), dtype="f4"),
    "nothing": np.zeros((0, 3), dtype="f4"),
    "many axes": np.zeros((1,) * 6, dtype="f4"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_as_python_pickles_them(tmp_path, name):
    for value in (
        OBJECTS[name],
        {"format": "ann-mlp", "version": 3, "layers": [OBJECTS[name]], "recipe": OBJECTS[name]},
    ):
        for protocol in range(6):
            assert_no_model(tmp_path / "model", pickle.dumps(value, protocol=protocol))
