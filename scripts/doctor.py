"""Say what this machine has for training networks, and for each thing that is wrong the command that mends it; or
what a model file holds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
import ann.backends.blas
from ann.backends.blas import processors
from ann.cli.bootstrap import ROOT
from ann.cli.describe_model import describe_model
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import DATA, MODEL, Parser
from ann.data.datasets import Dataset

EXAMPLES = """\
  python scripts/doctor.py
  python scripts/doctor.py --device gpu
  python scripts/doctor.py --data my_data
  # what is in a model file, before anything is made of it
  python scripts/doctor.py --model mnist_ann.pickle"""

# SHA-256 of MNIST's four files, uncompressed, as data/README.md has them
MNIST = {
    "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NEEDED = 200 * 2**20  # bytes of memory: training by default takes at most 150 MB
EXTRAS = {
    "plot": ("matplotlib", "pictures and curves"),
    "test": ("pytest", "the tests"),
    "report": ("scipy", "a report on a network"),
    "picture": ("scipy", "pictures of your own"),
    "export": ("onnx", "other programs' formats"),
    "data": ("platformdirs", "data sets by name"),
    "sklearn": ("sklearn", "ann.estimator, for scikit-learn's tools"),
    "sweep": ("optuna", "sweeps over many networks"),
    "mpi": ("mpi4py", "one network by many processes"),
    "bench": ("jax", "the benchmark's other libraries"),
}


class Findings:
    """Prints what is found, and counts what is wrong."""

    wrong = 0

    def ok(self, name: str, text: str) -> None:
        """All is well."""
        echo(f"ok     {name:9} {text}")

    def absent(self, name: str, text: str) -> None:
        """Something that nobody has to have."""
        echo(f"-      {name:9} {text}")

    def bad(self, name: str, text: str, cure: str) -> None:
        """Something that must be mended, and how."""
        self.wrong += 1
        echo(f"WRONG  {name:9} {text}\n       {'':9} mend it: {cure}")


def main() -> None:
    """Look at everything, and say what is wrong."""
    flags = parse_flags()
    with one_line_errors():
        if flags.model:
            echo(describe_model(flags.model))
            return
        found = Findings()
        look_at_python(found)
        look_at_versions(found)
        look_at_numpy(found)
        look_at_memory(found)
        look_at_gpu(found, needed=flags.device == "gpu")
        look_at_data(found, flags.data)
        look_at_folder(found)
        look_at_extras(found)
        echo(f"\n{found.wrong} thing{'s' * (found.wrong != 1)} to mend" if found.wrong else "\nall is well")
        if found.wrong:
            sys.exit(1)


def look_at_python(found: Findings) -> None:
    """Its version, and where this package is."""
    found.ok("Python", f"{platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}")
    found.ok("ann", f"{ann.__version__} in {Path(ann.__file__).parent}")


def look_at_versions(found: Findings) -> None:
    """Whether each installed package, required or optional, has a version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = sum(project["optional-dependencies"].values(), project["dependencies"])
    # from "nvmath-python[cu13]>=0.7; ..." take the name, without its extras, and the limits
    wanted = {parts[1]: parts[2] for line in requirements if (parts := re.match(r"([\w-]+)(?:\[\w+\])?([^;]*)", line))}
    installed, wrong = 0, found.wrong
    for name, limits in wanted.items():
        try:
            version = importlib.metadata.version(name) or "unknown"
        except importlib.metadata.PackageNotFoundError:
            continue
        except KeyError:  # what an installation leaves that was interrupted, on newer Pythons
            version = "unknown"
        installed += 1
        if not fits(version, limits):
            found.bad("versions", f"{name} {version} is installed, not {name}{limits}", f"pip install '{name}{limits}'")
    if found.wrong == wrong:
        found.ok("versions", f"all {installed} installed packages that this project can use have suitable versions")


def fits(version: str, limits: str) -> bool:
    """Whether a version such as "2.1.0rc1" is within limits such as ">=2,<3"; suffixes are ignored."""

    def numbers(text: str) -> list[int]:
        found = [int(word) for word in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])]
        return found + [0] * (6 - len(found))

    bounds = re.findall(r"(>=|<)([\d.]+)", limits)
    return all((numbers(version) >= numbers(bound)) == (sign == ">=") for sign, bound in bounds)


