"""Laws of the house that no single result would show broken."""

import ast
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, make_backend, network_of

import ann
from ann.optimizers import OPTIMIZERS, get_optimizer

DEVICE_CODE = (
    "activations",
    "adversarial",
    "augment",
    "batch_norm",
    "batches",
    "checkpoints",
    "dropout",
    "early_stopping",
    "hashing",
    "layers",
    "images",
    "losses",
    "momentum",
    "adaptive",
    "muon",
    "network",
    "optimizers",
    "perceptron",
    "processes",
    "regularizers",
    "schedules",
    "steps",
    "training",
)

# each room and the rooms that it may import
ROOMS = [
    *(
        "errors",
        "spelling",
        "files",
        "plain_values",
        "pickle_arrays",
        "pickle_reader",
        "streams",
        "validation",
        "metrics",
        "pixels",
        "reports",
        "checkpoint_file",
    ),
    *("operations", "processes", "mpi", "blas", "cpu", "backend"),
    *(
        "initializers",
        "activations",
        "own_activation",
        "losses",
        "layers",
        "layer_list",
        "perceptron",
        "model_schema",
        "model_examples",
        "safetensors_file",
        "model_file",
        "network",
        "model_loading",
        "committee",
    ),
    *(
        "update_rules",
        "momentum",
        "adaptive",
        "muon",
        "optimizers",
        "regularizers",
        "hashing",
        "dropout",
        "adversarial",
        "augment",
        "batch_norm",
        "schedules",
        "sources",
        "downloads",
        "datasets",
        "default_rates",
        "recipes",
        "named_recipes",
        "images",
        "batches",
        "steps",
        "early_stopping",
        "checkpoints",
        "hints",
        "gradient_check",
        "training",
        "device_choice",
        "plots",
        "run_folder",
        "web_page",
        "exports",
        "handwriting",
        "estimator",
        "analysis",
    ),
]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "ann":
            yield from (f"ann.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("room", DEVICE_CODE)
def test_device_code_imports_no_array_library(room):
    roots = {name.split(".")[0] for name in imports(ROOT / "ann" / f"{room}.py")}
    assert not roots & {"numpy", "cupy", "scipy", "torch"}


def test_only_the_backend_says_cupy():
    for path in (ROOT / "ann").glob("*.py"):
        assert ("cupy" in path.read_text()) == (path.name == "backend.py"), path


def test_rooms_import_only_rooms_before_them():
    assert {path.stem for path in (ROOT / "ann").glob("*.py")} == {*ROOMS, "__init__"}
    for position, room in enumerate(ROOMS):
        for name in imports(ROOT / "ann" / f"{room}.py"):
            if name.startswith("ann."):
                assert ROOMS.index(name.removeprefix("ann.")) < position, f"{room} imports {name}"


def test_importing_is_light():
    program = (
        "import sys, ann; print([name for name in ('cupy', 'matplotlib', 'tqdm', 'torch') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_a_step_reads_nothing_back(monkeypatch, optimizer, output):
    """On the strict device, where whatever would wait for a GPU is made to fail."""
    backend = make_backend("strict")
    net = network_of(backend, 5, 4, 3, output=output)
    x, t = (backend.from_host(array) for array in (np.ones((4, 5), np.float32), np.eye(4, 3, dtype=np.float32)))
    rule = get_optimizer(
        optimizer,
        backend,
        net.parameters,
        net.gradients,
        net.weight_places,
        net.weight_shapes,
        momentum=0.9,
        weight_decay=0.1,
    )
    numbers = backend.from_host(np.array(rule.numbers(1, 0.1), dtype=np.float32))
    x, _ = net.inputs(x)

    def read(self, *args):
        raise AssertionError("an array was read back from the device")

    for name in ("__float__", "__int__", "__bool__", "__index__", "__complex__", "__array__", "__iter__", "to_device"):
        monkeypatch.setattr(type(x), name, read, raising=False)
    for _ in range(3):
        loss = net.compute_gradients(x, t)
        rule.update(numbers)
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
            lambda self, *args, original=original, name=name: events.append(name) or original(self, *args),
        )
    ann.fit(
        net,
        dataset,
        ann.Recipe(hidden=(8,), epochs=2, batch_size=50),
        [lambda report: events.append("epoch")],
        lambda size: events.append("batch"),
    )
    events = events[events.index("batch") :]
    assert events == [*["batch"] * 6, "__float__", "__float__", "epoch"] * 2  # 12 steps are too few for hints


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu", "leaky-relu"])
def test_float32_throughout(activation):
    """No float64 array is made in a step: NumPy would promote silently, the strict device refuses."""
    backend = make_backend("strict")
    net = network_of(backend, 5, 4, 3, activation=activation)
    x, t = (backend.from_host(array) for array in (np.ones((4, 5), np.float32), np.eye(4, 3, dtype=np.float32)))
    x, _ = net.inputs(x)
    assert net.compute_gradients(x, t).dtype == backend.xp.float32
    assert net.logits(x).dtype == net.gradients.dtype == backend.xp.float32
