"""Trains the small network that tells one digit from anything else, on a web page and for
``predict.py``, and writes it as ``ann/data/digit_check.model``.

A network for digits has never seen anything else, so its outputs for a scribble mean little: with a
limit on them alone, half of all scribbles pass as digits. This network learns from letters,
scribbles, mirrored digits, and two digits that touch or lie on top of each other. Wide digits and 1s
with a long flag teach it not to take these for two. It needs Pillow, SciPy and the fonts of
matplotlib.
"""

import string
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.interpolate import CubicSpline

import ann
from ann.data.boxes import around_pixels
from ann.data.catalog import DIGIT_CHECK
from ann.data.handwriting import digit_image

_SIDE, _BOX, _CANVAS, _MIDDLE = 28, 20, 200, 100
_ENLARGED = 2.5  # the size of a written digit, compared with MNIST's
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
    return drawing(lines, width)


def drawing(lines: list[np.ndarray], width: int) -> np.ndarray:
    """The image (28, 28) of lines, each with points (N, 2) around the middle of a canvas."""
    canvas = Image.new("L", (2 * _CANVAS, 2 * _CANVAS))
    draw = ImageDraw.Draw(canvas)
    for line in lines:
        points = line + _MIDDLE
        draw.line(list(map(tuple, points)), 255, width)
        for point in points:
            draw.circle(tuple(point), width / 2, 255)
    return as_mnist(canvas)


def one(random: np.random.Generator) -> np.ndarray:
    """A 1 with a flag of any length, which MNIST's seldom have."""
    top = np.array([_MIDDLE, 20.0])
    foot = top + 160.0 * np.array([random.uniform(-0.3, 0.1), 1.0])
    flag = top + 160.0 * random.uniform(0.3, 1.0) * np.array([random.uniform(-0.9, -0.3), 1.0])
    return drawing([np.stack([flag, top, foot])], round(random.uniform(0.06, 0.13) * _CANVAS))


def enlarged(image: np.ndarray, across: float, down: float) -> np.ndarray:
    """The ink (h, w), 0 to 1, of one of MNIST's digits, enlarged and stretched."""
    ink = image[around_pixels(image > 60).slices] / 255.0
    scale = _ENLARGED * down, _ENLARGED * across
    return np.asarray(ndimage.zoom(ink, scale, order=1, mode="grid-constant", grid_mode=True))


def touching(random: np.random.Generator, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two digits, of equal or different sizes, whose boxes overlap by -1 to 5 of MNIST's pixels."""
    size = random.uniform(0.65, 1.5) if random.random() < 0.5 else 1.0
    inks = enlarged(first, 1.0, 1.0), enlarged(second, size, size)
    left = max(1, inks[0].shape[1] - round(_ENLARGED * random.uniform(-1, 5)))
    height = max(len(ink) for ink in inks)
    both = np.zeros((2 * height, inks[0].shape[1] + left + inks[1].shape[1]))
    for ink, column in zip(inks, (0, left), strict=True):
        on_line = random.random() < 0.7
        room = height - len(ink)
        row = (room if on_line else int(random.integers(room + 1))) + int(random.integers(5))
        place = both[row : row + len(ink), column : column + ink.shape[1]]
        np.maximum(place, ink, out=place)
    return prepared(both)


def prepared(ink: np.ndarray) -> np.ndarray:
    """The image (28, 28) that ``predict.py`` makes of ink, 0 to 1."""
    ink = np.pad(ink, 8)
    return digit_image(ink, ink > 0.45)[0]


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
    ones = [one(random) for _ in range(3000)]
    every = tuple(range(10))
    wide = [prepared(enlarged(image, random.uniform(1.0, 1.8), 1.0)) for image in some(every, 8000)]
    pairs = zip(some(every, 20_000), some(every, 20_000), strict=True)
    digits = np.concatenate([train, printed, printed, ones, wide])
    others = np.concatenate(
        [
            [*letters, *scribbles],
            [touching(random, *pair) for pair in pairs],
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
        hidden=("conv8x5", "pool2", "conv16x3", "pool2", "conv32x3", 32),
        activation="relu",
        output_activation="softmax",
        optimizer="muon",
        learning_rate=0.02,
        weight_decay=0.2,
        batch_norm=True,
        batch_size=256,
        epochs=12,
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
