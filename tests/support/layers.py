"""Layers on their own, outside a network."""

from support.gradients import assert_gradient


def bound(backend, layer, rng, dtype="float64", leading=()):
    """Bind the layer to random parameters; returns it, and parameters and gradients by name."""
    values, gradients = (
        {
            parameter.name: backend.from_host(
                rng.standard_normal((*leading, *parameter.shape)).astype(dtype)
            )
            for parameter in layer.parameters
        }
        for _ in range(2)
    )
    layer.bind(backend, values, gradients)
    return layer, values, gradients


def backward(layer, grad, accumulate=0.0):
    """The whole backward pass of a layer, as a network calls it: dL/dy -> dL/dx."""
    layer.compute_gradients(grad, accumulate)
    return layer.backward(grad)


def assert_layer_gradients(backend, layer, values, gradients, x, weights, rng):
    """Check the gradients of sum(weights * layer(x)) with respect to x and each parameter."""

    def total(inputs):
        y = backend.to_host(layer.forward(backend.from_host(inputs.copy())))
        return float((weights * y).sum())

    layer.forward(backend.from_host(x.copy()))
    dx = backend.to_host(backward(layer, backend.from_host(weights.copy()))).copy()
    assert_gradient(total, dx, x, rng)
    for name, array in values.items():
        start = backend.to_host(array).copy()

        def total_at(point, array=array):
            array[...] = backend.from_host(point)
            return total(x)

        assert_gradient(total_at, backend.to_host(gradients[name]), start, rng)
        array[...] = backend.from_host(start)
