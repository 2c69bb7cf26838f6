"""Calls of CuPy and nvmath-python that work on a machine without a GPU."""

import inspect

import pytest

from ann.backends.gpu import GpuBackend
from ann.nn.activations import ACTIVATIONS
from ann.nn.losses import get_loss
from ann.optim import adam, muon, sgd
from support import optional

cupy = optional("cupy")


class Nobody:
    """The owner of memory that is never used."""


def array(*shape):
    memory = cupy.cuda.UnownedMemory(2**20, 2**20, Nobody(), 0)
    return cupy.ndarray(shape, dtype="f4", memptr=cupy.cuda.MemoryPointer(memory, 0))


class Counting:
    """CuPy, but kernels are counted instead of run, because there is no GPU."""

    made = 0

    def __getattr__(self, name):
        return getattr(cupy, name)

    def ElementwiseKernel(self, reads, writes, body, name, preamble):  # noqa: N802
        def run(*arrays, size):
            assert all(isinstance(array, cupy.ndarray) for array in arrays)
            self.made += 1

        assert f" {name}(" not in preamble
        cupy.ElementwiseKernel(reads, writes, body, name, preamble=preamble)  # checks the names
        return run


@pytest.mark.parametrize("name", sorted({*ACTIVATIONS} - {"softmax", "identity"}))
def test_an_activation_is_one_kernel(name):
    counting, activation = Counting(), ACTIVATIONS[name]
    backend = GpuBackend(counting, "never asked to compute")
    z, y, grad = (array(4, 5) for _ in range(3))
    backend.elementwise(activation.function, z, out=y)
    backend.elementwise(activation.function, z, out=z)
    backend.elementwise(activation.chain_rule, grad, y, out=grad)
    get_loss("quadratic", name).gradient(backend, z, y, grad)
    assert counting.made == 4


@pytest.mark.parametrize(
    ("formula", "vectors", "numbers", "results"),
    [
        (sgd.velocity, 2, [0.9], 1),
        (sgd.step, 2, [array()], 1),
        (sgd.nesterov, 3, [array(), 0.9], 3),
        (adam.adam, 4, [array(), array(), 0.9], 4),
        (adam.adamw, 4, [array(), array(), array(), 0.9], 4),
        (adam.rmsprop, 4, [array(), 0.9], 4),
        (muon.direction, 2, [0.9], 2),
        (muon.step, 2, [array(), array(), 2.0], 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_optimizer_s_formula_is_one_kernel(formula, vectors, numbers, results):
    counting = Counting()
    vectors, outs = (tuple(array(8) for _ in range(count)) for count in (vectors, results))
    out = outs if results > 1 else outs[0]
    GpuBackend(counting, "never asked to compute").elementwise(formula, *vectors, *numbers, out=out)
    assert counting.made == 1


@pytest.mark.parametrize("name", ["maximum", "square", "float32", "<lambda>", "größe"])
def test_a_formula_may_have_any_name(name):
    def formula(xp, x):
        return 2 * x

    formula.__name__ = name
    counting, x = Counting(), array(8)
    GpuBackend(counting, "never asked to compute").elementwise(formula, x, out=x)
    assert counting.made == 1


def test_the_names_that_we_use_exist():
    for name in (
        "astype",
        "broadcast_to",
        "clip",
        "copyto",
        "empty_like",
        "full",
        "ElementwiseKernel",
        "reshape",
        "take",
    ):
        assert callable(getattr(cupy, name)), name
    for name in ("MemoryPool", "Stream", "get_current_stream", "using_allocator"):
        assert callable(getattr(cupy.cuda, name)), name
    for name in ("begin_capture", "end_capture", "done"):
        assert hasattr(cupy.cuda.Stream, name), name
    assert "copy" in inspect.signature(cupy.asarray).parameters
    assert "copy" in inspect.signature(cupy.reshape).parameters
    assert hasattr(cupy.ndarray, "mT")


def test_the_product_s_names_exist():
    cublas = optional("nvmath.bindings.cublas")
    for name in ("create", "destroy", "set_stream", "set_workspace"):
        assert callable(getattr(cublas, name)), name
    assert [cublas.Operation.N, cublas.Operation.T, cublas.GemmAlgo.DFALT] == [0, 1, -1]
    found = cublas.ComputeType
    assert [found.COMPUTE_32F, found.COMPUTE_32F_FAST_TF32, found.COMPUTE_64F] == [68, 77, 70]
    words = inspect.getdoc(cublas.gemm_ex).split("(", 1)[1].split(")")[0].split(", ")
    ours = "handle transa transb m n k alpha a atype lda b btype ldb beta c ctype ldc "
    ours += "compute_type algo"
    assert [word.split()[-1] for word in words] == ours.split()
    words = (
        inspect.getdoc(cublas.gemm_strided_batched_ex).split("(", 1)[1].split(")")[0].split(", ")
    )
    ours = (
        "handle transa transb m n k alpha a atype lda stride_a b btype ldb stride_b "
        "beta c ctype ldc stride_c batch_count compute_type algo"
    )
    assert [word.split()[-1] for word in words] == ours.split()
