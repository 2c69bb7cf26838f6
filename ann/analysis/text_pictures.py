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

    With ``unicode``, each character is 2 x 4 dots of Braille; without, ASCII, each 2 x 4 pixels' mean shade.
    """
    height, width = image.shape
    padded = np.zeros((-(-height // 4) * 4, -(-width // 2) * 2), dtype=np.uint8)
    padded[:height, :width] = image
    cells = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 2, 2).swapaxes(
        1, 2
    )  # (rows, columns, 4, 2)
    if unicode:
        codes = 0x2800 + ((cells >= 96) * np.array(_BRAILLE_DOTS)).sum(axis=(2, 3))
        return ["".join(map(chr, row)) for row in codes.tolist()]
    shades = cells.mean(axis=(2, 3)) * len(_SHADES) / 256.0
    return ["".join(_SHADES[shade] for shade in row) for row in shades.astype(int).tolist()]


def text_sheet(
    images: np.ndarray, captions: Sequence[str], columns: int = 5, unicode: bool = True
) -> str:
    """Several images (N, height, width) side by side, each under its caption."""
    lines = []
    for start in range(0, len(images), columns):
        pictures = [text_picture(image, unicode) for image in images[start : start + columns]]
        width = (
            max(
                len(pictures[0][0]),
                *(len(caption) for caption in captions[start : start + columns]),
            )
            + 1
        )
        for row in (
            ([caption] for caption in captions[start : start + columns]),
            *zip(*pictures, strict=True),
        ):
            cells = (cell[0] if isinstance(cell, list) else cell for cell in row)
            lines.append("".join(f"{cell:{width}}" for cell in cells).rstrip())
    return "\n".join(lines)
