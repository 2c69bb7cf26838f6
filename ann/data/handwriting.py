"""Converts a photo, scan or drawing of a digit into an image like those of MNIST: white on black,
cropped, with strokes of the usual width and its centre of mass in the middle. Notes list the
corrections.

Reading files needs Pillow and finding the ink needs SciPy: the extra ``picture``.
"""

import io
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import DataFileError, printable_path, printable_text, require
from ann.files.atomic import read_regular

_MAX_BYTES, _MAX_PIXELS = 2**26, 50_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # others may need programs
_HEIF_BRANDS = b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 avif avis".split()
_EDGE = 0.5  # a digit covers less than this fraction of each edge of the picture
_SIDE = 256  # the longer side of a picture is reduced to this
_FAINT = 18.0  # of 255: a smaller difference from the paper is not ink
_BOX, _STROKE = 20 / 28, 2.3 / 28  # size and stroke width of MNIST's digits, in image sides


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image made from a picture.

    Attributes:
        image: (side, side), uint8, white on black.
        notes: what was found and corrected, such as "dark on light".
        problem: why no digit was found, or "".
    """

    image: np.ndarray
    notes: tuple[str, ...]
    problem: str = ""


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """The grey values (h, w), uint8, of a picture file, reduced to at most 256 a side.

    Transparent parts become white, or black if the visible parts are light.

    Raises:
        DataFileError: it is missing, damaged, too large or not a picture.
        ImportError: Pillow is not installed.
    """
    image_module, operations = _library("PIL.Image", "pillow"), _library("PIL.ImageOps", "pillow")
    name = printable_path(path)
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise DataFileError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about what is handled here
            with image_module.open(io.BytesIO(data), formats=_FORMATS) as picture:
                return _grey(image_module, operations, picture)
    except image_module.UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            reason = "a HEIC or AVIF picture, as phones take them: save it as JPEG first"
            raise DataFileError(f"{name}: {reason}") from None
        formats = ", ".join(_FORMATS)
        raise DataFileError(f"{name}: not a picture in a known format: {formats}") from None
    except Exception as error:  # Pillow's readers may raise anything
        reason = printable_text(error, 200)
        raise DataFileError(f"{name}: not a readable picture: {reason}") from None


def _grey(image_module: Any, operations: Any, picture: Any) -> np.ndarray:
    if picture.width * picture.height > _MAX_PIXELS:
        size = f"{picture.width} x {picture.height} pixels"
        raise ValueError(f"it has {size}; the limit is {_MAX_PIXELS:,}")
    picture.draft("L", (2 * _SIDE, 2 * _SIDE))
    picture = operations.exif_transpose(_smaller(image_module, picture))
    if picture.mode.startswith(("I", "F")):
        picture = _with_8_bits(image_module, picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        colour = "black" if _is_light(np.asarray(picture)) else "white"
        paper = image_module.new("RGBA", picture.size, colour)
        picture = image_module.alpha_composite(paper, picture)
    grey = picture.convert("L")
    grey.thumbnail((_SIDE, _SIDE), image_module.Resampling.BOX)
    return np.asarray(grey, dtype=np.uint8)


def _with_8_bits(image_module: Any, picture: Any) -> Any:
    """Convert a picture of floats or wider ints to 8 bits; Pillow would cut off values at 255.

    Files do not say how many of the bits they use, so 0 (or the least value, if that is lower)
    becomes black, and the brightest value white. Raises ValueError if a value is not finite.
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
    opaque = image_module.fromarray(grey)
    if clear is None:
        return opaque
    return image_module.merge("LA", [opaque, image_module.fromarray(255 * seen.astype("u1"))])


