"""Associations of connectivity with scores: scatter, table, and what they do not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from conn import paths
from conn.clinic.rates import rates_words
from conn.config.association import Association
from conn.files import read_json
from conn.report import page, scatter, style, undone
from conn.report.context import Context
from conn.report.contract import numeric
from conn.report.lacking_words import lacking_words
from conn.report.people import bare
from conn.report.regions import edge
from conn.report.style import Picture
from conn.report.words import count, fixed, humanised, interval, listed, p_cell, p_words
from conn.stages.association_result import DIFFERENCE, EVERYBODY
from conn.stages.association_table import COLUMNS
from conn.tables import MISSING, read_tsv

TEXT = ("scale", "network", "roi_a", "roi_b", "arm", "family", "flag")
TOP = 12
"""Rows of the open table, unless more are significant."""

MOST = 40
CONCURRENT = (
    "Connectivity and symptoms were measured at the same times, and neither was assigned: an association "
    "says nothing of which came first, and a third cause (motion, drug, time) can drive both."
)


@dataclass(frozen=True, eq=False)
class Result:
    """An association as its files hold it."""

    context: Context
    name: str
    table: pd.DataFrame
    summary: Mapping[str, Any]

    @property
    def asked(self) -> Association:
        """Its options."""
        return self.context.outputs.config.associations[self.name]

    @property
    def alpha(self) -> float:
        """Error rate."""
        return float(self.summary["alpha"])

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """Rows that were tested, those of everybody first by p."""
        rows: pd.DataFrame = self.table.loc[np.isfinite(self.table["p_fwe"].to_numpy(float))]
        order = np.lexsort((-np.abs(rows["stat"].to_numpy(float)), rows["p_fwe"].to_numpy(float)))
        ordered: pd.DataFrame = rows.iloc[order]
        return ordered

    def family(self, name: str) -> Mapping[str, Any]:
        """What was corrected together."""
        return next(dict(one) for one in self.summary["families"] if one["name"] == name)


def read(context: Context, name: str) -> Result:
    """An association from the output folder."""
    out = context.outputs.out
    table = numeric(
        read_tsv(out / paths.analysis("association", name, ".tsv")),
        [column for column in COLUMNS if column not in TEXT],
    )
    return Result(context, name, table, read_json(out / paths.analysis("association", name)))


def blocks(context: Context) -> Iterator[page.Block]:
    """A block for each association."""
    for name in undone.done(context.outputs, "association"):
        yield _block(read(context, name))
    yield from undone.blocks(context, "association")


def _block(result: Result) -> page.Block:
    picture = _picture(result)
    shown, rest = _tables(result)
    folded = [("All correlations", rest)] if rest is not None else []
    lost = _lost(result)
    folded += [("People left out", lost)] if lost is not None else []
    return page.Block(
        f"association-{result.name}",
        f"Change with change: {result.name}",
        tuple(
            result.context.names.text(one) for one in (_question(result), *_found(result), *_tested(result))
        ),
        caution=_caution(result),
        pictures=() if picture is None else (picture,),
        tables=(shown,),
        folded=tuple(folded),
        status=str(result.summary.get("status", "")),
        headline=tuple(result.context.names.text(one) for one in list(_found(result))[:2]),
    )


def feature(row: Mapping[Any, Any]) -> str:
    """Name of an edge or network."""
    network = str(row["network"])
    return f"network {network}" if network != MISSING else edge(str(row["roi_a"]), str(row["roi_b"]))


def _question(result: Result) -> str:
    asked = result.asked
    held = [humanised(name) for name in asked.covariates]
    held += ["the baseline of the scale", "the baseline of the edge"] if asked.adjusted else []
    held += [] if asked.arm is None else [humanised(asked.arm)]
    constant = f", holding {listed(held)} constant" if held else ""
    arms = ""
    if asked.arm is not None:
        arms = f" It is asked within {listed(list(asked.levels))}, over all of them, and whether they differ."
    return (
        f"Does the change of connectivity ({asked.after} minus {asked.before}, Fisher z) go with "
        f"{listed(list(asked.scales))}{constant}?{arms} "
        f"{count(int(result.summary['n']), 'person', 'people')}."
    )


def _found(result: Result) -> Iterator[str]:
    hits = result.ranked[result.ranked["p_fwe"] <= result.alpha]
    if hits.empty:
        yield f"No correlation and no difference has p_fwe ≤ {result.alpha:g} in its family."
    for row in hits.head(5).to_dict("records"):
        smallest = float(result.family(str(row["family"]))["smallest_p"])
        p = p_words(float(row["p_fwe"]), "p_fwe", smallest)
        if row["arm"] == DIFFERENCE:
            r = f", r differs by {fixed(float(row['r']), 2)}" if np.isfinite(row["r"]) else ""
            yield f"{feature(row)} with {row['scale']}: slopes differ between arms{r} ({p})."
        else:
            who = "" if row["arm"] == EVERYBODY else f" in {row['arm']}"
            ci = interval(float(row["ci_low"]), float(row["ci_high"]), 2)
            yield (
                f"{feature(row)} with {row['scale']}{who}: r = {fixed(float(row['r']), 2)} "
                f"({result.context.level} interval {ci}), {p}."
            )
    if len(hits) > 5:
        yield f"{count(len(hits) - 5, 'further result is', 'further results are')} in the table."
    rows = result.table[np.isfinite(result.table["r"].to_numpy(float)) & (result.table["arm"] != DIFFERENCE)]
    unknown = int((~np.isfinite(rows["ceiling"].to_numpy(float))).sum())
    if result.asked.reliability is not None and unknown:
        yield (
            f"{count(unknown, 'correlation has', 'correlations have')} no ceiling: there the error of "
            "measurement is not known, or estimated to be as large as all that was observed."
        )
    for scale, used in result.summary.get("scale_reliability", {}).items():
        if result.asked.reliability is not None:
            yield (
                f"Reliability of {scale} in the ceiling: {used['value']:g}, {used['words']} "
                f"({used['source']})."
            )
    flagged = hits[hits["flag"].isin(["near", "above"])]
    for row in flagged.head(5).to_dict("records"):
        yield (
            f"{feature(row)} with {row['scale']}: |r| is {row['flag']} its ceiling of "
            f"{fixed(float(row['ceiling']), 2)}. With measurements as noisy as these a correlation that "
            "large is hardly possible; expect it to be smaller in other people."
        )


def _tested(result: Result) -> Iterator[str]:
    one = dict(result.summary["families"][0])
    joint = (
        f"p_fwe is by the largest |t| of a slope over all {count(int(one['tests']), 'pair')} of scale and "
        f"{str(one['kind']).removesuffix('s')} in the same {int(one['permutations']):,} rearrangements"
        if one["joint"]
        else "Each scale has people and a family of its own; p_fwe is multiplied by the number of scales"
    )
    independent = "exact if connectivity and scores are independent"
    exact = "approximate (Freedman and Lane)" if one["held"] else f"{independent}, but for the random choice"
    exact = independent if one["exact"] else exact
    families = count(len(result.summary["families"]), "family", "families")
    yield (
        f"{joint}; people change places within arms and strata, and the test is {exact}. p_holm goes over "
        f"all sets of people of this analysis ({families}). Pearson's r is the "
        "primary one; correlations of ranks and percentage bend correlations, which single people cannot "
        "pull, stand beside it with uncorrected p."
    )
    yield from _lacking(result.table)
    yield _variance(result)
    for text in result.summary["skipped"]:
        yield f"Not done: {text}."


def _lacking(table: pd.DataFrame) -> Iterator[str]:
    """Features that are correlated nowhere, or not over everybody."""
    rows = table[table["arm"] == EVERYBODY]
    most: dict[str, int] = {}
    for row in rows.to_dict("records"):
        most[feature(row)] = max(most.get(feature(row), 0), int(row["n_lacking"]))
    text = lacking_words([one for one in most.items() if one[1]], len(most), "correlated over everybody")
    if text:
        yield text


def _variance(result: Result) -> str:
    """Whose errors share a variance, and how often this finds what is not there."""
    families = result.summary["families"]
    robust = any(one["robust"] for one in families)
    reached = rates_words(robust)
    if not robust:
        return f"All people share one error variance (inference.robust_slopes: false): {reached}."
    several = len(result.asked.levels) > 2
    but = (
        " More than two arms are compared in pairs, and the largest |t| of all pairs counts."
        if several
        else ""
    )
    return (
        "t is a slope over its robust standard error (HC3): each person has an error variance of their own, "
        f"since people with extreme scores often vary more. That helps, not entirely: {reached}.{but}"
    )


def _caution(result: Result) -> str:
    picked = ""
    if not result.summary["declared"]["edges"]:
        picked = (
            " Edges in figure and table were picked because their p is small, in the same people "
            "(post-selection): their r is larger than it would be in others, and its interval too far from 0."
        )
    percent = ""
    if any("percent_change" in scale for scale in result.asked.scales):
        percent = " Percent change is skewed where baseline scores are low."
    return CONCURRENT + picked + percent


def _picture(result: Result) -> Picture | None:
    shown = result.summary["shown"]
    if not shown:
        return None
    panels = [_panel(result, one) for one in shown]
    levels = [level for level in result.asked.levels or (EVERYBODY,) if any(level in p.arms for p in panels)]
    picked = "" if result.summary["declared"]["edges"] else "Post-selection: picked by their small p. "
    without = " without what is held constant" if _adjusts(result) else ""
    n = panels[0].arms.size
    caption = (
        f"{picked}The {count(len(panels), 'pair')} with the smallest p_fwe over all people. Each point is a "
        f"person{without}; line: least squares"
        f"{' in each arm' if len(levels) > 1 else ''} with the 95 % band of its mean, which is not "
        f"corrected. n = {n}."
    )
    names = listed([f"{p.title} with {p.x_label}" for p in panels])
    with style.look():
        figure = scatter.people(panels, levels, "change of Fisher z")
        return style.save(
            result.context.folder, f"association-{result.name}_people", figure, f"People: {names}.", caption
        )


def _adjusts(result: Result) -> bool:
    return bool(result.asked.covariates) or result.asked.adjusted


def _panel(result: Result, one: Mapping[str, Any]) -> scatter.Panel:
    rows = result.table[
        (result.table["arm"] == EVERYBODY)
        & (result.table["scale"] == one["scale"])
        & (result.table["network"] == one["network"])
        & (result.table["roi_a"] == one["roi_a"])
        & (result.table["roi_b"] == one["roi_b"])
    ]
    row = rows.iloc[0]
    ci = interval(float(row["ci_low"]), float(row["ci_high"]), 2)
    bounds = "" if ci == MISSING else f" ({ci})"
    ceiling = "" if not np.isfinite(row["ceiling"]) else f", ceiling {fixed(float(row['ceiling']), 2)}"
    note = f"r = {fixed(float(row['r']), 2)}{bounds}\n{p_words(float(row['p_fwe']), 'p_fwe')}{ceiling}"
    return scatter.Panel(
        feature(one),
        note,
        str(one["scale"]),
        np.array(one["score"]),
        np.array(one["connectivity"]),
        np.array(one["arm"]),
    )


def _tables(result: Result) -> tuple[page.Table, page.Table | None]:
    rows = result.ranked
    hits = int((rows["p_fwe"] <= result.alpha).sum())
    n = min(max(hits, TOP), MOST)
    note = (
        f"Bold: p_fwe ≤ {result.alpha:g}. Interval: BCa bootstrap of people, {result.context.level}, not "
        "corrected. Robust: percentage bend. Ceiling: largest r that the reliabilities allow."
    )
    first = _table(result, rows.head(n), "Correlations with the smallest p_fwe.", note)
    return first, _table(result, rows, "All correlations that were tested.", note) if len(rows) > n else None


def _table(result: Result, rows: pd.DataFrame, caption: str, note: str) -> page.Table:
    ceilings = bool(np.isfinite(rows["ceiling"]).any())
    text = ["Pair", "Scale", "People"]
    numbers = ["n", "r", "CI of r", "r of ranks", "Robust r", "p", "p_fwe", "p_holm"]
    numbers += ["Ceiling"] if ceilings else []
    made = []
    for row in rows.to_dict("records"):
        cells = [feature(row), str(row["scale"]), str(row["arm"]), f"{int(row['n'])}"]
        cells += [
            fixed(float(row["r"]), 2),
            interval(float(row["ci_low"]), float(row["ci_high"]), 2),
            fixed(float(row["r_spearman"]), 2),
            fixed(float(row["r_robust"]), 2),
            *(p_cell(float(row[p])) for p in ("p", "p_fwe", "p_holm")),
        ]
        if ceilings:
            flag = f" ({row['flag']})" if row["flag"] != MISSING else ""
            cells.append(f"{fixed(float(row['ceiling']), 2)}{flag}")
        made.append(page.Row(tuple(cells), strong=bool(row["p_fwe"] <= result.alpha)))
    return page.table(caption, [*text, *numbers], made, numbers, note)


def _lost(result: Result) -> page.Table | None:
    names = result.context.names
    rows = [(names.person(d, bare(s)), names.text(why)) for d, s, why in result.summary["lost"]]
    return (
        page.table("People who are asked for and lack something.", ["Person", "Why"], rows) if rows else None
    )
