"""The hash behind dropout and distortion, in Python's integers."""

import numpy as np


def hashed(images, key, columns):
    """The random bits, computed one by one with Python's integers."""

    def mixed(number):
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
            number = (number ^ (number >> shift)) * factor % 2**32
        return number

    rows = [
        [mixed((int(image) * columns + int(key) + j) % 2**32) for j in range(columns)]
        for image in images
    ]
    return np.array(rows)
