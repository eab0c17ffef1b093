"""Tab-separated tables as BIDS wants them: text in, text out, `n/a` for missing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from conn.errors import InputError
from conn.files import write_text

MISSING = "n/a"


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a TSV file, every cell as text; see `read_tsv`."""
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    split = ((place, line.split("\t")) for place, line in enumerate(text.split("\n"), start=1))
    rows = [(place, row) for place, row in split if any(row)]
    if not rows:
        raise InputError(f"{path}: the table is empty; a header row is needed")
    header = [name.strip() for name in rows[0][1]]
    if len(set(header)) < len(header):
        repeated = sorted({name for name in header if header.count(name) > 1})
        raise InputError(f"{path}: column {repeated[0]!r} occurs {header.count(repeated[0])} times")
    for place, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {place} has {len(row)} cells, the header has {len(header)}. "
                "Is the table separated by tabs?"
            )
    return header, [[cell.strip() for cell in row] for _, row in rows[1:]]


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without byte order mark; otherwise an error names the byte."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: the table is not there") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is 0x{raw[error.start]:02x}, which is not UTF-8. "
            "Save the table as UTF-8 text."
        ) from None


def read_tsv(path: Path) -> pd.DataFrame:
    """Read a TSV file with every cell as text.

    Nothing is converted: `007` stays `007`, `NA` stays a name, only trailing blanks go. UTF-8 with or
    without byte order mark and any line end (LF, CRLF, CR) are accepted.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    DataFrame of str

    Raises
    ------
    InputError
        Not there, not UTF-8 (the byte is named), no header, duplicate column, ragged rows.
    """
    header, cells = read_cells(path)
    return pd.DataFrame(cells, columns=pd.Index(header), dtype=str)


def number(value: object, digits: int = 10) -> str:
    """A number as the shortest text with at most `digits` significant digits; missing as ``n/a``."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(value)
    if isinstance(value, float) or hasattr(value, "dtype"):
        as_float = float(value)  # type: ignore[arg-type]
        if math.isnan(as_float):
            return MISSING
        return f"{as_float:.{digits}g}"
    return str(value)


def format_tsv(table: pd.DataFrame, digits: int = 10) -> str:
    """The text of a table; see `write_tsv`."""
    columns: list[Iterable[str]] = []
    for name in table.columns:
        column = table[name]
        if column.dtype == bool:
            columns.append(["true" if v else "false" for v in column])
        else:
            columns.append([_cell(v, digits) for v in column.tolist()])
    lines = ["\t".join(map(str, table.columns))]
    lines += ["\t".join(cells) for cells in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"


def _cell(value: object, digits: int) -> str:
    """A cell stays one cell: tabs and line ends in it become blanks; nothing left is missing."""
    return " ".join(number(value, digits).split()) or MISSING


def write_tsv(path: Path, table: pd.DataFrame, digits: int = 10) -> None:
    """Write a table atomically: missing and empty cells as ``n/a``, booleans as true/false.

    Parameters
    ----------
    path
        The file.
    table
        Its columns become the header, the index is not written.
    digits
        Significant digits of floats.
    """
    write_text(path, format_tsv(table, digits))


def to_number(text: str, missing: frozenset[str] = frozenset({MISSING})) -> float:
    """Text of a cell to a float; NaN when missing.

    Raises
    ------
    ValueError
        The cell is neither a number nor a missing code.
    """
    if text in missing:
        return math.nan
    return float(text)