def look_at_numpy(found: Findings) -> None:
    """Its version, its BLAS and how many threads that has, and whether a product comes out right."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-arg, index, unused-ignore]
    threads = processors()
    told = [f"{name}={os.environ[name]}" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ]
    said = f" ({', '.join(told)})" if told else ""
    text = f"{np.__version__}, BLAS {blas['name']} {blas['version']}, {threads} of {os.cpu_count()} processors{said}"
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((300, 300)).astype(np.float32) for _ in range(2))
    error = float(np.abs(a @ b - a.astype(np.float64) @ b.astype(np.float64)).max())
    if not error < 1e-3:
        found.bad("NumPy", f"{text}: a product is wrong by {error:.1g}", "pip install --force-reinstall numpy")
    else:
        found.ok("NumPy", text)
    if ann.backends.blas._library() is None:
        found.absent("BLAS", "NumPy's own cannot be called directly, so small networks train slower")


def look_at_memory(found: Findings) -> None:
    """How much is free, where the system says it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    except (OSError, KeyError, ValueError):
        found.absent("memory", "this system does not say how much there is")
        return
    text = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < NEEDED:
        found.bad("memory", f"{text}; training by default takes 0.15 GiB", "close other programs")
    else:
        found.ok("memory", text)


def look_at_gpu(found: Findings, *, needed: bool) -> None:
    """CuPy, the driver, CUDA, and whether a GPU computes."""
    cuda, driver = cuda_versions(found)
    try:
        backend = ann.get_backend("gpu")
    except ann.DeviceError as error:
        reason, _, cure = str(error).partition(": ")
        if cuda and not driver:
            cure = "install NVIDIA's driver for the card, until nvidia-smi lists it"
        elif cuda > driver:
            cure = "update NVIDIA's driver, or take an older CUDA: pip install -e '.[gpu-cuda12]'"
        if needed:
            found.bad("GPU", reason, f"{cure}; or train with --device cpu")
        else:
            found.absent("GPU", f"{reason}, so training is on the CPU; for a GPU: {cure}")
        return
    found.ok("GPU", backend.description)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        backend.recorder()
    for warning in caught:
        found.bad("graphs", str(warning.message), "pip install -e '.[gpu]'")


def cuda_versions(found: Findings) -> tuple[int, int]:
    """Print what there is of CuPy, CUDA and a driver; the versions of the latter two as CUDA counts, 0 for none."""
    if importlib.util.find_spec("cupy") is None:
        return 0, 0
    try:
        cupy: Any = importlib.import_module("cupy")
        cuda, driver = (int(ask()) for ask in (cupy.cuda.runtime.runtimeGetVersion, cupy.cuda.runtime.driverGetVersion))
    except Exception:  # of CuPy's own types; what it means for training is said by looking at the GPU
        return 0, 0
    names = f"{driver // 1000}.{driver % 1000 // 10}" if driver else ""
    found.ok("CuPy", f"{cupy.__version__}, CUDA {cuda // 1000}.{cuda % 1000 // 10}")
    found.ok("driver", f"for CUDA up to {names}") if driver else found.absent("driver", "none of NVIDIA's")
    return cuda, driver


def look_at_data(found: Findings, folder: str | Path) -> None:
    """Whether the data set is there, whole, and MNIST."""
    try:
        dataset = ann.load_dataset(folder)
    except ann.DataFileError as error:
        restored = f"git -C {ROOT} checkout -- data"
        ours = restored if folder == DATA else "see data/README.md for what it needs"
        found.bad("data", str(error), ours)
        return
    other = [name for name, digest in checksums(dataset).items() if digest != MNIST[name]]
    if not other:
        found.ok("data", f"{folder}: MNIST, all four checksums right")
    elif folder == DATA:
        found.bad("data", f"{folder}: {', '.join(other)}: not MNIST's", f"git -C {ROOT} checkout -- data")
    else:
        found.ok("data", f"{folder}: {dataset!r}, sound, and not MNIST")


def checksums(dataset: Dataset) -> dict[str, str]:
    """The SHA-256 of the IDX files, uncompressed, that hold these arrays."""
    result = {}
    for name, array in dataset.arrays().items():
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        result[name] = hashlib.sha256(header + array.tobytes()).hexdigest()
    return result


def look_at_folder(found: Findings) -> None:
    """Whether a model can be saved here."""
    try:
        here = Path.cwd()
    except OSError:
        found.bad("folder", "the folder where you are is gone", "cd to one that exists")
        return
    free = shutil.disk_usage(here).free
    text = f"{here}: {free / 2**30:.1f} GiB free"
    try:
        ann.files.atomic.check_writable(here / MODEL)
    except OSError as error:
        found.bad("folder", f"{error.filename}: {error.strerror}", "cd to a folder of your own, or give --output FILE")
        return
    if free < 10 * 2**20:
        found.bad("folder", text, "make room, or give --output FILE on another disk")
    else:
        found.ok("folder", text)


def look_at_extras(found: Findings) -> None:
    """What the extras bring."""
    for extra, (module, use) in EXTRAS.items():
        if importlib.util.find_spec(module):
            found.ok(extra, f"{module} is there: {use}")
        else:
            found.absent(extra, f"for {use}: pip install -e '.[{extra}]'")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Say what this machine has for training, and how to mend what is wrong.", EXAMPLES)
    parser.add_import()
    parser.add_common()
    parser.add_argument("--model", type=Path, metavar="FILE", help="say what this model file holds, and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
