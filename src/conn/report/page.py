"""What the template shows: plain tables, blocks of text and pictures, all of it already in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conn import lock
from conn.report.style import Picture


@dataclass(frozen=True)
class Column:
    """Head of a column: its title, and whether it holds numbers (set to the right, in equal widths)."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Row:
    """Cells of a row; `strong` for what is significant, `head` for a line that opens a block."""

    cells: tuple[str, ...]
    strong: bool = False
    head: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.rows)


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str] | Row],
    numbers: Iterable[str] = (),
    note: str = "",
) -> Table:
    """A table from texts.

    Parameters
    ----------
    caption
        What it shows.
    columns
        Titles.
    rows
        Cells as text, or whole rows.
    numbers
        Titles of columns that hold numbers.
    note
        Small print under it.

    Returns
    -------
    Table
    """
    right = set(numbers)
    made = tuple(r if isinstance(r, Row) else Row(tuple(r)) for r in rows)
    return Table(caption, tuple(Column(c, c in right) for c in columns), made, note)


@dataclass(frozen=True)
class Finding:
    """What one contrast or clinical analysis found, for the summary."""

    anchor: str
    title: str
    words: str
    status: str
    planned: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class DesignBlock:
    """One contrast of a model: what was compared, and how chance was measured."""

    anchor: str
    title: str
    words: str
    status: str
    planned: bool
    facts: tuple[tuple[str, str], ...]
    picture: Picture | None
    dropped: Table | None


@dataclass(frozen=True)
class ResultBlock:
    """Everything that one contrast found."""

    anchor: str
    title: str
    words: str
    status: str
    planned: bool
    sentences: tuple[str, ...]
    caution: str
    networks: Table | None
    more_on_networks: Table | None
    closed: Table | None
    pictures: tuple[Picture, ...]
    edges: Table | None
    further: Table | None
    more_edges: Table | None
    compared: tuple[Table, ...]
    people: Picture | None
    maps: tuple[Picture, ...]
    clusters: Table | None


@dataclass(frozen=True)
class Block:
    """One clinical analysis: what was asked, what was found, and what that does not say."""

    anchor: str
    title: str
    sentences: tuple[str, ...]
    caution: str = ""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[tuple[str, Table], ...] = ()
    """Titles and tables that are shown on request."""
    status: str = ""
    """``exploratory``, or ``confirmatory`` with what the lock says; empty where nothing is tested."""
    headline: tuple[str, ...] = ()
    """What the summary of the report says of it, below the first of its sentences; empty: nothing."""

    @property
    def planned(self) -> bool:
        """Whether it was locked in time, and is as it was locked."""
        return lock.is_planned(self.status)


@dataclass(frozen=True)
class Section:
    """A heading of the table of contents with the headings below it."""

    anchor: str
    title: str
    below: tuple[tuple[str, str], ...] = ()
