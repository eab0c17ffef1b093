"""Results that are read beside each other: networks, motion held constant, two ways of asking the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from conn.config.model import ParallelArms
from conn.report import page
from conn.report.context import Context, ranked, row_of, shown_edges, unit
from conn.report.contract import ContrastResult
from conn.report.edges_section import (
    BESIDE,
    NETWORK,
    Shown,
    estimates_of,
    found_words,
    p_column,
    result_columns,
    result_row,
    verb,
)
from conn.report.regions import edge
from conn.report.words import (
    capital,
    decimals_for,
    fixed,
    interval,
    listed,
    p_cell,
    spelled,
)

LEAST, MOST = 6, 12
"""Fewest and most edges in a comparison."""

MOTION = "motion (mean_fd)"


# --------------------------------------------------------------------------------------------- networks


def network_words(context: Context, contrast: ContrastResult) -> str:
    """What the declared networks say, in a sentence."""
    rows = ranked(contrast.networks)
    if rows.empty:
        return ""
    hits = rows[rows["p_fwe"] <= context.alpha]
    first = rows.head(1) if hits.empty else hits.head(3)
    named = [found_words(context, contrast, row_of(r), str(r["network"])) for r in first.to_dict("records")]
    several, at = len(rows) > 1, f"p_fwe ≤ {context.alpha:g}"
    if hits.empty and several:
        return f"None of the {spelled(len(rows))} declared networks reaches {at}; the nearest is {named[0]}."
    if several:
        lead = (
            f"{capital(spelled(len(hits)))} of the {spelled(len(rows))} declared networks {verb(len(hits))}"
        )
        return f"{lead} {at}{': ' if len(hits) <= len(named) else '; first '}{listed(named)}."
    return f"The declared network {'does not reach' if hits.empty else 'reaches'} {at}: {named[0]}."


def network_table(context: Context, contrast: ContrastResult) -> page.Table | None:
    """Declared networks, each one test: the mean Fisher z of its edges."""
    rows = ranked(contrast.networks)
    if rows.empty:
        return None
    columns = [
        NETWORK,
        Shown("Edges", lambda r: fixed(r["n_edges"], 0)),
        *(c for c in result_columns(contrast, estimates_of(contrast, rows)) if c.title != BESIDE),
    ]
    columns.append(p_column("p_holm"))
    cells = [result_row(context, columns, row_of(r)) for r in rows.to_dict("records")]
    head = [column.title for column in columns]
    what = (
        "" if contrast.is_f else f" {capital(unit(context, contrast))}, mean over the edges of the network."
    )
    note = (
        f"Bold: p_fwe ≤ {context.alpha:g}. A network is one test, of the mean Fisher z of its edges, and its "
        f"edges are read after it (p_closed). {_signs_words(rows)} "
        f"All columns: group/{contrast.model}/model-{contrast.model}_networks.tsv."
    )
    return page.table(f"Declared networks.{what}", head, cells, head[1:], note)


def _signs_words(rows: pd.DataFrame) -> str:
    """Which networks have edges that count turned round."""
    turned = rows[rows["n_negative"] > 0] if "n_negative" in rows else rows[:0]
    if turned.empty:
        return "A mean can be 0 when edges go in opposite directions."
    shown = [f"{r['network']} {r['n_negative']:.0f} of {r['n_edges']:.0f}" for r in turned.to_dict("records")]
    return f"Edges with the declared sign −1 enter the mean turned round ({listed(shown)})."


# ------------------------------------------------------------------------------------- side by side


@dataclass(frozen=True)
class _Side:
    """One of the contrasts that stand beside each other, under a short title."""

    title: str
    contrast: ContrastResult


def comparisons(context: Context, contrast: ContrastResult) -> tuple[page.Table, ...]:
    """Tables that show a contrast beside others: motion held constant, and what the design has beside it."""
    made = (_sensitivity(context, contrast), _partners(context, contrast))
    return tuple(table for table in made if table is not None)


def _sensitivity(context: Context, contrast: ContrastResult) -> page.Table | None:
    """The contrast once more with motion as a covariate."""
    again = contrast.repeated
    if again is None:
        return None
    fewer = (
        f" It has n = {again.n} instead of {contrast.n}: people without a value of motion are left out of it."
        if again.n != contrast.n
        else ""
    )
    note = (
        f"{again.name} repeats {contrast.name} with {MOTION} as covariate; not a test of its own. It is "
        f"never confirmatory, and Holm's procedure does not count it.{fewer}"
    )
    sides = [_Side("Primary", contrast), _Side("With motion held constant", again)]
    return _side_by_side(context, sides, "Sensitivity to motion.", note)


def _partners(context: Context, contrast: ContrastResult) -> page.Table | None:
    """Contrasts of the same model and the same groups that answer nearly the same question."""
    others = {c.base: c for m in context.outputs.models if m.name == contrast.model for c in m.contrasts
              if c.pair == contrast.pair}  # fmt: skip
    model = context.model_of(contrast)
    if isinstance(model, ParallelArms) and {"adjusted", "change"} <= set(others):
        return _arms(context, contrast, others, model)
    if contrast.design == "crossover" and contrast.base == "treatment" and len(others) > 1:
        return _orders(context, others)
    return None


def _arms(
    context: Context, contrast: ContrastResult, others: Mapping[str, ContrastResult], model: ParallelArms
) -> page.Table | None:
    """The adjusted difference and the difference of changes, once: at the primary one of the two."""
    primary = "adjusted" if model.randomised else "change"
    if contrast.base != primary:
        return None
    if model.randomised:
        why = (
            "The arms are declared randomised: both estimate the effect of treatment, and the adjusted "
            "difference, which is primary, is the more precise one."
        )
    else:
        why = (
            "The arms are declared not randomised: the two answer different questions and can disagree "
            "(Lord's paradox). The change is primary."
        )
    sides = [_Side(f"Adjusted for {model.before}", others["adjusted"]), _Side("Change", others["change"])]
    sides = sides if model.randomised else sides[::-1]
    return _side_by_side(context, sides, "Adjusted difference and difference of changes.", why)


_CROSSOVER = {
    "treatment": "By sequence labels",
    "treatmentFlips": "By sign flips",
    "carryover": "Carry-over (never decides)",
}


def _orders(context: Context, others: Mapping[str, ContrastResult]) -> page.Table | None:
    """Treatment in two ways, and carry-over, which never decides."""
    sides = [_Side(title, others[base]) for base, title in _CROSSOVER.items() if base in others]
    note = (
        "Without covariates, exchange of sequence labels is exact under any period effect common to all; "
        "sign flips hold the period constant and assume symmetry. Carry-over is a difference of sums between "
        "people; its power is low, it biases the treatment effect by half of its size, and nothing follows "
        "from its p."
    )
    return (
        _side_by_side(context, sides, "Treatment in two ways, and carry-over.", note) if sides[1:] else None
    )


_Lookup = Callable[[ContrastResult], Mapping[str, Any] | None]


def _side_by_side(context: Context, sides: Sequence[_Side], caption: str, note: str) -> page.Table | None:
    """Networks and the first edges of the first contrast, with what each of the contrasts says of them."""
    items = _items(context, sides[0].contrast)
    if not items:
        return None
    decimals = [_decimals(side.contrast, [look for _, look in items]) for side in sides]
    rows = []
    for name, look in items:
        cells = [
            cell for s, d in zip(sides, decimals, strict=True) for cell in _cells(look(s.contrast), s, d)
        ]
        rows.append(page.Row((name, *cells)))
    head = [title for side in sides for title in _heads(side)]
    columns = ("Network or edge" if len(sides[0].contrast.networks) else "Edge", *head)
    ends = "" if all(side.contrast.is_f for side in sides) else f" CI: {context.level} interval of one test."
    chosen = "Edges are those with the smallest p_fwe on the left."
    return page.table(caption, columns, rows, head, f"{note} {chosen}{ends}")


def _items(context: Context, contrast: ContrastResult) -> list[tuple[str, _Lookup]]:
    """Names of networks and edges, and where a contrast has them."""
    networks = [str(name) for name in ranked(contrast.networks)["network"]]
    pairs = shown_edges(context, contrast, LEAST, MOST)[["roi_a", "roi_b"]].itertuples(index=False)
    found: list[tuple[str, _Lookup]] = [(name, _network(name)) for name in networks]
    return found + [(edge(a, b), _edge(a, b)) for a, b in pairs]


def _network(name: str) -> _Lookup:
    return lambda contrast: _first(contrast.networks[contrast.networks["network"] == name])


def _edge(a: str, b: str) -> _Lookup:
    def look(contrast: ContrastResult) -> Mapping[str, Any] | None:
        table = contrast.edges
        return _first(table[(table["roi_a"] == a) & (table["roi_b"] == b)])

    return look


def _first(table: pd.DataFrame) -> Mapping[str, Any] | None:
    return row_of(table.iloc[0].to_dict()) if len(table) else None


def _heads(side: _Side) -> tuple[str, ...]:
    if side.contrast.is_f:
        return f"{side.title}: F", "p_fwe"
    return f"{side.title}: β", "CI", "p_fwe"


def _cells(row: Mapping[str, Any] | None, side: _Side, decimals: int) -> tuple[str, ...]:
    if row is None:
        return ("n/a",) * len(_heads(side))
    if side.contrast.is_f:
        return fixed(row["stat"], 2), p_cell(row["p_fwe"])
    ends = interval(row["ci_low"], row["ci_high"], decimals)
    return fixed(row["estimate"], decimals), ends, p_cell(row["p_fwe"])


def _decimals(contrast: ContrastResult, looks: Sequence[_Lookup]) -> int:
    rows = [row for look in looks if (row := look(contrast)) is not None]
    return max(decimals_for([float(row["estimate"]) for row in rows], 3), 2)