def _smaller(image_module: Any, picture: Any) -> Any:
    """Reduce a huge picture to a few times ``_SIDE`` before it is copied."""
    step = max(picture.size) // (4 * _SIDE)
    if step < 2:
        return picture
    exif, see_through = picture.getexif(), picture.info.get("transparency")
    cannot_average = picture.mode in ("1", "P", "PA") or picture.mode.startswith(("I", "F"))
    if cannot_average or see_through is not None:
        size = tuple(max(1, length // step) for length in picture.size)
        small = picture.resize(size, image_module.Resampling.NEAREST)
    else:
        small = picture.reduce(step)
    small.info |= {"exif": exif.tobytes()} if exif else {}
    small.info |= {"transparency": see_through} if see_through is not None else {}
    return small


def _is_light(pixels: np.ndarray) -> bool:
    """Whether the visible parts of a partly transparent picture (h, w, RGBA) are light."""
    seen = pixels[..., 3] > 127
    return bool(seen.any() and not seen.all() and pixels[..., :3][seen].mean() > 160)


def prepare(picture: np.ndarray, side: int = 28) -> Prepared:
    """Find the digit in grey values (h, w), uint8, and convert it to an image (side, side).

    Raises:
        ImportError: SciPy is not installed.
    """
    ndimage = _library("scipy.ndimage", "scipy")
    grey = ndimage.gaussian_filter(picture.astype(np.float32), 0.7)
    ink, notes = _ink(ndimage, grey)

    def failed(problem: str) -> Prepared:
        return Prepared(np.zeros((side, side), dtype=np.uint8), tuple(notes), problem)

    strength = float(np.percentile(ink, 99.9))
    if strength < _FAINT:
        return failed("it is blank: nothing differs from the paper")
    if strength < 3 * _FAINT:
        notes.append("faint")
    mask = _without_rules(ndimage, ink > 0.45 * strength, notes)
    mask = _without_specks(ndimage, mask)
    if not mask.any():
        return failed("there are only specks or lines on it")
    if max(edge.mean() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) > _EDGE:
        return failed("something other than a digit covers its edge: crop that")
    if mask.mean() > 0.6:
        return failed("most of it is ink, so no digit can be found")
    box = _bounding_box(mask)
    length = max(part.stop - part.start for part in box)
    if length < 6:
        return failed("the digit is too small")
    if length < 0.4 * max(picture.shape):
        notes.append("small")
    pairs = zip(box, picture.shape, strict=True)
    if any(abs((part.start + part.stop) / 2 / of - 0.5) > 0.12 for part, of in pairs):
        notes.append("off centre")
    near = ndimage.binary_dilation(mask, iterations=2)
    soft = np.clip(ink / (0.8 * strength), 0.0, 1.0) * near
    soft = _with_usual_strokes(ndimage, soft, mask, length, notes)
    return Prepared(_centred(ndimage, soft, side), tuple(notes))


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of the smallest box around all True pixels."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _ink(ndimage: Any, grey: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """How far each pixel is, in the ink's direction, from the paper around it; and notes."""
    size = max(3, round(0.4 * max(grey.shape)))
    # The paper is the median of the surroundings, computed on few pixels because the filter is slow
    step = max(1, max(grey.shape) // 48)
    coarse = ndimage.median_filter(grey[::step, ::step], size=max(3, size // step))
    paper = np.kron(coarse, np.ones((step, step), dtype=grey.dtype))
    sharp = grey - paper[: grey.shape[0], : grey.shape[1]]
    darker, lighter = -float(np.percentile(sharp, 0.1)), float(np.percentile(sharp, 99.9))
    edges = np.concatenate([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]])
    if 0.6 * darker < lighter < darker / 0.6:  # strokes so thick that they are the median
        is_dark = float(np.median(edges)) > (float(grey.min()) + float(grey.max())) / 2
    else:
        is_dark = darker >= lighter
    ink = (ndimage.black_tophat if is_dark else ndimage.white_tophat)(grey, size=size)
    notes = ["dark on light"] if is_dark else []
    if float(np.ptp(edges)) > 40:
        notes.append("unevenly lit")
    return ink, notes


def _without_rules(ndimage: Any, mask: np.ndarray, notes: list[str]) -> np.ndarray:
    """The mask without the lines of ruled paper: thin, straight and nearly as long as a side."""
    found = mask.copy()
    for axis, along, across in ((1, (1, 9), (7, 1)), (0, (9, 1), (1, 7))):
        long = max(5, round(0.9 * mask.shape[axis]))
        whole = mask | ndimage.binary_closing(mask, np.ones(along))  # lines may have gaps
        lines = _opened(ndimage, whole, long, axis) & mask
        lines &= ~ndimage.binary_opening(lines, np.ones(across))  # too thick
        if lines.any():
            found &= ~lines
            # where a stroke crossed a line, there is ink on both sides of it
            found |= ndimage.binary_closing(found, np.ones(across)) & mask
            if "ruled paper" not in notes:
                notes.append("ruled paper")
    return found


def _opened(ndimage: Any, mask: np.ndarray, length: int, axis: int) -> np.ndarray:
    """``binary_opening`` by a line along the axis; the time does not depend on its length."""
    shift = -1 if length % 2 == 0 else 0  # the middle of an even length, seen from its other end
    eroded = ndimage.minimum_filter1d(mask, length, axis, mode="constant")
    opened = ndimage.maximum_filter1d(eroded, length, axis, mode="constant", origin=shift)
    return np.asarray(opened)


def _without_specks(ndimage: Any, mask: np.ndarray) -> np.ndarray:
    """The mask without parts that are much smaller than the largest."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    sizes = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    good = np.flatnonzero(sizes >= max(4.0, 0.08 * sizes.max())) + 1
    return np.isin(labels, good)


def _with_usual_strokes(
    ndimage: Any, soft: np.ndarray, mask: np.ndarray, length: int, notes: list[str]
) -> np.ndarray:
    """The digit with strokes about as wide as those of MNIST."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    ridge = inside[(inside == ndimage.maximum_filter(inside, 3)) & mask]
    width = 2.0 * float(np.median(ridge))
    usual = _STROKE / _BOX * length
    if width < 0.7 * usual:
        notes.append("thin")
        size = round(usual - width) // 2 * 2 + 1
        return np.asarray(ndimage.grey_dilation(np.pad(soft, size), footprint=_disc(size)))
    if width > 1.8 * usual:
        notes.append("thick")
        size = round((width - 1.6 * usual) / 2) * 2 + 1
        return np.asarray(ndimage.grey_erosion(soft, footprint=_disc(size)))
    return soft


def _disc(size: int) -> np.ndarray:
    """A disc with an odd diameter, as a mask (size, size)."""
    places = np.arange(size) - size // 2
    return np.asarray(np.hypot(places[:, None], places) <= size / 2)


def _centred(ndimage: Any, soft: np.ndarray, side: int) -> np.ndarray:
    """The digit cropped, its longer side 20 of 28 pixels, its centre of mass in the middle."""
    inked = soft > 0.3
    if not inked.any():
        return np.zeros((side, side), dtype=np.uint8)
    cut = soft[_bounding_box(inked)]
    scale = _BOX * side / max(cut.shape)
    if scale < 1.0:  # avoids aliasing
        cut = ndimage.gaussian_filter(cut, 0.4 / scale)
    # From the middles of the new pixels to positions between the old ones
    sizes = [max(1, round(length * scale)) for length in cut.shape]
    pairs = zip(sizes, cut.shape, strict=True)
    places = [(np.arange(size) + 0.5) * length / size - 0.5 for size, length in pairs]
    grid = np.meshgrid(*places, indexing="ij")
    small = ndimage.map_coordinates(cut, grid, order=1, mode="nearest")
    small = np.clip(small / max(1e-6, float(np.percentile(small, 99))), 0.0, 1.0)
    image = np.zeros((side, side), dtype=np.float32)
    corners = zip(ndimage.center_of_mass(small), sizes, strict=True)
    starts = [min(max(round(side / 2 - centre - 0.5), 0), side - size) for centre, size in corners]
    (top, left), (height, width) = starts, sizes
    image[top : top + height, left : left + width] = small
    return np.asarray(np.rint(255.0 * image), dtype=np.uint8)


def _library(module: str, package: str) -> Any:
    return require(module, "picture", f"pictures of your own need {package}")
