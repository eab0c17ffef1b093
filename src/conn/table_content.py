"""What clinical tables hold in the columns that a model uses, as a checksum for the lock of its plan.

Rows count whatever their order, and columns that the model does not use do not count: a table may gain an
unrelated column, or be sorted anew, and stays what was locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conn.config.model import ClinicalTable
from conn.errors import InputError
from conn.lock import sha256_of
from conn.tables import read_tsv


def content(folder: Path, table: ClinicalTable, used: Sequence[str]) -> str | None:
    """Used columns of a table and the SHA-256 of what they hold.

    Parameters
    ----------
    folder
        That the table's path is relative to; its `{subject}` stands for every file that fits.
    table
        Where it is, and which columns say who and when.
    used
        Columns that matter, in this table or another.

    Returns
    -------
    str or None
        ``id, session, columns; sha256:…``. None when the table is not there, cannot be read, or has none
        of the columns.
    """
    who = (table.id_column, table.session_column)
    columns: dict[str, None] = {}
    rows: list[list[str]] = []
    for file in sorted(folder.glob(table.path.replace("{subject}", "*"))):
        try:
            frame = read_tsv(file)
        except InputError:
            return None
        kept = [name for name in (*who, *sorted(set(used) - set(who))) if name in frame.columns]
        columns |= dict.fromkeys(kept)
        owner = file.relative_to(folder).as_posix() if "{subject}" in table.path else ""
        for cells in frame[kept].itertuples(index=False, name=None):
            pairs = zip(kept, cells, strict=True)
            rows.append([owner, *(f"{name}={str(cell).strip()}" for name, cell in pairs)])
    if not set(columns) & set(used):
        return None
    return f"{', '.join(columns)}; sha256:{sha256_of(sorted(rows))}"
