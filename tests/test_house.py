"""Rules for the code that no result shows: which room may import which, which code may import an
array library, what may print, and what a training step may not do.
"""

import ast
import functools
import graphlib
import re
import subprocess
import sys

import numpy as np
import pytest

import ann
from ann.optim.registry import OPTIMIZERS, get_optimizer
from ann.optim.scalars import Scalars
from support import ROOT
from support.backends import make_backend
from support.networks import network_of

# A room or module of ann/ -> what it may import from outside itself. This is the design in a dozen
# lines: each builds on those above it.
MAY_IMPORT = {
    "installation": "",
    "errors": "installation",
    "spelling": "errors",
    "validation": "errors",
    "_version": "",
    "backends": "installation errors spelling",
    "nn": "errors spelling validation backends",
    "optim": "spelling backends",
    "files": "installation errors backends nn",
    "data": "errors spelling validation backends nn.random_bits files.atomic files.pickle",
    "neural_network": "errors validation backends nn files",
    "committee": "errors neural_network",
    "training": "installation errors spelling validation backends nn optim files data"
    " neural_network",
    "analysis": "errors validation files.atomic backends nn data neural_network training",
    "export": "errors backends nn files data.catalog neural_network",
    "estimator": "errors validation optim.registry data neural_network training",
    "cli": "installation errors spelling validation _version backends nn.layer_list files data"
    " neural_network committee training analysis",
    "__main__": "_version installation spelling cli",
    "__init__": "_version errors backends nn data neural_network committee training analysis",
}

# Code for every device: it computes with the backend's xp, and never with NumPy or CuPy themselves.
DEVICE_CODE = (
    "nn optim data.distortion neural_network training.adversarial training.batches"
    " training.checkpointer training.distributed training.early_stopping training.epoch_loss"
    " training.fit training.trainer training.training_data training.training_model"
)
ON_THE_HOST = {"nn.initializers", "nn.rng"}  # draw random numbers, the same for every device
IMPORT_CUPY = {"backends.gpu", "training.mpi"}
NAMES_ITS_CLASSES = {"estimator"}  # to check first that scikit-learn is installed
PRINT = {"__main__", "cli", "estimator"}  # the estimator only with verbose=True


def module_of(path):
    """ann/nn/layers.py -> nn.layers; a room's __init__.py -> the room."""
    return ".".join(path.relative_to(ROOT / "ann").with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_of(path): path for path in sorted((ROOT / "ann").rglob("*.py"))}


@functools.cache
def nodes_of(path):
    """The nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path):
    """The full names of the modules that a file imports, anywhere in it."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("ann.") in SOURCES else node.module


@functools.cache
def all_imports(module):
    """The full names of the modules that a module of ann imports."""
    return frozenset(imports(SOURCES[module]))


def imports_within(module):
    """The modules of ann that a module of ann imports."""
    return {name.removeprefix("ann.") for name in all_imports(module) if name.startswith("ann.")}


