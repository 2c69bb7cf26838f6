"""Checks of arguments, on the host and before anything is uploaded: a GPU would wrap a label that
is out of range instead of rejecting it. Every message gives the name of the argument, what was
expected and what was found.
"""

import math
import operator
from contextlib import suppress
from typing import Any

import numpy as np

from ann.errors import printable

_NUMBERS = (int, float, np.integer, np.floating)
_NOT_NUMBERS = (bool, np.timedelta64)  # although they are subclasses of int and np.integer


def check_images(
    name: str, images: Any, shape: tuple[int, ...], dtype: str = "float32"
) -> np.ndarray:
    """Images (N, I) or (N, height, width) -> a host array (N, I), N >= 1.

    ``shape`` is the input shape of a network: (I,) for any images with I pixels, or (channels,
    height, width). Raises ValueError unless the images fit it, and are uint8 pixels or floats that
    are finite in this dtype.
    """
    array, input_dim = host_array(name, images), math.prod(shape)
    if array.ndim == 3:
        sides = array.shape[1:]
        if len(shape) == 3 and shape != (1, *sides):
            wanted = "x".join(map(str, shape if shape[0] > 1 else shape[1:]))
            expected = f"images of {wanted} pixels, the input_shape of the network"
            raise _wrong(name, expected, f"{sides[0]}x{sides[1]}")
        array = array.reshape(len(array), math.prod(array.shape[1:]))
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        hint = "; convert pixels from 0 to 255 with astype('uint8'), others with astype('float32')"
        hint = hint if array.dtype.kind in "iub" else ""
        raise _wrong(name, "floats, or uint8 pixels", f"dtype {array.dtype}{hint}")
    hint = "; a single image x is x[None]" if array.size == input_dim else ""
    if array.ndim > 3 and math.prod(array.shape[1:]) == input_dim:
        hint = "; reshape images x with x.reshape(len(x), -1)"
    if array.ndim != 2 or array.shape[1] != input_dim or len(array) == 0:
        expected = f"shape (N, {input_dim}) with N at least 1"
        raise _wrong(name, expected, f"{np.shape(images)}{hint}")
    if array.dtype != np.uint8:
        _check_finite(name, array, dtype)
    return array


def scale_problem(images: np.ndarray) -> str:
    """What looks wrong with the scale of checked images; "" if nothing does."""
    if images.dtype == np.uint8:
        if images[:16].max() == 1:  # a few images show whether all are binary
            return "the brightest pixel is 1 of 255: multiply binary images by 255"
        return ""
    with np.errstate(all="ignore"):  # the mean of large numbers may overflow
        if images.max() > 16 and images.mean() > 1:
            return (
                f"inputs reach {images.max():g} but should lie between 0 and 1: "
                "divide pixels by 255, and standardise other inputs"
            )
    return ""


def check_targets(name: str, targets: Any, count: int, classes: int, allowed: str) -> np.ndarray:
    """Integer labels (count,) or target rows (count, classes) -> rows, a host array of float64.

    Labels become one-hot rows. Raises ValueError unless the loss accepts the rows; ``allowed`` is
    its ``Loss.targets``.
    """
    array = host_array(name, targets)
    if array.ndim == 1 and array.dtype.kind in "iu":
        rows = np.zeros((count, classes))
        rows[np.arange(count), check_labels(name, array, classes, count)] = 1.0
        return rows
    if array.dtype.kind not in "fiub":
        raise _wrong(name, "integer labels or rows of numbers", f"dtype {array.dtype}")
    if array.shape != (count, classes):
        shapes = f"shape ({count}, {classes}), or ({count},) integer labels"
        raise _wrong(name, shapes, f"{array.shape} of {array.dtype}")
    _check_finite(name, array, "float32")
    if allowed != "any" and not ((array >= 0).all() and (array <= 1).all()):
        extremes = f"{array.min()} to {array.max()}"
        raise _wrong(name, "rows of numbers from 0 to 1 for this loss", extremes)
    if allowed == "distribution" and count:
        sums = array.sum(axis=1, dtype=np.float64)
        off = np.abs(sums - 1.0)
        if off.max() > 1e-3:
            row = int(off.argmax())
            raise _wrong(name, "rows that sum to 1 for this loss", f"{sums[row]} in row {row}")
    return array.astype(np.float64)


