"""What distortions do to an image. Every backend does the same."""

import dataclasses
import math

import numpy as np
import pytest

import ann
from ann.data.distortion import (
    DistortedBatch,
    Distorter,
    DistortionStrengths,
    elastic_patterns,
    examples,
)
from support.backends import assert_device_array, slow_on_strict
from support.networks import network_of, recipe_of
from support.random_bits import hashed

SHAPE = (12, 10)
EVERYTHING = DistortionStrengths(rotation=20.0, scaling=0.2, shear=10.0, shift=1.5, elastic=0.8)


def blobs(rng, count=5):
    """Smooth images, black at the border."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    middles = rng.uniform(4, 6, (count, 2, 1, 1))
    squares = (y - middles[:, 0]) ** 2 + (x - middles[:, 1]) ** 2
    return np.rint(250 * np.exp(-squares / 4)).astype(np.uint8)


def distorted(backend, images, strengths, indices, key=7, rotation_shares=None):
    """The images with these numbers, distorted through the recorder, as in training."""
    rotation_shares = np.ones(len(images)) if rotation_shares is None else rotation_shares
    flat = backend.from_host(images.reshape(len(images), -1))
    distorter = Distorter(
        backend, flat, SHAPE, strengths, backend.from_host(rotation_shares.astype(np.float32))
    )
    recorder, numbers = backend.recorder(), np.array(indices)
    room = backend.from_host(np.full((len(indices), math.prod(SHAPE) + 1), 255, dtype=np.float32))
    batch = DistortedBatch(
        distorter,
        recorder,
        backend.from_host(numbers),
        backend.from_host(numbers.astype(np.uint32)),
        backend.from_host(np.array([key], dtype=np.uint32)),
        room[:, :-1],
    )
    play = recorder.compile(batch.fill)
    first = backend.to_host(room).copy()
    play()
    np.testing.assert_array_equal(backend.to_host(room), first)  # a played step is the recorded one
    assert (first[:, -1] == 255).all()
    assert_device_array(backend, room, (len(indices), math.prod(SHAPE) + 1))
    return first[:, :-1].reshape(-1, *SHAPE)


def gaussians(shape, smoothness):
    """The elastic patterns by hand: Gaussians on a lattice, up to two widths beyond the image."""
    lattice = []
    for length in shape:
        points = math.ceil((length - 1 + 4 * smoothness) / smoothness) + 1
        middle = (length - 1) / 2
        lattice.append(middle + smoothness * (np.arange(points) - (points - 1) / 2))
        assert lattice[-1][0] <= -2 * smoothness and lattice[-1][1] > -2 * smoothness
    y, x = np.mgrid[: shape[0], : shape[1]]
    patterns = [
        np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * smoothness**2)).ravel()
        for row in lattice[0]
        for column in lattice[1]
    ]
    return np.array(patterns) / np.sqrt(np.square(patterns).sum(axis=0))


def formula(image, strengths, number, key, rotation_shares=1.0):
    """One image, distorted by hand in float64."""
    height, width = SHAPE
    y, x = np.mgrid[:height, :width].astype(np.float64)
    pattern = gaussians(SHAPE, strengths.smoothness)
    half = 3 + (len(pattern) if strengths.elastic else 0)
    u = hashed([number], key, 2 * half)[0] * (2 * math.sqrt(3) / 2**32) - math.sqrt(3)
    share = u / math.sqrt(3)
    angle = math.radians(strengths.rotation) * rotation_shares * share[1]
    k = math.tan(math.radians(strengths.shear)) * share[2]
    s, t = (1 + strengths.scaling * share[half + place] for place in (1, 2))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ [[1, 0], [k, 1]] @ [[s, 0], [0, t]]
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    places = (
        np.einsum("ij,jhw->ihw", matrix, np.stack([y, x]) - middle[:, None, None])
        + middle[:, None, None]
    )
    places += strengths.shift * share[[0, half]][:, None, None]
    if strengths.elastic:
        for axis, factors in enumerate((u[3:half], u[half + 3 :])):
            places[axis] += strengths.elastic * (factors @ pattern).reshape(SHAPE)
    result = np.zeros(SHAPE)
    for row in range(height):
        for column in range(width):
            for i in range(height):
                for j in range(width):
                    near_row, near_column = np.maximum(
                        0, 1 - np.abs(places[:, row, column] - (i, j))
                    )
                    result[row, column] += near_row * near_column * image[i, j]
    return result


def test_is_the_formula(backend, rng):
    images = rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    found = distorted(
        backend, images, EVERYTHING, [2, 0], key=99, rotation_shares=np.array([1.0, 1.0, 0.5])
    )
    for image, number, rotation_shares in zip(found, (2, 0), (0.5, 1.0), strict=True):
        expected = formula(images[number], EVERYTHING, number, 99, rotation_shares)
        np.testing.assert_allclose(image, expected, rtol=0, atol=0.02)


def test_strengths():
    """By default nothing is distorted; smoothness alone distorts nothing either."""
    none = DistortionStrengths()
    assert none == DistortionStrengths(0.0, 0.0, 0.0, 0.0, 0.0, smoothness=5.0)
    assert not none.any and not dataclasses.replace(none, smoothness=1.0).any
    for kind in ("rotation", "scaling", "shear", "shift", "elastic"):
        assert dataclasses.replace(none, **{kind: 0.1}).any
    with pytest.raises(AttributeError):
        none.shift = 1.0


def test_no_strength_is_the_identity(backend, rng):
    images = rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    np.testing.assert_array_equal(
        distorted(backend, images, DistortionStrengths(), [3, 1]), images[[3, 1]]
    )


@pytest.mark.parametrize(("bits", "step"), [(0, 2), (2**32 - 1, -2)])
def test_a_shift_by_whole_pixels_is_exact(monkeypatch, backend, rng, bits, step):
    """The new pixels at the border are black."""
    images = rng.integers(1, 256, (2, *SHAPE), dtype=np.uint8)

    def same_bits(xp, images, key, columns, width):
        return images * 0 + columns * 0 + bits

    monkeypatch.setattr(ann.data.distortion, "random_bits", same_bits)
    monkeypatch.setattr(backend, "recorder", lambda: backend, raising=False)
    found = distorted(backend, images, DistortionStrengths(shift=2.0), [0, 1])
    expected = np.zeros((2, *SHAPE))
    if step > 0:
        expected[:, step:, step:] = images[:, :-step, :-step]
    else:
        expected[:, :step, :step] = images[:, -step:, -step:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", ["rotation", "shear", "shift", "elastic"])
def test_mass_is_kept(kind, rng):
    """Except that an elastic field squeezes and stretches parts of the image."""
    images = blobs(rng, 40)
    strengths = dataclasses.replace(DistortionStrengths(), **{kind: getattr(EVERYTHING, kind) / 2})
    found = distorted(ann.get_backend("cpu"), images, strengths, range(40))
    assert not np.allclose(found, images, atol=5)
    assert found.sum() == pytest.approx(images.sum(), rel=0.05)


def test_distortions_depend_on_image_and_epoch_alone(backend, rng):
    images = np.repeat(blobs(rng, 1), 6, axis=0)
    found = distorted(backend, images, EVERYTHING, [0, 1, 2, 5])
    assert len({image.tobytes() for image in found}) == 4
    again = distorted(backend, images, EVERYTHING, [5, 1])
    np.testing.assert_allclose(again, found[[3, 1]], rtol=0, atol=1e-3)
    assert not np.allclose(distorted(backend, images, EVERYTHING, [5, 1], key=8), again, atol=1)


@pytest.mark.parametrize("shape", [(28, 28), (9, 31)])
@pytest.mark.parametrize("smoothness", [3.0, 5.0])
def test_elastic_patterns(shape, smoothness):
    """Their sums have variance 1 and the correlation of blurred white noise everywhere, also at
    the border.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    patterns = elastic_patterns(np, y.reshape(1, -1), x.reshape(1, -1), shape, smoothness)
    np.testing.assert_allclose(patterns, gaussians(shape, smoothness), rtol=1e-10, atol=1e-14)
    covariance = (patterns.T @ patterns).reshape(*shape, *shape)
    for row, column in ((0, 0), (shape[0] // 2, shape[1] // 2), (shape[0] - 1, 3)):
        squared = (y - row) ** 2 + (x - column) ** 2
        expected = np.exp(-squared / (4 * smoothness**2))
        np.testing.assert_allclose(covariance[row, column], expected, rtol=0, atol=0.01)


@slow_on_strict
def test_training_on_distorted_images(backend, dataset):
    """The network learns; each epoch has other images, and the same seed gives the same images."""
    recipe = recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", epochs=12)
    strengths = {"rotation": 5.0, "scaling": 0.05, "shear": 3.0, "shift": 0.3, "elastic": 0.2}
    recipe = dataclasses.replace(recipe, learning_rate=0.05, **strengths)
    nets = []
    for _ in range(2):
        net = network_of(backend, 64, 12, 8, 10)
        reports = ann.fit(net, dataset, recipe)
        nets.append(backend.to_host(net.parameters).copy())
    assert reports[-1].loss < 0.6 * reports[0].loss
    np.testing.assert_array_equal(*nets)
    plain = network_of(backend, 64, 12, 8, 10)
    none = dict.fromkeys(("rotation", "scaling", "shear", "shift", "elastic"), 0.0)
    ann.fit(plain, dataset, dataclasses.replace(recipe, **none))
    assert not np.allclose(backend.to_host(plain.parameters), nets[0], atol=1e-2)


def test_flat_images_cannot_be_distorted(dataset):
    flat = dataclasses.replace(dataset, train_images=dataset.train_images.reshape(-1, 64))
    recipe = recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", shift=1.0)
    with pytest.raises(ValueError, match=r"distortions need images of shape \(N, height, width\)"):
        ann.fit(network_of(ann.get_backend("cpu"), 64, 12, 8, 10), flat, recipe)


def test_a_compiled_batch_takes_the_present_images_and_key(backend, rng):
    images = rng.integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    shares = np.array([1.0, 1.0, 0.5, 1.0, 0.0], dtype=np.float32)
    flat = backend.from_host(images.reshape(5, -1))
    distorter = Distorter(backend, flat, SHAPE, EVERYTHING, backend.from_host(shares))
    recorder = backend.recorder()
    out = backend.from_host(np.empty((2, math.prod(SHAPE)), np.float32))
    indices = backend.from_host(np.array([0, 1]))
    ids = backend.from_host(np.array([0, 1], np.uint32))
    key = backend.from_host(np.array([7], np.uint32))
    fill = recorder.compile(DistortedBatch(distorter, recorder, indices, ids, key, out).fill)
    indices[...] = backend.from_host(np.array([4, 2]))
    ids[...] = backend.from_host(np.array([4, 2], np.uint32))
    key[...] = backend.from_host(np.array([8], np.uint32))
    fill()
    for found, number in zip(backend.to_host(out).reshape(2, *SHAPE), (4, 2), strict=True):
        expected = formula(images[number], EVERYTHING, number, 8, shares[number])
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02)


def test_examples_are_distortions_of_one_image(backend, rng):
    """Each has other random numbers, which depend on the key."""
    image = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    found = examples(backend, image, EVERYTHING, 3, key=99)
    for number, example in enumerate(found):
        np.testing.assert_allclose(
            example, formula(image, EVERYTHING, number, 99), rtol=0, atol=0.02
        )
    np.testing.assert_array_equal(
        examples(backend, image, EVERYTHING, 2), examples(backend, image, EVERYTHING, 2, key=0)
    )
