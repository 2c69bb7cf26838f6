"""Somebody's own picture of a digit, a photo or a drawing, made into what a network was trained on: white on black, cut
out, in strokes of the usual width, with its centre of mass in the middle. What was found on the way is said.

Reading files needs Pillow, and finding the ink SciPy: the extra ``picture``. Letters: h, w height and width.
"""

from __future__ import annotations

import importlib
import io
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import DataFileError, printable_path, printable_text
from ann.files.atomic import read_regular

_MAX_BYTES, _MAX_PIXELS = 2**26, 50_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # which Pillow reads without other programs
_HEIF_BRANDS = (b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 avif avis").split()
_EDGE = 0.5  # of a side of the picture: a digit covers less of it
_SIDE = 256  # of a picture while it is looked at: the longer side
_FAINT = 18.0  # of 255: what differs less from the paper is none
_BOX, _STROKE = 20 / 28, 2.3 / 28  # of an image's side: how large digits are in MNIST, and how wide their strokes


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a picture was made into.

    Attributes:
        image: (side, side) uint8, white on black.
        notes: what was found and mended, such as "dark on light".
        problem: why there is no digit to see, or "".
    """

    image: np.ndarray
    notes: tuple[str, ...]
    problem: str = ""


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """The grey values (h, w) of a picture file, uint8, its longer side at most 256. See-through parts become white
    paper, or black where what can be seen is light.

    Raises:
        DataFileError: it is missing, no picture, damaged or too large.
        ImportError: Pillow is not installed.
    """
    image_module, operations = _library("PIL.Image", "pillow"), _library("PIL.ImageOps", "pillow")
    name = printable_path(path)
    try:
        data = read_regular(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataFileError(f"{name}: cannot be read: {reason}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on what is refused or mended here
            return _grey(image_module, operations, image_module.open(io.BytesIO(data), formats=_FORMATS))
    except image_module.UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise DataFileError(f"{name}: a HEIC or AVIF picture, such as phones take: save it as JPEG first") from None
        raise DataFileError(f"{name}: not a picture of a known kind: {', '.join(_FORMATS)}") from None
    except Exception as error:  # Pillow's readers raise whatever they like
        reason = printable_text(error, 200)
        raise DataFileError(f"{name}: not a picture that can be read: {reason}") from None


def _grey(image_module: Any, operations: Any, opened: Any) -> np.ndarray:
    with opened as picture:
        if picture.width * picture.height > _MAX_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels, and at most {_MAX_PIXELS:,} are looked at")
        picture.draft("L", (2 * _SIDE, 2 * _SIDE))
        picture = operations.exif_transpose(_smaller(image_module, picture))
        if picture.mode.startswith(("I", "F")):
            picture = _of_eight_bits(image_module, picture)
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            paper = image_module.new("RGBA", picture.size, "black" if _is_light(np.asarray(picture)) else "white")
            picture = image_module.alpha_composite(paper, picture)
        grey = picture.convert("L")
        grey.thumbnail((_SIDE, _SIDE), image_module.Resampling.BOX)
        return np.asarray(grey, dtype=np.uint8)


def _of_eight_bits(image_module: Any, picture: Any) -> Any:
    """A picture whose values have more bits, or are fractions, with 8 bits; Pillow would cut them off at 255.

    How many of the bits are used is not said in a file: 0 is black, or what is below it, and the brightest is white.

    Raises:
        ValueError: a value is no number.
    """
    values, clear = np.asarray(picture), picture.info.get("transparency")
    if not np.isfinite(values).all():
        raise ValueError("some of its values are no numbers")
    seen = np.ones(values.shape, dtype=bool) if clear is None else values != clear
    grey = np.zeros(values.shape, dtype=np.uint8)
    if seen.any():
        low, high = np.percentile(values[seen], (0.1, 99.9)).tolist()  # a few wild pixels are neither
        low, high = min(low, 0.0), 255.0 if values.dtype.kind != "f" and low >= 0 and high <= 255 else high
        scaled = (values - low) * (255.0 / max(high - low, 1e-30))
        grey = np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)
    made = image_module.fromarray(grey)
    return made if clear is None else image_module.merge("LA", [made, image_module.fromarray(255 * seen.astype("u1"))])


def _smaller(image_module: Any, picture: Any) -> Any:
    """A huge picture with a few times the pixels that are looked at, before copies of it are made."""
    step = max(picture.size) // (4 * _SIDE)
    if step < 2:
        return picture
    exif, see_through = picture.getexif(), picture.info.get("transparency")
    if picture.mode in ("1", "P", "PA") or see_through is not None or picture.mode.startswith(("I", "F")):
        size = tuple(max(1, length // step) for length in picture.size)
        small = picture.resize(size, image_module.Resampling.NEAREST)
    else:
        small = picture.reduce(step)
    small.info |= {"exif": exif.tobytes()} if exif else {}
    small.info |= {"transparency": see_through} if see_through is not None else {}
    return small


def _is_light(pixels: np.ndarray) -> bool:
    """Whether what can be seen (h, w, RGBA), on a ground that cannot, is light ink."""
    seen = pixels[..., 3] > 127
    return bool(seen.any() and not seen.all() and pixels[..., :3][seen].mean() > 160)


def prepare(picture: np.ndarray, side: int = 28) -> Prepared:
    """Find the digit in grey values (h, w), uint8, and make an image (side, side) of it.

    Raises:
        ImportError: SciPy is not installed.
    """
    ndimage = _library("scipy.ndimage", "scipy")
    grey = ndimage.gaussian_filter(picture.astype(np.float32), 0.7)
    blank = np.zeros((side, side), dtype=np.uint8)
    ink, notes = _ink(ndimage, grey)
    strength = float(np.percentile(ink, 99.9)) if ink.size else 0.0
    if strength < _FAINT:
        return Prepared(blank, tuple(notes), "it is blank: nothing on it differs from the paper")
    if strength < 3 * _FAINT:
        notes.append("faint")
    mask = _without_rules(ndimage, ink > 0.45 * strength, notes)
    mask = _without_specks(ndimage, mask)
    share = mask.mean()
    if not mask.any():
        return Prepared(blank, tuple(notes), "there are only specks or lines on it")
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    if max(float(edge.mean()) for edge in sides) > _EDGE:
        return Prepared(blank, tuple(notes), "something other than a digit runs along its edge: cut that off")
    if share > 0.6:
        return Prepared(blank, tuple(notes), "most of it is ink, so no digit can be made out")
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    length = max(bottom - top, right - left)
    if length < 6:
        return Prepared(blank, tuple(notes), "what is on it is too small")
    if length < 0.4 * max(picture.shape):
        notes.append("small")
    if (
        abs((top + bottom) / 2 / picture.shape[0] - 0.5) > 0.12
        or abs((left + right) / 2 / picture.shape[1] - 0.5) > 0.12
    ):
        notes.append("off centre")
    soft = np.clip(ink / (0.8 * strength), 0.0, 1.0) * ndimage.binary_dilation(mask, iterations=2)
    soft = _of_usual_width(ndimage, soft, mask, length, notes)
    return Prepared(_centred(ndimage, soft, side), tuple(notes))


def _ink(ndimage: Any, grey: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """How much each pixel differs from the paper around it, towards the ink; and which way that is."""
    size = max(3, round(0.4 * max(grey.shape)))
    # The paper is what most of the surroundings are; seen from far away, since that is a slow filter
    step = max(1, max(grey.shape) // 48)
    coarse = ndimage.median_filter(grey[::step, ::step], size=max(3, size // step))
    sharp = grey - np.kron(coarse, np.ones((step, step), dtype=grey.dtype))[: grey.shape[0], : grey.shape[1]]
    darker, lighter = -float(np.percentile(sharp, 0.1)), float(np.percentile(sharp, 99.9))
    edges = np.concatenate([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]])
    if 0.6 * darker < lighter < darker / 0.6:  # strokes so thick that they are the surroundings
        is_dark = float(np.median(edges)) > (float(grey.min()) + float(grey.max())) / 2
    else:
        is_dark = darker >= lighter
    ink = (ndimage.black_tophat if is_dark else ndimage.white_tophat)(grey, size=size)
    notes = ["dark on light"] if is_dark else []
    if float(np.ptp(edges)) > 40:
        notes.append("unevenly lit")
    return ink, notes


def _without_rules(ndimage: Any, mask: np.ndarray, notes: list[str]) -> np.ndarray:
    """Without the lines of ruled paper: thin, straight, and from one side nearly to the other."""
    found = mask.copy()
    for axis in (0, 1):
        long = max(5, round(0.9 * mask.shape[1 - axis]))
        whole = mask | ndimage.binary_closing(mask, np.ones((1, 9) if axis == 0 else (9, 1)))  # a line with gaps, too
        lines = _opened(ndimage, whole, long, 1 - axis)
        lines &= mask
        thick = ndimage.binary_opening(lines, np.ones((7, 1) if axis == 0 else (1, 7)))
        lines &= ~thick
        if lines.any():
            found &= ~lines
            # Where a stroke crossed a line it goes on above and below
            found = ndimage.binary_closing(found, np.ones((7, 1) if axis == 0 else (1, 7))) & mask | found
            if "ruled paper" not in notes:
                notes.append("ruled paper")
    return found


def _opened(ndimage: Any, mask: np.ndarray, length: int, axis: int) -> np.ndarray:
    """As ``binary_opening`` by a line of this length along the axis, in time that does not depend on the length."""
    shift = -1 if length % 2 == 0 else 0  # the middle of an even length, seen from its other end
    eroded = ndimage.minimum_filter1d(mask.astype(np.uint8), length, axis, mode="constant")
    return np.asarray(ndimage.maximum_filter1d(eroded, length, axis, mode="constant", origin=shift) > 0)


def _without_specks(ndimage: Any, mask: np.ndarray) -> np.ndarray:
    """Only the parts that are not far smaller than the largest."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    sizes = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    good = np.flatnonzero(sizes >= max(4.0, 0.08 * sizes.max())) + 1
    return np.isin(labels, good)


def _of_usual_width(ndimage: Any, soft: np.ndarray, mask: np.ndarray, length: int, notes: list[str]) -> np.ndarray:
    """With strokes about as wide as those of MNIST."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    ridge = inside[(inside == ndimage.maximum_filter(inside, 3)) & mask]
    width = 2.0 * float(np.median(ridge)) if ridge.size else 1.0
    usual = _STROKE / _BOX * length
    if width < 0.7 * usual:
        notes.append("thin")
        size = round(usual - width) // 2 * 2 + 1
        disc = np.hypot(*np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]) <= size / 2
        padded = np.pad(soft, size)
        return np.asarray(ndimage.grey_dilation(padded, footprint=disc))
    if width > 1.8 * usual:
        notes.append("thick")
        size = round((width - 1.6 * usual) / 2) * 2 + 1
        disc = np.hypot(*np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]) <= size / 2
        return np.asarray(ndimage.grey_erosion(soft, footprint=disc))
    return soft


def _centred(ndimage: Any, soft: np.ndarray, side: int) -> np.ndarray:
    """Cut out, its longer side 20 of 28 pixels, its centre of mass in the middle."""
    shown = soft > 0.3
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return np.zeros((side, side), dtype=np.uint8)
    cut = soft[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX * side / max(cut.shape)
    if scale < 1.0:  # so that no detail is skipped
        cut = ndimage.gaussian_filter(cut, 0.4 / scale)
    height, width = (max(1, round(length * scale)) for length in cut.shape)
    ys, xs = (
        (np.arange(count) + 0.5) * length / count - 0.5
        for count, length in zip((height, width), cut.shape, strict=True)
    )
    small = ndimage.map_coordinates(cut, np.meshgrid(ys, xs, indexing="ij"), order=1, mode="nearest")
    small = np.clip(small / max(1e-6, float(np.percentile(small, 99))), 0.0, 1.0)
    mass = small.sum() or 1.0
    image = np.zeros((side, side), dtype=np.float32)
    starts = []
    for axis, count in ((0, height), (1, width)):
        centre = float((small.sum(axis=1 - axis) * (np.arange(count) + 0.5)).sum() / mass)
        starts.append(min(max(round(side / 2 - centre), 0), side - count))
    image[starts[0] : starts[0] + height, starts[1] : starts[1] + width] = small
    whole: np.ndarray = np.rint(255.0 * image).astype(np.uint8)
    return whole


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ImportError(f"pictures of your own need {package}: pip install -e '.[picture]'") from None
