"""The gradient check: does backward say what forward does?"""

import numpy as np


def assert_gradient(function, gradient, point, rng, tolerance=1e-6):
    """<v, gradient> against a central difference of a scalar function along v, in float64, for three random v.

    One random direction tests all partial derivatives at once, after autograd's check_vjp: a wrong one shows
    with certainty in all but a vanishing share of directions.
    """
    assert point.dtype == gradient.dtype == np.float64
    for _ in range(3):
        direction = rng.standard_normal(point.shape)
        step = 1e-5
        difference = (function(point + step * direction) - function(point - step * direction)) / (2 * step)
        projected = float((gradient * direction).sum())
        assert abs(difference - projected) <= tolerance * max(1.0, abs(difference)), (difference, projected)
