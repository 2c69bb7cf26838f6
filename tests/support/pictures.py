"""Layers for pictures, and pictures in PyTorch's order."""

import numpy as np

CONV_LIST = [
    {"type": "conv2d", "input_shape": [8, 8], "filters": 4, "kernel": 3, "activation": "relu"},
    {"type": "max_pool2d", "size": 2},
    {"output_dim": 6, "activation": "relu"},
    {"output_dim": 10, "activation": "softmax"},
]


def bound(backend, layer, rng, dtype="float64", leading=()):
    """The layer bound to random parameters, and these and their gradients by name."""
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


def channels_first(rows, shape):
    """Rows (N, H W C) as an array (N, C, H, W)."""
    return np.ascontiguousarray(rows.reshape(len(rows), *shape).transpose(0, 3, 1, 2))


def rows_of(pictures):
    """An array (N, C, H, W) as rows (N, H W C)."""
    return pictures.transpose(0, 2, 3, 1).reshape(len(pictures), -1)
