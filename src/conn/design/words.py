"""A design in words: what is estimated, what may change places, who is left out."""

from __future__ import annotations

from collections import Counter

import numpy as np

from conn.cohort import is_carried
from conn.config import formula
from conn.design.phrases import and_words, sizes_words, subjects_words
from conn.design.plans import Plan
from conn.design.rows import Rows
from conn.design.source import Source
from conn.design.spec import Design, DesignContrast


def words_of(source: Source, plan: Plan, rows: Rows) -> str:
    """What a contrast estimates, from whom."""
    parts = [plan.estimand]
    if plan.covariates:
        parts.append(f"adjusted for {and_words([_covariate(plan, rows, c) for c in plan.covariates])}")
    carried = carried_references(source, plan)
    if carried:
        verb = "is the last observation" if len(carried) == 1 else "are the last observations"
        parts.append(f"{and_words(carried)} {verb} carried forward, a sensitivity analysis")
    if source.model.strata:
        within = "exchanged within strata of" if plan.exchange == "labels" else "adjusted for strata of"
        parts.append(f"{within} {and_words(source.model.strata)}")
    if source.model.subset:
        kept = [f"{name} {' or '.join(values)}" for name, values in source.model.subset.items()]
        parts.append(f"only {and_words(kept)}")
    return "; ".join(parts)


def carried_references(source: Source, plan: Plan) -> list[str]:
    """References of a plan that are observations carried forward."""
    names = [plan.predictor or "", *plan.covariates, *(formula.names(plan.formula) if plan.formula else ())]
    return [name for name in dict.fromkeys(names) if is_carried(name, source.clinical)]


def _covariate(plan: Plan, rows: Rows, reference: str) -> str:
    """A covariate with what becomes of it when it varies over time."""
    column = rows.columns.get(reference)
    varies = column is None or column.time_varying
    return plan.timing.words.format(reference) if varies else reference


def exchange_words(contrast: DesignContrast) -> str:
    """What may change places under the null hypothesis, in words."""
    method = _method(contrast)
    if contrast.exchange == "flips":
        several = f" for all {contrast.n_variates} values" if contrast.n_variates > 1 else ""
        return f"sign flips{method}, one sign per subject{several}; errors are assumed to be symmetric"
    what = contrast.exchanged or ("the predictor" if contrast.effect_type == "slope" else "group labels")
    if len(contrast.strata_names) == 1:
        return f"exchange of {what}{method} among {contrast.n} subjects"
    counts = Counter(contrast.strata.tolist())
    cells = ", ".join(f"{name}: {counts[code]}" for code, name in enumerate(contrast.strata_names))
    return f"exchange of {what}{method} within {len(contrast.strata_names)} strata ({cells})"


def _method(contrast: DesignContrast) -> str:
    if contrast.covariate_weights:
        return " by way of residuals that are made anew in each voxel or edge (Freedman-Lane, approximate)"
    return " by way of residuals (Freedman-Lane, approximate)" if contrast.has_nuisance else ""


def variance_words(contrast: DesignContrast) -> str:
    """How the error variance is estimated, in words."""
    several = contrast.n_variates > 1
    what = f"error covariance of {contrast.n_variates} values" if several else "error variance"
    if contrast.own_variances:
        return f"an {what} of each person (HC3), because those with extreme values may vary more"
    if np.ptp(contrast.variance_groups) == 0:
        return f"one {what}"
    names = contrast.variance_names
    sizes = sizes_words(names, [names[code] for code in contrast.variance_groups])
    return f"an {what} per group, because the sizes differ ({sizes})"


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
        families = ", ".join(f.name for f in design.families if f.contrast == contrast.name) or "none"
        lines.append(f"{design.model}, {contrast.name} ({status_words(contrast)}): {contrast.words}.")
        lines.append(f"{_count_words(contrast)}; columns: {', '.join(contrast.columns)}.")
        lines.append(f"{exchange_words(contrast)}; {variance_words(contrast)}.")
        lines.append(f"Families: {families}. Smallest attainable p: {smallest:.2g}.")
        lines += [f"Left out, {words}." for words in dropped_words(contrast)]
    return lines + [f"Note: {note}." for note in design.notes]


def status_words(contrast: DesignContrast) -> str:
    """``confirmatory``, ``exploratory``, or that it repeats another contrast."""
    if contrast.sensitivity:
        return "sensitivity analysis, edges only, not counted by Holm"
    return "confirmatory" if contrast.confirmatory else "exploratory"


def _count_words(contrast: DesignContrast) -> str:
    sizes = sizes_words(contrast.levels, contrast.row_levels)
    out = f", {len(contrast.dropped)} left out" if contrast.dropped else ""
    return f"{contrast.n} subjects" + (f" ({sizes})" if sizes else "") + out
