"""A line search for the strong Wolfe conditions: J. Nocedal, S. J. Wright, "Numerical optimization", 2006."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_DECREASE, _CURVATURE = 1e-4, 0.9
_MOST_TRIALS = 25


class Trial(NamedTuple):
    """A length that was tried, the value and the slope there, and what the caller keeps of the point."""

    length: float
    value: float
    slope: float
    point: Any


def strong_wolfe(along: Callable[[float], tuple[float, float, Any]], value: float, slope: float, first: float) -> Any:
    """Return a point along a line where the function has fallen enough and is flat enough.

    For a length t: ``f(t) <= f(0) + 1e-4 t f'(0)`` and ``abs(f'(t)) <= 0.9 abs(f'(0))``. Algorithms 3.5 (bracketing)
    and 3.6 (zoom), with cubic interpolation; a value that is not finite counts as too high.

    Parameters
    ----------
    along : callable
        Value, slope and point (anything) at a length above 0.
    value, slope : float
        Those at length 0; the slope is negative.
    first : float
        The length to try first.

    Returns
    -------
    object or None
        The point of `along` that was found. After 25 trials the best that has fallen enough, flat or not; None where
        none has.
    """
    start = Trial(0.0, value, slope, None)
    before, length = start, first
    for trials in range(_MOST_TRIALS):
        here = Trial(length, *along(length))
        if _too_high(here, start) or (trials and here.value >= before.value):
            return _zoom(along, start, before, here, _MOST_TRIALS - trials)
        if abs(here.slope) <= -_CURVATURE * slope:
            return here.point
        if here.slope >= 0:
            return _zoom(along, start, here, before, _MOST_TRIALS - trials)
        beyond = _cubic_minimum(before, here)
        length = min(max(2 * length, beyond if beyond is not None and beyond > length else 0.0), 10 * length)
        before = here
    return before.point


def _zoom(
    along: Callable[[float], tuple[float, float, Any]], start: Trial, low: Trial, high: Trial, trials: int
) -> Any:
    """Return a point between two lengths that enclose a good one; at `low` the value is lower and has fallen enough."""
    for _ in range(trials):
        width = high.length - low.length
        inside = _cubic_minimum(low, high)
        # In the middle where interpolation says nothing of use or comes too near an end.
        if inside is None or not 0.1 <= (inside - low.length) / width <= 0.9:
            inside = low.length + 0.5 * width
        if inside in (low.length, high.length):  # no number is left between them
            break
        here = Trial(inside, *along(inside))
        if _too_high(here, start) or here.value >= low.value:
            high = here
            continue
        if abs(here.slope) <= -_CURVATURE * start.slope:
            return here.point
        if here.slope * width >= 0:
            high = low
        low = here
    return low.point


def _too_high(here: Trial, start: Trial) -> bool:
    return not (isfinite(here.value) and here.value <= start.value + _DECREASE * here.length * start.slope)


def _cubic_minimum(a: Trial, b: Trial) -> float | None:
    """Return where the cubic through both values and slopes has its minimum (Nocedal and Wright, equation 3.59)."""
    if not (isfinite(a.value) and isfinite(b.value) and isfinite(a.slope) and isfinite(b.slope)):
        return None
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.length - b.length)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return None
    d2 = sqrt(square) if b.length >= a.length else -sqrt(square)
    bottom = b.slope - a.slope + 2 * d2
    if bottom == 0:
        return None
    return b.length - (b.length - a.length) * (b.slope + d2 - d1) / bottom
