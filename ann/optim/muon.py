"""Muon: matrices of weights take steps in which every direction counts equally.

Most of a matrix's gradient lies in a few directions. Muon replaces the gradient by the nearest
matrix with orthonormal rows or columns.
"""

import math
from typing import Any

from ann.backends.base import Array, Backend
from ann.optim.adam import Adam
from ann.optim.optimizer import Optimizer, plus
from ann.optim.scalars import Scalars

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the coefficients of Jordan et al. (2024)
_ITERATIONS = 5  # odd, so that the last result replaces the matrix
_EPSILON = 1e-7  # avoids a division by 0
_SIZE = 0.2  # about the root mean square of AdamW's steps, for similar learning rates


class Orthogonalization:
    """Replaces a matrix X = U S V^T (its singular value decomposition) by about U V^T.

    This is the Newton-Schulz iteration of Jordan et al. (2024), Muon: an optimizer for hidden
    layers in neural networks. It uses products only, and brings all singular values but the
    smallest (below 0.0015 |X|) to between 0.68 and 1.21.
    """

    def __init__(self, backend: Backend, matrix: Array) -> None:
        """``matrix``: (..., I, O), read and overwritten by each call."""
        xp, leading, rows = backend.xp, matrix.shape[:-2], min(matrix.shape[-2:])
        self._backend, self.matrix = backend, matrix
        self._other = xp.empty_like(matrix)
        self._flat = xp.reshape(matrix, (*leading, 1, -1), copy=False)
        self._squared_norm = xp.empty((*leading, 1, 1), dtype=matrix.dtype)
        self._a = xp.empty((*leading, rows, rows), dtype=matrix.dtype)
        self._b = xp.empty_like(self._a)

    def __call__(self) -> None:
        """X = X / |X|; then five times A = X X^T, B = b A + c A A, X = a X + B X.

        Each pass maps every singular value s to a s + b s^3 + c s^5, and keeps U and V.
        """
        a, b = self._a, self._b
        matmul, elementwise = self._backend.matmul, self._backend.elementwise
        matmul(self._flat, self._flat.mT, out=self._squared_norm)
        elementwise(_normalized, self.matrix, self._squared_norm, out=self._other)
        x, y = _wide(self._other), _wide(self.matrix)
        for _ in range(_ITERATIONS):
            matmul(x, x.mT, out=a)
            matmul(a, a, out=b, alpha=_C)
            elementwise(plus, b, _B, a, out=b)  # B = c A A + b A
            matmul(b, x, out=y)
            elementwise(plus, y, _A, x, out=y)  # y = B X + a X
            x, y = y, x


def _normalized(xp: Any, x: Array, squared_norm: Array) -> Array:
    return x / (xp.sqrt(squared_norm) + _EPSILON)


def _wide(matrix: Array) -> Array:
    """The matrix or its transpose, whichever has fewer rows, so that X X^T is small."""
    return matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix


def direction(xp: Any, g: Array, v: Array, momentum: float) -> tuple[Array, Array]:
    """(Nesterov's direction g + momentum v, v), where v = momentum v + g is already the new one."""
    v = momentum * v + g
    return g + momentum * v, v


def step(xp: Any, p: Array, d: Array, rate: Array, shrink: Array, size: float) -> Array:
    """Liu et al. (2025), Muon is scalable for LLM training, equation 4."""
    return shrink * p - (size * rate) * d


class Muon(Optimizer):
    """v = momentum v + g; d = orthogonal(g + momentum v);
    p = (1 - rate weight_decay) p - 0.2 sqrt(max(I, O)) rate d.

    Jordan et al. (2024), with the factor and the decay of Liu et al. (2025), so that learning rates
    are similar to AdamW's. The weights of a convolution are one matrix with a column for each
    filter, as in Jordan et al. Parameters without weight decay, such as biases, are trained with
    Adam.
    """

    tuned = (0.028, 0.08)
    decoupled_decay = True

    def prepare(self, scalars: Scalars) -> None:
        self.shrink = scalars.add(lambda k, rate: 1 - rate * self.weight_decay)
        self.v = self.add_state("v", self.weights(self.p))
        self.d = self.backend.xp.zeros_like(self.v)
        self.matrices, directions = (
            self.backend.split(vector, self.shapes) for vector in (self.p, self.d)
        )
        self.orthogonalizations = [Orthogonalization(self.backend, d) for d in directions]
        p, g, momentum = self.others(self.p), self.others(self.g), self.momentum
        self.adam = Adam(self.backend, p, g, (), scalars, momentum=momentum, weight_decay=0.0)
        self.state |= {f"adam_{name}": vector for name, vector in self.adam.state.items()}

    def update(self) -> None:
        elementwise, g = self.backend.elementwise, self.weights(self.g)
        elementwise(direction, g, self.v, self.momentum, out=(self.d, self.v))
        for p, orthogonalize in zip(self.matrices, self.orthogonalizations, strict=True):
            orthogonalize()
            size = _SIZE * math.sqrt(max(p.shape[-2:]))
            elementwise(step, p, orthogonalize.matrix, self.rate, self.shrink, size, out=p)
        self.adam.update()
