"""How the time of a training step grows with batch size, width and depth, beside the roofline
(Williams et al. 2009, Roofline: an insightful visual performance model).

A step takes at least as long as its matrix products at the speed of a large product, and at least
as long as its reads and writes of memory at the speed of a large copy. Only data that stay in the
cache can move faster than this second limit.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import ann
from ann.analysis.figures import BLUE, ORANGE, check_figure_path, log_scale, pyplot, save_figure
from ann.backends.base import Array, Backend
from ann.training.step import Step
from benchmarking.step_profile import calls_of
from benchmarking.timing import in_turns, large_product
from benchmarking.training_steps import TrainingSteps

_BATCHES = (1, 3, 10, 30, 100, 300, 1000, 3000)
_WIDTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_DEPTHS = (1, 2, 4, 8, 16)
_COPIED = 2**26  # numbers of a large copy: more than any cache holds
_TRIALS = 20


def measure(
    backend: Backend, dataset: ann.Dataset, recipe: ann.Recipe, picture: Path, quick: bool
) -> dict[str, Any]:
    """Print tables, save a plot of them to ``picture``, and return the figures."""
    check_figure_path(picture)
    trials = 1 if quick else _TRIALS
    product, flops = large_product(backend)
    peak = flops / _shortest(product, 2 * trials) / 1e9
    bandwidth = _bandwidth(backend, trials)
    print(f"\nlarge products: {peak:.0f} GFLOP/s; large copies: {bandwidth:.1f} GB/s")
    sweeps: dict[str, list[dict[str, float]]] = {}
    for name, values, change in _sweeps(recipe, len(dataset.train_images), quick):
        print(f"\n  {name:>20} {'ms a step':>10} {'products':>10} {'memory':>10}")
        rows = sweeps[name] = []
        for value in values:
            changed = change(value)
            steps = TrainingSteps(backend, dataset, changed, quick)
            flops = sum(call.flops for call in calls_of(steps.step, changed))
            (seconds,) = steps.seconds(steps.step.backend.compile(steps.step))
            size = _bytes_moved(steps.step)
            millis = 1e3 * seconds, flops / peak / 1e6, size / bandwidth / 1e6
            print(f"  {value:20,} " + " ".join(f"{number:10.3f}" for number in millis))
            step, products, memory = millis
            rows.append({"value": value, "step": step, "products": products, "memory": memory})
    save_figure(_figure(sweeps), picture)
    print(f"\nsaved {picture}")
    return {"gflops_a_second": peak, "gigabytes_a_second": bandwidth, "milliseconds": sweeps}


def _sweeps(
    recipe: ann.Recipe, images: int, quick: bool
) -> list[tuple[str, tuple[int, ...], Callable[[int], ann.Recipe]]]:
    """For each plot: what it varies, its values, and a function from a value to the recipe.

    ``images``: how many there are; larger batches are left out.
    """
    pictures = tuple(layer for layer in recipe.hidden if isinstance(layer, str))
    dense = recipe.hidden[len(pictures) :] or (128,)

    def wide(width: int) -> ann.Recipe:
        return dataclasses.replace(recipe, hidden=(*pictures, *[width] * len(dense)))

    def deep(depth: int) -> ann.Recipe:
        return dataclasses.replace(recipe, hidden=(*pictures, *dense[:1] * depth))

    most = images - recipe.validation
    least = 2 if recipe.batch_norm else 1
    batches = tuple(size for size in _BATCHES if least <= size <= most)
    count = 2 if quick else None
    return [
        ("batch size", batches[:count], lambda size: dataclasses.replace(recipe, batch_size=size)),
        ("width", _WIDTHS[:count], wide),
        ("depth", _DEPTHS[:count], deep),
    ]


def _bytes_moved(step: Step) -> int:
    """The bytes that a step must move, at least.

    It must read the pixels of the batch, and read and write each parameter, its gradient and the
    state that the optimizer keeps for it, once.
    """
    vectors = [step.network.gradients, *step.update.state.values()]
    moved = {id(vector): 2 * int(vector.nbytes) for vector in vectors}
    return int(step.batch.gathered.nbytes) + sum(moved.values())


def _bandwidth(backend: Backend, trials: int) -> float:
    """The most gigabytes per second that a large copy by all processors reads and writes."""
    recorder = backend.recorder()
    array = backend.from_host(np.ones(_COPIED, dtype=np.float32))
    out = backend.xp.empty_like(array)
    # A formula is divided among the processors; NumPy's own copy uses one
    negate = recorder.compile(lambda: recorder.elementwise(_negative, array, out=out))

    def copy() -> None:
        negate()
        backend.synchronize()

    return 2 * int(array.nbytes) / _shortest(copy, trials) / 1e9


def _shortest(run: Callable[[], None], trials: int) -> float:
    return min(in_turns({"": run}, trials)[""])


def _negative(xp: Any, x: Array) -> Array:
    return -x


def _figure(sweeps: dict[str, list[dict[str, float]]]) -> Any:
    """The time of a step and both limits against each value."""
    figure, axes = pyplot().subplots(len(sweeps), 1, figsize=(5, 8), layout="tight")
    lines: dict[str, dict[str, Any]] = {
        "step": {"label": "a step, measured", "color": BLUE, "marker": "o", "markersize": 4},
        "products": {"label": "its products at full speed", "color": ORANGE},
        "memory": {"label": "its memory traffic at full speed", "color": ORANGE, "linestyle": "--"},
    }
    for axis, (name, rows) in zip(axes, sweeps.items(), strict=True):
        values = [row["value"] for row in rows]
        for key, style in lines.items():
            axis.plot(values, [row[key] for row in rows], **style)
        axis.set(xlabel=name, xscale="log", ylabel="milliseconds")
        axis.set_xticks(values, [f"{value:,}" for value in values])
        axis.set_xticks([], minor=True)
        log_scale(axis, "y", [row[key] for row in rows for key in lines])
        axis.grid(alpha=0.3)
    axes[0].legend(loc="upper left", fontsize="small")
    return figure
