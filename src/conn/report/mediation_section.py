"""Mediation analyses in words, drawings and tables; the reverse model always beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.report import page, style, undone
from conn.report.context import Context, row_of
from conn.report.lacking_words import lacking_words
from conn.report.mediation_results import KINDS, MediationResult, results
from conn.report.path_diagram import Side, diagram
from conn.report.regions import edge
from conn.report.style import Picture
from conn.report.words import (
    MISSING,
    capital,
    count,
    decimals_for,
    fixed,
    interval,
    listed,
    p_cell,
    p_words,
    spelled,
)

TOP = 8
"""Features in the open tables, unless more are significant."""
MOST = 100
"""Features in the tables of the page; the file holds all of them."""
MOST_DIAGRAMS = 3

Row = Mapping[str, Any]

FLAGS = {
    "total_includes_0": "the interval of c includes 0",
    "opposite_signs": "ab and c′ have opposite signs",
}
"""Why a proportion is not shown as one."""

FAMILIES = {
    "edges": "edges",
    "networks": "networks",
    "seeds": "voxels of seed maps",
    "together": "edges entered together",
}
"""Families of an analysis in words."""


def blocks(context: Context) -> Iterable[page.Block]:
    """A block for every analysis."""
    for result in results(context.outputs.out, context.outputs.config):
        yield page.Block(
            f"mediation-{result.name}",
            f"{result.name}: does connectivity carry the effect on {result.settings.outcome}?",
            tuple(_sentences(context, result)),
            " ".join(result.record["caveats"]),
            tuple(_diagrams(context, result)),
            tuple(_tables(context, result)),
            tuple(_folded(context, result)),
            str(result.record.get("status", "")),
            tuple(_carried(context, result)),
        )
    yield from undone.blocks(context, "mediation")


# ------------------------------------------------------------------------------------------------ words


def _sentences(context: Context, result: MediationResult) -> Iterable[str]:
    record = result.record
    yield str(record["question"])
    yield _people(context, result)
    yield _total(context, result)
    yield from _carried(context, result)


def _carried(context: Context, result: MediationResult) -> Iterable[str]:
    for family in result.record["families"]:
        yield _family(context, result, family)
    yield from _lacking(result)
    if result.record["together"] is not None:
        yield _joined(context, result)


def _lacking(result: MediationResult) -> Iterable[str]:
    """Features that are not tested, because somebody lacks them."""
    rows, people = result.table, int(result.record["n"])
    if len(rows):
        gone = rows[rows["n"] < people]
        named = [(feature(row_of(row)), people - int(row["n"])) for row in gone.to_dict("records")]
        text = lacking_words(named, len(rows), "tested")
        if text:
            yield text


def _people(context: Context, result: MediationResult) -> str:
    record = result.record
    levels = listed([f"{level} {n}" for level, n in record["n_by_level"].items()])
    words = f"n = {record['n']} ({levels})."
    if record["left_out"]:
        names = [
            f"{context.names.person(one['dataset'], one['subject'])} ({one['reason']})"
            for one in record["left_out"]
        ]
        words += f" Left out: {listed(names, 6)}."
    return words


def _total(context: Context, result: MediationResult) -> str:
    total, (first, second) = result.record["total_effect"], result.settings.levels
    what = f"{first} minus {second}"
    if result.settings.crossover:
        what = f"{result.settings.after} minus {result.settings.before}"
    low, high = total["ci_low"], total["ci_high"]
    decimals = max(decimals_for([total["estimate"], low, high], 3), 1)
    better = str(result.record["direction"]).replace("_", " ")
    return (
        f"Effect on {result.settings.outcome} ({better}), connectivity left aside: {what} "
        f"{fixed(total['estimate'], decimals)} points ({context.level} CI {interval(low, high, decimals)}; "
        f"{p_words(total['p'])})."
    )


def _family(context: Context, result: MediationResult, family: Mapping[str, Any]) -> str:
    """What the features of one family say."""
    kind = str(family["kind"]).removesuffix("s")
    rows = result.tested
    rows = rows[rows["kind"] == kind] if len(rows) else rows
    noun = "voxel" if kind == "seed" else kind
    if rows.empty:
        return f"No {noun} could be tested: each has a value missing in somebody."
    hits = rows[rows["p_fwe"] <= context.alpha]
    most = count(int(family["features"]), noun)
    best = _found(context, result, row_of(rows.iloc[0].to_dict()))
    alone = family["features"] == 1
    if hits.empty:
        none = f"The one {noun} does not have" if alone else f"None of {most} has"
        nearest = "It is" if alone else "The nearest is"
        return (
            f"{none} both paths at p_fwe ≤ {context.alpha:g}. {nearest} {best} This is not "
            "evidence that nothing is carried: both paths must be shown, and each may be missed."
        )
    lead = f"{capital(spelled(len(hits)))} of {most} {'has' if len(hits) == 1 else 'have'}"
    if kind == "seed":
        lead = f"Voxels in {count(len(hits), 'seed map')} have"
    if alone:
        lead = f"The one {noun} has"
    after = _holm(result, hits["p_holm"].to_numpy(float), context.alpha)
    colon = ": " if len(hits) == 1 else "; first "
    return f"{lead} both paths at p_fwe ≤ {context.alpha:g}{after}{colon}{best}"


def _holm(result: MediationResult, p_holm: NDArray[np.float64], alpha: float) -> str:
    """How many hits of a family remain when the other families of the analysis are corrected for too."""
    n = len(result.record["holm"])
    if n < 2 or p_holm.size == 0:
        return ""
    left = int((p_holm <= alpha).sum())
    kept = "all of them" if left == p_holm.size else "none of them" if left == 0 else spelled(left)
    if p_holm.size == 1:
        kept = "also" if left else "but not"
        return f" ({kept} after Holm's correction over the analysis's {spelled(n)} families)"
    return f" ({kept} also after Holm's correction over the analysis's {spelled(n)} families)"


def _found(context: Context, result: MediationResult, row: Row) -> str:
    """One feature in a sentence, the reverse model beside it."""
    decimals = _decimals(row, "ab")
    back = _decimals(row, "reverse_ab")
    return (
        f"{feature(row)}: ab = {fixed(row['ab'], decimals)} points ({context.level} bootstrap interval "
        f"{interval(row['ab_ci_low'], row['ab_ci_high'], decimals)}; {p_words(row['p_fwe'], 'p_fwe')}). The "
        f"reverse model gives {fixed(row['reverse_ab'], back)} Fisher z through {result.settings.outcome} "
        f"({interval(row['reverse_ab_ci_low'], row['reverse_ab_ci_high'], back)})."
    )


def _joined(context: Context, result: MediationResult) -> str:
    joined = result.record["together"]
    total, n = joined["total"], len(joined["mediators"])
    hits = [m for m in joined["mediators"] if m["p_fwe"] is not None and m["p_fwe"] <= context.alpha]
    carried = listed([edge(m["roi_a"], m["roi_b"]) for m in hits]) or "none of them"
    decimals = _decimals(total, "ab")
    limits = interval(_real(total["ab_ci_low"]), _real(total["ab_ci_high"]), decimals)
    after = _holm(result, np.array([_real(m["p_holm"]) for m in hits]), context.alpha)
    return (
        f"{capital(spelled(n))} edges together carry {fixed(_real(total['ab']), decimals)} points "
        f"({context.level} bootstrap interval {limits}). Given the others, both paths are shown "
        f"(p_fwe ≤ {context.alpha:g}) of {carried}{after}."
    )


def _real(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def feature(row: Row) -> str:
    """Name of a feature."""
    if row["kind"] == "edge":
        return edge(str(row["roi_a"]), str(row["roi_b"]))
    if row["kind"] == "network":
        return f"network {row['network']}"
    place = ", ".join(fixed(row[axis], 0) for axis in "xyz")
    return f"seed {row['seed']} with ({place}) mm"


def _decimals(row: Row, name: str) -> int:
    values = [_real(row[key]) for key in (name, f"{name}_ci_low", f"{name}_ci_high")]
    return max(decimals_for(values, 3), 2)


# --------------------------------------------------------------------------------------------- diagrams


def _diagrams(context: Context, result: MediationResult) -> Iterable[Picture]:
    """The significant features, or the strongest one."""
    hits = result.found(context.alpha)
    rows = hits.head(MOST_DIAGRAMS) if len(hits) else result.tested.head(1)
    for number, cells in enumerate(rows.to_dict("records")):
        row = row_of(cells)
        forward, reverse = _sides(result, row)
        with style.look():
            figure = diagram(forward, reverse)
            caption = _caption(context, result, row, chosen=len(result.tested) > 1)
            alt = f"{forward.first}; {forward.second}; {forward.direct}; {forward.through}".replace("\n", " ")
            yield style.save(
                context.folder,
                f"mediation-{result.name}_paths-{number + 1}",
                figure,
                f"Paths of {feature(row)}: {alt}",
                caption,
            )


def _sides(result: MediationResult, row: Row) -> tuple[Side, Side]:
    settings = result.settings
    first, second = settings.levels
    cause = f"{first} against {second}"
    carrier, target = feature(row), f"{settings.outcome} at {settings.after}"
    if settings.crossover:
        cause, target = f"{settings.after} against {settings.before}", f"difference of {settings.outcome}"
    forward = Side(
        "Connectivity carries the effect",
        cause,
        carrier,
        target,
        _arrow("a", row, "a"),
        _arrow("b", row, "b"),
        _arrow("c′", row, "c_prime", line=", "),
        "ab = " + _with_interval(row, "ab") + f" points of {settings.outcome}",
    )
    reverse = Side(
        "The reverse model",
        cause,
        target,
        carrier,
        f"a = {fixed(row['reverse_a'], 2)}",
        f"b = {fixed(row['reverse_b'], decimals_for([row['reverse_b']], 2))}",
        "",
        "ab = " + _with_interval(row, "reverse_ab") + " Fisher z",
        strong=False,
    )
    return forward, reverse


def _arrow(name: str, row: Row, key: str, line: str = "\n") -> str:
    decimals = _decimals(row, key)
    return (
        f"{name} = {fixed(row[key], decimals)}{line}"
        f"{interval(row[f'{key}_ci_low'], row[f'{key}_ci_high'], decimals)}"
    )


def _with_interval(row: Row, key: str) -> str:
    decimals = _decimals(row, key)
    limits = interval(row[f"{key}_ci_low"], row[f"{key}_ci_high"], decimals)
    return f"{fixed(row[key], decimals)} ({limits})"


def _caption(context: Context, result: MediationResult, row: Row, *, chosen: bool) -> str:
    draws = result.record["bootstrap"]["draws"]
    words = (
        f"Paths of {feature(row)}, n = {result.record['n']}. Estimates with {context.level} intervals: t for "
        f"a, b and c′, percentiles of {draws:,} bootstrap samples for ab (levels widened for small samples). "
        f"a in Fisher z, b in points per unit of Fisher z; {p_words(row['p_fwe'], 'p_fwe')} of both paths. "
        "Left, what was asked; right, the same data with roles exchanged, which they fit as well."
    )
    if not result.settings.randomised:
        words += " The levels were not randomised."
    if chosen:
        words += (
            " This feature was chosen because it is the strongest, so its estimates are too large on average."
        )
    return words


# ----------------------------------------------------------------------------------------------- tables


def _tables(context: Context, result: MediationResult) -> Iterable[page.Table]:
    rows = result.tested
    if len(rows):
        hits = len(result.found(context.alpha))
        shown = rows.head(min(max(hits, TOP), MOST))
        yield _paths_table(context, result, shown, f"Paths of {_which(shown, rows)}.")
        yield _beside_table(context, result, shown)
    if result.record["together"] is not None:
        yield _together_table(context, result)


def _which(shown: pd.DataFrame, rows: pd.DataFrame) -> str:
    kinds = listed([KINDS[kind] + "s" for kind in dict.fromkeys(rows["kind"])])
    return (
        f"the {len(shown):,} strongest of {len(rows):,} {kinds}" if len(shown) < len(rows) else f"all {kinds}"
    )


def _folded(context: Context, result: MediationResult) -> Iterable[tuple[str, page.Table]]:
    rows = result.tested
    hits = len(result.found(context.alpha)) if len(rows) else 0
    if len(rows) > max(hits, TOP):
        first = f"The first {min(len(rows), MOST):,}."
        yield "More features", _paths_table(context, result, rows.head(MOST), first)
    equations = [*result.record["equations"], result.record["exchange"]]
    yield "Models, and how chance was measured", page.table("Models.", ["Model"], [[e] for e in equations])


def _paths_table(context: Context, result: MediationResult, rows: pd.DataFrame, caption: str) -> page.Table:
    several = len(result.record["holm"]) > 1
    head = ["Feature", "a", "b", "ab", f"{context.level} CI of ab", "p_fwe a", "p_fwe b", "p_joint", "p_fwe"]
    head += ["p_holm"] if several else []
    cells = []
    for one in rows.to_dict("records"):
        row = row_of(one)
        numbers = [fixed(row[key], _decimals(row, key)) for key in ("a", "b", "ab")]
        limits = interval(row["ab_ci_low"], row["ab_ci_high"], _decimals(row, "ab"))
        keys = ["p_fwe_a", "p_fwe_b", "p_joint", "p_fwe", *(["p_holm"] if several else [])]
        p = [p_cell(row[key]) for key in keys]
        cells.append(
            page.Row((feature(row), *numbers, limits, *p), strong=bool(row["p_fwe"] <= context.alpha))
        )
    note = (
        f"Bold: both paths at p_fwe ≤ {context.alpha:g}. p_joint: larger of the two uncorrected p. a in "
        "Fisher z, b in points per unit of Fisher z, ab in points; its interval holds for one feature."
    )
    note += f" p_holm: also over the families of the analysis ({_families(result)})." if several else ""
    return page.table(caption, head, cells, head[1:], note)


def _families(result: MediationResult) -> str:
    """Families of the analysis, for a note."""
    return listed([FAMILIES[kind] for kind in result.record["holm"]])


def _beside_table(context: Context, result: MediationResult, rows: pd.DataFrame) -> page.Table:
    head = ["Feature", "reverse ab", "CI", "c′", "share of c", "CI of share", "ab, BCa", "ρ at zero"]
    by_arm = result.settings.interaction
    head += ["ab, b of each arm", "p of difference"] if by_arm else []
    cells, reasons = [], set()
    for one in rows.to_dict("records"):
        row = row_of(one)
        reasons |= {str(row["proportion_flag"])} & set(FLAGS)
        cells.append(
            page.Row((feature(row), *_beside(row, by_arm)), strong=bool(row["p_fwe"] <= context.alpha))
        )
    note = (
        "Reverse: effect of treatment on connectivity through the scale, in Fisher z. c′: effect on the "
        "scale that does not go through connectivity. ρ at zero: correlation of the errors of both "
        "equations, as a cause of both that was not measured would make it, at which ab is 0."
    )
    if reasons:
        note += f" No share where {listed(sorted(FLAGS[r] for r in reasons))}."
    return page.table(
        "Beside it: the reverse model, the direct effect, and confounding.", head, cells, head[1:], note
    )


def _beside(row: Row, by_arm: bool) -> list[str]:
    back = _decimals(row, "reverse_ab")
    flagged = str(row["proportion_flag"]) in FLAGS
    share = [MISSING, MISSING]
    if not flagged:
        limits = (100 * row["proportion_ci_low"], 100 * row["proportion_ci_high"])
        share = [f"{fixed(100 * row['proportion'], 0)} %", f"{interval(*limits, 0)} %"]
    found = [
        fixed(row["reverse_ab"], back),
        interval(row["reverse_ab_ci_low"], row["reverse_ab_ci_high"], back),
        fixed(row["c_prime"], _decimals(row, "c_prime")),
        *share,
        interval(row["ab_bca_low"], row["ab_bca_high"], _decimals(row, "ab")),
        fixed(row["rho_zero"], 2),
    ]
    if by_arm:
        decimals = _decimals(row, "ab")
        pair = " / ".join(fixed(row[f"ab_{arm}"], decimals) for arm in ("treated", "control"))
        found += [pair, p_cell(row["p_interaction"])]
    return found


def _together_table(context: Context, result: MediationResult) -> page.Table:
    joined = result.record["together"]
    several = len(result.record["holm"]) > 1
    head = ["Edge", "a", "b given the others", "ab", f"{context.level} CI of ab", "p_joint", "p_fwe"]
    head += ["p_holm"] if several else []
    cells = []
    for one in joined["mediators"]:
        row = {key: _real(value) for key, value in one.items() if key not in ("roi_a", "roi_b")}
        numbers = [fixed(row[key], _decimals(row, key)) for key in ("a", "b", "ab")]
        limits = interval(row["ab_ci_low"], row["ab_ci_high"], _decimals(row, "ab"))
        p = [p_cell(row[key]) for key in ("p_joint", "p_fwe", *(["p_holm"] if several else []))]
        strong = bool(np.isfinite(row["p_fwe"]) and row["p_fwe"] <= context.alpha)
        cells.append(page.Row((edge(one["roi_a"], one["roi_b"]), *numbers, limits, *p), strong=strong))
    total = {key: _real(value) for key, value in joined["total"].items()}
    limits = interval(total["ab_ci_low"], total["ab_ci_high"], _decimals(total, "ab"))
    last = [""] * (3 if several else 2)
    cells.append(
        page.Row(("all together", "", "", fixed(total["ab"], _decimals(total, "ab")), limits, *last))
    )
    note = "One model of the outcome with all of these edges; p_fwe over them."
    note += f" p_holm: also over the families of the analysis ({_families(result)})." if several else ""
    return page.table("Edges entered together.", head, cells, head[1:], note)
