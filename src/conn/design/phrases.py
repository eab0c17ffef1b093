"""Small pieces of sentences: lists, people, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from conn.cohort import Person


def and_words(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(", ".join(names).rsplit(", ", 1)) if len(names) > 1 else "".join(names)


def neither_words(names: Sequence[str]) -> str:
    """``neither a nor b``, or ``none of a, b and c``."""
    return f"neither {names[0]} nor {names[1]}" if len(names) == 2 else f"none of {and_words(names)}"


def cell_words(value: float | str | None) -> str:
    """A value of a table, numbers as short as they can be."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def subjects_words(people: Sequence[Person], most: int = 10) -> str:
    """Labels of people, with the data set when there are several; only the first are named."""
    several = len({dataset for dataset, _ in people}) > 1
    names = [f"{d}/sub-{s}" if several else f"sub-{s}" for d, s in people[:most]]
    return ", ".join(names) + (f" and {len(people) - most} more" if len(people) > most else "")


def sizes_words(levels: Sequence[str], members: Sequence[str]) -> str:
    """Each level with the number of its members."""
    counts = Counter(members)
    return ", ".join(f"{level} {counts[level]}" for level in levels)


def counted(count: int, noun: str) -> str:
    """``1 run is``, ``2 runs are``."""
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"
