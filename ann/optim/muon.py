"""Muon: a step for matrices of weights in which every direction counts equally.

Most of the gradient of a matrix lies in a few directions. Muon replaces it by the nearest matrix with orthonormal
rows or columns.
"""

from __future__ import annotations

import math
from typing import Any

from ann.backends.base import Array, Backend
from ann.optim.adam import Adam
from ann.optim.optimizer import Optimizer
from ann.optim.scalars import Scalars

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the coefficients of Jordan et al. (2024)
_ITERATIONS = 5  # an odd number, so that the result ends where the matrix was
_EPSILON = 1e-7  # against a gradient of 0
_SIZE = 0.2  # about the root mean square of AdamW's steps, so that learning rates mean the same


class Orthogonalization:
    """Replaces a matrix X = U S V^T (its singular value decomposition) by about U V^T, using products alone.

    The Newton-Schulz iteration of Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks. It
    brings all singular values to between 0.7 and 1.2.
    """

    def __init__(self, backend: Backend, matrix: Array) -> None:
        """``matrix``: (..., I, O), read and overwritten by each call."""
        xp = backend.xp
        leading, shape = matrix.shape[:-2], matrix.shape[-2:]
        self._backend = backend
        self._x, self._y = matrix, xp.empty_like(matrix)
        self._norm = xp.empty((*leading, 1, 1), dtype=matrix.dtype)
        self._a = xp.empty((*leading, min(shape), min(shape)), dtype=matrix.dtype)
        self._b = xp.empty_like(self._a)

    def __call__(self) -> None:
        """X = X / |X|; then five times A = X X^T, B = b A + c A A, X = a X + B X."""
        backend, matmul, axpby = self._backend, self._backend.matmul, self._backend.axpby
        row = backend.xp.reshape(self._x, (*self._x.shape[:-2], 1, -1), copy=False)
        matmul(row, row.mT, out=self._norm)
        backend.elementwise(_normalized, self._x, self._norm, out=self._y)
        x, y = _wide(self._y), _wide(self._x)
        for _ in range(_ITERATIONS):
            matmul(x, x.mT, out=self._a)
            matmul(self._a, self._a, out=self._b, alpha=_C)
            axpby(self._a, out=self._b, alpha=_B)
            matmul(self._b, x, out=y)
            axpby(x, out=y, alpha=_A)
            x, y = y, x


def _normalized(xp: Any, x: Array, squared_norm: Array) -> Array:
    return x / (xp.sqrt(squared_norm) + _EPSILON)


def _wide(matrix: Array) -> Array:
    """The matrix or its transpose, whichever has fewer rows, so that X X^T is small."""
    return matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix


def look_ahead(xp: Any, g: Array, v: Array, momentum: float) -> tuple[Array, Array]:
    """The direction g + momentum v (Nesterov), with the new v = momentum v + g."""
    v = momentum * v + g
    return g + momentum * v, v


def step(xp: Any, p: Array, direction: Array, rate: Array, shrink: Array, size: float) -> Array:
    """Liu et al. (2025), Muon is scalable for LLM training, equation 4."""
    return shrink * p - (size * rate) * direction


class Muon(Optimizer):
    """p = (1 - rate weight_decay) p - 0.2 sqrt(max(I, O)) rate orthogonal(g + momentum v), for weights.

    Jordan et al. (2024), with the factor and the decay of Liu et al. (2025), so that learning rates are about AdamW's.
    Everything that is not a matrix, such as biases, follows Adam.
    """

    def prepare(self, scalars: Scalars) -> None:
        others = self.others(self.p), self.others(self.g)
        self.adam = Adam(self.backend, *others, (), scalars, momentum=self.momentum, weight_decay=0.0)
        self.v = self.add_state("v", self.weights(self.p))
        self.state |= {f"adam_{name}": vector for name, vector in self.adam.state.items()}
        self.rate = scalars.add(lambda k, rate: rate)
        self.shrink = scalars.add(lambda k, rate: 1 - rate * self.weight_decay)
        self.direction = self.backend.xp.zeros_like(self.v)
        self.orthogonalize = [Orthogonalization(self.backend, matrix) for matrix in self.matrices(self.direction)]

    def update(self) -> None:
        elementwise, v, direction = self.backend.elementwise, self.v, self.direction
        elementwise(look_ahead, self.weights(self.g), v, self.momentum, out=(direction, v))
        for orthogonalize in self.orthogonalize:
            orthogonalize()
        for shape, w, d in zip(self.shapes, self.matrices(self.p), self.matrices(direction), strict=True):
            elementwise(step, w, d, self.rate, self.shrink, _SIZE * math.sqrt(max(shape)), out=w)
        self.adam.update()
