"""The package's own gradient check, as an assertion."""

from ann.analysis.gradient_check import gradient_error


def assert_gradient(function, gradient, point, rng, tolerance=1e-6):
    error = gradient_error(function, gradient, point, rng)
    assert error <= tolerance, error
