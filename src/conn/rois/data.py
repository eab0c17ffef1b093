"""The two tables that are shipped: regions with coordinates and sources, and networks of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files

import pandas as pd

from conn.tables import read_tsv


@cache
def table() -> pd.DataFrame:
    """The registry, one row per shape, every cell as text."""
    return _read("registry.tsv")


@cache
def edges() -> pd.DataFrame:
    """The networks, one row per edge between names, every cell as text."""
    return _read("networks.tsv")


def _read(name: str) -> pd.DataFrame:
    with as_file(files("conn.rois") / name) as path:
        return read_tsv(path)


def nearest_names(name: str, choices: Sequence[str]) -> str:
    """What somebody who wrote `name` may have meant."""
    plain = {choice.lower(): choice for choice in choices}
    near = [plain[c] for c in difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)]
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
