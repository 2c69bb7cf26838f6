"""A sheet of small images as HTML, for notebooks and reports. No drawing library is needed."""

import base64
import html
import struct
import zlib
from collections.abc import Iterable

import numpy as np

_MAX_SIDE = 112  # pixels: larger images are shown with fewer rows and columns
_FIGURE = (
    "display: inline-block; width: 76px; margin: 4px; vertical-align: top; text-align: center; "
    "font-size: small; line-height: 1.25; overflow-wrap: anywhere"
)
_IMAGE = "width: 100%; image-rendering: pixelated; border-radius: 0; display: block"


def sheet(images: Iterable[np.ndarray], captions: Iterable[str], alt: str = "an image") -> str:
    """Images (height, width), uint8 or floats from 0 to 1, each above its caption.

    ``alt`` describes each image for screen readers.
    """
    figures = []
    for image, caption in zip(images, captions, strict=True):
        step = max(1, -(-max(image.shape) // _MAX_SIDE))
        data = base64.b64encode(_png(_grey(image[::step, ::step]))).decode()
        source = f'alt="{html.escape(alt)}" src="data:image/png;base64,{data}"'
        text = f"<figcaption>{html.escape(caption)}</figcaption>"
        figures.append(f'<figure style="{_FIGURE}"><img style="{_IMAGE}" {source}/>{text}</figure>')
    return f"<div>{''.join(figures)}</div>"


def _grey(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    grey: np.ndarray = 255 * np.clip(np.nan_to_num(image.astype(float)), 0, 1)
    return grey.astype(np.uint8)


def _png(image: np.ndarray) -> bytes:
    """A PNG file of grey values (height, width), uint8."""
    height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits, grey
    rows = b"".join(b"\0" + row.tobytes() for row in image)  # 0: not filtered
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
