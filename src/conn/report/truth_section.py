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

INTRODUCTION = (
    "These people were simulated, so the answers are known. Each table holds the numbers planted between "
    "connectivity and the clinic, and every estimate of the same quantity on this page. Planted: of true "
    "connectivity and of scores that are not rounded. Measurable: what a correct analysis finds on average. "
    "Scans are short, and their noise weakens whatever connectivity predicts; an interval should hold this "
    "value, not the planted one. Some miss it by chance, one in twenty at 95 %. Bold: the interval leaves "
    "out the value that says that nothing is there."
)


# --------------------------------------------------------------------------------------------------- edges


def edge_table(context: Context) -> page.Table | None:
    """Planted effects beside their estimates."""
    every = [(contrast, true_effects(context, contrast)) for contrast in context.outputs.contrasts()]
    compared = [(contrast, known) for contrast, known in every if known]
    rows = [
        row
        for pair, name in _edge_names(context).items()
        for contrast, known in compared
        if pair in known
        for row in _edge_rows(context, contrast, pair, known[pair], name)
    ]
    if not rows:
        return None
    head = ("Model: contrast", "Edge", "Planted", "Estimate", "CI", "CI holds it", "p_fwe", "Found")
    others = "; ".join(_false_edges(context, contrast, known) for contrast, known in compared)
    note = f"Planted: {_stated(context)} in Fisher z. Found: p_fwe ≤ {context.alpha:g}. {others}."
    if any(row.cells[1].endswith("*") for row in rows):
        note += " * Follows motion, which differs between arms: the planted value is without that artefact."
    return page.table("Truth beside estimate.", head, rows, ("Planted", "Estimate", "CI", "p_fwe"), note)


def _edge_names(context: Context) -> dict[Edge, str]:
    """Planted edges in the order of the truth file; a star on those that follow motion."""
    moving = [ends(one) for one in TruthStudy.of(context.outputs).entries("artefact")]
    stated = [*context.planted, *context.planted_in_scans]
    return {frozenset(ends(one)): _name(one) + (" *" if ends(one) in moving else "") for one in stated}


def _stated(context: Context) -> str:
    """What a planted value is."""
    if context.planted_in_scans:
        return "this contrast of the mean that was planted in each scan,"
    return "the population value"


def _edge_rows(
    context: Context, contrast: ContrastResult, pair: Edge, truth: float, name: str
) -> Iterator[page.Row]:
    for r in contrast.edges.to_dict("records"):
        if {r["roi_a"], r["roi_b"]} != pair:
            continue
        holds = "yes" if r["ci_low"] <= truth <= r["ci_high"] else "no"
        hit = bool(r["p_fwe"] <= context.alpha)
        cells = (
            contrast.title,
            name,
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
    share = fixed(100 * reliability, 0)
    note = f"Of the differences between people that one scan shows at this edge, {share} % are true."
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
    n = spelled(len(known))
    which = {0: f"None of the {n}", len(known): f"All {n}"}.get(held, f"{capital(spelled(held))} of {n}")
    which = {"None of the two": "Neither of the two", "All two": "Both"}.get(which, which)
    return f"{which} intervals {'holds' if held < 2 else 'hold'} the measurable value."


def _shown(context: Context, one: Quantity) -> str:
    decimals = max(decimals_for([one.estimate, one.low, one.high], 3), 2)
    return f"{fixed(one.estimate, decimals)} ({context.level} CI {interval(one.low, one.high, decimals)})"


def _by_analysis(answer: Answer) -> Iterator[tuple[str, list[Quantity]]]:
    """Quantities of each analysis."""
    for name in dict.fromkeys(one.asked_by for one in answer.quantities):
        yield name, [one for one in answer.quantities if one.asked_by == name]


def _verdict(context: Context, one: Quantity) -> str:
    """What became of an effect that was planted."""
    if one.p_fwe <= context.alpha:
        return "is recovered" if one.holds else "is found, but its interval misses what can be measured"
    missed = f"is not found at p_fwe ≤ {context.alpha:g}"
    return f"{missed}, though its interval holds what can be measured" if one.holds else missed


def _mediated(context: Context, answer: Answer) -> Iterator[str]:
    arm, score, name = answer.entry["arms"][0], answer.entry["score"], _name(answer.entry)
    for analysis, mine in _by_analysis(answer):
        one, share = _starting(mine, "ab:"), _starting(mine, "ab / c")
        if one is None or share is None:
            continue
        found = f", and {fixed(100 * share.estimate, 0)} % was found" if share.known else ""
        yield (
            f"{analysis}: {name} was made to carry a part of what {arm} does to {score}. The effect through "
            f"it {_verdict(context, one)}: ab = {_shown(context, one)} points, "
            f"{p_words(one.p_fwe, 'p_fwe')}. Of the whole effect {fixed(100 * share.planted, 0)} % was "
            f"planted to go this way; of what scans can show, {fixed(100 * share.measurable, 0)} % "
            f"does{found}. {_coverage(mine)}"
        )


def _associated(context: Context, answer: Answer) -> Iterator[str]:
    arms = answer.entry["arms"]
    if len(arms) < len((context.outputs.truth or {}).get("groups", ())):
        return  # Single arms stand in the table only.
    for one in answer.quantities:
        shown = "go together" if one.differs else "are not shown to go together"
        yield (
            f"{one.asked_by}: within {listed(arms)}, changes of {_name(answer.entry)} and "
            f"{answer.entry['score']} {shown}: r = {_shown(context, one)}; {fixed(one.measurable, 2)} can be "
            f"measured."
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
        yield f"{name}: after treatment responders and others {said}: {_shown(context, one)} Fisher z."
    yield f"{name}: {_coverage(answer.quantities)[:1].lower()}{_coverage(answer.quantities)[1:]}"


def _moderated(context: Context, answer: Answer) -> Iterator[str]:
    first, second = answer.entry["arms"]
    for one in answer.quantities:
        yield (
            f"{one.asked_by}: {_name(answer.entry)} before treatment was made to say for whom {first} does "
            f"more than {second} on {answer.entry['score']}. This {_verdict(context, one)}: the slopes "
            f"differ by {_shown(context, one)} points per z, {p_words(one.p_fwe, 'p_fwe')}."
        )


def _moved(context: Context, answer: Answer) -> Iterator[str]:
    arm, name = answer.entry["arms"][0], _name(answer.entry)
    for analysis, mine in _by_analysis(answer):
        motion, plain, held = (_starting(mine, start) for start in ("mean FD", "as it", "with motion"))
        if motion is None or plain is None or held is None:
            continue
        seen = "This is seen" if motion.differs else "This is not seen"
        yield (
            f"{analysis}: people under {arm} were made to move more. {seen}: mean framewise displacement "
            f"differs by {_shown(context, motion)} mm. {name} was made to follow motion: as it stands it "
            f"seems to change by {_shown(context, plain)} Fisher z. With motion held constant "
            f"{_shown(context, held)} is left, where {fixed(held.planted, 2)} was planted: "
            f"{_unmasking(motion, plain, held)}."
        )


def _unmasking(motion: Quantity, plain: Quantity, held: Quantity) -> str:
    """What became of an artefact."""
    if not plain.differs:
        return "here the artefact is too weak to pass for an effect"
    return "the artefact is unmasked" if motion.differs and held.holds else "the artefact is not unmasked"


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