def within(module, places):
    """Whether the module is one of these modules or is in one of these rooms."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_table_says(room):
    for module in SOURCES:
        if within(module, [room]):
            for other in imports_within(module):
                allowed = within(other, [room, *MAY_IMPORT[room].split()])
                assert allowed, f"ann.{module} imports ann.{other}"


def test_the_table_is_complete_and_needed():
    assert {module.split(".")[0] for module in SOURCES} == set(MAY_IMPORT)
    for room, others in MAY_IMPORT.items():
        used = set().union(
            *(imports_within(module) for module in SOURCES if within(module, [room]))
        )
        for other in others.split():
            assert any(within(module, [other]) for module in used), (
                f"{room} no longer imports {other}"
            )


def test_no_import_goes_in_a_circle():
    graph = {module: imports_within(module) for module in SOURCES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(SOURCES)


def test_programs_are_short():
    for path in (ROOT / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 110, path


def test_rooms_are_few_and_empty_of_code():
    top = {path.stem for path in (ROOT / "ann").glob("*.py")}
    assert len(top) <= 9
    for path in (ROOT / "ann").rglob("*"):
        if path.is_dir() and path.name != "__pycache__":
            docstring, *others = ast.parse((path / "__init__.py").read_text()).body
            assert isinstance(docstring.value, ast.Constant)
            defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in others)
            assert not others or (path.name in NAMES_ITS_CLASSES and not defines), (
                f"{path}/__init__.py is more than a docstring"
            )


@pytest.mark.parametrize(
    "module", [module for module in SOURCES if within(module, DEVICE_CODE.split())]
)
def test_device_code_imports_no_array_library(module):
    roots = {name.split(".")[0] for name in all_imports(module)}
    libraries = {"numpy", "cupy", "scipy", "torch", "array_api_strict"}
    assert not roots & libraries or module in ON_THE_HOST


def test_only_the_gpu_s_backend_and_mpi_import_cupy():
    for module, path in SOURCES.items():
        constants = [node for node in nodes_of(path) if isinstance(node, ast.Constant)]
        words = {node.value for node in constants if isinstance(node.value, str)}
        words |= all_imports(module)  # as import_module has them
        assert module in IMPORT_CUPY or not any(re.match(r"cupy(\.|$)", word) for word in words), (
            module
        )


def test_the_library_prints_nothing():
    for module, path in SOURCES.items():
        for node in nodes_of(path):
            prints = isinstance(node, ast.Name) and node.id == "print"
            prints |= isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr")
            assert within(module, PRINT) or not prints, module


def test_the_library_the_programs_and_the_tests_keep_apart():
    programs = {
        path.stem for path in (ROOT / "scripts").glob("*.py") if "def main(" in path.read_text()
    }
    tests = {"support", "hostile", "tests", "conftest"}
    for module in SOURCES:
        roots = {name.split(".")[0] for name in all_imports(module)}
        assert not roots & (programs | tests | {"scripts"}), module
    for path in (ROOT / "scripts").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & (tests | programs), path
        assert not any(
            isinstance(node, ast.Constant) and node.value == "tests" for node in nodes_of(path)
        ), path
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text()  # parsing all tests takes half a second
        found = re.search(
            r"^ *(from|import) .*\b(?<!ann\.analysis\.)(test_\w+|conftest)\b", text, re.M
        )
        assert not found, f"{path}: {found[0]}"


def test_importing_is_light():
    heavy = ("cupy", "matplotlib", "tqdm", "torch")
    program = f"import sys, ann; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.strip() == "[]"


def test_a_program_starts_before_numpy_is_imported():
    program = "import sys, ann.cli.bootstrap; print('numpy' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_a_step_reads_nothing_back(monkeypatch, optimizer, output):
    """The strict device raises an error where code would wait for a GPU."""
    backend = make_backend("strict")
    net = network_of(backend, 5, 4, 3, output=output).network
    x, t = (
        backend.from_host(array)
        for array in (np.ones((4, 5), np.float32), np.eye(4, 3, dtype=np.float32))
    )
    scalars = Scalars(backend, net.dtype)
    vectors = net.parameters, net.gradients
    rule = get_optimizer(
        optimizer, backend, *vectors, [(5, 4), (4, 3)], scalars, momentum=0.9, weight_decay=0.1
    )
    rates = scalars.table(0, [0.1])

    def read(self, *args):
        raise AssertionError("an array was read back from the device")

    for name in (
        "__float__",
        "__int__",
        "__bool__",
        "__index__",
        "__complex__",
        "__array__",
        "__iter__",
        "to_device",
    ):
        monkeypatch.setattr(type(x), name, read, raising=False)
    for _ in range(3):
        loss = net.compute_gradients(x, t)
        scalars.vector[...] = rates[0, :]
        rule.update()
    with pytest.raises(AssertionError, match="read back"):
        float(loss)


def test_an_epoch_reads_back_at_its_end_only(monkeypatch, small_data):
    backend = make_backend("strict")
    dataset = ann.load_dataset(small_data)
    net = network_of(backend, 64, 8, 10)
    events = []
    array_type = type(net.parameters)
    for name in ("__float__", "__int__", "__bool__", "__index__", "__array__", "to_device"):
        original = getattr(array_type, name)
        monkeypatch.setattr(
            array_type,
            name,
            lambda self, *args, original=original, name=name: (
                events.append(name) or original(self, *args)
            ),
        )
    ann.fit(
        net,
        dataset,
        ann.Recipe(hidden=(8,), epochs=2, batch_size=50),
        [lambda report: events.append("epoch")],
        lambda size: events.append("batch"),
    )
    events = events[events.index("batch") :]
    assert (
        events == [*["batch"] * 6, "__float__", "to_device", "__array__", "epoch"] * 2
    )  # 12 steps are too few for hints


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu", "leaky-relu"])
def test_float32_throughout(activation):
    """A step creates no float64 array: NumPy would promote silently, but the strict device
    refuses.
    """
    backend = make_backend("strict")
    net = network_of(backend, 5, 4, 3, activation=activation).network
    x, t = (
        backend.from_host(array)
        for array in (np.ones((4, 5), np.float32), np.eye(4, 3, dtype=np.float32))
    )
    assert net.compute_gradients(x, t).dtype == backend.xp.float32
    assert net.forward(x).dtype == net.gradients.dtype == backend.xp.float32
