"""Trains the small network with which a web page tells digits from scribbles and letters, and
writes it as ``ann/export/digit_check.model``.

A network for digits has never seen anything else, so its outputs for a scribble mean little: with a
limit on them alone, half of all scribbles pass as digits. This network learns from letters,
scribbles, two digits at once, and mirrored digits. It needs Pillow, SciPy and the fonts of
matplotlib.
"""

import string
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import CubicSpline

import ann
from ann.export.web_page import DIGIT_CHECK

_SIDE, _BOX, _CANVAS, _MIDDLE = 28, 20, 200, 100
_REFUSED = 0.005  # of the digits among the validation images
# Mirrored or rotated by a right angle, these are not digits
_MIRRORED, _ROTATED = (3, 4, 6, 7, 9), (2, 3, 4, 5, 7, 9)
# These can be taken for digits in some handwriting
_LETTERS = sorted(set(string.ascii_letters) - set("BDGIJOSUZbgijloqsyz"))


def as_mnist(canvas: Image.Image) -> np.ndarray:
    """A white drawing -> uint8 (28, 28): 20 pixels long, with its centre of mass at pixel 14."""
    cropped = canvas.crop(canvas.getbbox())
    scale = _BOX / max(cropped.size)
    size = [max(1, round(scale * length)) for length in cropped.size]
    small = np.asarray(cropped.resize(size, Image.Resampling.BOX))
    image = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
    start = []
    for axis, length in enumerate(small.shape):
        mass = small.sum(axis=1 - axis)
        middle = (mass * (np.arange(length) + 0.5)).sum() / mass.sum()
        start.append(min(max(round((_SIDE + 1) / 2 - middle), 0), _SIDE - length))
    image[start[0] : start[0] + small.shape[0], start[1] : start[1] + small.shape[1]] = small
    return image


def character(random: np.random.Generator, letters: list[str]) -> np.ndarray:
    """One of the letters, slanted, in one of the fonts."""
    fonts = sorted(Path(matplotlib.get_data_path()).glob("fonts/ttf/DejaVuS*[a-z].ttf"))
    fonts = [font for font in fonts if "Bold" not in font.name and "Display" not in font.name]
    font = ImageFont.truetype(fonts[random.integers(len(fonts))], 110)
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    letter = letters[random.integers(len(letters))]
    ImageDraw.Draw(canvas).text((_MIDDLE, _MIDDLE), letter, 255, font, anchor="mm")
    slant = random.uniform(-0.3, 0.3)
    shape = (random.uniform(0.8, 1.25), slant, -slant * _MIDDLE, 0, 1, 0)
    return as_mnist(
        canvas.transform(canvas.size, Image.Transform.AFFINE, shape, Image.Resampling.BILINEAR)
    )


def scribble(random: np.random.Generator) -> np.ndarray:
    """A smooth line through several points, some straight lines, or a polygon."""
    count, width = random.integers(5, 11), round(random.uniform(0.08, 0.13) * _CANVAS)
    points = random.uniform(20, 180, (count, 2))
    kind = random.integers(4)
    if kind == 0:
        lines = list(points[: count // 2 * 2].reshape(-1, 2, 2))
    elif kind == 1:
        angles = np.linspace(0, 2 * np.pi, random.integers(3, 6), endpoint=False)
        angles += random.uniform(0, 2 * np.pi) + random.normal(0, 0.15, len(angles))
        corners = _MIDDLE + 80 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        lines = [np.concatenate([corners, corners[:1]])]
    else:
        lines = [CubicSpline(np.arange(count), points)(np.linspace(0, count - 1, 20 * count))]
    canvas = Image.new("L", (2 * _CANVAS, 2 * _CANVAS))
    draw = ImageDraw.Draw(canvas)
    for line in lines:
        points = line + _MIDDLE
        draw.line(list(map(tuple, points)), 255, width)
        for point in points:
            draw.circle(tuple(point), width / 2, 255)
    return as_mnist(canvas)


def training_data() -> ann.Dataset:
    """Digits, class 0, and other drawings, class 1, in random order."""
    random = np.random.default_rng(0)
    mnist = ann.load_dataset("mnist")
    train, test = mnist.train_images[:50_000], mnist.train_images[50_000:]

    def some(digits: tuple[int, ...], count: int) -> np.ndarray:
        indices = np.flatnonzero(np.isin(mnist.train_labels[:50_000], digits))
        return np.asarray(train[random.choice(indices, count)])

    letters = [character(random, _LETTERS) for _ in range(12_000)]
    printed = [character(random, list(string.digits)) for _ in range(4000)]
    scribbles = [scribble(random) for _ in range(20_000)]
    digits = np.concatenate([train, printed, printed])
    every = tuple(range(10))
    others = np.concatenate(
        [
            [*letters, *scribbles],
            some(_MIRRORED, 6000)[:, :, ::-1],
            np.rot90(some(_ROTATED, 8000), axes=(1, 2)),
            np.maximum(some(every, 8000), some(every, 8000)),
        ]
    )
    images = np.concatenate([digits, others])
    labels = np.repeat([0, 1], [len(digits), len(others)])
    order = random.permutation(len(images))
    return ann.Dataset(images[order], labels[order], test, np.zeros(len(test), dtype=int))


def main() -> None:
    """Train the network, set its limit, and save it."""
    data = training_data()
    recipe = ann.Recipe(
        hidden=("average2", "conv16x3", "pool2", "conv32x3", "average2", 32),
        activation="relu",
        output_activation="softmax",
        optimizer="muon",
        learning_rate=0.02,
        weight_decay=0.2,
        batch_norm=True,
        batch_size=256,
        epochs=30,
        rotation=8.0,
        scaling=0.08,
        shear=8.0,
        shift=1.0,
    )
    net = ann.NeuralNetwork(recipe.layer_list(_SIDE**2, 2), recipe.loss)
    ann.fit(net, data, recipe, callbacks=[print])
    outputs = net.apply(data.test_images)
    margins = np.log(outputs[:, 1] + 1e-30) - np.log(outputs[:, 0] + 1e-30)
    net.parameters[-1] -= np.quantile(margins, 1 - _REFUSED)  # the bias of class 1
    print(f"digits refused: {net.evaluate(data.test_images, data.test_labels).errors} of 10,000")
    net.save(DIGIT_CHECK)


if __name__ == "__main__":
    main()
