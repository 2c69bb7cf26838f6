"""Users' pictures: what is found on them, and whether a network then reads them."""

import collections
import dataclasses
import io
import json
import os
import struct
import zlib

import numpy as np
import pytest

import ann
from ann.data.handwriting import find_page, prepare_digit
from ann.data.picture_file import read_picture, read_with_size
from ann.training.named_recipes import RECIPES
from support import optional
from support.drawings import HARD_KINDS, KINDS, picture
from support.programs import run

Image = optional("PIL.Image")
optional("scipy")


def trained(recipe):
    net = ann.NeuralNetwork(recipe.layer_list(784, 10), recipe.loss)
    ann.fit(net, ann.load_dataset("mnist"), recipe)
    return net


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network that knows well-drawn digits."""
    path = tmp_path_factory.mktemp("model") / "small.pickle"
    trained(ann.Recipe(hidden=(64,), epochs=1)).save(path)
    return path


def prepare(drawing):
    """The digit on grey values, as an image of 28 x 28 pixels."""
    return prepare_digit(find_page(drawing), 28)


def written(path, data):
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def quick():
    """The network of the recipe ``quick`` after 3 epochs."""
    return trained(dataclasses.replace(RECIPES["quick"].recipe, hidden=(256, 128), epochs=3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "kinds", "seed", "read", "least", "least_of_a_kind"),
    [
        pytest.param(500, KINDS, 6, read_picture, 475, 43, id="ten kinds"),
        pytest.param(
            *(200, HARD_KINDS, 7, lambda path: read_with_size(path, 256 * 256)[0], 186, 15),
            id="other things or poor ink",
        ),
    ],
)
def test_pictures_of_all_kinds(tmp_path, quick, count, kinds, seed, read, least, least_of_a_kind):
    """Most pictures of each kind are read; none was used to develop the preparation."""
    right = collections.Counter()
    for number in range(count):
        digit, kind = number % 10, kinds[number // 10 % 10]
        data = picture(digit, kind, np.random.default_rng([seed, number]))
        prepared = prepare(read(written(tmp_path / "x", data)))
        right[kind] += not prepared.problem and int(quick.predict(prepared.image[None])[0]) == digit
    print(dict(right))
    assert sum(right.values()) >= least and min(right[kind] for kind in kinds) >= least_of_a_kind


def ring(size=200, paper=255, ink=0, at=(0.5, 0.5), radius=0.3, width=0.06):
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    distance = np.abs(np.hypot(y - at[0], x - at[1]) - radius)
    return np.where(distance < width / 2, ink, paper).astype(np.uint8)


def test_prepared_pictures_look_like_mnist():
    """White on black, 20 of 28 pixels long, with its centre of mass around pixel 14."""
    images = [
        prepare(one).image
        for one in (
            ring(),
            ring(paper=0, ink=255),
            ring(paper=120, ink=80),
            ring(at=(0.3, 0.65), radius=0.2),
            ring(90),
        )
    ]
    for image in images:
        assert (
            image.shape == (28, 28)
            and image.dtype == np.uint8
            and image.max() == 255
            and image[0].max() == 0
        )
        rows, columns = (np.flatnonzero(image.max(axis=axis) > 60) for axis in (1, 0))
        assert 18 <= np.ptp(rows) + 1 <= 21 and 18 <= np.ptp(columns) + 1 <= 21
        for axis in (0, 1):
            assert (image.sum(axis=1 - axis) * np.arange(28)).sum() / image.sum() == pytest.approx(
                14.0, abs=0.1
            )
    for image in images[1:]:
        assert np.abs(image.astype(float) - images[0]).mean() < 25


@pytest.mark.parametrize(
    ("image", "note"),
    [
        (ring(), "dark on light"),
        (ring(radius=0.1, width=0.02), "small"),
        (ring(at=(0.25, 0.7), radius=0.2), "off centre"),
        (ring(width=0.01), "thin"),
        (ring(radius=0.25, width=0.18), "thick"),
        (ring(paper=120, ink=90), "faint"),
    ],
)
def test_notes_about_pictures(image, note):
    assert note in prepare(image).notes and not prepare(image).problem
    assert ("dark on light" in prepare(255 - image).notes) != (
        "dark on light" in prepare(image).notes
    )


def test_the_centre_of_mass_is_where_mnist_has_it(mnist):
    """On average within a tenth of a pixel; half a pixel costs accuracy."""

    def centres(images):
        mass = images / images.sum(axis=(1, 2), keepdims=True)
        places = np.arange(28)
        return np.stack([mass.sum(axis=2) @ places, mass.sum(axis=1) @ places], axis=1)

    originals = mnist.train_images[:40].reshape(-1, 28, 28)
    pictures = [255 - np.pad(image, 14).repeat(4, axis=0).repeat(4, axis=1) for image in originals]
    prepared = np.stack([prepare(picture).image for picture in pictures])
    difference = centres(prepared.astype(float)) - centres(originals.astype(float))
    assert np.abs(difference.mean(axis=0)).max() < 0.1


def test_strokes_become_as_wide_as_usual():
    ink = [prepare(ring(width=width)).image.sum() / 255 for width in (0.01, 0.03, 0.07, 0.12, 0.2)]
    assert max(ink) < 2 * min(ink)  # and not twenty times


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.full((100, 80), 200, np.uint8), "it is blank"),
        (np.full((5, 300), 0, np.uint8), "it is blank"),
        (np.zeros((1, 1), np.uint8), "it is blank"),
        (
            np.hstack([np.full((200, 10), 60, np.uint8), np.full((200, 190), 220, np.uint8)]),
            "something other than a",
        ),
        (
            np.tile(np.repeat(np.array([250] * 11 + [120], np.uint8), 2), (240, 10)),
            "there are only specks or lines",
        ),
    ],
)
def test_pictures_without_a_digit(image, problem):
    found = prepare(image)
    assert found.problem.startswith(problem) and not found.image.any()


def test_dark_rules_are_ignored():
    """Rules as dark as the ink: strokes that cross them stay whole."""
    plain = ring(256, width=0.08)
    ruled = plain.copy()
    ruled[10::40] = 0
    ruled[11::40] = 0
    found = prepare(ruled)
    assert "ruled paper" in found.notes
    assert np.abs(found.image.astype(float) - prepare(plain).image).mean() < 12


def with_shadow(image):
    """A soft shadow from the left edge to the ring."""
    x = np.arange(image.shape[1])
    return image * (1 - 0.5 / (1 + np.exp((x - 25) / 4)))


def with_table(image):
    """A dark table beyond a slanted edge at the bottom right."""
    y, x = np.indices(image.shape)
    return np.where(x + 0.2 * y > 0.95 * image.shape[1], 40, image)


def on_table(image):
    """A dark table on all sides."""
    y, x = np.indices(image.shape)
    sides = (x + 0.1 * y, y + 0.1 * x, image.shape[1] + 5 - x - 0.1 * y, image.shape[0] - y)
    return np.where(np.min(sides, axis=0) < 24, 40, image)


def with_frame(image):
    framed = image.copy()
    framed[15:186, 15:186] = 0
    framed[20:181, 20:181] = image[20:181, 20:181]
    return framed


def with_line_below(image):
    lined = image.copy()
    lined[185:191, 50:150] = 0
    return lined


def with_neighbour(image):
    """A part of another ring, cut off by the edge."""
    return np.minimum(image, ring(at=(0.6, 1.1), radius=0.22))


def with_gaps(image):
    """Four gaps that move neither the centre of mass nor the bounding box."""
    broken = image.copy()
    for rows in (slice(58, 70), slice(130, 142)):
        for columns in (slice(58, 70), slice(130, 142)):
            broken[rows, columns] = 255
    return broken


def fading(image):
    strength = np.linspace(1.0, 0.25, image.shape[0])[:, None]
    return 255 - strength * (255.0 - image)


@pytest.mark.parametrize(
    "change",
    [
        with_shadow,
        with_table,
        on_table,
        with_frame,
        with_line_below,
        with_neighbour,
        with_gaps,
        fading,
    ],
)
def test_the_digit_is_found_beside_other_things_and_in_poor_ink(change):
    """The image is nearly the same as without the change, dark on light and light on dark."""
    plain = ring(radius=0.25)
    changed = np.rint(change(plain)).astype(np.uint8)
    for image, expected in ((changed, plain), (255 - changed, 255 - plain)):
        found = prepare(image)
        assert not found.problem
        assert np.abs(found.image.astype(float) - prepare(expected).image).mean() < 6


def test_pale_colours_are_ink(tmp_path):
    """In grey values, light yellow is nearly white."""
    ink = ring() < 128
    colours = np.where(ink[..., None], (255, 255, 170), (255, 255, 255)).astype(np.uint8)
    path = written(tmp_path / "x", encoded(Image.fromarray(colours), "PNG"))
    found = prepare(read_with_size(path, 256 * 256)[0])
    assert not found.problem
    assert np.abs(found.image.astype(float) - prepare(ring()).image).mean() < 6


@pytest.mark.parametrize("grain", [3, 8, 16, 30])
def test_the_grain_of_empty_paper_is_not_a_digit(rng, grain):
    paper = np.clip(200 + rng.normal(0, grain, (256, 200)), 0, 255).astype(np.uint8)
    assert prepare(paper).problem


def test_any_noise_and_any_size(rng):
    for shape in ((1, 1), (1, 256), (256, 3), (28, 28), (200, 256)):
        for high in (2, 40, 256):
            found = prepare(rng.integers(0, high, shape, dtype=np.int64).astype(np.uint8))
            assert found.image.shape == (28, 28)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.slow
def test_files_of_all_kinds(tmp_path):
    grey = Image.fromarray(ring(400))
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        found = read_picture(written(tmp_path / "x", encoded(grey, form)))
        assert found.shape == (256, 256) and found.dtype == np.uint8
        assert not prepare(found).problem
    clear = Image.merge("LA", [Image.new("L", (400, 400), 0), Image.fromarray(255 - ring(400))])
    for mode in ("LA", "RGBA"):
        found = read_picture(written(tmp_path / "x", encoded(clear.convert(mode), "PNG")))
        assert found[0, 0] == 255 and found.min() < 60  # what is seen through is paper
    chalk = Image.merge("LA", [Image.new("L", (400, 400), 255), Image.fromarray(255 - ring(400))])
    found = read_picture(written(tmp_path / "x", encoded(chalk, "PNG")))
    assert found[0, 0] == 0 and found.max() > 200  # and where the ink is light, the board
    for mode in ("1", "P", "RGB", "CMYK", "I;16"):
        form = "TIFF" if mode == "CMYK" else "PNG"
        assert read_picture(written(tmp_path / "x", encoded(grey.convert(mode), form))).shape == (
            256,
            256,
        )
    usual = prepare(read_picture(written(tmp_path / "x", encoded(grey, "PNG")))).image.astype(int)
    for values in (
        ring(400).astype(np.uint16) * 257,
        ring(400).astype(np.int32) * 257,
        ring(400).astype(np.int32) * 10_000,
        ring(400).astype(np.uint16) * 4,
        ring(400).astype(np.uint16) * 16,
        ring(400).astype(np.uint16) * 16
        + 60_000 * (np.indices((400, 400)).sum(axis=0) == 9).astype(np.uint16),
        ring(400).astype(np.int32) * 257 - 32_768,
        ring(400).astype(np.float32) / 255,
        ring(400).astype(np.float32) / 250 - 0.01,
        ring(400).astype(np.float32),
        ring(400).astype(np.float32) * 1.006,
        ring(400).astype(np.float32) / 100 - 1.2,
    ):
        deep = Image.fromarray(values)
        for form in ("PNG", "TIFF") if values.dtype == np.uint16 else ("TIFF",):
            found = read_picture(written(tmp_path / "x", encoded(deep, form)))
            assert np.abs(prepare(found).image - usual).mean() < 2
    clear = Image.fromarray(np.where(ring(400) > 100, 100, 0).astype(np.uint16))
    found = read_picture(written(tmp_path / "x", encoded(clear, "PNG", transparency=100)))
    assert np.abs(prepare(found).image - usual).mean() < 2
    turned = Image.fromarray(np.vstack([ring(100), np.full((100, 100), 255, np.uint8)]))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    assert read_picture(written(tmp_path / "x", encoded(turned, "JPEG", exif=exif))).shape == (
        100,
        200,
    )


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "I;16", "RGB"])
@pytest.mark.slow
def test_huge_pictures(tmp_path, mode):
    """They give the same as small ones, and need little more memory than Pillow needs to unpack
    them.
    """
    large = Image.fromarray(ring(3000)).convert(mode)
    found = read_picture(written(tmp_path / "x", encoded(large, "PNG", compress_level=1)))
    assert found.shape == (256, 256)
    small = read_picture(written(tmp_path / "x", encoded(Image.fromarray(ring(256)), "PNG")))
    assert np.abs(prepare(found).image.astype(float) - prepare(small).image).mean() < 6
    exif = Image.Exif()
    exif[0x0112] = 6
    if mode == "RGB":
        turned = large.crop((0, 0, 3000, 1500))
        assert read_picture(written(tmp_path / "x", encoded(turned, "JPEG", exif=exif))).shape == (
            256,
            128,
        )


def bomb(width, height):
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a picture in a known format: PNG, JPEG"),
        (b"hello", "not a picture in a known format"),
        (
            b"\0\0\0\x24ftypheic\0\0\0\0",
            "a HEIC or AVIF picture, as some phones take: save it as JPEG first",
        ),
        (
            encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
            "some of its values are not finite",
        ),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture in a known format"),
        (bomb(60_000, 60_000), "not a readable picture: "),
        (bomb(9000, 9000), "81000000|9000 x 9000 pixels"),
        (bomb(100, 100), "not a readable picture: "),
        (encoded(Image.fromarray(ring(400)), "PNG")[:300], "not a readable picture: "),
    ],
)
def test_files_that_are_not_pictures(tmp_path, data, message):
    with pytest.raises(ann.DataFileError, match=message) as caught:
        read_picture(written(tmp_path / "x", data))
    assert str(caught.value).isprintable() and str(caught.value).startswith(f"{tmp_path / 'x'}: ")


def test_paths_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("absent", "No such file"),
        ("", "cannot be read"),
        ("pipe", "not a regular file"),
    ):
        with pytest.raises(ann.DataFileError, match=message):
            read_picture(tmp_path / name)


@pytest.mark.slow
def test_on_the_command_line(tmp_path, model):
    for digit in (0, 3):
        (tmp_path / f"{digit}.png").write_bytes(
            picture(digit, "dark on light", np.random.default_rng(digit))
        )
    (tmp_path / "blank.png").write_bytes(encoded(Image.new("L", (50, 50), 255), "PNG"))
    (tmp_path / "bad.png").write_bytes(b"bad")
    out, _ = run("predict 0.png 3.png blank.png --picture seen.png", "--model", model, cwd=tmp_path)
    lines = [line for line in out.splitlines() if ".png: " in line]
    assert (
        lines[0].startswith("0.png: 0 (") and "dark on light" in lines[0] and ", next " in lines[0]
    )
    assert lines[1].startswith("3.png: 3 (") and lines[2].startswith(
        "blank.png: not sure: it is blank"
    )
    assert out.count("before") == 3 and "picture: " in out
    with Image.open(tmp_path / "seen.png") as seen:
        assert seen.size[0] > 300
    out, error = run("predict bad.png 3.png --json", "--model", model, cwd=tmp_path, code=1)
    (found,) = json.loads(out)
    assert (found["file"], found["label"], found["unsure"]) == ("3.png", "3", "") and found[
        "output"
    ] > 0.5
    assert (
        error
        == "error: bad.png: not a picture in a known format: PNG, JPEG, WEBP, GIF, BMP, TIFF, PPM\n"
    )
    before = (tmp_path / "3.png").read_bytes()
    _, error = run("predict 0.png 3.png --picture ./3.png", "--model", model, cwd=tmp_path, code=1)
    assert error == "error: 3.png: this is an input; name another file to write\n"
    assert (tmp_path / "3.png").read_bytes() == before
    if folder := os.environ.get("ANN_PICTURES"):
        names = []
        for number, kind in enumerate(KINDS):
            names.append(f"{kind.replace(' ', '-')}.png")
            (tmp_path / names[-1]).write_bytes(
                picture(number, kind, np.random.default_rng([0, number]))
            )
        run("predict", "--model", model, *names, "--picture", f"{folder}/own.png", cwd=tmp_path)


@pytest.mark.parametrize(
    "name", [b"bad\xff.png", b"a$b_{$.png", b"e\x1b[31m\nfake.png: 7.png", "\u00fcber.png".encode()]
)
@pytest.mark.slow
def test_names_of_any_kind(tmp_path, model, name):
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(picture(3, "dark on light", np.random.default_rng(0)))
    out, _ = run("predict --picture seen.png", "--model", model, os.fsdecode(name), cwd=tmp_path)
    assert out.count(": 3 (") == 1 and (tmp_path / "seen.png").exists()
    assert all(line.isprintable() for line in out.splitlines())


def test_not_sure(tmp_path):
    """Networks with two similar answers, and networks that recognise no class."""
    layers = [{"input_dim": 784, "output_dim": 10, "activation": "sigmoid"}]
    (tmp_path / "x.png").write_bytes(picture(3, "dark on light", np.random.default_rng(0)))
    for biases, text in (
        ([2.0, 2.1] + [-9] * 8, "not sure, because two answers are close: 1 (89 %), next 0 (88 %)"),
        ([-9] * 10, "not sure, because it resembles no known class: "),
    ):
        parameters = np.zeros(7850, dtype=np.float32)
        parameters[-10:] = biases
        ann.NeuralNetwork(layers, parameters=parameters).save(tmp_path / "mnist_ann.pickle")
        assert text in run("predict", "x.png", cwd=tmp_path)[0]


def test_networks_for_other_images(tmp_path):
    ann.NeuralNetwork([{"input_dim": 15, "output_dim": 10, "activation": "sigmoid"}]).save(
        tmp_path / "x"
    )
    _, error = run("predict", "--model", "x", "y.png", cwd=tmp_path, code=1)
    assert "x: this model does not classify square images" in error


def test_without_a_network_the_recipe_for_pictures_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(picture(3, "dark on light", np.random.default_rng(0)))
    _, error = run("predict", "x.png", cwd=tmp_path, code=1)
    assert error.startswith("error: mnist_ann.pickle: no such model file; ")
    assert error.rstrip().endswith("scripts/train.py --recipe conv")
