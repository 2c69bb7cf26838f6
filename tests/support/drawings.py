"""Pictures of digits as people hand them in: drawn stroke by stroke, at any size and place, with any pen and paper."""

import io
import math

import numpy as np

KINDS = (
    *(
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
    ),
)


def arc(x, y, wide, high, start, end):
    """Angles in degrees, clockwise from the right, as y goes down."""
    return [
        (x + wide * math.cos(t), y + high * math.sin(t))
        for t in np.radians(np.linspace(start, end, 24))
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
    from PIL import Image, ImageDraw, ImageFilter

    width, height = (int(random.integers(120, 600)) for _ in range(2))
    share = random.uniform(0.2, 0.35) if kind == "small" else random.uniform(0.45, 0.85)
    size = share * min(width, height)
    pen = {"pencil": 0.025, "marker": 0.17}.get(kind, random.uniform(0.06, 0.13)) * size
    turn, lean, narrow = (
        random.uniform(-0.17, 0.17),
        random.uniform(-0.15, 0.2),
        random.uniform(0.75, 1.1),
    )
    x0 = random.uniform(size / 2 + pen, max(size / 2 + pen + 1, width - size / 2 - pen))
    y0 = random.uniform(size / 2 + pen, max(size / 2 + pen + 1, height - size / 2 - pen))

    def place(x, y):
        x, y = (x - 0.5) * narrow, y - 0.5
        x += random.normal(0, 0.006) - lean * y
        y += random.normal(0, 0.006)
        return x0 + size * (x * math.cos(turn) - y * math.sin(turn)), y0 + size * (
            x * math.sin(turn) + y * math.cos(turn)
        )

    ink = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(ink)
    strokes = STROKES[digit][random.integers(len(STROKES[digit]))]
    for stroke in strokes:
        points = [place(x, y) for x, y in stroke]
        draw.line(points, fill=255, width=max(1, round(pen)), joint="curve")
        for x, y in points:
            draw.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=255)
    paper, colour = np.full(3, 250.0), random.uniform(0, 60, 3)
    if kind == "light on dark":
        paper, colour = random.uniform(0, 50, 3), np.full(3, 245.0)
    elif kind == "colours":
        paper, colour = random.uniform(170, 255, 3), random.uniform(0, 120, 3)
        if random.random() < 0.5:
            paper, colour = colour, paper
    elif kind == "pencil":
        colour = np.full(3, random.uniform(70, 130))
    soft = np.asarray(ink.filter(ImageFilter.GaussianBlur(0.8)), dtype=float)[..., None] / 255
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
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
    image = ground * (1 - soft) + colour * soft
    if kind == "photo":
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
