"""Layers for pictures."""

CONV_LIST = [
    {"type": "conv2d", "input_shape": [8, 8], "filters": 4, "kernel": 3, "activation": "relu"},
    {"type": "max_pool2d", "size": 2},
    {"output_dim": 6, "activation": "relu"},
    {"output_dim": 10, "activation": "softmax"},
]
