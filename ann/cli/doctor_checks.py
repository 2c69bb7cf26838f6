"""What scripts/doctor.py checks. Each check yields findings: what works, is absent or is wrong."""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import struct
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ann
from ann.backends import blas
from ann.backends.gpu import cuda_versions
from ann.cli.data_set import load_dataset
from ann.cli.parser import DATA, MODEL
from ann.data.datasets import Dataset
from ann.data.formats import KNOWN
from ann.files.atomic import check_writable
from ann.installation import INSTALLED, ROOT, install_command

# SHA-256 of MNIST's four files, uncompressed, as listed in data/README.md
MNIST = {
    "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MEMORY_NEEDED = 200 * 2**20  # bytes: training with default settings takes at most 150 MB
DISK_NEEDED = 10 * 2**20
EXTRAS = {  # -> the modules that it needs, and what it is for
    "plot": ("matplotlib", "pictures and curves"),
    "test": ("pytest", "the tests"),
    "notebook": ("jupyterlab, ipywidgets, matplotlib", "the tutorial"),
    "report": ("scipy, matplotlib", "a report on a network"),
    "picture": ("PIL, scipy, matplotlib", "pictures of your own"),
    "parquet": ("pyarrow, PIL", "parquet files"),
    "export": ("onnx, safetensors", "formats of other programs"),
    "sklearn": ("sklearn", "ann.estimator, which scikit-learn's tools accept"),
    "sweep": ("optuna", "sweeps over many networks"),
    "mpi": ("mpi4py", "training one network with several processes"),
    "bench": ("jax", "the libraries that the benchmark compares with"),
}


class Finding(NamedTuple):
    """One line of the output. ``fix`` is a command or advice; only what is wrong has one."""

    status: str
    name: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.status:6} {self.name:9} {self.text}"
        return f"{line}\n       {'':9} fix it: {self.fix}" if self.fix else line


ok = partial(Finding, "ok")
absent = partial(Finding, "-")  # something optional
wrong = partial(Finding, "WRONG")


def check_all(device: str, data: str | Path) -> Iterator[Finding]:
    """All checks, one after the other. ``device`` and ``data`` are what the flags say."""
    yield from check_python()
    yield from check_versions()
    yield from check_numpy()
    yield from check_memory()
    yield from check_gpu(needed=device == "gpu")
    yield from check_data(data)
    yield from check_folder()
    yield from check_extras()


def check_python() -> Iterator[Finding]:
    """The versions of Python and of this package, and where they are."""
    system = f"{platform.system()} {platform.machine()}"
    yield ok("Python", f"{platform.python_version()} ({sys.executable}) on {system}")
    yield ok("ann", f"{ann.__version__} in {Path(ann.__file__).parent}")


def check_versions() -> Iterator[Finding]:
    """Does every installed package, required or optional, have a version that we allow?"""
    installed, all_fit = 0, True
    for name, limits in declared_packages().items():
        try:
            version = importlib.metadata.version(name) or "unknown"
        except importlib.metadata.PackageNotFoundError:
            continue
        except KeyError:  # on newer Pythons, of what an interrupted installation left
            version = "unknown"
        installed += 1
        if not fits(version, limits):
            all_fit = False
            text = f"{name} {version} is installed, not {name}{limits}"
            yield wrong("versions", text, f"pip install '{name}{limits}'")
    if all_fit:
        packages = f"all {installed} installed packages that this project can use"
        yield ok("versions", f"{packages} have suitable versions")


def declared_packages() -> dict[str, str]:
    """The names of required and optional packages, and their limits, such as ">=2,<3"."""
    if INSTALLED:
        lines = importlib.metadata.requires("ann-mnist") or []
    else:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        project = tomllib.loads(text)["project"]
        lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    # "nvmath-python[cu13]>=0.7; ..." -> its name, without extras, and its limits
    found = (re.match(r"([\w-]+)(?:\[\w+\])?([^;]*)", line) for line in lines)
    return {parts[1]: parts[2] for parts in found if parts}


def fits(version: str, limits: str) -> bool:
    """Is a version such as "2.1.0rc1" within limits such as ">=2,<3"? Suffixes are ignored."""

    def numbers(text: str) -> list[int]:
        found = [int(word) for word in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])]
        return found + [0] * (6 - len(found))

    bounds = re.findall(r"(>=|<)([\d.]+)", limits)
    return all((numbers(version) >= numbers(bound)) == (sign == ">=") for sign, bound in bounds)


