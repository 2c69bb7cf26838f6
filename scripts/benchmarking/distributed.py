"""The benchmark of several processes with one BLAS thread each: this package beside PyTorch's
DistributedDataParallel with gloo.

This file is also run as a program: it is one of the processes of one contender.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.backends.base import Array
from ann.cli.launch import FLAG, launch
from ann.cli.parser import DATA
from ann.installation import install_command
from ann.training.mpi import MpiProcesses
from benchmarking.contenders import Ours, check_same_loss
from benchmarking.tasks import TASKS, Data, Task
from benchmarking.timing import print_table
from benchmarking.torch_contenders import Torch

SIZES = (1, 2)
MEASURED = ("classroom", "big")
_TIMEOUT = 900  # seconds for two epochs


class TimedProcesses(MpiProcesses):
    """Measures the seconds that sums take, including the wait for other processes."""

    seconds = 0.0

    def sum(self, array: Array) -> None:
        started = time.perf_counter()
        super().sum(array)
        self.seconds += time.perf_counter() - started


class TorchDistributed(Torch):
    """PyTorch, as in the documentation of DistributedDataParallel: processes share each batch."""

    def __init__(self, task: Task, data: Data) -> None:
        super().__init__(task, data)
        self._torch.set_num_threads(1)
        self._group: Any = self._torch.distributed
        self._group.init_process_group("gloo")
        self._rank, self._size = self._group.get_rank(), self._group.get_world_size()
        self._model = self._torch.nn.parallel.DistributedDataParallel(self._model)

    def _loss(self, indices: Any) -> Any:
        first, last = (len(indices) * rank // self._size for rank in (self._rank, self._rank + 1))
        # Gradients are averaged over the processes, so losses are multiplied by their number
        return super()._loss(indices[first:last]) * self._size

    def epoch(self, order: np.ndarray) -> float:
        """Losses are averaged over the processes."""
        mean = self._torch.tensor(super().epoch(order) / self._size)
        self._group.all_reduce(mean)
        return float(mean)


def measure(repetitions: int, quick: bool, only: str | None) -> Iterator[tuple[str, Any]]:
    """Names of tasks, and images a second for each contender and number of processes."""
    for task in TASKS:
        if task.name in MEASURED and only in (None, task.name):
            shortened = replace(task, count=2 * task.recipe.batch_size) if quick else task
            yield f"{task.name}, distributed", _measure(shortened, repetitions)


def _measure(task: Task, repetitions: int) -> dict[str, Any]:
    print(f"\n{task}, processes with one BLAS thread each")
    found: dict[tuple[str, int], list[dict[str, float]]] = {
        (name, size): [] for name in ("ann", "PyTorch") for size in SIZES
    }
    for _ in range(repetitions):
        for (name, size), results in found.items():
            results.append(run_contender(name, size, task))
            expected = found["ann", 1][0]["loss"]
            check_same_loss(f"{name} with {size} processes", results[-1]["loss"], expected)
    speeds: dict[str, list[float]] = {}
    table: dict[str, Any] = {"parameters": found["ann", 1][0]["parameters"]}
    for (name, size), results in found.items():
        label = f"{name}, {size} process{'es' * (size > 1)}"
        speeds[label] = [task.count / result["seconds"] for result in results]
        table[label] = {"images_a_second": speeds[label]}
        if name == "ann":
            share = statistics.median(result["in sums"] / result["seconds"] for result in results)
            table[label]["share_in_sums"] = share
    print_table(speeds, "images/s")
    print(f"  of its time, ann with {SIZES[-1]} processes spends {share:.1%} in sums")
    return table


def run_contender(name: str, size: int, task: Task, timeout: float = _TIMEOUT) -> dict[str, float]:
    """Run one contender's processes to their end.

    Raises:
        ValueError: one of them fails, or they take longer than ``timeout`` seconds.
    """
    here = Path(sys.executable).parent
    mpiexec = shutil.which("mpiexec", path=f"{here}{os.pathsep}{os.environ['PATH']}")
    if mpiexec is None:
        raise ValueError(f"there is no mpiexec: {install_command('mpi')}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [mpiexec, "-n", str(size), sys.executable, __file__, FLAG]
    command += [name, task.name, str(task.count)]
    options: dict[str, Any] = {"env": environment, "capture_output": True, "text": True}
    who = f"{name} with {size} processes"
    try:
        run = subprocess.run(command, check=False, timeout=timeout, **options)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{who} did not end in {timeout} seconds") from None
    if run.returncode:
        # Find the error among what mpiexec prints about it
        raised = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", run.stderr, re.M)
        reason = " ".join((raised[-1] if raised else run.stderr).split())[-300:]
        raise ValueError(f"{who} does not run here ({install_command('bench,mpi')}): {reason}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def _train(processes: Any, name: str, task: Task) -> dict[str, float]:
    """Train an epoch to warm up and one that counts."""
    dataset = ann.load_dataset(DATA)
    data = task.data(dataset.train_images, dataset.train_labels)
    random = np.random.default_rng(0)
    os.environ |= {"RANK": str(processes.rank), "WORLD_SIZE": str(processes.size)}
    is_torch = name == "PyTorch"
    contender = TorchDistributed(task, data) if is_torch else Ours(task, data, processes)
    contender.epoch(random.permutation(task.count))
    processes.seconds, started = 0.0, time.perf_counter()
    loss = contender.epoch(random.permutation(task.count))
    seconds = time.perf_counter() - started
    parameters = sum(weight.size + bias.size for weight, bias in data.weights)
    times = {"seconds": seconds, "in sums": processes.seconds}
    return {**times, "loss": loss, "parameters": parameters}


def main() -> None:
    """Be one of the processes; end it."""
    if len(sys.argv) != 5:
        sys.exit("error: this file is a part of the benchmark: run benchmark.py --distributed")
    _, _, name, task_name, count = sys.argv
    task = next(task for task in TASKS if task.name == task_name)
    with launch(TimedProcesses) as processes:
        print(json.dumps(_train(processes, name, replace(task, count=int(count)))))
    from mpi4py import MPI  # starts MPI, and benchmark.py imports this module

    # Now and then gloo's destructor waits forever: it holds Python's lock, which its thread needs
    MPI.Finalize()
    os._exit(0)


if __name__ == "__main__":
    main()