def check_labels(name: str, labels: Any, classes: int, count: int) -> np.ndarray:
    """Labels as a host array (count,) of int64.

    Raises ValueError unless they are ``count`` integers from 0 to classes - 1.
    """
    array = host_array(name, labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        found = f"{array.shape} of {array.dtype}"
        raise _wrong(name, f"integers of shape ({count},)", found)
    if len(array) != count:
        raise _wrong(name, f"{count} labels, one for each image", len(array))
    if count and (array.min() < 0 or array.max() >= classes):
        wrong = int(np.flatnonzero((array < 0) | (array >= classes))[0])
        raise _wrong(name, f"labels from 0 to {classes - 1}", f"{array[wrong]} at index {wrong}")
    return array.astype(np.int64)


def check_weights(name: str, weights: Any, count: int) -> np.ndarray:
    """Weights as a host array (count,), float64. Raises ValueError unless finite, >= 0."""
    array = check_vector(name, weights, (count,), "float32").astype(np.float64)
    if not (array >= 0).all():
        raise _wrong(name, "numbers of at least 0", f"{array.min()} at index {array.argmin()}")
    return array


def check_vector(name: str, values: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers as a host array. Raises ValueError unless of this shape, and finite in this type."""
    array = host_array(name, values)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise _wrong(name, f"numbers of shape {shape}", f"{array.shape} of {array.dtype}")
    _check_finite(name, array, dtype)
    return array


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> float:
    """A number as a Python float, since a NumPy number would promote arrays and end up in files.

    Raises ValueError unless it is a finite number within the bounds; a bool is not a number.
    """
    number = math.nan
    if isinstance(value, _NUMBERS) and not isinstance(value, _NOT_NUMBERS):
        with suppress(OverflowError):  # an int larger than any float
            number = float(value)
    bounds = [
        (above, "above", operator.gt),
        (at_least, "of at least", operator.ge),
        (below, "below", operator.lt),
    ]
    given = [(bound, word, fits) for bound, word, fits in bounds if bound is not None]
    if not (math.isfinite(number) and all(fits(number, bound) for bound, _, fits in given)):
        wanted = " and ".join(f"{word} {bound:g}" for bound, word, _ in given)
        raise _wrong(name, f"a number {wanted}", printable(value))
    return number


def check_count(name: str, value: Any, *, at_least: int) -> int:
    """An integer as a Python int, for the reason of ``check_number``.

    Raises ValueError unless it is an integer from ``at_least`` to 2^63 - 1; a bool is not one.
    """
    is_int = isinstance(value, (int, np.integer)) and not isinstance(value, _NOT_NUMBERS)
    if not is_int or value < at_least:
        raise _wrong(name, f"a whole number of at least {at_least}", printable(value))
    if value >= 2**63:
        raise ValueError(f"{name}: expected a whole number below 2^63")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """A bool as a Python bool. Raises ValueError for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong(name, "True or False", printable(value))
    return bool(value)


def check_type(name: str, value: Any, kind: type, hint: str = "") -> None:
    """Raise ValueError unless a value is of this public type of ``ann``."""
    if not isinstance(value, kind):
        raise _wrong(name, f"an ann.{kind.__name__}", f"{type(value).__name__}{hint}")


def host_array(name: str, value: Any) -> np.ndarray:
    """A list or unmasked array of any library as a NumPy array. Raises ValueError otherwise."""
    found = f"{type(value).__module__}.{type(value).__name__}"
    arrays = ("__array__", "__array_interface__")
    if not (isinstance(value, (list, tuple)) or any(hasattr(value, name) for name in arrays)):
        raise _wrong(name, "a NumPy array", found)
    if isinstance(value, np.ma.MaskedArray):
        hint = "; fill in the masked values with filled()"
        raise _wrong(name, "a NumPy array", f"{found}{hint}")
    try:
        return np.asarray(value)
    except Exception as error:  # other libraries may raise anything
        reason = f"{found}, which cannot be converted: {' '.join(str(error).split())}"
        if isinstance(value, (list, tuple)) and isinstance(error, ValueError):
            reason = "rows of unequal lengths"
        raise _wrong(name, "a NumPy array", reason) from None


def _check_finite(name: str, array: np.ndarray, dtype: str) -> None:
    with np.errstate(all="ignore"):
        small = array.astype(dtype, copy=False)  # as a float32, 1e300 is infinite
        if np.isfinite(small.sum()):  # fast; but the sum of finite numbers may overflow
            return
    if not np.isfinite(small).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(small))[0])
        raise _wrong(name, f"finite {dtype} numbers", f"{array[index]} at {list(index)}")


