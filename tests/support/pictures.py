"""Layers for pictures."""

CONV_LIST = [
    {"type": "conv2d", "input_shape": [8, 8], "filters": 4, "kernel": 3, "activation": "relu"},
    {"type": "max_pool2d", "size": 2},
    {"output_dim": 6, "activation": "relu"},
    {"output_dim": 10, "activation": "softmax"},
]


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
