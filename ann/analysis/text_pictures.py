"""Images as text, for terminals."""

from collections.abc import Sequence
from typing import TextIO

import numpy as np

# The bits of U+2800, the empty Braille pattern, for each row and column of dots.
_BRAILLE_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_SHADES = " .:*#"


def speaks_unicode(stream: TextIO) -> bool:
    """Whether a stream such as ``sys.stdout`` can show any character."""
    return "utf" in (stream.encoding or "").lower()


def text_picture(image: np.ndarray, unicode: bool = True) -> list[str]:
    """A uint8 image (height, width) as lines of text, white on black.

    Each character stands for 2 x 4 pixels: with ``unicode`` as dots of Braille, otherwise as their
    mean shade in ASCII.
    """
    height, width = image.shape
    padded = np.zeros((-(-height // 4) * 4, -(-width // 2) * 2), dtype=np.uint8)
    padded[:height, :width] = image
    rows, columns = padded.shape[0] // 4, padded.shape[1] // 2
    cells = padded.reshape(rows, 4, columns, 2).swapaxes(1, 2)
    if unicode:
        codes = 0x2800 + ((cells >= 96) * np.array(_BRAILLE_DOTS)).sum(axis=(2, 3))
        return ["".join(map(chr, row)) for row in codes.tolist()]
    shades = cells.mean(axis=(2, 3)) * len(_SHADES) / 256.0
    return ["".join(_SHADES[shade] for shade in row) for row in shades.astype(int).tolist()]


def text_sheet(
    images: np.ndarray, captions: Sequence[str], columns: int = 5, unicode: bool = True
) -> str:
    """Several images (N, height, width) side by side, each under its caption."""
    lines: list[str] = []
    for start in range(0, len(images), columns):
        chosen = slice(start, start + columns)
        pictures = [text_picture(image, unicode) for image in images[chosen]]
        width = 1 + max(len(pictures[0][0]), *map(len, captions[chosen]))
        rows = (captions[chosen], *zip(*pictures, strict=True))
        lines += ["".join(f"{cell:{width}}" for cell in row).rstrip() for row in rows]
    return "\n".join(lines)
