"""Reading numbers: lines of digits on all kinds of paper, their order and boxes, and doubts."""

import dataclasses
import difflib
import io

import numpy as np
import pytest

import ann
from ann.data.boxes import around_pixels
from ann.training.named_recipes import RECIPES
from support import optional
from support.drawings import KINDS, picture
from support.rows import random_lines, row_picture

Image = optional("PIL.Image")
optional("scipy")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network():
    recipe = dataclasses.replace(RECIPES["quick"].recipe, hidden=(256, 128), epochs=3)
    net = ann.NeuralNetwork(recipe.layer_list(784, 10), recipe.loss)
    ann.fit(net, ann.load_dataset("mnist"), recipe)
    return net


def values(data):
    """The grey values of a picture file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"))


def test_rows_of_digits_on_all_kinds_of_paper(network):
    right = total = 0
    for number in range(40):
        random = np.random.default_rng([31, number])
        lines = random_lines(random)
        text = "\n".join(lines)
        found = ann.read_digits(values(row_picture(lines, KINDS[number % 10], random)), network)
        same = difflib.SequenceMatcher(None, text, found.text, autojunk=False)
        right += sum(block.size for block in same.get_matching_blocks()) - text.count("\n")
        total += sum(map(len, lines))
    assert right >= 0.95 * total


def test_drawn_digits_that_touch(network):
    """Three digits that overlap by up to a fifth: hardly any answer is wrong but sure."""
    wrong = 0
    for number in range(40):
        random = np.random.default_rng([32, number])
        text = "".join(map(str, random.integers(0, 10, size=3)))
        data = row_picture([text], KINDS[number % 10], random, gaps=(-0.2, 0.0))
        found = ann.read_digits(values(data), network)
        wrong += not found.unsure and found.text != text
    assert wrong <= 1


def enlarged(image, across=4.0, down=4.0):
    """The ink of one of MNIST's digits, enlarged and stretched."""
    box = around_pixels(image > 60)
    size = round(across * box.width), round(down * box.height)
    return np.asarray(Image.fromarray(image[box.slices]).resize(size, Image.Resampling.BILINEAR))


def on_paper(ink):
    """Dark ink on light paper."""
    return 255 - np.pad(ink, 40)


def test_handwritten_digits_that_touch(network):
    """Most are cut in the right place, and the answer is "not sure". Half of the pairs are equally
    tall; the boxes overlap by -1 to 4 of MNIST's pixels.
    """
    data = ann.load_dataset("mnist")
    images = data.train_images.reshape(-1, 28, 28)
    right = wrong = 0
    for number in range(100):
        random = np.random.default_rng([34, number])
        size = random.uniform(2.6, 5.2) if number % 2 else 4.0
        chosen = random.integers(0, 50_000, size=2)
        first, second = enlarged(images[chosen[0]]), enlarged(images[chosen[1]], size, size)
        left = max(0, first.shape[1] - 4 * int(random.integers(-1, 5)))
        ink = np.zeros((110, left + 110), dtype=np.uint8)
        ink[-len(first) :, : first.shape[1]] = first
        place = ink[-len(second) :, left : left + second.shape[1]]
        np.maximum(place, second, out=place)
        found = ann.read_digits(on_paper(ink), network)
        text = "".join(str(data.train_labels[index]) for index in chosen)
        right += found.text == text
        wrong += not found.unsure and found.text != text
    assert right >= 75 and wrong <= 4


def test_wide_digits(network):
    """Hardly any wide digit is taken for two."""
    data = ann.load_dataset("mnist")
    chosen = np.flatnonzero(np.isin(data.train_labels, [0, 2, 4, 7]))[-100:]
    right = 0
    for number, index in enumerate(chosen):
        image = data.train_images.reshape(-1, 28, 28)[index]
        wide = enlarged(image, across=np.random.default_rng([35, number]).uniform(4.8, 7.2))
        found = ann.read_digits(on_paper(wide), network)
        right += not found.unsure and found.text == str(data.train_labels[index])
    assert right >= 86


