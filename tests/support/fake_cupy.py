"""A pretended CuPy and nvmath on NumPy arrays: enough of both to run every line for a GPU.

During the capture of a stream, nothing is computed, only recorded, as in CUDA. Matrix products get
addresses and sizes, as in cuBLAS. It cannot show how a real GPU behaves.
"""

import ctypes
import enum
import re
import types
from contextlib import contextmanager, nullcontext

import numpy as np


class Memory:
    def __init__(self, ptr):
        self.ptr = ptr


class Capture:
    """What is being recorded, if anything."""

    calls = None

    def do(self, call):
        if self.calls is None:
            call()
        else:
            self.calls.append(call)

    @contextmanager
    def suspended(self):
        calls, self.calls = self.calls, None
        try:
            yield
        finally:
            self.calls = calls


CREATION = {
    *("empty", "zeros", "ones", "full", "arange", "empty_like", "zeros_like"),
    *("asarray", "broadcast_to", "reshape"),
}
LINE = r"(?:const ann_(\w+) )?(\S+) = (.*);"
FUNCTIONS = {
    **{name: getattr(np, name) for name in np._core.umath.__all__},
    **{
        f"ann_{name}": getattr(np, name)
        for name in ("maximum", "minimum", "clip", "where", "square", "reciprocal")
    },
    **{
        f"ann_{name}": np.dtype(name).type
        for name in ("bool", "int64", "uint32", "uint8", "float32", "float64")
    },
    "ann_quotient": np.floor_divide,
}


def pretend_cupy(count=1, capturable=True, **changes):
    """A module that replaces CuPy."""
    capture = Capture()
    module = types.ModuleType("cupy")
    module.capture = capture
    module.fusing = False

    class Array(np.ndarray):
        """Its operators are ufuncs, so they are recorded like other functions."""

        @property
        def data(self):
            return Memory(self.ctypes.data)

        def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
            inputs, out = plain(inputs), plain(out or ())
            return wrapped(getattr(ufunc, method), False)(
                *inputs, out=out[0] if out else None, **options
            )

    def plain(arrays):
        return [array.view(np.ndarray) if isinstance(array, Array) else array for array in arrays]

    def wrapped(function, creates):
        def call(*arguments, out=None, **options):
            if module.fusing and "keepdims" in options:
                raise NotImplementedError("cupy.fuse does not take keepdims")  # as CuPy
            if creates or out is None:
                # while capturing, only for the shape: what memory holds then means nothing
                heard = np.errstate() if capture.calls is None else np.errstate(all="ignore")
                with heard, capture.suspended():
                    result = function(*arguments, **options)
                if not isinstance(result, np.ndarray):
                    return np.asarray(result).view(Array)
                result = result.view(Array)
                if creates or capture.calls is None:
                    return result
                out = result
            capture.do(lambda: function(*arguments, **options, out=out))
            return out

        return call

    for name in dir(np):
        attribute = getattr(np, name)
        if name.startswith("_") or name in ("copyto", "fuse"):
            continue
        as_it_is = not callable(attribute) or isinstance(attribute, type)
        setattr(module, name, attribute if as_it_is else wrapped(attribute, name in CREATION))
    module.copyto = lambda out, array, **options: capture.do(
        lambda: np.copyto(out, array, **options)
    )

    class ElementwiseKernel:
        """Computes the code that ``ann.backends.gpu_kernels`` writes, each line for all
        elements.
        """

        def __init__(self, reads, writes, body, name, preamble):
            assert name.isidentifier()
            if "for (" in body:
                raise NotImplementedError("a loop")
            self.parameters = [
                one.split() for one in [*reads.split(", "), *writes.split(", ")] if one
            ]
            self.blocks = [
                block.split("\n") for block in re.findall(r"{\n(.*?)\n}", body, re.DOTALL)
            ]

        def __call__(self, *arguments, size):
            values, ends = dict(FUNCTIONS), []
            for (*raw, dtype, name), value in zip(self.parameters, arguments, strict=True):
                if raw:
                    assert value.dtype == dtype
                    values[name] = value.flat
                else:
                    values[name] = value
                    ends.append(value)
            numbers = np.split(np.arange(size), ends)
            capture.do(lambda: self.run(values, numbers))

        def run(self, values, numbers):
            for block, i in zip(self.blocks, numbers, strict=True):
                own = {**values, "i": i}
                for line in block:
                    *declared, name, text = re.fullmatch(LINE, line).groups()
                    with np.errstate(all="ignore"):
                        value = eval(text, own)
                    if declared[0]:
                        own[name] = np.asarray(value).astype(declared[0])
                    else:
                        array, place = name[:-1].split("[")
                        own[array][own.get(place, 0)] = value

    module.ElementwiseKernel = ElementwiseKernel

    class Graph:
        def __init__(self, calls):
            self.calls = calls

        def launch(self):
            for call in self.calls:
                call()

    class Stream:
        ptr = 1

        def __init__(self, non_blocking=False):
            assert non_blocking

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def begin_capture(self):
            if not capturable:
                raise RuntimeError("cudaErrorStreamCaptureUnsupported")
            assert capture.calls is None
            capture.calls = []

        def end_capture(self):
            calls, capture.calls = capture.calls, None
            return Graph(calls)

    module.__version__ = "14.2.0"
    module.asnumpy = lambda array: np.array(array, copy=True, subok=False)
    module.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: count, getDeviceProperties=lambda index: {"name": b"Pretend GPU"}
        ),
        Device=type("Device", (), {"id": 0, "compute_capability": "90"}),
        get_current_stream=lambda: types.SimpleNamespace(ptr=0, synchronize=lambda: None),
        Stream=Stream,
        MemoryPool=lambda: types.SimpleNamespace(malloc=None),
        using_allocator=lambda allocator: nullcontext(),
    )
    module.__dict__.update(changes)
    return module


