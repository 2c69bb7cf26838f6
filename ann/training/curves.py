"""Learning curves as an SVG picture, for notebooks. No drawing library is needed. Text has the
colour of the page, so it is readable on light and on dark pages.
"""

import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 28, 36  # margins
_COLOURS = ("#2a8fd0", "#e0741f")  # blue, orange
_MIN_LOSS = 1e-6  # smaller losses are drawn here, because the axis is logarithmic

Curve = Sequence[tuple[int, float]]


def curves_svg(curves: Mapping[str, Curve], epochs: int) -> str:
    """Draw curves, name -> a list of (epoch, loss). The axis reaches from 1 to ``epochs``."""
    losses = [max(loss, _MIN_LOSS) for curve in curves.values() for _, loss in curve]
    high = math.log10(max(losses)) + 0.05
    low = min(math.log10(min(losses)) - 0.05, high - 1)  # at least a factor of ten

    def x(epoch: int) -> float:
        return _LEFT + (epoch - 1) / max(1, epochs - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(loss: float) -> float:
        share = (math.log10(max(loss, _MIN_LOSS)) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for loss in _ticks(10**low, 10**high):
        line = f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(loss):.1f}" y2="{y(loss):.1f}"'
        parts.append(f'<line {line} stroke="currentColor" stroke-opacity="0.25"/>')
        parts.append(_text(_LEFT - 6, y(loss) + 4, f"{loss:g}", "end"))
    step = max(1, math.ceil(epochs / 12))
    marks = range(1, epochs + 1, step)
    parts += [_text(x(epoch), _HEIGHT - 20, str(epoch), "middle") for epoch in marks]
    parts.append(_text(_WIDTH / 2, _HEIGHT - 3, "epoch", "middle"))
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number]
        points = " ".join(f"{x(epoch):.1f},{y(loss):.1f}" for epoch, loss in curve)
        style = f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<polyline points="{points}" {style}/>')
        for point in points.split():
            centre = 'cx="{}" cy="{}"'.format(*point.split(","))
            parts.append(f'<circle {centre} r="2.5" fill="{colour}"/>')
        parts.append(_text(_LEFT + 200 * number, 14, f"loss, {name}", "start", colour))
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width: {_WIDTH}px"'
    font = 'font-family="sans-serif" font-size="12"'
    return f'<svg role="img" aria-label="learning curves" {size} {font}>{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "currentColor") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}">{text}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, between two numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [mark for mark in marks if low <= mark <= high]
