"""Measures each part of a training step, and a whole step. The parts are the batch, each layer
forward and backward, the loss, the optimizer, and other changes of gradients or parameters.

On the CPU, a step is recorded as in training, but it reads the clock before each part. On a GPU, a
step is launched as one graph, so each part gets a graph of its own that repeats it. In a whole
step, one kernel can do the elementwise work of several parts, so it takes less than all its parts.
"""

import itertools
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import ann
from ann.backends.base import Backend
from ann.nn.layer_list import describe_shape
from ann.nn.layers import ActivationLayer, Layer
from ann.optim.optimizer import Optimizer
from ann.training.step import Step
from benchmarking.tasks import product_of
from benchmarking.training_steps import TrainingSteps


class Part(NamedTuple):
    """A part of a step.

    Attributes:
        row: of the table, from 0.
        name: such as "dense 784 -> 128".
        direction: "forward", "backward", or "" for neither.
    """

    row: int
    name: str
    direction: str


class Call(NamedTuple):
    """A call in a step. ``run`` repeats it; ``flops`` counts those of its matrix products."""

    part: Part
    flops: int
    run: Callable[[], Any]


def measure(
    backend: Backend, dataset: ann.Dataset, recipe: ann.Recipe, quick: bool
) -> dict[str, Any]:
    """Print the table, and return its figures."""
    steps = TrainingSteps(backend, dataset, recipe, quick)
    members = f"{recipe.committee} x " if recipe.committee > 1 else ""
    network = f"{members}{describe_shape(steps.network.layer_list)} {recipe.activation}"
    print(f"\n{backend.name}: {network}, batch {recipe.batch_size}, {recipe.optimizer}")
    time_calls = _time_on_gpu if backend.name == "gpu" else _time_on_cpu
    calls, seconds, whole = time_calls(steps)
    figures: dict[Part, dict[str, Any]] = {}
    for call, duration in zip(calls, seconds, strict=True):
        found = figures.setdefault(call.part, {"milliseconds": 0.0, "flops": 0})
        found["milliseconds"] += 1e3 * duration
        found["flops"] += call.flops
    total = sum(found["milliseconds"] for found in figures.values())
    parts = [
        {**part._asdict(), **found, "share": found["milliseconds"] / total}
        for part, found in sorted(figures.items(), key=lambda item: item[0].row)
    ]
    _print_table(parts, total, 1e3 * whole)
    return {"parts": parts, "milliseconds_of_all_parts": total, "milliseconds_a_step": 1e3 * whole}


def _time_on_cpu(steps: TrainingSteps) -> tuple[list[Call], list[float], float]:
    """The calls of a step, the median seconds of each, and the median of a whole step."""
    step = steps.new_step()
    starts: list[float] = []

    def note_start() -> None:
        step.backend.call(lambda: starts.append(time.perf_counter()))

    with watched(step, steps.recipe, note_start) as calls:
        replay = step.backend.compile(step)
    columns = []

    def clocked() -> None:
        starts.clear()
        replay()
        stops = [*starts[1:], time.perf_counter()]
        columns.append([stop - start for start, stop in zip(starts, stops, strict=True)])

    _, whole = steps.seconds(step, clocked, step.backend.compile(step))
    return calls, [statistics.median(row) for row in zip(*columns, strict=True)], whole


def _time_on_gpu(steps: TrainingSteps) -> tuple[list[Call], list[float], float]:
    """The same. Repeated updates ruin the parameters, which does not change the times."""
    step = steps.new_step()
    with watched(step, steps.recipe, lambda: None) as calls:
        step()
    (whole,) = steps.seconds(step, step.backend.compile(step))
    seconds = []
    for call in calls:
        repeat = partial(_repeat, step.backend, call.run, steps.repeats)
        repeated = step.backend.compile(repeat)
        seconds.append(steps.seconds(step, repeated)[0] / steps.repeats)
    return calls, seconds, whole


def _repeat(backend: Backend, function: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        function()
        backend.call(lambda: None)  # or one kernel would do the work of several repetitions


@contextmanager
def watched(step: Step, recipe: ann.Recipe, before: Callable[[], None]) -> Iterator[list[Call]]:
    """Within ``with``, the step calls ``before`` ahead of each part, and adds it to this list."""
    calls: list[Call] = []

    def noted(function: Callable[..., Any], part: Part, flops: int = 0) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before()
            calls.append(Call(part, flops, partial(function, *arguments, **options)))
            return calls[-1].run()

        return call

    with ExitStack() as patches:

        def watch(owner: Any, method: str, part: Part, flops: int = 0) -> None:
            new = noted(getattr(owner, method), part, flops)
            patches.enter_context(patch.object(owner, method, new))

        filled = ["gather"] + ["distort"] * recipe.strengths.any
        filled += ["input dropout"] * bool(recipe.input_dropout)
        watch(step.batch, "fill", Part(0, f"batch: {', '.join(filled)}", ""))
        layers, images = step.network.layers, step.batch.indices.size
        for row, layer in enumerate(layers, start=1):
            has_weights = hasattr(layer, "weight")
            flops = 2 * math.prod(product_of(layer, images)) if has_weights else 0
            watch(layer, "forward", Part(row, _name(layer), "forward"), flops)
            if layer.parameters:
                watch(layer, "compute_gradients", Part(row, _name(layer), "backward"), flops)
            watch(layer, "backward", Part(row, _name(layer), "backward"), flops)
        row = len(layers) + 1
        watch(step.network.loss, "gradient", Part(row, f"loss: {recipe.loss}", ""))
        if step.adversary:
            watch(step.adversary, "move", Part(row + 1, "move images (adversarial)", ""))
        update = [
            noted(part, Part(number, _update_name(part, recipe), ""))
            for number, part in enumerate(step.update.parts, start=row + 2)
        ]
        patches.enter_context(patch.object(step.update, "parts", update))
        yield calls


def _name(layer: Layer) -> str:
    """A layer in words: "dense 784 -> 128", "sigmoid", "batch norm"."""
    if isinstance(layer, ActivationLayer):
        return layer.f.name
    text = repr(layer).strip("<>")
    return _words(type(layer)) if " object at " in text else text.lower()


def _update_name(part: Any, recipe: ann.Recipe) -> str:
    owner = getattr(part, "__self__", part)
    is_optimizer = isinstance(owner, Optimizer)
    return f"optimizer: {recipe.optimizer}" if is_optimizer else _words(type(owner))


def _words(kind: type) -> str:
    """The name of a class as words: "batch norm"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def _print_table(parts: list[dict[str, Any]], total: float, whole: float) -> None:
    """Print a line for each row, the sum of all parts, and a whole step."""
    width = max(len(part["name"]) for part in parts)
    print(f"  {'milliseconds':{width}}   forward  backward       sum    share  GFLOP/s")
    for _, row in itertools.groupby(parts, key=lambda part: part["row"]):
        found = list(row)
        directions = {part["direction"]: f"{part['milliseconds']:9.3f}" for part in found}
        columns = " ".join(directions.get(name, " " * 9) for name in ("forward", "backward"))
        millis = sum(part["milliseconds"] for part in found)
        flops = sum(part["flops"] for part in found)
        speed = f"{flops / millis / 1e6:8.1f}" if flops else ""
        line = f"{found[0]['name']:{width}} {columns} {millis:9.3f} {millis / total:8.1%} {speed}"
        print(f"  {line}".rstrip())
    print(f"  {'all parts':{width}} {total:29.3f}")
    print(f"  {'a whole step':{width}} {whole:29.3f} {whole / total:8.1%}")
