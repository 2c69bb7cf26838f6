"""How the time of a training step grows with batch size, width and depth, beside the roofline
(Williams et al. 2009, Roofline: an insightful visual performance model).

A step takes at least as long as its matrix products at the speed of a large product, and at least
as long as its reads and writes of memory at the speed of a large copy. Only data that stay in the
cache can move faster than this second limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ann
from ann.analysis.figures import BLUE, ORANGE, check_figure_path, log_scale, pyplot, save_figure
from ann.backends.base import Backend
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
    peak = flops / _shortest(backend, product, 2 * trials) / 1e9
    recorder = backend.recorder()  # divides a copy among all processors
    source = backend.from_host(np.ones(_COPIED, dtype=np.float32))
    target = backend.xp.empty_like(source)
    copy = recorder.compile(lambda: recorder.copyto(source, out=target))
    bandwidth = 2 * source.nbytes / _shortest(backend, copy, trials) / 1e9
    print(f"\nlarge products: {peak:.0f} GFLOP/s; large copies: {bandwidth:.1f} GB/s")
    sweeps: dict[str, list[dict[str, float]]] = {}
    for name, variants in _variants(recipe, len(dataset.train_images)).items():
        print(f"\n  {name:>20} {'ms a step':>10} {'products':>10} {'memory':>10}")
        rows = sweeps[name] = []
        for value, variant in [*variants.items()][: 2 if quick else None]:
            steps = TrainingSteps(backend, dataset, variant, quick)
            flops = sum(call.flops for call in calls_of(steps.step, variant))
            (seconds,) = steps.seconds(steps.step.backend.compile(steps.step))
            millis = {
                "step": 1e3 * seconds,
                "products": flops / peak / 1e6,
                "memory": _bytes_moved(steps.step) / bandwidth / 1e6,
            }
            print(f"  {value:20,} " + " ".join(f"{number:10.3f}" for number in millis.values()))
            rows.append({"value": value, **millis})
    save_figure(_figure(sweeps), picture)
    print(f"\nsaved {picture}")
    return {"gflops_a_second": peak, "gigabytes_a_second": bandwidth, "milliseconds": sweeps}


def _variants(recipe: ann.Recipe, images: int) -> dict[str, dict[int, ann.Recipe]]:
    """What each plot varies, and the recipe for each value; no batch is larger than ``images``."""
    pictures = tuple(layer for layer in recipe.hidden if isinstance(layer, str))
    dense = recipe.hidden[len(pictures) :] or (128,)
    least, most = 2 if recipe.batch_norm else 1, images - recipe.validation

    def with_hidden(layers: Sequence[int | str]) -> ann.Recipe:
        return replace(recipe, hidden=(*pictures, *layers))

    return {
        "batch size": {
            size: replace(recipe, batch_size=size) for size in _BATCHES if least <= size <= most
        },
        "width": {width: with_hidden([width] * len(dense)) for width in _WIDTHS},
        "depth": {depth: with_hidden(dense[:1] * depth) for depth in _DEPTHS},
    }


def _bytes_moved(step: Step) -> int:
    """The bytes that a step must move, at least.

    It must read the pixels of the batch, and read and write each parameter, its gradient and the
    state that the optimizer keeps for it, once.
    """
    vectors = [step.network.gradients, *step.update.state.values()]
    moved = {id(vector): 2 * int(vector.nbytes) for vector in vectors}
    return int(step.batch.gathered.nbytes) + sum(moved.values())


def _shortest(backend: Backend, run: Callable[[], object], trials: int) -> float:
    """The fewest seconds of some trials."""

    def whole() -> None:
        run()
        backend.synchronize()

    return min(in_turns({"": whole}, trials)[""])


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
