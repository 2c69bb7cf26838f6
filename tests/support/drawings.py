"""Pictures of digits, drawn stroke by stroke at any size and position, with many pens and
papers.
"""

import io
import math

import numpy as np

KINDS = (
    "dark on light",
    "light on dark",
    "colours",
    "pencil",
    "marker",
    "small",
    "photo",
    "ruled",
    "squared",
    "jpeg",
)
HARD_KINDS = (
    "shadow",
    "table edge",
    "sheet on a table",
    "frame",
    "broken strokes",
    "fading",
    "pale colour",
    "underline",
    "neighbour",
    "tiny",
)


def arc(x, y, wide, high, start, end):
    """Points on an arc; angles in degrees, clockwise from the right, as y points down."""
    return [
        (x + wide * math.cos(t), y + high * math.sin(t))
        for t in np.radians(np.linspace(start, end, 24))
    ]


PHOTOS = ("photo", "shadow", "table edge", "sheet on a table", "fading", "pale colour")
PALE = [  # yellow, orange, pink, light green, light blue
    (250, 246, 150),
    (250, 240, 215),
    (250, 236, 244),
    (226, 250, 220),
    (220, 250, 250),
]
STROKES = {
    0: [[arc(0.5, 0.5, 0.3, 0.47, -100, 262)], [arc(0.5, 0.5, 0.36, 0.46, -80, 275)]],
    1: [[[(0.5, 0.03), (0.5, 0.97)]], [[(0.33, 0.2), (0.55, 0.03), (0.53, 0.97)]]],
    2: [
        [[*arc(0.48, 0.29, 0.3, 0.26, -165, 40), (0.2, 0.95), (0.82, 0.95)]],
        [
            [
                *arc(0.5, 0.28, 0.28, 0.25, -150, 60),
                *arc(0.3, 0.88, 0.1, 0.07, 90, 300),
                (0.85, 0.93),
            ]
        ],
    ],
    3: [
        [[*arc(0.48, 0.27, 0.27, 0.24, -150, 90), *arc(0.48, 0.73, 0.31, 0.24, -90, 150)]],
        [[(0.2, 0.05), (0.75, 0.05), (0.45, 0.4), *arc(0.46, 0.69, 0.3, 0.27, -80, 150)]],
    ],
    4: [
        [[(0.3, 0.05), (0.2, 0.55), (0.82, 0.55)], [(0.68, 0.1), (0.66, 0.97)]],
        [[(0.62, 0.97), (0.64, 0.03), (0.15, 0.65), (0.85, 0.65)]],
    ],
    5: [
        [[(0.75, 0.05), (0.3, 0.05), (0.27, 0.45), *arc(0.45, 0.68, 0.31, 0.27, -110, 140)]],
        [
            [(0.3, 0.06), (0.27, 0.42), *arc(0.45, 0.68, 0.3, 0.27, -105, 130)],
            [(0.3, 0.06), (0.8, 0.05)],
        ],
    ],
    6: [
        [
            [
                (0.68, 0.04),
                *arc(0.62, 0.6, 0.38, 0.55, -115, -180),
                *arc(0.5, 0.71, 0.26, 0.25, 180, -175),
            ]
        ],
        [[(0.6, 0.03), (0.35, 0.4), *arc(0.5, 0.72, 0.25, 0.24, 190, -150)]],
    ],
    7: [
        [[(0.17, 0.06), (0.82, 0.06), (0.4, 0.97)]],
        [[(0.2, 0.1), (0.8, 0.06), (0.6, 0.45), (0.45, 0.97)]],
    ],
    8: [
        [[*arc(0.5, 0.27, 0.24, 0.23, 90, -270), *arc(0.5, 0.74, 0.29, 0.24, -90, 270)]],
        [
            [
                *arc(0.5, 0.27, 0.25, 0.23, -40, -270),
                *arc(0.5, 0.73, 0.27, 0.24, -90, 215),
                (0.68, 0.12),
            ]
        ],
    ],
    9: [
        [[*arc(0.5, 0.29, 0.26, 0.25, -10, -370), (0.72, 0.6), (0.62, 0.97)]],
        [[*arc(0.5, 0.29, 0.25, 0.25, 0, -360), (0.75, 0.97)]],
    ],
}


