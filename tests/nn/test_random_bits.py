"""The hash behind dropout and distortion, against Python's integers."""

import numpy as np
import pytest

from ann.nn.random_bits import bit_arguments, random_bits
from support.backends import assert_device_array
from support.random_bits import hashed

IMAGES = [0, 59_999, 7, 123, 4_000_000_000]


def bits(backend, images, keys, width):
    arrays = (backend.from_host(np.array(values, dtype=np.uint32)) for values in (images, keys))
    out = backend.xp.zeros((*np.shape(images), width), dtype=backend.xp.uint32)
    arguments = bit_arguments(backend.xp, *arrays, width)
    backend.elementwise(random_bits, *arguments, out=out)
    assert_device_array(backend, out, (*np.shape(images), width), "uint32")
    return backend.to_host(out)


@pytest.mark.parametrize("key", [0, 12345, 2**32 - 3])
def test_bits(backend, key):
    """Sums and products are modulo 2^32, and no number becomes a 64-bit number on the way."""
    np.testing.assert_array_equal(bits(backend, IMAGES, [key], 11), hashed(IMAGES, key, 11))


def test_each_member_of_a_committee_has_its_key(backend):
    found = bits(backend, [IMAGES, IMAGES[::-1]], [[3], [4]], 11)
    np.testing.assert_array_equal(found[0], hashed(IMAGES, 3, 11))
    np.testing.assert_array_equal(found[1], hashed(IMAGES[::-1], 4, 11))


def test_a_compiled_step_takes_the_present_images_and_key(backend):
    images, key = (backend.from_host(np.array(values, dtype=np.uint32)) for values in ([1, 2], [3]))
    out = backend.xp.zeros((2, 5), dtype=backend.xp.uint32)
    recorder = backend.recorder()
    arguments = bit_arguments(backend.xp, images, key, 5)
    fill = recorder.compile(lambda: recorder.elementwise(random_bits, *arguments, out=out))
    images[...] = backend.from_host(np.array([9, 8], dtype=np.uint32))
    key[...] = backend.from_host(np.array([7], dtype=np.uint32))
    fill()
    np.testing.assert_array_equal(backend.to_host(out), hashed([9, 8], 7, 5))
