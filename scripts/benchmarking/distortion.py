"""The benchmark of distortion: this package and PyTorch, as its users write it, with an affine
grid, a blurred field of random numbers and ``grid_sample``.
"""

import math
from functools import partial
from typing import Any

import numpy as np

import ann
from ann.data.distortion import DistortedBatch, Distorter, DistortionStrengths
from ann.training.named_recipes import RECIPES
from benchmarking.timing import in_turns, print_table, working

_BATCH, _BATCHES = 256, 40


class Ours:
    """This package, with the batches that ``ann.fit`` makes from square images (N, h, w)."""

    def __init__(self, device: str, images: np.ndarray, strengths: DistortionStrengths) -> None:
        self._backend = ann.get_backend(device)
        recorder, xp = self._backend.recorder(), self._backend.xp
        count, self._shape = len(images), images.shape[1:]
        pixels = self._backend.from_host(images.reshape(count, -1))
        ones = xp.ones(count, dtype=xp.float32)
        distorter = Distorter(self._backend, pixels, self._shape, strengths, ones)
        indices, numbers = (xp.arange(count, dtype=dtype) for dtype in (xp.int64, xp.uint32))
        self._key = xp.zeros(1, dtype=xp.uint32)
        self._out = xp.empty(pixels.shape, dtype=xp.float32)
        arrays = indices, numbers, self._key, self._out
        self._draw = recorder.compile(DistortedBatch(distorter, recorder, *arrays).fill)

    def distort(self, batches: int) -> np.ndarray:
        """Distort this many batches; the last one (N, h, w), from 0 to 1, on the host."""
        for number in range(batches):
            self._key[...] = number
            self._draw()
        return self._backend.to_host(self._out).reshape(-1, *self._shape) / np.float32(255)


class Torch:
    """PyTorch, eager."""

    def __init__(self, device: str, images: np.ndarray, strengths: DistortionStrengths) -> None:
        import torch

        self._torch, self._device = torch, {"cpu": "cpu", "gpu": "cuda"}[device]
        if self._device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU")
        self._strengths, self._size = strengths, images.shape[1]
        self._images = torch.from_numpy(images.copy()).to(self._device)
        pixels = np.arange(self._size)
        band = np.exp(-0.5 * ((pixels[:, None] - pixels) / strengths.smoothness) ** 2)
        # A blurred field of normal numbers then has standard deviation 1 everywhere
        band /= np.sqrt((band**2).sum(axis=1, keepdims=True))
        self._band = torch.from_numpy(band.astype(np.float32)).to(self._device)

    def distort(self, batches: int) -> np.ndarray:
        for _ in range(batches):
            out = self._one()
        return np.asarray(out.cpu()[:, 0])

    def _one(self) -> Any:
        torch, strengths, size, count = self._torch, self._strengths, self._size, len(self._images)

        def uniform(largest: float) -> Any:
            return (2 * torch.rand(count, device=self._device) - 1) * largest

        angle = uniform(math.radians(strengths.rotation))
        shear = uniform(math.tan(math.radians(strengths.shear)))
        wide, high = 1 + uniform(strengths.scaling), 1 + uniform(strengths.scaling)
        cos, sin = torch.cos(angle), torch.sin(angle)
        pixel = 2 / size  # the image reaches from -1 to 1
        shifts = [uniform(strengths.shift * pixel) for _ in range(2)]
        x_row = torch.stack([cos * wide, (shear * cos - sin) * high, shifts[0]], dim=1)
        y_row = torch.stack([sin * wide, (shear * sin + cos) * high, shifts[1]], dim=1)
        matrix, shape = torch.stack([x_row, y_row], dim=1), [count, 1, size, size]
        grid = torch.nn.functional.affine_grid(matrix, shape, align_corners=False)
        noise = torch.randn((count, 2, size, size), device=self._device)
        field = self._band @ noise @ self._band.T * (strengths.elastic * pixel)
        grid = grid + field.permute(0, 2, 3, 1)
        images = self._images[:, None].float() / 255
        return torch.nn.functional.grid_sample(images, grid, align_corners=False)


DISTORTING: dict[str, type[Ours | Torch]] = {"ann": Ours, "PyTorch grid_sample": Torch}


def measure(
    dataset: ann.Dataset, backend: ann.Backend, repetitions: int, quick: bool
) -> dict[str, Any]:
    """Milliseconds for a batch of images, distorted as strongly as in the recipe "quick"."""
    print(f"\ndistort: batches of {_BATCH} images: rotation, scaling, shear, shift, elastic")
    images = dataset.train_images[:_BATCH]
    strengths, batches = RECIPES["quick"].recipe.strengths, 2 if quick else _BATCHES
    arguments = backend.name, images, strengths
    found: dict[str, Ours | Torch] = working(
        {name: partial(kind, *arguments) for name, kind in DISTORTING.items()}
    )
    changes = {}
    for name, distorting in found.items():
        changes[name] = float(np.abs(distorting.distort(1) - images / 255.0).mean())
        # Their random numbers differ, so only the mean strength can be compared
        if not abs(changes[name] / changes["ann"] - 1.0) < 0.1:
            change = f"pixels change by {changes[name]:.3f} on average"
            raise ValueError(f"{name}: {change}, ann's by {changes['ann']:.3f}")
    runs = {name: partial(distorting.distort, batches) for name, distorting in found.items()}
    millis = in_turns(runs, repetitions, 1e-3 * batches)
    print_table(millis, "ms a batch", digits=2)
    return {"milliseconds_a_batch": millis}
