"""From connectivity to the clinic: the blocks of all clinical analyses, in the order they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conn.report import page, responders_section
from conn.report.context import Context

TITLE = "From connectivity to the clinic"

PARTS: tuple[Callable[[Context], Iterable[page.Block]], ...] = (responders_section.blocks,)
"""Each gives the blocks of one kind of analysis."""


def blocks(context: Context) -> list[page.Block]:
    """Blocks of everything that was asked for."""
    return [block for part in PARTS for block in part(context)]
