"""More p of edges and networks: tail, equivalence, slopes, scores, and edges that are read after networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from conn.report import page
from conn.report.context import Context, any_finite, ranked, row_of, shown_edges
from conn.report.contract import ContrastResult
from conn.report.edges_section import (
    BESIDE,
    EDGE,
    NETWORK,
    TOP,
    Shown,
    estimates_of,
    p_column,
    result_columns,
    result_row,
)
from conn.report.words import count, fixed, interval, significant

FEWEST_CLOSED = 6
"""Edges of networks in their table, unless more are significant."""

_FURTHER: Mapping[str, str] = {
    "p_tail": "p_tail: p_fwe from a generalised Pareto distribution fitted to the tail of the permutations, "
    "given beside the count and never instead.",
    "g_av": "g_av: mean change over the average SD of the two time points, with its bootstrap interval.",
    "p_slope_difference": "Slope difference: by how much the slope on the baseline differs between the "
    "groups, "
    "with the uncorrected p of that; an adjusted difference speaks of all people only where it does not.",
    "p_equivalence": "p_equivalence: of two one-sided tests that the effect lies within the bound, not "
    "corrected for the number of edges.",
    "p_score": "p_score: family-wise p of the score that an edge gets from the edges around it; it says that "
    "something is in its surroundings.",
}


def of_edges(context: Context, contrast: ContrastResult) -> page.Table | None:
    """More on the edges in the open table."""
    return _further(context, shown_edges(context, contrast, TOP, 40), [EDGE, p_column("p_fwe")], "edges")


def of_networks(context: Context, contrast: ContrastResult) -> page.Table | None:
    """More on the declared networks: what their first table has no room for, then what was asked for."""
    rows = ranked(contrast.networks)
    if rows.empty:
        return None
    shared = result_columns(contrast, estimates_of(contrast, rows))
    beside = [column for column in shared if column.title == BESIDE]
    return _further(context, rows, [NETWORK, *beside, p_column("p_fwe")], "networks")


def _further(context: Context, rows: pd.DataFrame, columns: list[Shown], what: str) -> page.Table | None:
    asked = [name for name in _FURTHER if any_finite(rows, name)]
    if not asked and len(columns) == len(("name", "p_fwe")):
        return None
    for name in asked:
        columns += _COLUMNS_OF.get(name, ())
        columns += [] if name in ("p_tail", "g_av") else [p_column(name)]
    head = [column.title for column in columns]
    cells = [result_row(context, columns, row_of(r)) for r in rows.to_dict("records")]
    note = " ".join(_note_of(context, name, what) for name in asked)
    return page.table(f"More on the same {what}.", head, cells, head[1:], note)


_COLUMNS_OF: Mapping[str, tuple[Shown, ...]] = {
    "p_tail": (Shown("p_tail", lambda r: significant(r["p_tail"], 2)),),
    "g_av": (
        Shown("g_av", lambda r: fixed(r["g_av"], 2)),
        Shown("CI of g_av", lambda r: interval(r["g_av_ci_low"], r["g_av_ci_high"], 2)),
    ),
    "p_slope_difference": (Shown("Slope difference", lambda r: fixed(r["slope_difference"], 2)),),
    "p_score": (Shown("Score", lambda r: significant(r["score"], 3)),),
}
"""Columns before a p, or in its place: p_tail has digits that counting permutations does not give."""


def _note_of(context: Context, name: str, what: str) -> str:
    bound = context.outputs.config.inference.equivalence
    words = _FURTHER[name].replace("number of edges", f"number of {what}")
    if name == "p_equivalence" and bound is not None:
        return words.replace("the bound", f"±{bound:g} in Fisher z")
    return words


def closed(context: Context, contrast: ContrastResult) -> page.Table | None:
    """Edges of the declared networks, which are read after their networks."""
    table = contrast.edges[np.isfinite(contrast.edges["p_closed"])]
    if table.empty:
        return None
    order = ["p_closed", "p_fwe", "p"]
    rows, alpha = table.sort_values(order, kind="stable"), context.alpha
    hits = int((rows["p_closed"] <= alpha).sum())
    shown = rows.head(min(max(hits, FEWEST_CLOSED), TOP))
    columns = [EDGE, *result_columns(contrast, estimates_of(contrast, rows)), p_column("p_closed")]
    head = [column.title for column in columns]
    cells = [
        page.Row(tuple(c.cell(row_of(r)) for c in columns), strong=bool(r["p_closed"] <= alpha))
        for r in shown.to_dict("records")
    ]
    note = (
        f"Bold: p_closed ≤ {alpha:g}, the larger p of the edge's network and of its own among the edges of "
        "all "
        f"declared networks; {hits} of {count(len(rows), 'edge')}. p_fwe is that among all edges of the "
        "model."
    )
    return page.table("Edges of the declared networks, read after them.", head, cells, head[1:], note)
