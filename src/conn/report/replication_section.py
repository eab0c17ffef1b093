"""Replications: each trial by itself and all together, in words, forest plots and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from conn.config.contrasts import split_pair
from conn.report import designs, page, style, undone
from conn.report.association_section import feature
from conn.report.context import Z_OF_PARTIAL, Context, row_of
from conn.report.people import bare
from conn.report.replication_plots import Group, Line, forest
from conn.report.replication_results import KIND, ReplicationResult, results
from conn.report.style import Picture
from conn.report.words import (
    MISSING,
    SPACE,
    count,
    fixed,
    interval,
    listed,
    p_cell,
    p_words,
    spelled,
)

Row = Mapping[str, Any]
DRAWN = 6
"""Features of a contrast that are drawn."""
TOP = 12
"""Rows of the open table, unless more are significant."""
MOST = 60
"""Rows of a table on the page; the file holds all of them."""
COLUMNS_OF_TRIALS = 3
"""With more trials than this, the open table has no column for each of them."""

TWO = (
    "There are two trials. The variance between trials would rest on one difference, so that neither a "
    "random-effects mean nor a prediction is given: the common effect is that of these two, if they share "
    "one, and I² can be almost anything, as its interval says. Read both intervals."
)
CAUTION = (
    "Trials differ in people, scanner and treatment, and none of this was assigned. That no heterogeneity is "
    "seen does not show that trials agree: few trials see little. A common effect can come from one trial "
    "alone; only the replicability p speaks of two."
)


def blocks(context: Context) -> Iterator[page.Block]:
    """A block for every replication."""
    for result in results(context.outputs.out, context.outputs.config):
        names = context.names
        yield page.Block(
            f"replication-{result.name}",
            f"{result.name}: does the model {result.asked.model} come out the same way in "
            f"{_trials_words(result)}?",
            tuple(names.text(one) for one in _sentences(context, result)),
            caution=CAUTION,
            pictures=tuple(_pictures(context, result)),
            tables=tuple(_tables(context, result)),
            folded=tuple(_folded(context, result)),
            status=str(result.record.get("status", "")),
        )
    yield from undone.blocks(context, KIND)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [row_of(row) for row in rows.to_dict("records")]


def _trials_words(result: ReplicationResult) -> str:
    return f"{spelled(result.most_trials)} {'data sets' if result.asked.by == 'dataset' else 'trials'}"


# ------------------------------------------------------------------------------------------------ words


def _sentences(context: Context, result: ReplicationResult) -> Iterator[str]:
    for contrast, one in result.record["contrasts"].items():
        if one["skipped"] is not None:
            yield f"{contrast} is left out: {one['skipped']}."
            continue
        yield _who(contrast, one["trials"])
        yield from _differences(contrast, one["trials"])
        for family in result.record["families"]:
            if family["contrast"] == contrast:
                yield from _family(context, result, family)
    if result.most_trials == 2:
        yield TWO


def _who(contrast: str, trials: list[Mapping[str, Any]]) -> str:
    fitted = [one for one in trials if "n" in one]
    told = listed([f"{one['trial']} (n = {one['n']})" for one in fitted])
    return f"{contrast}, {fitted[0]['words']}; fitted by itself in {told}."


def _differences(contrast: str, trials: list[Mapping[str, Any]]) -> Iterator[str]:
    """What is not the same in all trials: covariates that dropped out, and trials without a design."""
    for one in trials:
        if one.get("constant"):
            constant, verb = one["constant"], "is" if len(one["constant"]) == 1 else "are"
            yield (
                f"{contrast}, {one['trial']}: {listed(constant)} {verb} the same in everybody there, and so "
                "not in its design."
            )
        if "reason" in one:
            yield f"{contrast}, {one['trial']} is left out, because {one['reason'].rstrip('.')}."


def _family(context: Context, result: ReplicationResult, family: Mapping[str, Any]) -> Iterator[str]:
    """What the features of one contrast say."""
    noun = str(family["kind"]).removesuffix("s")
    rows = result.ranked(str(family["contrast"]), noun)
    if rows.empty:
        yield f"{family['contrast']}: no {noun} has an estimate in two trials."
        return
    agree = int((rows["same_sign"] == rows["n_trials"]).sum())
    hits = int((rows["p_fwe"] <= result.alpha).sum())
    claimed = rows[rows["p_replicability_holm"] <= result.alpha]
    total = count(len(rows), noun)
    yield (
        f"{family['contrast']}, {total}: all trials have the same sign in {agree} of {len(rows)}"
        f"{_by_chance(rows)}; the common effect is significant (p_fwe ≤ {result.alpha:g}) in {hits}; and an "
        f"effect in one direction in at least two trials can be claimed of {len(claimed)} (partial "
        "conjunction, Holm)."
    )
    best = _records(rows)[0]
    own = result.of(best)
    shown = listed([f"{one['trial']} {_effect(one)}" for one in _records(own)])
    yield (
        f"{'' if len(rows) == 1 else 'The strongest is '}{feature(best)}: common effect {_effect(best)} "
        f"({context.level} CI; {p_words(float(best['p_fwe']), 'p_fwe', float(family['smallest_p']))}); "
        f"{shown}. {_heterogeneity(best)} Replicability: {p_words(float(best['p_replicability_holm']), 'p')}."
    )


def _by_chance(rows: pd.DataFrame) -> str:
    """How often signs agree when nothing is there."""
    expected = float((2 * 0.5 ** rows["n_trials"].to_numpy(float)).sum())
    return f" ({fixed(expected, 1)} would by chance alone)" if len(rows) > 1 else ""


def _effect(row: Row) -> str:
    low, high = float(row["ci_low"]), float(row["ci_high"])
    return f"{fixed(float(row['estimate']), 3)} ({interval(low, high, 3)})"


def _heterogeneity(row: Row) -> str:
    bounds = interval(100 * float(row["i2_ci_low"]), 100 * float(row["i2_ci_high"]), 0)
    words = (
        f"Heterogeneity: Q = {fixed(float(row['q']), 2)}, {p_words(float(row['p_q']))}, "
        f"I² = {fixed(100 * float(row['i2']), 0)}{SPACE}% ({bounds})."
    )
    if np.isfinite(float(row["random_estimate"])):
        mean = interval(float(row["random_ci_low"]), float(row["random_ci_high"]), 3)
        further = interval(float(row["predicted_low"]), float(row["predicted_high"]), 3)
        words += (
            f" Random effects: {fixed(float(row['random_estimate']), 3)} ({mean}); the effect of a further "
            f"trial is to be expected within {further}."
        )
    return words


def unit_of(context: Context, result: ReplicationResult, contrast: str) -> str:
    """Unit of the estimates of a contrast."""
    model = context.outputs.config.models[result.asked.model]
    words = designs.unit(model, split_pair(model, contrast)[0])
    return words.replace("Fisher z", Z_OF_PARTIAL) if model.edge_measure == "partial" else words


# --------------------------------------------------------------------------------------------- pictures


def _pictures(context: Context, result: ReplicationResult) -> Iterator[Picture]:
    for contrast in result.contrasts:
        rows = result.ranked(contrast).head(DRAWN)
        if rows.empty:
            continue
        groups = [_group(context, result, row) for row in _records(rows)]
        total = len(result.ranked(contrast))
        which = (
            "all features" if total == len(rows) else f"the {len(rows)} with the smallest p_fwe of {total}"
        )
        caption = (
            f"{contrast}, {which}: each trial by itself and the common effect, weights by inverse variance; "
            f"{context.level} intervals, not corrected for the number of features."
            + (
                " Chosen by p_fwe, so that the effects shown are rather too large."
                if total > len(rows)
                else ""
            )
        )
        with style.look():
            figure = forest(groups, unit_of(context, result, contrast), context.level)
            alt = f"Forest plot of {contrast}: {listed([group.title for group in groups])}."
            yield style.save(
                context.folder, f"replication-{result.name}_contrast-{contrast}", figure, alt, caption
            )


def _group(context: Context, result: ReplicationResult, row: Row) -> Group:
    trials = [
        Line(context.names.text(str(one["trial"])), int(one["n"]), *_numbers(one), float(one["weight"]))
        for one in _records(result.of(row))
    ]
    means = [Line("common effect", int(row["n"]), *_numbers(row))]
    if np.isfinite(float(row["random_estimate"])):
        means.append(Line("random effects", None, *_numbers(row, "random_"), random=True))
    return Group(feature(row), (*trials, *means), bool(row["p_fwe"] <= result.alpha))


def _numbers(row: Row, of: str = "") -> tuple[float, float, float]:
    estimate, low, high = (float(row[f"{of}{key}"]) for key in ("estimate", "ci_low", "ci_high"))
    return estimate, low, high


# ----------------------------------------------------------------------------------------------- tables


def _tables(context: Context, result: ReplicationResult) -> Iterator[page.Table]:
    for contrast in result.contrasts:
        rows = result.ranked(contrast)
        hits = int((rows["p_fwe"] <= result.alpha).sum())
        shown = rows.head(min(max(hits, TOP), MOST))
        total = "" if len(shown) == len(rows) else f", the {len(shown)} strongest of {len(rows)} features"
        yield _side_by_side(context, result, contrast, shown, f"{contrast}: trials side by side{total}.")
        yield _further(
            context, result, shown, f"{contrast}: do trials differ, and is it in two of them{total}."
        )


def _side_by_side(
    context: Context, result: ReplicationResult, contrast: str, rows: pd.DataFrame, caption: str
) -> page.Table:
    """Both intervals, agreement in sign, and the common effect."""
    names = [str(one["trial"]) for one in result.fitted(contrast)]
    names = names if len(names) <= COLUMNS_OF_TRIALS else []
    numbers = [*map(context.names.text, names), "Same sign", "Common effect", "p_fwe", "Replicability p"]
    made = []
    for row in _records(rows):
        own = {str(one["trial"]): _effect(one) for one in _records(result.of(row))}
        cells = [
            feature(row),
            *(own.get(name, MISSING) for name in names),
            f"{int(row['same_sign'])} of {int(row['n_trials'])}",
            _effect(row),
            p_cell(float(row["p_fwe"])),
            p_cell(float(row["p_replicability_holm"])),
        ]
        made.append(page.Row(tuple(cells), strong=bool(row["p_fwe"] <= result.alpha)))
    note = (
        f"Bold: p_fwe ≤ {result.alpha:g} (no effect in any trial). Replicability p: an effect in one "
        f"direction in fewer than two trials, by Holm. In brackets: {context.level} intervals, not corrected "
        f"for the number of features. Unit: {unit_of(context, result, contrast)}."
    )
    return page.table(caption, ["Pair", *numbers], made, numbers, note)


def _further(context: Context, result: ReplicationResult, rows: pd.DataFrame, caption: str) -> page.Table:
    """Heterogeneity, random effects, and every p."""
    random = bool(np.isfinite(rows["random_estimate"]).any())
    numbers = ["p", "p_fwe", "p_holm", "Q", "p of Q", "I² (%)"]
    numbers += ["Random effects", "Further trial"] if random else []
    numbers += ["Replicability p", "by Holm"]
    made = []
    for row in _records(rows):
        bounds = interval(100 * float(row["i2_ci_low"]), 100 * float(row["i2_ci_high"]), 0)
        cells = [feature(row), *(p_cell(float(row[key])) for key in ("p", "p_fwe", "p_holm"))]
        cells += [fixed(float(row["q"]), 2), p_cell(float(row["p_q"]))]
        cells.append(f"{fixed(100 * float(row['i2']), 0)} ({bounds})")
        if random:
            estimate, low, high = _numbers(row, "random_")
            cells.append(f"{fixed(estimate, 3)} ({interval(low, high, 3)})" if np.isfinite(low) else MISSING)
            cells.append(interval(float(row["predicted_low"]), float(row["predicted_high"]), 3))
        cells += [p_cell(float(row[key])) for key in ("p_replicability", "p_replicability_holm")]
        made.append(page.Row(tuple(cells), strong=bool(row["p_fwe"] <= result.alpha)))
    note = (
        "p, p_fwe, p_holm: no effect in any trial; by rearrangement within trials: by itself, over the "
        "family, over all families of the analysis. p of Q: one effect in all trials. In brackets: "
        f"{context.level} intervals."
    )
    return page.table(caption, ["Pair", *numbers], made, numbers, note)


def _folded(context: Context, result: ReplicationResult) -> Iterator[tuple[str, page.Table]]:
    for contrast in result.contrasts:
        rows = result.ranked(contrast)
        caption = f"{contrast}: every feature in every trial."
        if len(rows) > MOST:
            rows, caption = rows.head(MOST), f"{contrast}: the {MOST} strongest features in every trial."
        yield f"Every trial, {contrast}", _by_trial(context, result, rows, caption)
    lost = _lost(context, result)
    if lost:
        caption = "People who are asked for and are in no row, or in no trial."
        yield "People left out", page.table(caption, ["Person", "Trial", "Contrast", "Why"], lost)


def _by_trial(context: Context, result: ReplicationResult, rows: pd.DataFrame, caption: str) -> page.Table:
    numbers = ["n", "Estimate", "CI", "t", "df", "p", "Weight (%)"]
    made = []
    for row in _records(rows):
        for one in _records(result.of(row)):
            made.append(
                [
                    feature(row),
                    context.names.text(str(one["trial"])),
                    f"{int(one['n'])}",
                    fixed(float(one["estimate"]), 3),
                    interval(float(one["ci_low"]), float(one["ci_high"]), 3),
                    fixed(float(one["stat"]), 2),
                    fixed(float(one["df"]), 1),
                    p_cell(float(one["p"])),
                    fixed(100 * float(one["weight"]), 0),
                ]
            )
    note = "p: by rearrangement within the trial, two-sided, not corrected. Weight: in the common effect."
    return page.table(caption, ["Pair", "Trial", *numbers], made, numbers, note)


def _lost(context: Context, result: ReplicationResult) -> list[list[str]]:
    names, found = context.names, []
    for dataset, subject, why in result.record["homeless"]:
        found.append([names.person(dataset, bare(subject)), MISSING, MISSING, names.text(why)])
    for contrast in result.contrasts:
        for one in result.fitted(contrast):
            for dataset, subject, why in one["lost"]:
                person = names.person(dataset, bare(subject))
                found.append([person, names.text(str(one["trial"])), contrast, names.text(why)])
    return found