def test_single_digits_stay_single(network):
    several = 0
    for number in range(100):
        data = picture(number % 10, KINDS[number // 10], np.random.default_rng([33, number]))
        several += len(ann.read_digits(values(data), network).digits) > 1
    assert several <= 1


def test_boxes_are_in_pixels_of_the_picture(network, tmp_path):
    """This holds for large pictures, and for photos with the camera on its side."""
    grey = np.full((600, 2000), 255, dtype=np.uint8)
    grey[200:400, 300:330] = grey[220:420, 700:730] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(grey)).save(tmp_path / "x.png", exif=exif)
    for picture_or_path in (grey, tmp_path / "x.png"):
        found = ann.read_digits(picture_or_path, network)
        assert found.text == "11" and found.size == (2000, 600)
        for digit, (left, top) in zip(found.digits, ((300, 200), (700, 220)), strict=True):
            box = digit.box
            expected = (left, top, left + 30, top + 200)
            assert np.allclose((box.left, box.top, box.right, box.bottom), expected, atol=8)


def test_pictures_without_a_digit(network):
    found = ann.read_digits(np.full((60, 80), 200, dtype=np.uint8), network)
    assert (found.text, found.digits, found.least_certain) == ("", (), None)
    assert found.unsure == "it is blank: nothing differs from the paper"
    with pytest.raises(ann.DataFileError, match="No such file"):
        ann.read_digits("absent.png", network)
    other = ann.NeuralNetwork([{"input_dim": 15, "output_dim": 10, "activation": "sigmoid"}])
    with pytest.raises(ValueError, match="classifies square images"):
        ann.read_digits("absent.png", other)
    for values in (np.zeros((0, 5), np.uint8), np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9))):
        with pytest.raises(ValueError, match=r"picture: expected grey values \(h, w\), uint8"):
            ann.read_digits(values, network)
    with pytest.raises(ValueError, match=r"^network: expected an ann.NeuralNetwork, got str$"):
        ann.read_digits(network, "photo.png")


def test_a_short_line_at_the_edge_and_a_speck():
    """A speck inside the picture is not taken for the digit, so the line is read."""
    net = ann.NeuralNetwork([{"input_dim": 784, "output_dim": 10, "activation": "sigmoid"}])
    for length in (6, 9):
        picture = np.full((65, 65), 255, dtype=np.uint8)
        picture[20 : 20 + length, 0] = 0
        picture[50, 40] = 0
        (digit,) = ann.read_digits(picture, net).digits
        assert digit.box == (0, 20, 1, 20 + length)


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (3, 40_000)])
def test_long_narrow_pictures(shape):
    """They once needed all memory."""
    net = ann.NeuralNetwork([{"input_dim": 784, "output_dim": 10, "activation": "sigmoid"}])
    picture = np.full(shape, 255, dtype=np.uint8)
    long = picture.T if shape[1] == 1 else picture
    long[:, 20_000:35_000] = 0
    found = ann.read_digits(picture, net)
    assert found.size == shape[::-1] and max(found.grey.shape) == 2048
    (digit,) = found.digits
    along, across = digit.box[::2], digit.box[1::2]
    if long is not picture:
        along, across = across, along
    assert np.allclose(along, (20_000, 35_000), atol=200) and across == (0, min(shape))


def test_the_box_is_that_of_the_digit():
    """A line under a single digit is outside its box."""
    net = ann.NeuralNetwork([{"input_dim": 784, "output_dim": 10, "activation": "sigmoid"}])
    picture = np.full((200, 200), 255, dtype=np.uint8)
    picture[50:150, 60:75] = 0
    picture[160:175, 40:140] = 0  # the line
    (digit,) = ann.read_digits(picture, net, list("abcdefghij")).digits
    assert np.allclose(digit.box, (60, 50, 75, 150), atol=2)


def test_other_sides_and_classes():
    """The labels are the names of the classes, and the image has the size that the network
    takes.
    """
    layers = [{"input_dim": 400, "output_dim": 3, "activation": "sigmoid"}]
    parameters = np.zeros(1203, dtype=np.float32)
    parameters[-3:] = -9, 9, -9
    net = ann.NeuralNetwork(layers, parameters=parameters)
    data = row_picture(["12"], "dark on light", np.random.default_rng(0))
    found = ann.read_digits(values(data), net, ["left", "right", "up"])
    assert found.text == "right right" and not found.unsure
    assert all(digit.image.shape == (20, 20) for digit in found.digits)
