"""The benchmark of distortion: this package and PyTorch, as its users write it, with an affine
grid, a blurred field of random numbers and ``grid_sample``.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ann
from ann.backends.base import Backend
from ann.training.batches import ImageSet
from ann.training.named_recipes import RECIPES
from ann.training.trainer import Trainer
from benchmarking.timing import in_turns, print_table, working

RECIPE = RECIPES["quick"].recipe  # its strengths and its batch size
_BATCHES = 40


def our_distorter(backend: Backend, dataset: ann.Dataset) -> Callable[[int], np.ndarray]:
    """This package, with the batches that ``ann.fit`` makes.

    The result is a function. It distorts this many batches, and returns the last one: a host array
    (N, h w) of numbers from 0 to 1.
    """
    network = RECIPE.network(dataset, backend)
    pictures = dataset.train_images[: RECIPE.batch_size]
    count, *shape = pictures.shape
    labels = np.zeros(count, dtype=np.int64)  # of real ones, 1 and 7 would be rotated less
    pixels = pictures.reshape(count, -1)
    images = ImageSet(network, pixels, labels, RECIPE, tuple(shape))
    step = Trainer(network, images, RECIPE).new_step(backend.from_host(np.arange(count)))
    fill = step.backend.compile(step.batch.fill)

    def distort(batches: int) -> np.ndarray:
        for _ in range(batches):
            fill()
        return backend.to_host(step.batch.flat_x)

    return distort


def torch_distorter(backend: Backend, dataset: ann.Dataset) -> Callable[[int], np.ndarray]:
    """The same in PyTorch, eager."""
    import torch

    device = {"cpu": "cpu", "gpu": "cuda"}[backend.name]
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU")
    strengths = RECIPE.strengths
    images = torch.from_numpy(dataset.train_images[: RECIPE.batch_size].copy()).to(device)
    count, size, _ = images.shape
    pixels = torch.arange(size, dtype=torch.float32, device=device)
    band = torch.exp(-0.5 * ((pixels[:, None] - pixels) / strengths.smoothness) ** 2)
    # A blurred field of normal numbers then has standard deviation 1 everywhere
    band /= band.norm(dim=1, keepdim=True)
    pixel = 2 / size  # the image reaches from -1 to 1

    def uniform(largest: float) -> Any:
        return (2 * torch.rand(count, device=device) - 1) * largest

    def distorted() -> Any:
        angle = uniform(math.radians(strengths.rotation))
        shear = uniform(math.tan(math.radians(strengths.shear)))
        wide, high = 1 + uniform(strengths.scaling), 1 + uniform(strengths.scaling)
        cos, sin = torch.cos(angle), torch.sin(angle)
        shifts = [uniform(strengths.shift * pixel) for _ in range(2)]
        x_row = torch.stack([cos * wide, (shear * cos - sin) * high, shifts[0]], dim=1)
        y_row = torch.stack([sin * wide, (shear * sin + cos) * high, shifts[1]], dim=1)
        matrix, shape = torch.stack([x_row, y_row], dim=1), [count, 1, size, size]
        grid = torch.nn.functional.affine_grid(matrix, shape, align_corners=False)
        noise = torch.randn((count, 2, size, size), device=device)
        field = band @ noise @ band.T * (strengths.elastic * pixel)
        grid = grid + field.permute(0, 2, 3, 1)
        x = images[:, None].float() / 255
        return torch.nn.functional.grid_sample(x, grid, align_corners=False)

    def distort(batches: int) -> np.ndarray:
        for _ in range(batches):
            out = distorted()
        return np.asarray(out.cpu()).reshape(count, -1)

    return distort


def measure(
    dataset: ann.Dataset, backend: Backend, repetitions: int, quick: bool
) -> dict[str, Any]:
    """Milliseconds for a batch of images, distorted as strongly as in the recipe "quick"."""
    size, batches = RECIPE.batch_size, 2 if quick else _BATCHES
    print(f"\ndistort: batches of {size} images: rotation, scaling, shear, shift, elastic")
    makers = {"ann": our_distorter, "PyTorch grid_sample": torch_distorter}
    found = working({name: partial(make, backend, dataset) for name, make in makers.items()})
    original = dataset.train_images[:size].reshape(size, -1) / 255.0
    changes: dict[str, float] = {}
    for name, distort in found.items():
        changes[name] = float(np.abs(distort(1) - original).mean())
        # Their random numbers differ, so only the mean strength can be compared
        if not abs(changes[name] / changes["ann"] - 1.0) < 0.1:
            change = f"pixels change by {changes[name]:.3f} on average"
            raise ValueError(f"{name}: {change}, ann's by {changes['ann']:.3f}")
    runs = {name: partial(distort, batches) for name, distort in found.items()}
    millis = in_turns(runs, repetitions, unit=1e-3 * batches)
    print_table(millis, "ms a batch", digits=2)
    return {"milliseconds_a_batch": millis}
