"""The benchmark's part for several processes: ours and PyTorch's DistributedDataParallel with gloo, at the same number
of processes with one BLAS thread each. As a program it is one of the processes of one contender.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np
from peers import Ours
from peers_torch import Torch
from tasks import TASKS, Contender, Task, Weights, starting_weights

import ann
from ann.backends.base import Array
from ann.cli.output import echo
from ann.cli.parser import DATA
from ann.training.mpi import MpiProcesses

SIZES = (1, 2)
MEASURED = ("classroom", "big")
_PATIENCE = 900  # seconds, for two epochs
TOLERANCE = 1e-3  # by which the mean losses of an epoch may differ, relatively


class TimedProcesses(MpiProcesses):
    """Knows how long the sums took, waiting for the others included."""

    seconds = 0.0

    def sum(self, array: Array) -> None:
        """See ``Processes``."""
        started = time.perf_counter()
        super().sum(array)
        self.seconds += time.perf_counter() - started


class TorchDistributed(Torch):
    """PyTorch, as the documentation of DistributedDataParallel has it; each process takes its part of every batch."""

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        super().__init__(task, images, labels, weights)
        self._torch.set_num_threads(1)
        self._group: Any = self._torch.distributed
        self._group.init_process_group("gloo")
        self._rank, self._size = self._group.get_rank(), self._group.get_world_size()
        self._model = self._torch.nn.parallel.DistributedDataParallel(self._model)

    def _step(self, chosen: Any) -> Any:
        count = len(chosen)
        own = chosen[count * self._rank // self._size : count * (self._rank + 1) // self._size]
        x = self._images[own].float() / 255
        loss_of = self._torch.nn.functional.binary_cross_entropy_with_logits
        # gradients are averaged over the processes, and losses are summed below
        loss: Any = loss_of(self._model(x), self._targets[own], reduction="sum") * (self._size / self._task.batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach() / self._size

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        total = self._torch.tensor(super().epoch(order))
        self._group.all_reduce(total)
        return float(total)


def work(name: str, task: Task, port: str) -> None:
    """What each process does. It ends the process."""
    crew = TimedProcesses()
    from mpi4py import MPI  # which starts it, and benchmark.py imports this module

    try:
        found = _epochs(crew, name, task, port)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        crew.abort(1)  # others may wait for this one
        raise
    if crew.rank == 0:
        print(json.dumps(found), flush=True)
    # gloo's destructor holds Python's lock while it waits for a thread that needs it, and waits for ever now and then
    MPI.Finalize()
    os._exit(0)


def _epochs(crew: TimedProcesses, name: str, task: Task, port: str) -> dict[str, float]:
    """Train an epoch that does not count, and one that does, and say how it was."""
    dataset = ann.load_dataset(DATA)
    images = dataset.train_images.reshape(len(dataset.train_images), -1)[: task.count]
    random = np.random.default_rng(0)
    arguments = task, images, dataset.train_labels[: task.count], starting_weights(task, random)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {"RANK": str(crew.rank), "WORLD_SIZE": str(crew.size)}
    contender: Contender = TorchDistributed(*arguments) if name == "PyTorch" else Ours(*arguments, processes=crew)
    contender.epoch(random.permutation(task.count))
    crew.seconds, started = 0.0, time.perf_counter()
    loss = contender.epoch(random.permutation(task.count))
    seconds = time.perf_counter() - started
    parameters = sum(weight.size + bias.size for weight, bias in arguments[-1])
    return {"seconds": seconds, "in sums": crew.seconds, "loss": loss, "parameters": parameters}


def measure(repetitions: int, quick: bool, only: str | None) -> dict[str, Any]:
    """Images a second for each contender and number of processes, in turns; and the sums' share of our time."""
    figures = {}
    for task in TASKS:
        if task.name in MEASURED and only in (None, task.name):
            figures[task.name] = _measure(task, repetitions, quick)
    return figures


def _measure(task: Task, repetitions: int, quick: bool) -> dict[str, Any]:
    shape = "-".join(map(str, task.widths))
    echo(f"\n{task.name}: {shape}, batch {task.batch}, processes with one BLAS thread each")
    runs = [(name, size) for name in ("ann", "PyTorch") for size in SIZES]
    found: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    for _ in range(repetitions):
        for name, size in runs:
            found[name, size].append(_run(name, size, task, quick))
    expected = found["ann", 1][0]["loss"]
    for (name, size), results in found.items():
        if not all(abs(result["loss"] - expected) <= TOLERANCE * expected for result in results):
            raise ValueError(f"{name} with {size} processes: a loss of {results[0]['loss']}, not {expected}")
    count = 2 * task.batch if quick else task.count
    echo(f"  {'':28} {'images/s':>10} {'least':>10} {'most':>10} {'speed-up':>9}  in sums")
    table: dict[str, Any] = {"parameters": found["ann", 1][0]["parameters"]}
    for (name, size), results in found.items():
        speeds = [count / result["seconds"] for result in results]
        median, alone = (
            statistics.median(count / result["seconds"] for result in found[name, number]) for number in (size, 1)
        )
        share = statistics.median(result["in sums"] / result["seconds"] for result in results)
        words = f"{100 * share:6.1f} %" if name == "ann" else ""
        label = f"{name}, {size} process{'es' * (size > 1)}"
        echo(f"  {label:28} {median:10,.0f} {min(speeds):10,.0f} {max(speeds):10,.0f} {median / alone:9.2f}  {words}")
        table[label] = {"images_a_second": speeds, "share_in_sums": share if name == "ann" else None}
    return table


def _run(name: str, size: int, task: Task, quick: bool) -> dict[str, float]:
    """One contender's processes, from their start to their end."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if mpiexec is None:
        raise ValueError("there is no mpiexec: pip install -e '.[mpi]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [mpiexec, "-n", str(size), sys.executable, __file__, name, task.name, port, "quick" if quick else "whole"]
    options: dict[str, Any] = {"env": {**os.environ, **one_thread}, "capture_output": True, "text": True}
    try:
        run = subprocess.run(command, check=False, timeout=_PATIENCE, **options)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{name} with {size} processes made no end in {_PATIENCE} seconds") from None
    if run.returncode:
        raised = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", run.stderr, re.M)  # among what mpiexec says of it
        reason = " ".join((raised[-1] if raised else run.stderr).split())[-300:]
        raise ValueError(f"{name} with {size} processes does not run here (pip install -e '.[bench,mpi]'): {reason}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("error: this program is part of the benchmark: run benchmark.py --distributed")
    _name, _task, _port, _length = sys.argv[1:]
    _chosen = next(task for task in TASKS if task.name == _task)
    if _length == "quick":
        _chosen = Task(**{**vars(_chosen), "count": 2 * _chosen.batch})
    work(_name, _chosen, _port)
