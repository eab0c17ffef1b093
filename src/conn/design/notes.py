"""Sentences for `conn check`: what a design cannot do, and what is uneven in its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from conn.combination import Unused
from conn.config.model import CombineRuns, Inference
from conn.design.phrases import counted, subjects_words
from conn.design.plans import plan_of
from conn.design.source import Source
from conn.design.spec import DesignContrast


def notes_of(
    source: Source, contrasts: Sequence[DesignContrast], smallest: Sequence[float], inference: Inference
) -> Iterable[str]:
    for contrast, p in zip(contrasts, smallest, strict=True):
        if p > inference.alpha:
            yield (
                f"{contrast.name}: with {contrast.n} subjects the smallest attainable p is {p:.2g}, above "
                f"alpha {inference.alpha:g}; nothing can be significant"
            )
        yield from _liberal(contrast)
    datasets = Counter(dataset for dataset, _ in contrasts[0].subjects)
    listed = {"dataset", source.group} & {*source.model.strata, *source.model.covariates, source.group}
    if len(datasets) > 1 and "dataset" not in listed:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(datasets.items()))
        yield f"the rows come from {len(datasets)} data sets ({shown}); add dataset to strata"


def concerns(unused: Unused, source: Source, contrast: DesignContrast) -> bool:
    """Whether a run would have been data of the model; all its contrasts have the same people and points."""
    points = plan_of(contrast.name, source.model).weights
    return unused.time_point in points and (unused.dataset, unused.subject) in contrast.subjects


def run_notes(
    source: Source, contrast: DesignContrast, policy: CombineRuns, unused: Sequence[Unused]
) -> Iterator[str]:
    """Runs that no row holds, and rows whose time points hold unequal numbers of them."""
    if unused:
        people = sorted({(one.dataset, one.subject) for one in unused})
        yield (
            f"connectivity.combine_runs {policy} takes one run of each time point: "
            f"{counted(len(unused), 'included run')} not used, of {subjects_words(people)}; conn why names them"
        )
    points = list(plan_of(contrast.name, source.model).weights)
    counts = Counter(tuple(len(source.runs[person, p]) for p in points) for person in contrast.subjects)
    uneven = {numbers: people for numbers, people in sorted(counts.items()) if len(set(numbers)) > 1}
    if uneven:
        shown = ", ".join(f"{' and '.join(map(str, n))} in {people}" for n, people in uneven.items())
        yield (
            f"{sum(uneven.values())} of {contrast.n} subjects have unequal numbers of runs at "
            f"{' and '.join(points)} ({shown}), so that one is measured more precisely than the other; "
            "connectivity.combine_runs first or most_df takes one run everywhere"
        )


UNEQUAL = 1.5
"""Ratio of group sizes from which unequal variances make even Welch's statistic liberal (simulated)."""


def _liberal(contrast: DesignContrast) -> Iterator[str]:
    """A design whose measured error rate can pass 7 %; the rates stand in docs/explanation/designs.md."""
    sizes = sorted(np.unique(contrast.variance_groups, return_counts=True)[1].tolist())
    if len(sizes) == 2 and sizes[1] >= UNEQUAL * sizes[0]:
        yield (
            f"{contrast.name}: groups of {sizes[1]} and {sizes[0]}: should the smaller one vary at least "
            "twice as much, family-wise false positives reach 7 to 11 % instead of 5 %, 19 % with "
            "strong skew (simulated)"
        )