def picture(digit, kind, random):
    """PNG or JPEG bytes of a digit."""
    from PIL import Image

    width, height = (int(random.integers(120, 600)) for _ in range(2))
    if kind == "tiny":
        width, height = 28, 28
    share = random.uniform(0.2, 0.35) if kind == "small" else random.uniform(0.45, 0.85)
    if kind in HARD_KINDS and kind != "tiny":
        share = random.uniform(0.3, 0.5)
    size = share * min(width, height)
    pen = {"pencil": 0.025, "marker": 0.17}.get(kind, random.uniform(0.06, 0.13)) * size
    margin = 0.45 * size if kind in ("frame", "underline") else 0.0
    ink, box = drawn(digit, (width, height), size, pen, margin, random)
    if kind == "broken strokes":
        break_strokes(ink, pen, random)
    elif kind in ("frame", "underline", "neighbour"):
        draw_more(ink, kind, box, pen, random)
    soft = blurred(ink, 0.4 if kind == "tiny" else 0.8)
    if kind == "fading":
        soft = soft * ramp((height, width), random.uniform(0.3, 0.45), random)

    paper, colour = colours_of(kind, random)
    image = page(kind, (width, height), paper, random) * (1 - soft) + colour * soft
    if kind == "shadow":
        image = image * shadow((height, width), box, random)
    elif kind in ("table edge", "sheet on a table"):
        on_paper = sheet(kind, (height, width), box, random)
        table = random.uniform(20, 110, 3) + random.normal(0, 5, image.shape)
        image = image * on_paper + table * (1 - on_paper)
    if kind == "photo":
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
        light = random.uniform(0.45, 0.75)
        image *= 1 - light * (x * random.random() + y * random.random()) / 1.5
    if kind in PHOTOS:
        image += random.normal(0, 6 if kind == "photo" else 3, image.shape)
    result = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    if kind == "jpeg" or kind in PHOTOS:
        result.save(buffer, "JPEG", quality=int(random.integers(25, 70)))
    else:
        result.save(buffer, "PNG")
    return buffer.getvalue()


def drawn(digit, extent, size, pen, margin, random):
    """The ink of a digit as an image (width, height), and its box: left, top, right, bottom."""
    from PIL import Image, ImageDraw

    width, height = extent
    turn, lean, narrow = (
        random.uniform(-0.17, 0.17),
        random.uniform(-0.15, 0.2),
        random.uniform(0.75, 1.1),
    )
    edge = size / 2 + pen + margin
    x0 = random.uniform(edge, max(edge + 1, width - edge))
    y0 = random.uniform(edge, max(edge + 1, height - edge))

    def place(x, y):
        x, y = (x - 0.5) * narrow, y - 0.5
        x += random.normal(0, 0.006) - lean * y
        y += random.normal(0, 0.006)
        return x0 + size * (x * math.cos(turn) - y * math.sin(turn)), y0 + size * (
            x * math.sin(turn) + y * math.cos(turn)
        )

    ink = Image.new("L", extent, 0)
    draw = ImageDraw.Draw(ink)
    strokes = STROKES[digit][random.integers(len(STROKES[digit]))]
    for stroke in strokes:
        points = [place(x, y) for x, y in stroke]
        draw.line(points, fill=255, width=max(1, round(pen)), joint="curve")
        for x, y in points:
            draw.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=255)
    return ink, ink.getbbox()


def blurred(image, radius):
    """Blur values (h, w, 1) from 0 to 1."""
    from PIL import ImageFilter

    soft = image.filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(soft, dtype=float)[..., None] / 255


def colours_of(kind, random):
    """The colours of paper and ink, arrays of 3."""
    paper, colour = np.full(3, 250.0), random.uniform(0, 60, 3)
    if kind == "light on dark":
        paper, colour = random.uniform(0, 50, 3), np.full(3, 245.0)
    elif kind == "colours":
        paper, colour = random.uniform(170, 255, 3), random.uniform(0, 120, 3)
        if random.random() < 0.5:
            paper, colour = colour, paper
    elif kind == "pencil":
        colour = np.full(3, random.uniform(70, 130))
    elif kind == "pale colour":
        colour = np.array(PALE[random.integers(len(PALE))], dtype=float)
    elif kind in ("shadow", "table edge", "sheet on a table"):
        paper = random.uniform(140, 250) - random.uniform(0, 15, 3)
    return paper, colour


