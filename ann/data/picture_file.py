"""Reads a picture file in any common format as grey values. Needs Pillow: the extra ``picture``."""

import io
import math
import os
import warnings
from typing import Any

import numpy as np

from ann.data.reading import errors_about
from ann.errors import DataFileError, OptionalModule, printable_path, printable_text
from ann.files.atomic import read_regular

Image, ImageOps = (
    OptionalModule(name, "picture", "pictures of your own need pillow")
    for name in ("PIL.Image", "PIL.ImageOps")
)
_MAX_BYTES, _MAX_PIXELS = 2**26, 50_000_000
_MAX_SIDE = 256  # pixels: larger pictures of a data set are reduced
_MAX_STRIP = 2048  # pixels: so are long, narrow pictures, because filters are slow on them
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # others may run other programs
# Suffixes of picture files, and of HEIC and AVIF, because the error that they give says what to do
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
)
_ORIENTATION = 0x0112  # the EXIF tag: 5 to 8 swap width and height
_HEIF_BRANDS = b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 avif avis".split()


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """The grey values (h, w), uint8, of a picture file, reduced to sides of at most 256.

    Transparent parts become white, or black if the visible parts are light.

    Raises:
        DataFileError: it is missing, damaged, too large or not a picture.
        ImportError: Pillow is not installed.
    """
    return decode_picture(*_contents(path))[0]


def read_with_size(path: str | os.PathLike[str], pixels: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture file as in ``read_picture``, but for finding ink, and with its size.

    If the red, green or blue channel shows the ink far better, such as that of a pale pen, its
    values replace the grey values.

    Returns:
        The values (h, w), uint8, of a picture that is reduced to about this number of pixels; and
        the width and height that it had before.
    """
    return decode_picture(*_contents(path), pixels)


def _contents(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """The bytes of a file, and its name for error messages."""
    with errors_about(path):
        return read_regular(path, _MAX_BYTES), printable_path(path)


def decode_picture(
    data: bytes, name: str, pixels: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The grey values of a picture file with these contents, and its width and height.

    With ``pixels``, the values are those of ``read_with_size``. Error messages begin with ``name``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of problems that are handled here
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                size = picture.size  # draft() changes it later
                if math.prod(size) > _MAX_PIXELS:
                    found = f"{size[0]} x {size[1]} pixels"
                    raise ValueError(f"it has {found}; the limit is {_MAX_PIXELS:,}")
                turned = picture.getexif().get(_ORIENTATION, 1) >= 5
                small = _small(picture, _longer_side(size, pixels) if pixels else _MAX_SIDE)
                grey = _with_most_contrast(small) if pixels else small.convert("L")
                values = np.asarray(grey, dtype=np.uint8)
                return values, size[::-1] if turned else size
    except Image.UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            reason = "a HEIC or AVIF picture, as some phones take: save it as JPEG first"
            raise DataFileError(f"{name}: {reason}") from None
        formats = ", ".join(FORMATS)
        raise DataFileError(f"{name}: not a picture in a known format: {formats}") from None
    except Exception as error:  # Pillow's readers may raise anything
        reason = printable_text(error, 200)
        raise DataFileError(f"{name}: not a readable picture: {reason}") from None


def _small(picture: Any, side: int) -> Any:
    """A picture in RGB, reduced to at most this side."""
    picture.draft("RGB", (2 * side, 2 * side))
    is_wide = picture.mode.startswith(("I", "F"))
    if max(picture.size) >= 8 * side:  # a huge picture, before it is copied
        is_exact = is_wide or picture.mode in ("1", "P", "PA") or "transparency" in picture.info
        method = Image.Resampling.NEAREST if is_exact else Image.Resampling.BOX
        picture.thumbnail((4 * side, 4 * side), method)
    ImageOps.exif_transpose(picture, in_place=True)  # copies no picture that is upright already
    if is_wide:
        picture = _with_8_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        colour = "black" if _is_light(np.asarray(picture)) else "white"
        paper = Image.new("RGBA", picture.size, colour)
        picture = Image.alpha_composite(paper, picture)
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return picture


def _with_most_contrast(picture: Any) -> Any:
    """The grey values of a picture, or a channel that shows pale or coloured ink far better."""
    grey = picture.convert("L")
    contrasts = [_contrast(band) for band in picture.split()]
    best = int(np.argmax(contrasts))
    if contrasts[best] > 1.5 * _contrast(grey):
        return picture.getchannel(best)
    return grey


def _contrast(band: Any) -> float:
    """By how much the pixels with the highest contrast differ from their surroundings."""
    coarse = band.resize((16, 16), Image.Resampling.BOX)
    surroundings = coarse.resize(band.size, Image.Resampling.BILINEAR)
    differences = np.asarray(band, dtype=np.int16) - np.asarray(surroundings, dtype=np.int16)
    return float(np.percentile(np.abs(differences), 99.5))


def reduced(grey: np.ndarray, pixels: int) -> np.ndarray:
    """Grey values (h, w), uint8, reduced to about this number of pixels."""
    picture = Image.fromarray(grey)
    side = _longer_side(picture.size, pixels)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)


def _longer_side(size: tuple[int, int], pixels: int) -> int:
    """The longer side of a picture with these proportions and at most this number of pixels."""
    return min(_MAX_STRIP, round(math.sqrt(pixels * max(size) / min(size))))


def _with_8_bits(picture: Any) -> Any:
    """Convert a picture of floats or wider ints to 8 bits; Pillow would clip values at 255.

    A file does not tell how many of its bits are used. So 0, or a lower least value, becomes black,
    and the brightest value becomes white. Raises ValueError if a value is not finite.
    """
    values, clear = np.asarray(picture), picture.info.get("transparency")
    if not np.isfinite(values).all():
        raise ValueError("some of its values are not finite numbers")
    seen = np.ones(values.shape, dtype=bool) if clear is None else values != clear
    grey = np.zeros(values.shape, dtype=np.uint8)
    if seen.any():
        low, high = np.percentile(values[seen], (0.1, 99.9)).tolist()  # ignores a few outliers
        if values.dtype.kind != "f" and low >= 0 and high <= 255:
            high = 255.0
        low = min(low, 0.0)
        scaled = (values - low) * (255.0 / max(high - low, 1e-30))
        grey = np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)
    opaque = Image.fromarray(grey)
    if clear is None:
        return opaque
    return Image.merge("LA", [opaque, Image.fromarray(255 * seen.astype("u1"))])


def _is_light(pixels: np.ndarray) -> bool:
    """Whether the visible parts of a partly transparent picture (h, w, RGBA) are light."""
    seen = pixels[..., 3] > 127
    return bool(seen.any() and not seen.all() and pixels[..., :3][seen].mean() > 160)
