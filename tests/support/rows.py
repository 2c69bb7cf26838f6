"""Pictures of numbers: lines of digits on the papers of ``support.drawings``."""

import io

import numpy as np

from support.drawings import blurred, colours_of, drawn, page


def row_picture(lines, kind, random, gaps=(0.1, 0.6)):
    """PNG or JPEG bytes of lines of digits, such as ("12", "345").

    ``gaps``: the least and the largest gap between two digits, in heights of a digit.
    """
    from PIL import Image

    height = random.uniform(40, 140)
    pen = {"pencil": 0.025, "marker": 0.17}.get(kind, random.uniform(0.06, 0.13)) * height
    ink = drawn_lines(lines, height, pen, gaps, random)
    far = 1.5 if kind == "small" else random.uniform(0.2, 0.8)
    left, top, right, bottom = (int(far * height * random.uniform(0.5, 1.5)) + 4 for _ in range(4))
    extent = left + ink.width + right, top + ink.height + bottom
    whole = Image.new("L", extent, 0)
    whole.paste(ink, (left, top))
    soft = blurred(whole, 0.8)
    paper, colour = colours_of(kind, random)
    image = page(kind, extent, paper, random) * (1 - soft) + colour * soft
    if kind == "photo":
        y, x = np.mgrid[0 : 1 : extent[1] * 1j, 0 : 1 : extent[0] * 1j][..., None]
        light = random.uniform(0.45, 0.75)
        image *= 1 - light * (x * random.random() + y * random.random()) / 1.5
        image += random.normal(0, 6, image.shape)
    result = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    if kind in ("jpeg", "photo"):
        result.save(buffer, "JPEG", quality=int(random.integers(25, 70)))
    else:
        result.save(buffer, "PNG")
    return buffer.getvalue()


def drawn_lines(lines, height, pen, gaps, random):
    """The ink of lines of digits of about this height, which fill the image."""
    from PIL import Image, ImageChops

    side = int(2.4 * height)
    longest = max(map(len, lines))
    extent = int((longest + 1) * (1.5 + gaps[1]) * height), int(3.0 * (len(lines) + 1) * height)
    ink = Image.new("L", extent, 0)
    top, slope = height, random.uniform(-0.05, 0.05)
    for line in lines:
        left, lowest = random.uniform(0.2, 1.0) * height, 0
        for digit in line:
            size = height * random.uniform(0.85, 1.15)
            one, box = drawn(int(digit), (side, side), size, pen, 0, random)
            one = one.crop(box)
            y = top + random.uniform(-0.06, 0.06) * height + slope * left + height - one.height
            place = Image.new("L", extent, 0)
            place.paste(one, (int(left), max(0, int(y))))
            ink = ImageChops.lighter(ink, place)
            left += one.width + random.uniform(*gaps) * height
            lowest = max(lowest, y + one.height)
        top = lowest + random.uniform(0.3, 0.9) * height
    return ink.crop(ink.getbbox())


def random_lines(random):
    """One to three lines of two to eight digits."""
    return [
        "".join(map(str, random.integers(0, 10, size=int(random.integers(2, 9)))))
        for _ in range(int(random.integers(1, 4)))
    ]
