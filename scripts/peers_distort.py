"""Distorting images, by this package and by PyTorch, the way its users write it: an affine grid, a blurred field of
random numbers, and ``grid_sample``.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from tasks import UnsuitedError

import ann
from ann.data.distortion import DistortedBatch, Distorter, Strengths


class Distorting(Protocol):
    """One library's way of distorting batches of square images."""

    def __init__(self, device: str, images: np.ndarray, strengths: Strengths, batch: int) -> None: ...

    def distort(self, batches: int) -> np.ndarray:
        """So many batches of images, one after the other; the last of them (N, h, w), from 0 to 1, on the host."""


class Ours:
    """This package, by the batches that ``ann.fit`` makes."""

    def __init__(self, device: str, images: np.ndarray, strengths: Strengths, batch: int) -> None:
        self._backend = ann.get_backend(device)
        recorder, xp = self._backend.recorder(), self._backend.xp
        count, self._shape = len(images), images.shape[1:]
        pixels = self._backend.from_host(images.reshape(count, -1))
        distorter = Distorter(self._backend, pixels, self._shape, strengths, xp.ones(count, dtype=xp.float32))
        self._chosen = xp.arange(batch, dtype=xp.int64)
        self._numbers, self._key = xp.arange(batch, dtype=xp.uint32), xp.zeros(1, dtype=xp.uint32)
        self._out = xp.empty((batch, pixels.shape[1]), dtype=xp.float32)
        arrays = self._chosen, self._numbers, self._key, self._out
        self._draw = recorder.compile(DistortedBatch(distorter, recorder, *arrays).draw)

    def distort(self, batches: int) -> np.ndarray:
        """See ``Distorting``."""
        for number in range(batches):
            self._key[...] = number
            self._draw()
        return self._backend.to_host(self._out).reshape(-1, *self._shape) / np.float32(255)


class Torch:
    """PyTorch, eager."""

    def __init__(self, device: str, images: np.ndarray, strengths: Strengths, batch: int) -> None:
        import torch

        self._torch, self._device = torch, {"cpu": "cpu", "gpu": "cuda"}[device]
        if self._device == "cuda" and not torch.cuda.is_available():
            raise UnsuitedError("it finds no GPU")
        self._strengths, self._batch, self._size = strengths, batch, images.shape[1]
        self._images = torch.from_numpy(images[:batch].copy()).to(self._device)
        places = np.arange(self._size)
        band = np.exp(-0.5 * ((places[:, None] - places) / strengths.smoothness) ** 2)
        band /= np.sqrt((band**2).sum(axis=1, keepdims=True))  # so that a blurred field has deviation 1 everywhere
        self._band = torch.from_numpy(band.astype(np.float32)).to(self._device)

    def distort(self, batches: int) -> np.ndarray:
        """See ``Distorting``."""
        for _ in range(batches):
            out = self._one()
        result: np.ndarray = out.cpu().numpy()[:, 0]
        return result

    def _one(self) -> Any:
        torch, strengths, size, count = self._torch, self._strengths, self._size, self._batch

        def uniform(largest: float) -> Any:
            return (2 * torch.rand(count, device=self._device) - 1) * largest

        angle, lean = uniform(math.radians(strengths.rotation)), uniform(math.tan(math.radians(strengths.shear)))
        wide, high = 1 + uniform(strengths.scaling), 1 + uniform(strengths.scaling)
        cos, sin = torch.cos(angle), torch.sin(angle)
        unit = 2 / size  # a pixel, where the image reaches from -1 to 1
        rows = [
            torch.stack([cos * wide, (lean * cos - sin) * high, uniform(strengths.shift * unit)], dim=1),
            torch.stack([sin * wide, (lean * sin + cos) * high, uniform(strengths.shift * unit)], dim=1),
        ]
        grid = torch.nn.functional.affine_grid(torch.stack(rows, dim=1), [count, 1, size, size], align_corners=False)
        noise = torch.randn((count, 2, size, size), device=self._device)
        field = self._band @ noise @ self._band.T * (strengths.elastic * unit)
        pixels = self._images[:, None].float() / 255
        return torch.nn.functional.grid_sample(pixels, grid + field.permute(0, 2, 3, 1), align_corners=False)


DISTORTING: dict[str, type[Distorting]] = {"ann": Ours, "PyTorch grid_sample": Torch}
