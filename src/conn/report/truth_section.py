"""What the simulator planted beside what was found: edges of contrasts, and clinical truths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from conn.report import page
from conn.report.context import Context, tested
from conn.report.contract import ContrastResult
from conn.report.edges_section import verb
from conn.report.regions import edge
from conn.report.true_effects import Edge, true_effects
from conn.report.truth_rows import Answer, Quantity, answers
from conn.report.truth_study import TruthStudy, ends
from conn.report.words import (
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

TITLE = "Truth beside estimate"

GONE = 0.01
"""Difference in Fisher z below which a truth, which was drawn, counts as 0."""

NOTE = (
    "Planted: of true connectivity and of scores that are not rounded. Measurable: what a correct analysis "
    "finds on average; scans are short, their noise weakens whatever connectivity predicts, and an interval "
    "should hold this value, not the planted one."
)


# --------------------------------------------------------------------------------------------------- edges


def edge_table(context: Context) -> page.Table | None:
    """Planted effects beside their estimates."""
    known = {id(contrast): true_effects(context, contrast) for contrast in context.outputs.contrasts()}
    contrasts = [contrast for contrast in context.outputs.contrasts() if known[id(contrast)]]
    order = list(dict.fromkeys(pair for contrast in contrasts for pair in known[id(contrast)]))
    moving = [frozenset(ends(one)) for one in TruthStudy.of(context.outputs).entries("artefact")]
    rows = [
        row
        for pair in order
        for contrast in contrasts
        if pair in known[id(contrast)]
        for row in _edge_rows(context, contrast, pair, known[id(contrast)][pair], pair in moving)
    ]
    if not rows:
        return None
    head = ("Model: contrast", "Edge", "Planted", "Estimate", "CI", "CI holds it", "p_fwe", "Found")
    others = "; ".join(_false_edges(context, c, known[id(c)]) for c in contrasts)
    note = f"Planted: the population value in Fisher z. Found: p_fwe ≤ {context.alpha:g}. {others}."
    if any("planted" in (one or {}) for one in [context.outputs.truth]):
        note = note.replace(
            "the population value in Fisher z", "the contrast of the mean z planted in the scans"
        )
    if any("*" in row.cells[1] for row in rows):
        note += " * Follows motion, which differs between arms: the planted value is without that artefact."
    return page.table(
        "Truth beside estimate.", head, rows, ("Planted", "Estimate", "CI", "p_fwe"), note.strip()
    )


def _edge_rows(
    context: Context, contrast: ContrastResult, pair: Edge, truth: float, moves: bool
) -> Iterator[page.Row]:
    for r in contrast.edges.to_dict("records"):
        if {r["roi_a"], r["roi_b"]} != pair:
            continue
        holds = "yes" if r["ci_low"] <= truth <= r["ci_high"] else "no"
        hit = bool(r["p_fwe"] <= context.alpha)
        cells = (
            contrast.title,
            edge(r["roi_a"], r["roi_b"]) + (" *" if moves else ""),
            fixed(truth, 3),
            fixed(r["estimate"], 3),
            interval(r["ci_low"], r["ci_high"], 3),
            "n/a" if contrast.is_f else holds,
            p_cell(r["p_fwe"]),
            "yes" if hit else "no",
        )
        yield page.Row(cells, strong=hit)


def _false_edges(context: Context, contrast: ContrastResult, known: Mapping[Edge, float]) -> str:
    """How many edges without a planted effect reached p_fwe ≤ alpha."""
    table = tested(contrast)
    pairs = zip(table["roi_a"], table["roi_b"], strict=True)
    truths = np.array([known.get(frozenset(pair), 0.0) for pair in pairs], float)
    null = table.loc[np.nan_to_num(truths) == 0]
    hits = int((null["p_fwe"] <= context.alpha).sum())
    return (
        f"{contrast.title}: {hits} of {count(len(null), 'edge')} without a planted effect "
        f"{verb(hits)} p_fwe ≤ {context.alpha:g}"
    )


# ---------------------------------------------------------------------------------------- clinical truths


def blocks(context: Context) -> list[page.Block]:
    """A block for each kind of clinical truth that an analysis estimates."""
    found = answers(context)
    made = []
    for kind, (title, words) in _KINDS.items():
        mine = [one for one in found if one.entry.get("kind") == kind and one.quantities]
        if mine:
            sentences = tuple(context.names.text(s) for one in mine for s in words(context, one))
            tables = tuple(_table(context, several) for several in _by_edge(mine))
            made.append(page.Block(f"truth-{kind}", title, sentences, tables=tables))
    return made


def _by_edge(found: Sequence[Answer]) -> Iterator[list[Answer]]:
    """Answers about the same edge and score."""
    groups: dict[tuple[str, ...], list[Answer]] = {}
    for one in found:
        groups.setdefault((str(one.entry.get("score")), *sorted(ends(one.entry))), []).append(one)
    yield from groups.values()


def _name(entry: Mapping[str, Any]) -> str:
    return edge(str(entry["roi_a"]), str(entry["roi_b"]))


def _table(context: Context, found: Sequence[Answer]) -> page.Table:
    """Every quantity of one edge: planted, measurable, estimated."""
    entry = found[0].entry
    score = f" and {entry['score']}" if entry.get("score") else ""
    head = ("Quantity", "Analysis", "Planted", "Measurable", "Estimate", f"{context.level} CI", "CI holds it")
    rows = [_row(one) for answer in found for one in answer.quantities]
    reliability = float(entry.get("reliability", np.nan))
    note = NOTE + f" Reliability of this edge between people, one scan: {fixed(reliability, 2)}."
    return page.table(f"{_name(entry)}{score}.", head, rows, head[2:6], note)


def _row(one: Quantity) -> page.Row:
    values = [one.planted, one.measurable, one.estimate, one.low, one.high]
    decimals = max(decimals_for(values, 3), 2)
    cells = (
        one.name,
        one.asked_by,
        *(fixed(value, decimals) for value in values[:3]),
        interval(one.low, one.high, decimals),
        ("yes" if one.holds else "no") if one.known else "n/a",
    )
    return page.Row(cells, strong=one.differs)


def _coverage(quantities: Sequence[Quantity]) -> str:
    """How many of the intervals hold the value that can be measured."""
    known = [one for one in quantities if one.known]
    held = sum(one.holds for one in known)
    if not known:
        return "There is no interval."
    if len(known) == 1:
        return f"The interval {'holds' if held else 'does not hold'} the measurable value."
    which = "All" if held == len(known) else capital(spelled(held))
    return (
        f"{which} of {spelled(len(known))} intervals {'hold' if held != 1 else 'holds'} the measurable value."
    )


def _shown(context: Context, one: Quantity) -> str:
    decimals = max(decimals_for([one.estimate, one.low, one.high], 3), 2)
    return f"{fixed(one.estimate, decimals)} ({context.level} CI {interval(one.low, one.high, decimals)})"


def _mediated(context: Context, answer: Answer) -> Iterator[str]:
    arms, name = answer.entry["arms"], _name(answer.entry)
    for one in answer.quantities:
        if one.name.startswith("ab:"):
            verdict = "is recovered" if one.differs and one.holds else "is not recovered"
            share = next((q for q in answer.quantities if q.name.startswith("ab / c")), None)
            told = ""
            if share is not None:
                told = (
                    f" Of the effect {fixed(100 * share.planted, 0)} % was planted to go through the edge; "
                    f"of what scans can show, {fixed(100 * share.measurable, 0)} % does"
                )
                told += f", and {fixed(100 * share.estimate, 0)} % was found." if share.known else "."
            yield (
                f"{name} was made to carry a part of what {arms[0]} does to {answer.entry['score']}. The "
                f"effect through it {verdict}: ab = {_shown(context, one)} points, "
                f"{p_words(one.p_fwe, 'p_fwe')}.{told} {_coverage(answer.quantities)}"
            )


def _associated(context: Context, answer: Answer) -> Iterator[str]:
    for one in answer.quantities:
        yield (
            f"{_name(answer.entry)}, {one.name} with {answer.entry['score']}: {_shown(context, one)}; "
            f"{fixed(one.measurable, 2)} can be measured, {fixed(one.planted, 2)} was planted."
        )


def _foretelling(context: Context, answer: Answer) -> Iterator[str]:
    (arm,) = answer.entry["arms"]
    name = f"{_name(answer.entry)} under {arm}"
    before = [one for one in answer.quantities if "before treatment, Fisher z" in one.name]
    after = [one for one in answer.quantities if "after treatment, Fisher z" in one.name]
    for one in before:
        said = "differ" if one.differs else "are not shown to differ"
        yield f"{name}: before treatment responders and others {said}: {_shown(context, one)} Fisher z."
    for one in after:
        gone = abs(one.measurable) < GONE
        if one.differs:
            said = "still differ" if not gone else "still differ, though the truth is that they do not"
        elif gone:
            said = "no longer differ, as planted"
        else:
            said = "are not shown to differ, though they do"
        yield f"{name}: after treatment they {said}: {_shown(context, one)} Fisher z."
    yield f"{name}: {_coverage(answer.quantities)[:1].lower()}{_coverage(answer.quantities)[1:]}"


def _moderated(context: Context, answer: Answer) -> Iterator[str]:
    first, second = answer.entry["arms"]
    for one in answer.quantities:
        verdict = "is recovered" if one.differs and one.holds else "is not recovered"
        yield (
            f"{_name(answer.entry)} before treatment was made to say for whom {first} does more than "
            f"{second} on {answer.entry['score']}. This {verdict}: the slopes differ by "
            f"{_shown(context, one)} points per z, {p_words(one.p_fwe, 'p_fwe')}."
        )


def _moved(context: Context, answer: Answer) -> Iterator[str]:
    first, second = answer.entry["arms"]
    models = dict.fromkeys(one.asked_by for one in answer.quantities)
    for model in models:
        mine = [one for one in answer.quantities if one.asked_by == model]
        motion, plain, held = (_starting(mine, start) for start in ("mean frame", "as it", "with motion"))
        if motion is None or plain is None or held is None:
            continue
        seen = "is seen" if motion.differs else "is not seen"
        passes = "passes for an effect of" if plain.differs else "is not shown to look like an effect:"
        left = "the artefact is unmasked" if motion.differs and held.holds else "the artefact is not unmasked"
        yield (
            f"{model}: people under {first} were made to move more than under {second}, which {seen} "
            f"(mean framewise displacement differs by {_shown(context, motion)} mm), and "
            f"{_name(answer.entry)} to follow motion, which {passes} {_shown(context, plain)} Fisher z. "
            f"With motion held constant {_shown(context, held)} is left of it, where "
            f"{fixed(held.planted, 2)} was planted: {left}."
        )


def _starting(quantities: Sequence[Quantity], start: str) -> Quantity | None:
    return next((one for one in quantities if one.name.startswith(start)), None)


_KINDS: Mapping[str, tuple[str, Callable[[Context, Answer], Iterator[str]]]] = MappingProxyType(
    {
        "mediation": ("An edge that carries a part of the effect", _mediated),
        "association": ("Changes that go together", _associated),
        "prediction": ("An edge that foretells who responds", _foretelling),
        "moderation": ("An edge that says whom the treatment helps", _moderated),
        "artefact": ("Motion that follows the arm", _moved),
    }
)
"""Titles and sentences by kind, in the order of the page."""


def unasked(context: Context) -> str:
    """What was planted and no analysis of the study estimates, in a sentence; empty if nothing."""
    lacking = [one.entry for one in answers(context) if not one.quantities]
    named = dict.fromkeys(f"{one['kind']} of {_name(one)}" for one in lacking)
    return f"Planted as well, and not asked by any analysis here: {listed(list(named))}." if named else ""
