"""The formula of an activation in another language, from its trace (``backends.tracer``)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ann.backends.tracer import Operation, Symbol, UntraceableError, trace
from ann.errors import printable_text
from ann.nn.activations import Activation


class InLanguages(NamedTuple):
    """An operation as an ONNX node and as a JavaScript expression of numbers."""

    onnx: str
    javascript: str


OPERATIONS = {  # by the name of NumPy's function; if the node is empty, ``onnx`` uses several
    "add": InLanguages("Add", "{0} + {1}"),
    "subtract": InLanguages("Sub", "{0} - {1}"),
    "multiply": InLanguages("Mul", "{0} * {1}"),
    "divide": InLanguages("Div", "{0} / {1}"),
    "power": InLanguages("Pow", "Math.pow({0}, {1})"),
    "negative": InLanguages("Neg", "-{0}"),
    "reciprocal": InLanguages("Reciprocal", "1 / {0}"),
    "square": InLanguages("", "{0} * {0}"),
    "sqrt": InLanguages("Sqrt", "Math.sqrt({0})"),
    "absolute": InLanguages("Abs", "Math.abs({0})"),
    "sign": InLanguages("Sign", "Math.sign({0})"),
    "maximum": InLanguages("Max", "Math.max({0}, {1})"),
    "minimum": InLanguages("Min", "Math.min({0}, {1})"),
    "clip": InLanguages("Clip", "Math.min(Math.max({0}, {1}), {2})"),
    "floor": InLanguages("Floor", "Math.floor({0})"),
    "ceil": InLanguages("Ceil", "Math.ceil({0})"),
    "exp": InLanguages("Exp", "Math.exp({0})"),
    "expm1": InLanguages("", "Math.expm1({0})"),
    "log": InLanguages("Log", "Math.log({0})"),
    "log1p": InLanguages("", "Math.log1p({0})"),
    "sin": InLanguages("Sin", "Math.sin({0})"),
    "cos": InLanguages("Cos", "Math.cos({0})"),
    "tan": InLanguages("Tan", "Math.tan({0})"),
    "arctan": InLanguages("Atan", "Math.atan({0})"),
    "sinh": InLanguages("Sinh", "Math.sinh({0})"),
    "cosh": InLanguages("Cosh", "Math.cosh({0})"),
    "tanh": InLanguages("Tanh", "Math.tanh({0})"),
    "greater": InLanguages("Greater", "{0} > {1}"),
    "greater_equal": InLanguages("GreaterOrEqual", "{0} >= {1}"),
    "less": InLanguages("Less", "{0} < {1}"),
    "less_equal": InLanguages("LessOrEqual", "{0} <= {1}"),
    "equal": InLanguages("Equal", "{0} == {1}"),
    "where": InLanguages("Where", "{0} ? {1} : {2}"),
    "astype": InLanguages("Cast", "{0}"),
}


def translate(
    activation: Activation,
    language: str,
    z: str,
    number: Callable[[Any, np.dtype], str],
    operation: Callable[[Operation, list[str]], str],
) -> str:
    """The name, or expression, of the outputs y.

    Args:
        activation: y = f(z).
        language: its name in messages.
        z: the name of the sums (..., O).
        number: (value, dtype) -> a constant.
        operation: (operation, its inputs) -> the name of its result. It raises KeyError for an
            operation that the language does not have.

    Raises:
        ValueError: the formula cannot be translated; the message names the operation.
    """
    values: dict[Symbol, str] = {}

    def translated(value: Any, kind: np.dtype) -> str:
        if not isinstance(value, Symbol):
            return number(value, kind)
        if value.array is None or value.array is example:
            return values.get(value, z)
        if value.shape:
            raise UntraceableError("an array of numbers")
        return number(value.array[()], kind)

    example = np.zeros((2, 2), np.float32)
    try:
        tape, (result,) = trace(activation.function, example)
        for one in tape:
            _check_types(one)
            inputs = map(translated, one.inputs, one.kinds)
            values[one.result] = operation(one, list(inputs))
        if not isinstance(result, Symbol) or result.shape != example.shape:
            raise UntraceableError("outputs that do not depend on the sums")
        return translated(result, example.dtype)
    except Exception as error:  # a user's function may raise anything
        reason = f"the operation {error}" if isinstance(error, KeyError) else printable_text(error)
        raise ValueError(
            f"the activation {activation.name!r} cannot be exported to {language}: {reason}"
        ) from error


def _check_types(operation: Operation) -> None:
    """Raise UntraceableError for arithmetic with truth values.

    In JavaScript, the sum of true and true is 2, and ONNX has no such sum.
    """
    name, kinds = operation.function.__name__, operation.kinds
    of_bools = np.dtype(bool) in (kinds[1:] if name == "where" else kinds)
    if of_bools and name not in ("astype", "equal"):
        raise UntraceableError(f"the operation {name!r} on truth values")
