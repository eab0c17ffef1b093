"""Edges of a contrast in words, figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from conn.config.model import Formula
from conn.exclusions import PARTIAL
from conn.report import page, plots, style
from conn.report.context import (
    Z_OF_PARTIAL,
    Context,
    df_words,
    everybody,
    lacking,
    row_of,
    shown_edges,
    stem,
    test_words,
    tested,
    unit,
)
from conn.report.contract import ContrastResult
from conn.report.designs import groupings, time_points
from conn.report.regions import edge, groups_of, ordered
from conn.report.style import Picture
from conn.report.true_effects import true_effects
from conn.report.values import edge_panel, is_slope, predictor_words
from conn.report.words import (
    capital,
    count,
    decimals_for,
    fixed,
    humanised,
    interval,
    listed,
    p_cell,
    p_words,
    significant,
    spelled,
)

TOP = 12
"""Edges in the forest plot and in the open part of the table, unless more are significant."""
MOST_PANELS = 8
MOST_ROWS = 100
"""Edges in the tables of the page; the file holds all of them."""


# ------------------------------------------------------------------------------------------------ words


def found_words(context: Context, contrast: ContrastResult, row: Mapping[str, Any], name: str) -> str:
    """One edge or network as a sentence would give it: estimate and interval, or F; and p_fwe."""
    p = p_words(float(row["p_fwe"]), "p_fwe", contrast.smallest_p)
    if contrast.is_f:
        return f"{name} (F({df_words(row)}) = {fixed(float(row['stat']), 2)}; {p})"
    values = [float(row[k]) for k in ("estimate", "ci_low", "ci_high")]
    decimals = max(decimals_for(values, 3), 2)
    return (
        f"{name} (estimate {fixed(values[0], decimals)}, {context.level} CI "
        f"{interval(values[1], values[2], decimals)}; {p})"
    )


def _edge_found(context: Context, contrast: ContrastResult, row: Mapping[Any, Any]) -> str:
    return found_words(context, contrast, row_of(row), edge(str(row["roi_a"]), str(row["roi_b"])))


def edge_words(context: Context, contrast: ContrastResult) -> str:
    """What the edges of a contrast say, in a sentence or two."""
    table, alpha = tested(contrast), context.alpha
    if table.empty:
        return _no_edges(context, contrast)
    edges = count(len(table), "edge") + (" (partial correlations)" if context.is_partial(contrast) else "")
    hits = table[table["p_fwe"] <= alpha]
    rows = table.head(3).to_dict("records")
    if hits.empty:
        return (
            f"None of {edges} reaches p_fwe ≤ {alpha:g}. "
            f"The nearest is {_edge_found(context, contrast, rows[0])}. {_no_evidence(contrast)}"
        )
    strongest = [_edge_found(context, contrast, r) for r in rows[: min(3, len(hits))]]
    lead = f"{capital(spelled(len(hits)))} of {edges} {verb(len(hits))} p_fwe ≤ {alpha:g}"
    holm = _holm(hits, contrast, alpha)
    shown = f"{lead}{holm}: " if len(hits) <= 3 else f"{lead}{holm}; first "
    return shown + listed(strongest) + "."


def _no_evidence(contrast: ContrastResult) -> str:
    if contrast.is_f:
        return "This is not evidence of no effect; an F has no interval that could say what remains possible."
    return "This is not evidence of no effect: the intervals say what remains possible."


def _no_edges(context: Context, contrast: ContrastResult) -> str:
    """Why no partial correlation could be tested: whoever lacks one region lacks the whole matrix."""
    names = lacking(context, contrast, PARTIAL) if context.is_partial(contrast) else []
    if contrast.edges.empty or not names:
        return ""
    return (
        f"No edge could be tested: partial correlations are missing in {listed(names, 4)}, and an edge needs "
        f"a value in {everybody(context)}."
    )


def verb(n: int) -> str:
    """``reaches`` or ``reach``."""
    return "reaches" if n == 1 else "reach"


def _holm(hits: pd.DataFrame, contrast: ContrastResult, alpha: float) -> str:
    """How many remain when the families of the model are corrected too."""
    if contrast.n_families < 2 or not np.isfinite(hits["p_holm"]).any():
        return ""
    left = int((hits["p_holm"] <= alpha).sum())
    kept = "all of them" if left == len(hits) > 1 else "it does" if left == len(hits) else spelled(left)
    if len(hits) == 1:
        kept = "it remains so" if left else "it does not remain so"
        return f" ({kept} after Holm's correction over the model's {spelled(contrast.n_families)} families)"
    return f" ({kept} also after Holm's correction over the model's {spelled(contrast.n_families)} families)"


# ---------------------------------------------------------------------------------------------- figures


def matrix_picture(context: Context, contrast: ContrastResult) -> Picture | None:
    """All edges as a matrix of estimates, or of F."""
    value = "stat" if contrast.is_f else "estimate"
    table = contrast.edges[np.isfinite(contrast.edges[value])]
    labels = ordered([*contrast.edges["roi_a"], *contrast.edges["roi_b"]])
    if len(labels) < 4 or len(table) < 6:
        return None
    place = {label: i for i, label in enumerate(labels)}
    a, b = ([place[label] for label in table[end]] for end in ("roi_a", "roi_b"))
    values, marked = np.full((len(labels), len(labels)), np.nan), np.zeros((len(labels), len(labels)), bool)
    values[a, b] = values[b, a] = table[value]
    marked[a, b] = marked[b, a] = table["p_fwe"] <= context.alpha
    hits = int(marked.sum()) // 2
    what = "F" if contrast.is_f else "estimates"
    caption = (
        f"{capital(what)} of all edges; rings: p_fwe ≤ {context.alpha:g} ({hits}); grey: not tested. "
        f"{test_words(context, contrast)}."
    )
    alt = (
        f"Matrix of {what} between {len(labels)} regions, {hits} of {len(table)} edges marked as significant."
    )
    with style.look():
        shown = pd.DataFrame(values, index=pd.Index(labels), columns=pd.Index(labels))
        figure = plots.matrix(
            shown, unit(context, contrast), marked, groups_of(labels), signed=not contrast.is_f
        )
        return style.save(
            context.folder, f"{stem(contrast)}_matrix", figure, alt, caption, vector=False, dpi=200
        )


def forest_picture(context: Context, contrast: ContrastResult) -> Picture | None:
    """The edges with the smallest p: estimates with intervals, or F."""
    rows = shown_edges(context, contrast, TOP, 30)
    if rows.empty:
        return None
    rows = rows.assign(name=[edge(a, b) for a, b in zip(rows["roi_a"], rows["roi_b"], strict=True)])
    n_hits = int((rows["p_fwe"] <= context.alpha).sum())
    best = _edge_found(context, contrast, rows.iloc[0].to_dict())
    if contrast.is_f:
        return _statistics(context, contrast, rows, n_hits, best)
    known = true_effects(context, contrast)
    pairs = zip(rows["roi_a"], rows["roi_b"], strict=True)
    truths = [known.get(frozenset(pair), np.nan) for pair in pairs]
    caption = (
        f"The {count(len(rows), 'edge')} with the smallest p_fwe. Thick: {context.level} interval of one "
        f"edge; thin: "
        f"{context.level} simultaneous interval, which excludes zero exactly when p_fwe ≤ {context.alpha:g}. "
        "Edges chosen for their small p have estimates that are too large on average."
    )
    alt = f"Forest plot of {len(rows)} edges, {n_hits} of them significant. First: {best}."
    with style.look():
        figure = plots.forest(rows, unit(context, contrast), context.alpha, truths)
        return style.save(context.folder, f"{stem(contrast)}_forest", figure, alt, caption)


def _statistics(
    context: Context, contrast: ContrastResult, rows: pd.DataFrame, n_hits: int, best: str
) -> Picture:
    """F of edges: there is no estimate that a forest plot could show."""
    family = contrast.family("edges")
    critical = family.critical if family.scale == "F" else None
    line = "" if critical is None else f" Line: what F must exceed for p_fwe ≤ {context.alpha:g}."
    caption = (
        f"The {count(len(rows), 'edge')} with the smallest p_fwe. F says whether anything differs, not in "
        f"which direction nor by how much; it has no estimate and no interval.{line}"
    )
    alt = f"F of {len(rows)} edges, {n_hits} of them significant. First: {best}."
    with style.look():
        figure = plots.statistics(rows, "F", context.alpha, critical)
        return style.save(context.folder, f"{stem(contrast)}_statistics", figure, alt, caption)


def people_picture(context: Context, contrast: ContrastResult) -> Picture | None:
    """Individual people at the edges with the smallest p."""
    model, data = context.model_of(contrast), context.edges_of(contrast)
    rows = shown_edges(context, contrast, 4, MOST_PANELS)
    if rows.empty or not data.labels or (contrast.is_f and isinstance(model, Formula)):
        return None
    panels = []
    for r in rows.to_dict("records"):
        note = p_words(float(r["p_fwe"]), "p_fwe", contrast.smallest_p).split(",")[0]
        panel = edge_panel(data, contrast, r["roi_a"], r["roi_b"], edge(r["roi_a"], r["roi_b"]), note)
        if panel.groups and np.isfinite(panel.groups[0].z).any():
            panels.append(panel)
    if not panels:
        return None
    caption, alt = _people_words(context, contrast, panels)
    points = time_points(model)
    z = Z_OF_PARTIAL if context.is_partial(contrast) else "Fisher z"
    y = f"change in {z}" if is_slope(contrast) and len(points) == 2 else z
    x = predictor_words(context.outputs, contrast) if is_slope(contrast) else ""
    with style.look():
        figure = plots.edges(panels, points, y, context.names.text(x))
        return style.save(context.folder, f"{stem(contrast)}_people", figure, alt, caption)


def _people_words(
    context: Context, contrast: ContrastResult, panels: list[plots.EdgePanel]
) -> tuple[str, str]:
    model = context.model_of(contrast)
    edges_named = listed([p.title for p in panels])
    flag = (
        "Selected by this test: the edges were chosen because their p is small, so the effect looks "
        "larger than it is."
    )
    grouped = groupings(model)
    groups = f" of each {' and '.join(map(humanised, grouped))}" if grouped else ""
    if is_slope(contrast):
        what = "Each point is a person; line: least squares without the other columns."
    elif len(time_points(model)) == 1:
        of_each = " of each group" if grouped else ""
        what = f"Each point is a person; beside them mean and 95 % interval{of_each}."
    else:
        what = (
            f"Each line is a person; thick: mean and 95 % interval{groups} at each time point, without "
            f"covariates."
        )
    n = sum(len(g.z) for g in panels[0].groups)
    return f"{flag} {what} n = {n}.", f"Values of each person for {edges_named}."


# ----------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Shown:
    """A column of a table of results: its title, and what its cells are."""

    title: str
    cell: Callable[[Mapping[str, Any]], str]


BESIDE = "Simultaneous CI"
"""Column of networks that stands in their second table, so that the first one fits the page."""


def result_columns(contrast: ContrastResult, decimals: int) -> list[Shown]:
    """Columns of results: n, estimate or none, statistic, p.

    Parameters
    ----------
    contrast
        An F has no estimate, interval or effect size.
    decimals
        Of estimates.
    """
    columns = [Shown("n", lambda r: fixed(r["n"], 0))]
    if not contrast.is_f:
        columns += [
            Shown("Estimate", lambda r: fixed(r["estimate"], decimals)),
            Shown("CI", lambda r: interval(r["ci_low"], r["ci_high"], decimals)),
            Shown("Simultaneous CI", lambda r: interval(r["ci_sim_low"], r["ci_sim_high"], decimals)),
            Shown("g", lambda r: fixed(r["g"], 2)),
        ]
    head = "F (df)" if contrast.is_f else "Statistic (df)"
    columns.append(Shown(head, lambda r: f"{fixed(r['stat'], 2)} ({df_words(r)})"))
    return [*columns, p_column("p"), p_column("p_fwe")]


def p_column(name: str) -> Shown:
    """A column of p values."""
    return Shown(name, lambda r: p_cell(r[name]))


def estimates_of(contrast: ContrastResult, table: pd.DataFrame) -> int:
    """Decimals that the estimates of a table share."""
    return 2 if contrast.is_f else max(decimals_for(table["estimate"].tolist(), 3), 2)


def edge_tables(context: Context, contrast: ContrastResult) -> tuple[page.Table | None, page.Table | None]:
    """The first edges, and the rest of the first 100 to be opened."""
    rows = tested(contrast)
    if rows.empty:
        return None, None
    n_open = len(shown_edges(context, contrast, TOP, 40))
    shared = result_columns(contrast, estimates_of(contrast, rows))
    columns = [EDGE, *shared, p_column("p_fdr"), p_column("p_holm")]
    head = [column.title for column in columns]
    cells = [result_row(context, columns, row_of(r)) for r in rows.head(MOST_ROWS).to_dict("records")]
    note = _edge_note(context, contrast, rows)
    caption = "Edges by p_fwe." if contrast.is_f else f"Edges by p_fwe. {capital(unit(context, contrast))}."
    first = page.table(caption, head, cells[:n_open], head[1:], note)
    rest = cells[n_open:]
    if not rest:
        return first, None
    return first, page.table(f"Edges {n_open + 1} to {n_open + len(rest)}.", head, rest, head[1:])


EDGE = Shown("Edge", lambda r: edge(str(r["roi_a"]), str(r["roi_b"])))
NETWORK = Shown("Network", lambda r: str(r["network"]))


def result_row(context: Context, columns: list[Shown], row: Mapping[str, Any]) -> page.Row:
    """A row of a table of results, bold when its p_fwe is at most alpha."""
    return page.Row(tuple(c.cell(row) for c in columns), strong=bool(row["p_fwe"] <= context.alpha))


def _edge_note(context: Context, contrast: ContrastResult, rows: pd.DataFrame) -> str:
    path = f"group/{contrast.model}/model-{contrast.model}_edges.tsv"
    types = listed(sorted({t for t in contrast.edges["g_type"] if t != "n/a"}))
    sizes = f" g: standardised effect{f' ({types})' if types else ''}." if not contrast.is_f else ""
    ends = f" CI: {context.level} interval of one edge." if not contrast.is_f else ""
    sides = ", two-sided" if not contrast.is_f else ""
    return (
        f"Bold: p_fwe ≤ {context.alpha:g}.{ends} p: uncorrected{sides}. "
        f"p_fwe: corrected over all edges of the family; p_holm: also over the families of the model."
        f"{sizes} All {count(len(rows), 'edge')}: {path}.{_coarse(contrast, context.alpha)}"
    )


def _coarse(contrast: ContrastResult, alpha: float) -> str:
    """What the number of permutations does to p_fdr, when it matters."""
    family, smallest = contrast.family("edges"), contrast.smallest_p
    if smallest * family.tests <= alpha:
        return ""
    alone = significant(min(smallest * family.tests, 1.0), 2)
    at_floor = family.complete or smallest * family.permutations > 1.000001
    more = "" if at_floor else " More permutations lower both."
    return (
        f" p counts permutations and is at least {significant(smallest, 2)}. When a single edge has so "
        f"small a p, its p_fdr is at least {alone}; it is lower only when several tests share that p.{more}"
    )