def check_numpy() -> Iterator[Finding]:
    """NumPy's version, its BLAS and threads, and a matrix product."""
    config: Any = np.show_config(mode="dicts")  # type: ignore[call-arg, unused-ignore]
    library = config["Build Dependencies"]["blas"]
    limits = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    limited = [f"{name}={os.environ[name]}" for name in limits if name in os.environ]
    because = f" ({', '.join(limited)})" if limited else ""
    threads = f"{blas.processors()} of {os.cpu_count()} processors{because}"
    text = f"{np.__version__}, BLAS {library['name']} {library['version']}, {threads}"
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((300, 300)).astype(np.float32) for _ in range(2))
    error = float(np.abs(a @ b - a.astype(np.float64) @ b.astype(np.float64)).max())
    if error < 1e-3:
        yield ok("NumPy", text)
    else:
        fix = "pip install --force-reinstall numpy"
        yield wrong("NumPy", f"{text}: a product is wrong by {error:.1g}", fix)
    if not blas.available():
        text = "NumPy's own cannot be called directly, so small networks train more slowly"
        yield absent("BLAS", text)


def check_memory() -> Iterator[Finding]:
    """Is enough memory free? Only Linux tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    except (OSError, KeyError, ValueError):
        yield absent("memory", "this system does not tell how much there is")
        return
    text = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < MEMORY_NEEDED:
        text += "; training with default settings takes 0.15 GiB"
        yield wrong("memory", text, "close other programs")
    else:
        yield ok("memory", text)


def check_gpu(*, needed: bool) -> Iterator[Finding]:
    """CuPy, the driver, CUDA, and a computation on the GPU. Without ``needed`` it may be absent."""
    versions = cuda_versions()
    if versions:
        name, cuda, driver = versions
        yield ok("CuPy", f"{name}, CUDA {_dotted(cuda)}")
        if driver:
            yield ok("driver", f"for CUDA up to {_dotted(driver)}")
        else:
            yield absent("driver", "no NVIDIA driver")
    try:
        backend = ann.get_backend("gpu")
    except ann.DeviceError as error:
        reason, _, fix = str(error).partition(": ")
        if versions and not driver:
            fix = "install NVIDIA's driver for the card, until nvidia-smi lists it"
        elif versions and cuda > driver:
            fix = f"update NVIDIA's driver, or use an older CUDA: {install_command('gpu-cuda12')}"
        if needed:
            yield wrong("GPU", reason, f"{fix}; or train with --device cpu")
        else:
            yield absent("GPU", f"{reason}, so training uses the CPU; for a GPU: {fix}")
        return
    yield ok("GPU", backend.description)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        backend.recorder()
    for warning in caught:
        yield wrong("graphs", str(warning.message), install_command("gpu"))


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def check_data(folder: str | Path) -> Iterator[Finding]:
    """Is the data set readable, valid, and MNIST?"""
    is_default = folder == DATA
    restore = f"git -C {ROOT} checkout -- data"
    if INSTALLED:
        restore = "use --data PATH; or delete damaged files, and run this again to download them"
    try:
        dataset = load_dataset(folder)
    except ImportError as error:
        reason, _, fix = str(error).rpartition(": ")
        yield wrong("data", reason, f"{fix}; or use --data PATH")
        return
    except ann.DataFileError as error:
        fix = restore if is_default else f"name a data set ({KNOWN})"
        yield wrong("data", str(error), fix)
        return
    other = [name for name, digest in checksums(dataset).items() if digest != MNIST[name]]
    if not other:
        yield ok("data", f"{folder}: MNIST, all four checksums right")
    elif is_default:
        yield wrong("data", f"{folder}: {', '.join(other)}: not MNIST's", restore)
    else:
        yield ok("data", f"{folder}: {dataset!r}, valid, but not MNIST")


def checksums(dataset: Dataset) -> dict[str, str]:
    """The SHA-256 of the uncompressed IDX files that hold these arrays."""
    result = {}
    for name, array in dataset.arrays().items():
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        result[name] = hashlib.sha256(header + array.tobytes()).hexdigest()
    return result


def check_folder() -> Iterator[Finding]:
    """Can a model be saved in the current folder?"""
    try:
        here = Path.cwd()
    except OSError:
        yield wrong("folder", "the current folder no longer exists", "cd to one that exists")
        return
    free = shutil.disk_usage(here).free
    text = f"{here}: {free / 2**30:.1f} GiB free"
    try:
        check_writable(here / MODEL)
    except OSError as error:
        fix = "cd to a folder that you may write to, or use --output FILE"
        yield wrong("folder", f"{error.filename}: {error.strerror}", fix)
        return
    if free < DISK_NEEDED:
        yield wrong("folder", text, "free some space, or use --output FILE on another disk")
    else:
        yield ok("folder", text)


def check_extras() -> Iterator[Finding]:
    """Which extras are installed?"""
    for extra, (modules, use) in EXTRAS.items():
        if all(map(importlib.util.find_spec, modules.split(", "))):
            yield ok(extra, f"installed, for {use}")
        else:
            yield absent(extra, f"for {use}: {install_command(extra)}")
