"""Reliability of connectivity: its spread over edges, declared edges, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from conn import paths
from conn.files import read_json
from conn.report import page, scatter, style, undone
from conn.report.association_section import feature
from conn.report.context import Context
from conn.report.contract import numeric
from conn.report.lacking_words import lacking_words
from conn.report.people import bare
from conn.report.style import Picture
from conn.report.words import count, fixed, interval, listed
from conn.stages.reliability import COLUMNS
from conn.tables import MISSING, read_tsv

TEXT = ("network", "roi_a", "roi_b", "sem_source")
MEASURES = {
    "icc_absolute": "sessions, ICC(2,1)",
    "icc_consistent": "sessions, ICC(3,1)",
    "half_before": "halves of runs, {before}",
    "half_after": "halves of runs, {after}",
    "half_change": "halves of runs, change",
    "reliability_change": "change, by its error",
}
TOP = 20


def blocks(context: Context) -> Iterator[page.Block]:
    """A block for each analysis of reliability."""
    for name in undone.done(context.outputs, "reliability"):
        out = context.outputs.out
        table = numeric(
            read_tsv(out / paths.analysis("reliability", name, ".tsv")),
            [column for column in COLUMNS if column not in TEXT],
        )
        yield _block(context, name, table, read_json(out / paths.analysis("reliability", name)))
    yield from undone.blocks(context, "reliability")


def _block(context: Context, name: str, table: pd.DataFrame, summary: Mapping[str, Any]) -> page.Block:
    measures = {
        key: text.format(before=summary["before"], after=summary["after"])
        for key, text in MEASURES.items()
        if np.isfinite(table[key].to_numpy(float)).any()
    }
    picture = _picture(context, name, table, measures)
    first, rest = _tables(context, table, measures, summary)
    lost = [(context.names.person(d, bare(s)), context.names.text(why)) for d, s, why in summary["lost"]]
    folded = [("All edges", rest)] if rest is not None else []
    folded += [("People left out", page.table("People left out.", ["Person", "Why"], lost))] if lost else []
    sentences = tuple(_sentences(table, summary, measures))
    return page.Block(
        f"reliability-{name}",
        f"Reliability: {name}",
        sentences,
        caution=_caution(summary),
        pictures=() if picture is None else (picture,),
        tables=(first,),
        folded=tuple(folded),
        headline=sentences[-len(measures) :][:2] if measures else ("Nothing could be compared.",),
    )


def _sentences(table: pd.DataFrame, summary: Mapping[str, Any], measures: Mapping[str, str]) -> Iterator[str]:
    yield f"How precisely is connectivity measured? {count(int(summary['n']), 'person', 'people')}."
    found = next(iter(summary["found"].values()))
    if summary["stable"] is not None:
        who = [f"{name} {' or '.join(values)}" for name, values in summary["stable"].items()]
        yield (
            f"Sessions at {summary['before']} and {summary['after']} are compared in "
            f"{count(int(found['stable']['n']), 'person', 'people')} who were not treated in between "
            f"({listed(who) or 'everybody'})."
        )
    if summary["split_half"]:
        shared = [one["shared"] for one in found["halves"].values() if one["shared"] is not None]
        told = (
            f" Cleaning alone makes halves of noise correlate by {fixed(shared[0], 2)}; that is taken off."
            if shared
            else ""
        )
        yield f"Halves of runs are compared across people, stepped up to whole runs.{told}"
    for text in summary.get("skipped", ()):
        yield f"Not done: {text}."
    lacking = table[table["n_lacking"] > 0]
    named = [(feature(row), int(row["n_lacking"])) for row in lacking.to_dict("records")]
    text = lacking_words(named, len(table), "compared in everybody")
    if text:
        yield text
    for key, words in measures.items():
        values = table[key].to_numpy(float)
        values = values[np.isfinite(values)]
        low, middle, high = (fixed(float(v), 2) for v in np.percentile(values, [25, 50, 75]))
        over = count(values.size, "edge or network", "edges and networks")
        yield f"{words}: median {middle}, middle half {low} to {high}, over {over}."


def _caution(summary: Mapping[str, Any]) -> str:
    if summary["stable"] is not None:
        return (
            "Untreated people change too, by time and by placebo; what they truly change counts as error "
            "here, so that reliability is rather too low. Intervals are wide with few people."
        )
    return (
        "Halves of one run share the day, the state and the position of a person. What differs from day to "
        "day is no error to them, so that reliability, above all of a change, is rather too high."
    )


def _picture(context: Context, name: str, table: pd.DataFrame, measures: Mapping[str, str]) -> Picture | None:
    edges = table[table["network"] == MISSING]
    rows = edges if len(edges) else table
    if not measures:
        return None
    spreads = [scatter.Spread(words, rows[key].to_numpy(float)) for key, words in measures.items()]
    caption = (
        f"Each point is one of {count(len(rows), 'edge' if len(edges) else 'network')}; bar: middle half, "
        "circle: median. Values below 0 are estimates of a reliability near 0; triangles lie "
        f"below {fixed(scatter.LOWEST, 1)}."
    )
    with style.look():
        figure = scatter.reliabilities(spreads)
        alt = f"Reliability over edges by {listed(list(measures.values()))}."
        return style.save(context.folder, f"reliability-{name}", figure, alt, caption)


def _tables(
    context: Context, table: pd.DataFrame, measures: Mapping[str, str], summary: Mapping[str, Any]
) -> tuple[page.Table, page.Table | None]:
    key = next(iter(measures), "half_before")
    order = np.argsort(-np.nan_to_num(table[key].to_numpy(float), nan=-9), kind="stable")
    ordered = table.iloc[order]
    networks = ordered[ordered["network"] != MISSING]
    first = pd.concat([networks, ordered[ordered["network"] == MISSING].head(TOP)])
    caption = (
        "Declared features."
        if summary["declared"] and len(table) <= TOP
        else f"Networks, and the {TOP} edges with the highest reliability."
    )
    rest = _table(context, ordered, measures, "All features.") if len(table) > len(first) else None
    return _table(context, first, measures, caption), rest


def _table(context: Context, rows: pd.DataFrame, measures: Mapping[str, str], caption: str) -> page.Table:
    shown = {key: words for key, words in measures.items() if key not in ("reliability_change", "half_after")}
    sem = bool(np.isfinite(rows["sem"]).any())
    head = ["Pair", *shown.values()]
    head += ["SEM (z)", "Detectable change (z)"] if sem else []
    head += ["Reliability of change"] if "reliability_change" in measures else []
    made = []
    for row in rows.to_dict("records"):
        cells = [feature(row)]
        for key in shown:
            ci = interval(float(row[f"{key}_low"]), float(row[f"{key}_high"]), 2)
            cells.append(f"{fixed(float(row[key]), 2)} ({ci})" if ci != MISSING else MISSING)
        if sem:
            cells += [fixed(float(row["sem"]), 3), fixed(float(row["detectable_change"]), 3)]
        if "reliability_change" in measures:
            cells.append(fixed(float(row["reliability_change"]), 2))
        made.append(cells)
    note = (
        f"In brackets: {context.level} intervals. SEM: standard error of measurement in Fisher z."
        if sem
        else (f"In brackets: {context.level} intervals.")
    )
    return page.table(caption, head, made, head[1:], note)
