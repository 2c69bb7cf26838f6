"""Measures each part of a training step, and a whole step. The parts are the batch, each layer
forward and backward, the loss, the optimizer, and other changes of gradients or parameters.

Each part is recorded by itself, and all run in turns, in the order of the step. On a GPU, each is a
graph that repeats the part, or launching it would take longer than the part. In a whole step, one
kernel can do the elementwise work of several parts, so it takes less than all its parts.
"""

import itertools
import math
import re
from collections.abc import Callable
from contextlib import ExitStack
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


class Call(NamedTuple):
    """A call in a step.

    Attributes:
        row: of the table, from 0.
        name: of the part, such as "dense 784 -> 128".
        direction: "forward", "backward", or "" for neither.
        flops: of its matrix products.
        run: repeats the call.
    """

    row: int
    name: str
    direction: str
    flops: int
    run: Callable[[], Any]


def measure(
    backend: Backend, dataset: ann.Dataset, recipe: ann.Recipe, quick: bool
) -> dict[str, Any]:
    """Print the table, and return its figures."""
    steps = TrainingSteps(backend, dataset, recipe, quick)
    members = f"{recipe.committee} x " if recipe.committee > 1 else ""
    network = f"{members}{describe_shape(recipe.network(dataset).layer_list)} {recipe.activation}"
    print(f"\n{backend.name}: {network}, batch {recipe.batch_size}, {recipe.optimizer}")
    compiled = steps.step.backend.compile
    calls = calls_of(steps.step, recipe)
    runs = [compiled(partial(_repeat, steps, call.run)) for call in calls]
    *seconds, whole = steps.seconds(*runs, compiled(steps.step))
    millis = [1e3 * each / steps.repeats for each in seconds]
    parts: dict[Any, dict[str, Any]] = {}
    for call, duration in zip(calls, millis, strict=True):
        part = {"row": call.row, "name": call.name, "direction": call.direction}
        found = parts.setdefault(call[:3], {**part, "milliseconds": 0.0, "flops": 0, "share": 0.0})
        found["milliseconds"] += duration
        found["flops"] += call.flops
        found["share"] += duration / sum(millis)
    rows = sorted(parts.values(), key=lambda part: part["row"])
    figures = {"milliseconds_of_all_parts": sum(millis), "milliseconds_a_step": 1e3 * whole}
    _print_table(rows, *figures.values())
    return {"parts": rows, **figures}


def _repeat(steps: TrainingSteps, run: Callable[[], Any]) -> None:
    run()
    for _ in range(steps.repeats - 1):
        steps.step.backend.call(lambda: None)  # or one kernel would do the work of several runs
        run()


def calls_of(step: Step, recipe: ann.Recipe) -> list[Call]:
    """Make a step, and return its calls. Repeating them may ruin the parameters."""
    calls: list[Call] = []

    def watched(
        function: Callable[..., Any], row: int, name: str, direction: str = "", flops: int = 0
    ) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            run = partial(function, *arguments, **options)
            calls.append(Call(row, name, direction, flops, run))
            return run()

        return call

    with ExitStack() as patches:

        def watch(owner: Any, method: str, *part: Any) -> None:
            new = watched(getattr(owner, method), *part)
            patches.enter_context(patch.object(owner, method, new))

        filled = ["gather"] + ["distort"] * recipe.strengths.any
        filled += ["input dropout"] * bool(recipe.input_dropout)
        watch(step.batch, "fill", 0, f"batch: {', '.join(filled)}")
        layers, images = step.network.layers, step.batch.indices.size
        for row, layer in enumerate(layers, start=1):
            has_weights = hasattr(layer, "weight")
            flops = 2 * math.prod(product_of(layer, images)) if has_weights else 0
            watch(layer, "forward", row, _name(layer), "forward", flops)
            if layer.parameters:
                watch(layer, "compute_gradients", row, _name(layer), "backward", flops)
            watch(layer, "backward", row, _name(layer), "backward", flops)
        row = len(layers) + 1
        watch(step.network.loss, "gradient", row, f"loss: {recipe.loss}")
        if step.adversary:
            watch(step.adversary, "move", row + 1, "move images (adversarial)")
        parts = enumerate(step.update.parts, start=row + 2)
        update = [watched(part, row, _update_name(part, recipe)) for row, part in parts]
        patches.enter_context(patch.object(step.update, "parts", update))
        step()
    return calls


def _name(layer: Layer) -> str:
    """A layer in words: "dense 784 -> 128", "sigmoid", "batch norm"."""
    if isinstance(layer, ActivationLayer):
        return layer.f.name
    text = repr(layer).strip("<>")
    return _words(type(layer)) if " object at " in text else text.lower()


def _update_name(part: Any, recipe: ann.Recipe) -> str:
    owner = getattr(part, "__self__", part)
    if isinstance(owner, Optimizer):
        return f"optimizer: {recipe.optimizer}"
    return _words(type(owner))


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
