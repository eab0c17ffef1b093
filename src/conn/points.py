"""Time points in words."""

from __future__ import annotations

ALL = "all"
"""The one time point of a data set without sessions."""


def at(point: str) -> str:
    """When something was measured, as in `` at pre``; nothing where there is one time point only.

    Parameters
    ----------
    point
        Label of the time point.
    """
    return "" if point == ALL else f" at {point}"
