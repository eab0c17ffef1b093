"""Small pieces of sentences: lists, people, counts."""

from __future__ import annotations

from collections.abc import Sequence

from conn.cohort import Person


def and_words(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1)) if len(names) > 1 else "".join(names)


def cell_words(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def subjects_words(people: Sequence[Person], most: int = 10) -> str:
    several = len({dataset for dataset, _ in people}) > 1
    names = [f"{d}/sub-{s}" if several else f"sub-{s}" for d, s in people[:most]]
    return ", ".join(names) + (f" and {len(people) - most} more" if len(people) > most else "")


def counted(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"