def page(kind, extent, paper, random):
    """Empty paper (h, w, 3), with or without lines."""
    width, height = extent
    ground = np.broadcast_to(paper, (height, width, 3)).astype(float).copy()
    if kind in ("ruled", "squared"):
        step, shade = (
            max(12, int(random.uniform(0.09, 0.2) * min(width, height))),
            random.uniform(150, 205),
        )
        start = int(random.integers(step))
        thick = max(1, round(min(width, height) / 250))
        for line in range(start, height, step):
            ground[line : line + thick] = shade
        if kind == "squared":
            for line in range(start, width, step):
                ground[:, line : line + thick] = shade
    return ground


def break_strokes(ink, pen, random):
    """Erase a few short pieces, so that strokes break apart."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(ink)
    y, x = np.nonzero(np.asarray(ink))
    for at in random.integers(len(x), size=int(random.integers(4, 9))):
        half = random.uniform(0.55, 0.7) * pen
        draw.ellipse([x[at] - half, y[at] - half, x[at] + half, y[at] + half], fill=0)


def draw_more(ink, kind, box, pen, random):
    """Draw a frame around the digit, a line under it, or a part of another digit at the border."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(ink)
    left, top, right, bottom = box
    high, gap = bottom - top, random.uniform(0.2, 0.35) * (bottom - top)
    width = max(1, round(pen * random.uniform(0.5, 1.1)))
    tilt = random.uniform(-0.05, 0.05, 4) * high
    if kind == "frame":
        corners = [
            (left - gap, top - gap + tilt[0]),
            (right + gap + tilt[1], top - gap),
            (right + gap, bottom + gap + tilt[2]),
            (left - gap + tilt[3], bottom + gap),
        ]
        corners = [
            (min(max(x, width), ink.width - width), min(max(y, width), ink.height - width))
            for x, y in corners
        ]
        draw.line([*corners, *corners[:2]], fill=255, width=width, joint="curve")
    elif kind == "underline":
        more = random.uniform(0.0, 0.15) * high
        y = min(bottom + gap, ink.height - width)
        ends = [(left - more, y + tilt[0] / 2), (right + more, y + tilt[1] / 2)]
        draw.line(ends, fill=255, width=width)
    else:
        x = -0.1 * high if left > ink.width - right else ink.width + 0.1 * high
        near = min(0.4 * high, 0.6 * max(left, ink.width - right))
        draw.ellipse([x - near, top, x + near, bottom], outline=255, width=width)


def ramp(shape, least, random):
    """A factor (h, w, 1) that falls from 1 to ``least`` across the picture's middle."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j][..., None]
    angle = random.uniform(0, 2 * math.pi)
    along = np.clip(0.5 + 1.2 * (x * math.cos(angle) + y * math.sin(angle)), 0, 1)
    return least + (1 - least) * along


def shadow(shape, box, random):
    """A factor (h, w, 1): a shadow on one side, which may reach the digit."""
    distance = beyond_edge(shape, box, random, random.uniform(-0.6, 0.9))
    softness = random.uniform(0.004, 0.05) * max(shape)
    dark = 1 / (1 + np.exp(np.clip(-distance / softness, -50, 50)))
    return 1 - random.uniform(0.3, 0.6) * dark


def sheet(kind, shape, box, random):
    """The share of paper in each pixel (h, w, 1); the rest is a table, on one side or on all
    four.
    """
    sides = range(4) if kind == "sheet on a table" else [None]
    on_paper = np.ones((*shape, 1))
    for side in sides:
        distance = beyond_edge(shape, box, random, random.uniform(0.2, 0.8), side)
        on_paper *= np.clip(0.5 - distance, 0, 1)
    return on_paper


def beyond_edge(shape, box, random, share, side=None):
    """The distance in pixels (h, w, 1) beyond a slanted line between the digit and the border.

    A share of 0 is at the digit, 1 at the border.
    """
    left, top, right, bottom = box
    side = int(random.integers(4)) if side is None else side
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]][..., None].astype(float)
    angle = side * math.pi / 2 + random.uniform(-0.1, 0.1)
    along = x * math.cos(angle) + y * math.sin(angle)
    near = max(
        a * math.cos(angle) + b * math.sin(angle) for a in (left, right) for b in (top, bottom)
    )
    far = max(near, [shape[1], shape[0], 0, 0][side])
    return along - (near + share * (far - near))
