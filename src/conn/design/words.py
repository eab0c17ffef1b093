"""A design in words: what is estimated, what may change places, who is left out."""

from __future__ import annotations

from collections import Counter

import numpy as np

from conn.design.phrases import and_words, subjects_words
from conn.design.plans import Plan
from conn.design.rows import Rows
from conn.design.source import Source
from conn.design.spec import Design, DesignContrast


def words_of(source: Source, plan: Plan, rows: Rows) -> str:
    parts = [_estimand(source, plan)]
    if source.model.covariates:
        changes = "change of " if plan.at is None and not plan.mean else ""
        names = [(changes if rows.columns[c].time_varying else "") + c for c in source.model.covariates]
        parts.append(f"adjusted for {and_words(names)}")
    if source.model.strata:
        within = "exchanged within strata of" if plan.exchange == "labels" else "adjusted for strata of"
        parts.append(f"{within} {and_words(source.model.strata)}")
    if source.model.subset:
        kept = [f"{name} {' or '.join(values)}" for name, values in source.model.subset.items()]
        parts.append(f"only {and_words(kept)}")
    return "; ".join(parts)


def _estimand(source: Source, plan: Plan) -> str:
    if plan.tested == "predictor":
        return f"slope per unit of {source.predictor}: {plan.data}"
    if plan.tested == "group":
        first, second = source.levels
        what = "difference of changes" if plan.name == "interaction" else "difference"
        return f"{what}, {first} minus {second}: {plan.data}"
    mean = f"mean {plan.data}"
    if source.group is None:
        return mean
    return f"{mean}: the unweighted mean of the changes of {source.levels[0]} and {source.levels[1]}"


def exchange_words(contrast: DesignContrast) -> str:
    """What may change places under the null hypothesis, in words."""
    method = " by way of residuals (Freedman-Lane, approximate)" if contrast.has_nuisance else ""
    if contrast.exchange == "flips":
        return f"sign flips{method}, one sign per subject; errors are assumed to be symmetric"
    what = "the predictor" if contrast.effect_type == "slope" else "group labels"
    if len(contrast.strata_names) == 1:
        return f"exchange of {what}{method} among {contrast.n} subjects"
    counts = Counter(contrast.strata.tolist())
    cells = ", ".join(f"{name}: {counts[code]}" for code, name in enumerate(contrast.strata_names))
    return f"exchange of {what}{method} within {len(contrast.strata_names)} strata ({cells})"


def variance_words(contrast: DesignContrast) -> str:
    """How the error variance is estimated, in words."""
    if np.ptp(contrast.variance_groups) == 0:
        return "one error variance"
    counts = Counter(contrast.row_levels)
    sizes = ", ".join(f"{level} {counts[level]}" for level in contrast.levels)
    return f"an error variance per group, because the sizes differ ({sizes})"


def dropped_words(contrast: DesignContrast) -> list[str]:
    """Each reason with the people it applies to."""
    reasons = sorted({reason for *_, reason in contrast.dropped})
    people = {r: [(d, s) for d, s, reason in contrast.dropped if reason == r] for r in reasons}
    return [f"{reason}: {len(found)} ({subjects_words(found)})" for reason, found in people.items()]


def describe(design: Design) -> list[str]:
    """A compiled model in sentences, for `conn check`.

    Returns
    -------
    list of str
        Per contrast: what is estimated, from whom, how it is tested, who is left out; then notes.
    """
    lines = []
    for contrast, smallest in zip(design.contrasts, design.smallest_p, strict=True):
        kind = "confirmatory" if contrast.confirmatory else "exploratory"
        families = ", ".join(f.name for f in design.families if f.contrast == contrast.name) or "none"
        lines.append(f"{design.model}, {contrast.name} ({kind}): {contrast.words}.")
        lines.append(f"{_count_words(contrast)}; columns: {', '.join(contrast.columns)}.")
        lines.append(f"{exchange_words(contrast)}; {variance_words(contrast)}.")
        lines.append(f"Families: {families}. Smallest attainable p: {smallest:.2g}.")
        lines += [f"Left out, {words}." for words in dropped_words(contrast)]
    return lines + [f"Note: {note}." for note in design.notes]


def _count_words(contrast: DesignContrast) -> str:
    counts = Counter(contrast.row_levels)
    sizes = ", ".join(f"{level} {counts[level]}" for level in contrast.levels)
    out = f", {len(contrast.dropped)} left out" if contrast.dropped else ""
    return f"{contrast.n} subjects" + (f" ({sizes})" if sizes else "") + out