def pretend_cublas(cupy):
    """A module that replaces nvmath.bindings.cublas; ``products`` counts its products by
    precision.
    """
    module = types.ModuleType("nvmath.bindings.cublas")
    module.ComputeType = enum.IntEnum(
        "ComputeType", {"COMPUTE_32F": 68, "COMPUTE_64F": 70, "COMPUTE_32F_FAST_TF32": 77}
    )
    module.Operation = enum.IntEnum("Operation", {"N": 0, "T": 1})
    module.GemmAlgo = enum.IntEnum("GemmAlgo", {"DFALT": -1})
    module.products = {}
    module.create = lambda: 7
    module.destroy = module.set_stream = module.set_workspace = lambda *arguments: None

    def matrix(pointer, real, rows, columns, step):
        """A matrix stored column by column, as in cuBLAS."""
        assert step >= rows
        buffer = (real * (step * columns)).from_address(pointer)
        return np.frombuffer(buffer, dtype=real).reshape(columns, step)[:, :rows].T

    def gemm_ex(
        handle,
        op_a,
        op_b,
        m,
        n,
        k,
        alpha,
        a,
        a_type,
        a_step,
        b,
        b_type,
        b_step,
        beta,
        c,
        c_type,
        c_step,
        compute,
        algo,
    ):
        assert handle == 7 and a_type == b_type == c_type and algo == -1
        real = {0: ctypes.c_float, 1: ctypes.c_double}[c_type]
        alpha, beta = (
            real.from_address(pointer).value for pointer in (alpha, beta)
        )  # read when the call is made
        left = matrix(a, real, *((m, k) if op_a == 0 else (k, m)), a_step)
        right = matrix(b, real, *((k, n) if op_b == 0 else (n, k)), b_step)
        out = matrix(c, real, m, n, c_step)

        def product():
            result = (left if op_a == 0 else left.T) @ (right if op_b == 0 else right.T)
            out[...] = real(alpha).value * result + (real(beta).value * out if beta else 0)

        module.products[compute.name] = module.products.get(compute.name, 0) + 1
        cupy.capture.do(product)

    def gemm_strided_batched_ex(handle, op_a, op_b, m, n, k, alpha, *rest):
        (
            a,
            a_type,
            a_step,
            a_apart,
            b,
            b_type,
            b_step,
            b_apart,
            beta,
            c,
            c_type,
            c_step,
            c_apart,
            count,
            *how,
        ) = rest
        size = {0: 4, 1: 8}[c_type]
        assert count > 1 and c_apart >= m * n, "results of members would overlap"
        for member in range(count):
            left, right, out = (
                place + member * apart * size
                for place, apart in ((a, a_apart), (b, b_apart), (c, c_apart))
            )
            sources = (left, a_type, a_step, right, b_type, b_step)
            gemm_ex(handle, op_a, op_b, m, n, k, alpha, *sources, beta, out, c_type, c_step, *how)

    module.gemm_ex = gemm_ex
    module.gemm_strided_batched_ex = gemm_strided_batched_ex
    return module
