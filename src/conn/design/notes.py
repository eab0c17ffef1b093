"""Sentences for `conn check`: what a design cannot do, and what is uneven in its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from conn.cohort import Person
from conn.combination import Unused
from conn.config.model import CombineRuns, Inference
from conn.design.phrases import and_words, counted, subjects_words
from conn.design.plans import Plan
from conn.design.source import Source
from conn.design.spec import DesignContrast

UNEQUAL = 1.5
"""Ratio of group sizes from which unequal variances make even Welch's statistic liberal (simulated)."""


def notes_of(
    source: Source, contrasts: Sequence[DesignContrast], smallest: Sequence[float], inference: Inference
) -> Iterator[str]:
    """What a design cannot reach, where it is liberal, and data sets that are pooled."""
    for contrast, p in zip(contrasts, smallest, strict=True):
        if p > inference.alpha:
            yield (
                f"{contrast.name}: with {contrast.n} subjects the smallest attainable p is {p:.2g}, above "
                f"alpha {inference.alpha:g}; nothing can be significant"
            )
        if not contrast.sensitivity:
            yield from _liberal(contrast)
    datasets = Counter(dataset for dataset, _ in contrasts[0].subjects)
    listed = {*source.model.strata, *source.model.covariates, getattr(source.model, "group", None)}
    if len(datasets) > 1 and "dataset" not in listed:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(datasets.items()))
        yield f"the rows come from {len(datasets)} data sets ({shown}); add dataset to strata"


def _liberal(contrast: DesignContrast) -> Iterator[str]:
    """A design whose measured error rate can pass 7 %; the rates stand in docs/explanation/designs.md."""
    counts = Counter(contrast.row_levels)
    sizes = sorted(counts.values(), reverse=True)
    if len(sizes) < 2 or sizes[0] == sizes[-1]:
        return
    shown = and_words([str(size) for size in sizes])
    if contrast.n_variates > 1:
        yield (
            f"{contrast.name}: groups of {shown} share one error covariance, for a test of several values "
            "knows no other; should the smaller group vary more, false positives exceed 5 %"
        )
    elif sizes[0] >= UNEQUAL * sizes[-1] and len(sizes) > 2:
        yield (
            f"{contrast.name}: groups of {shown}: should the smallest ones vary more than the others, "
            "family-wise false positives exceed 5 % (two groups whose sizes differ by half: 7 to 11 %, "
            "simulated)"
        )
    elif sizes[0] >= UNEQUAL * sizes[-1]:
        yield (
            f"{contrast.name}: groups of {shown}: should the smaller one vary at least "
            "twice as much, family-wise false positives reach 7 to 11 % instead of 5 %, 19 % with "
            "strong skew (simulated)"
        )


def concerns(unused: Unused, plan: Plan, contrast: DesignContrast) -> bool:
    """Whether a run would have been data of the model; all its contrasts have the same people and points."""
    return unused.time_point in plan.points and (unused.dataset, unused.subject) in contrast.subjects


def run_notes(
    source: Source, plan: Plan, contrast: DesignContrast, policy: CombineRuns, unused: Sequence[Unused]
) -> Iterator[str]:
    """Runs that no row holds, and time points that are measured more precisely than others."""
    if unused:
        people = sorted({(one.dataset, one.subject) for one in unused})
        yield (
            f"connectivity.combine_runs {policy} takes one run of each time point: "
            f"{counted(len(unused), 'included run')} not used, of {subjects_words(people)}; conn why names "
            "them"
        )
    points = plan.points
    counts = Counter(tuple(len(source.runs[person, p]) for p in points) for person in contrast.subjects)
    uneven = {numbers: people for numbers, people in sorted(counts.items()) if len(set(numbers)) > 1}
    if uneven:
        shown = ", ".join(f"{' and '.join(map(str, n))} in {people}" for n, people in uneven.items())
        yield (
            f"{sum(uneven.values())} of {contrast.n} subjects have unequal numbers of runs at "
            f"{' and '.join(points)} ({shown}), so that one is measured more precisely than the other; "
            "connectivity.combine_runs first or most_df takes one run everywhere"
        )
    yield from _df_notes(source, points, contrast)


def _df_notes(source: Source, points: Sequence[str], contrast: DesignContrast) -> Iterator[str]:
    """By how much degrees of freedom differ between the time points of a person, by group."""
    differences = np.array([_df_range(source, points, person) for person in contrast.subjects])
    if not differences.any():
        return
    levels = np.array(contrast.row_levels or ("",) * contrast.n)
    means = {level: differences[levels == level].mean() for level in contrast.levels}
    groups = ", ".join(f"{level} {mean:.1f}" for level, mean in means.items())
    yield (
        f"|Δk|, by how much the degrees of freedom of a subject differ between {and_words(points)}, is "
        f"{differences.mean():.1f} on average" + (f" ({groups})" if groups else "")
    )


def _df_range(source: Source, points: Sequence[str], person: Person) -> float:
    k = [sum(source.df[run] for run in source.runs[person, point]) for point in points]
    return max(k) - min(k)
