"""Muon: for a matrix of weights, a step in which every direction counts alike. The gradient of a matrix is mostly a few
directions; Muon takes its nearest matrix with orthonormal rows or columns instead. Letters: see ``optimizer``.
"""

from __future__ import annotations

import math
from typing import Any

from ann.backends.base import Array, Backend
from ann.optim.adam import Adam
from ann.optim.optimizer import Rule

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the polynomial below, as Jordan et al. (2024) tuned it
_TURNS = 5
_EPSILON = 1e-7  # against a gradient of 0
_SIZE = 0.2  # about the root mean square of AdamW's steps, so that learning rates mean the same


class Orthogonalization:
    """X -> about U V^T, where X = U S V^T is its singular value decomposition, by products alone.

    A Newton-Schulz iteration, X = a X + (b A + c A^2) X with A = X X^T, five times, which brings singular values to
    between 0.7 and 1.2: Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks.
    """

    def __init__(self, backend: Backend, matrix: Array) -> None:
        """``matrix`` (..., I, O) is what ``apply`` reads; and it is overwritten with the result."""
        xp, leading, small = backend.xp, matrix.shape[:-2], min(matrix.shape[-2:])
        self._backend, self._flat = backend, xp.reshape(matrix, (*leading, 1, -1), copy=False)
        self._norm = xp.empty((*leading, 1, 1), dtype=matrix.dtype)
        self._square, self._polynomial = (xp.empty((*leading, small, small), dtype=matrix.dtype) for _ in range(2))
        self._matrices = matrix, xp.empty_like(matrix)

    def apply(self) -> None:
        """Replace the matrix."""
        backend, xp, matmul = self._backend, self._backend.xp, self._backend.matmul
        matmul(self._flat, self._flat.mT, out=self._norm)
        xp.sqrt(self._norm, out=self._norm)
        xp.add(self._norm, _EPSILON, out=self._norm)
        xp.divide(self._flat, self._norm, out=self._flat)
        here, there = self._matrices
        for _ in range(_TURNS):
            x, y = _lying(here), _lying(there)
            matmul(x, x.mT, out=self._square)
            matmul(self._square, self._square, out=self._polynomial, alpha=_C)
            backend.axpby(self._square, self._polynomial, _B)
            matmul(self._polynomial, x, out=y)
            backend.axpby(here, there, _A)
            here, there = there, here
        backend.copyto(here, out=self._matrices[0])


def _lying(matrix: Array) -> Array:
    """The matrix or its transpose, whichever has the fewer rows, so that X X^T is small."""
    return matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix


class Muon(Rule):
    """v = momentum v + g; p = (1 - r weight_decay) p - 0.2 sqrt(max(I, O)) r orthogonal(g + momentum v), for weights.

    Jordan et al. (2024), with the factor and the decay of Liu et al. (2025), Muon is scalable for LLM training,
    equation 4, so that a learning rate is about AdamW's. Biases, which are no matrices, follow AdamW.
    """

    def __init__(self, *vectors: Any, momentum: float, weight_decay: float) -> None:
        super().__init__(*vectors, momentum=momentum, weight_decay=weight_decay)
        xp = self._backend.xp
        self._biases = Adam(*vectors, momentum=momentum, weight_decay=0.0, decoupled=True)
        self._v = xp.zeros_like(self._p)
        self.state = {"v": self._v, "adam_v": self._biases.state["v"], "adam_s": self._biases.state["s"]}
        # where the steps of the weights are worked out
        self._steps = [xp.empty_like(self._p[..., place]) for place in self._weights]
        self._matrices = [
            Orthogonalization(self._backend, xp.reshape(step, (*step.shape[:-1], *shape), copy=False))
            for step, shape in zip(self._steps, self._shapes, strict=True)
        ]

    def numbers(self, step: int, learning_rate: float) -> list[float]:
        """[-r; the factor by which weights shrink; Adam's]"""
        shrink = 1.0 - learning_rate * self._weight_decay
        return [-learning_rate, shrink, *self._biases.numbers(step, learning_rate)]

    def update(self, numbers: Array) -> None:
        """One step."""
        backend, axpby = self._backend, self._backend.axpby
        for place, step, shape, matrix in zip(self._weights, self._steps, self._shapes, self._matrices, strict=True):
            g, v, p = (vector[..., place] for vector in (self._g, self._v, self._p))
            axpby(g, v, 1.0, self._momentum)
            backend.copyto(g, out=step)
            axpby(v, step, self._momentum)
            matrix.apply()
            backend.xp.multiply(step, _SIZE * math.sqrt(max(shape)), out=step)
            axpby(step, p, numbers[0, ...], numbers[1, ...])
        self._biases.update_parts(numbers[2:], [(part, False) for part, is_weights in self.parts() if not is_weights])