def _wrong(name: str, expected: str, found: object) -> ValueError:
    return ValueError(f"{name}: expected {expected}, got {found}")


@np.errstate(all="ignore")
def check_curve(name: str, curve: Any, derivative: Any) -> None:
    """Raise ValueError unless an activation's function and derivative agree at a few points."""
    points = np.array([[-3.1, -1.3, -0.37, 0.41, 1.7, 2.9]])
    f, df = f"activation {name!r}: its function", f"activation {name!r}: its derivative"
    for its, function in ((f, curve), (df, derivative)):
        if not np.isfinite(_values(its, function, points.astype(np.float32))).all():
            raise ValueError(f"{its} is not finite between -3.1 and 2.9")
    ahead, behind = (_values(f, curve, points + step) for step in (1e-6, -1e-6))
    slope, given = (ahead - behind) / 2e-6, _values(df, derivative, points)
    wrong = ~(np.abs(given - slope) <= 1e-4 * np.maximum(1.0, np.abs(slope)))  # NaN is wrong, too
    if wrong.any():
        z, right, found = (float(row[wrong][0]) for row in (points, slope, given))
        raise ValueError(
            f"activation {name!r}: at z = {z:g} the slope is {right:.6g}, its derivative gives "
            f"{found:.6g}"
        )


def _values(its: str, function: Any, z: np.ndarray) -> np.ndarray:
    """``function(np, z)``. Raises ValueError, beginning with ``its``, unless it is like z."""
    if not callable(function):
        raise ValueError(f"{its} cannot be called")
    before = z.copy()
    try:
        found = function(np, z)
    except Exception as error:  # a user's function may raise anything
        raise ValueError(f"{its} fails: {type(error).__name__}: {error}") from error
    made = f"a {type(found).__name__}"
    if isinstance(found, np.ndarray):
        made = f"{found.dtype} of shape {found.shape}"
    if made != f"{z.dtype} of shape {z.shape}":
        hint = "NumPy numbers in a formula give float64"
        if z.dtype == np.float64:  # for float32, it has passed
            hint = "use z.dtype instead of a fixed type"
        raise ValueError(
            f"{its} makes {made} from a {z.dtype} array of shape {z.shape}; expected the same "
            f"shape and type ({hint})"
        )
    if not (z == before).all():
        raise ValueError(f"{its} changes its argument; return a new array")
    return np.asarray(found)


def are_one_hot(targets: np.ndarray) -> bool:
    """Whether each target row (N, O) names one of several classes: a 1 among zeros."""
    are_bits = ((targets == 0) | (targets == 1)).all()
    return bool(targets.shape[1] > 1 and are_bits and (targets.sum(axis=1) == 1).all())
