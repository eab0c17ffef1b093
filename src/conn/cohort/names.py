"""Names of people, labels and columns, and cells as text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import pandas as pd

from conn.tables import number

Person = tuple[str, str]
"""Data set and subject label."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with the nearest names, with a leading blank; empty when nothing is near."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(names), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(names[c]) for c in close)}?" if close else ""


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key of a label: d2 before d10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with every cell as text, missing as ``n/a``; text stays as it is."""
    return table.map(lambda cell: number(cell, 17)).astype(str)
