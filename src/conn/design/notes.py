"""Sentences for `conn check`: what a design cannot do, and what is uneven in its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from conn.cohort import Person, carried
from conn.combination import Unused
from conn.config.model import CombineRuns, Inference
from conn.design.phrases import and_words, counted, subjects_words
from conn.design.plans import Plan
from conn.design.source import Source
from conn.design.spec import DesignContrast
from conn.design.words import carried_references

UNEQUAL = 1.5
"""Ratio of group sizes from which a small group that varies more matters most."""

ENOUGH = 30
"""People in each of two groups of like sizes that keep 7 % whatever their variances, unless there is skew."""

REACHED: dict[str, tuple[int, int]] = {
    "two groups": (12, 16),
    "two large groups": (7, 13),
    "two unequal groups": (11, 22),
    "several groups": (15, 15),
    "several unequal groups": (14, 18),
    "cells": (8, 8),
    "unequal cells": (9, 7),
    "courses": (15, 15),
    "unequal courses": (13, 14),
    "several unequal courses": (20, 21),
    "slope": (12, 12),
    "slope of one variance": (29, 27),
}
"""Highest measured rates of family-wise false positives, in percent, of normal and of strongly skewed data.

Some people vary two or three times as much as others, the smaller group more: see docs/explanation/rates.md.
"""

MODERATED: dict[tuple[bool, bool], tuple[int, int]] = {
    (True, False): (3, 3),
    (True, True): (15, 8),
    (False, False): (9, 10),
    (False, True): (43, 30),
}
"""The same of moderation, by whether each person has a variance and whether arms are of unequal size.

What varies more in one arm is the outcome. A prognosis keeps 5 % whatever the outcome's variances are.
"""

WORTH_SAYING = 7
"""Rates in percent above which a moderation is named."""

FLIPPED = 17
"""The same of sign flips of strongly skewed rows, whatever the variances."""

SKEWED = (
    "sign flips assume symmetric values; should they be strongly skewed, family-wise false positives reach "
    f"{FLIPPED} % instead of 5 %"
)


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
    yield from _liberal([contrast for contrast in contrasts if not contrast.sensitivity])
    datasets = Counter(dataset for dataset, _ in contrasts[0].subjects)
    listed = {*source.model.strata, *source.model.covariates, getattr(source.model, "group", None)}
    if len(datasets) > 1 and "dataset" not in listed:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(datasets.items()))
        yield f"the rows come from {len(datasets)} data sets ({shown}); add dataset to strata"


def _liberal(contrasts: Sequence[DesignContrast]) -> Iterator[str]:
    """Designs whose measured error rate can pass 7 %; one sentence for all contrasts that it holds for."""
    said: dict[str, list[str]] = {}
    for contrast in contrasts:
        sentence = SKEWED if contrast.exchange == "flips" else _labels(contrast)
        said.setdefault(sentence, []).append(contrast.name)
    for sentence, names in said.items():
        if sentence:
            yield f"{and_words(names)}: {sentence} (simulated; conn check --null looks into your own data)"


def _labels(contrast: DesignContrast) -> str:
    """What unequal variances do, by the kind of comparison and the sizes of groups; empty if little."""
    sizes = _sizes(contrast)
    if contrast.effect_type == "outcome":
        return _of_outcome(contrast, sizes)
    if contrast.own_variances:
        return f"should people with extreme values of what is tested {_reached('slope')}"
    if not sizes:
        kind = "slope of one variance"
        return f"one error variance; should people with extreme values of what is tested {_reached(kind)}"
    even = sizes[0] < UNEQUAL * sizes[-1]
    who = "one group" if even else "the smaller one" if len(sizes) == 2 else "the smallest one"
    shared = ""
    if contrast.n_variates > 1 and not contrast.variance_groups.any():
        shared = " share one error covariance"
    groups = f"groups of {and_words([str(size) for size in sizes])}{shared}"
    return f"{groups}; should {who} {_reached(_kind(contrast, sizes, even))}"


def _of_outcome(contrast: DesignContrast, sizes: Sequence[int]) -> str:
    """What an outcome does that varies more in one arm; empty if little."""
    uneven = len(sizes) > 1 and sizes[0] >= UNEQUAL * sizes[-1]
    normal, skewed = MODERATED[contrast.own_variances, uneven]
    if not contrast.covariate_weights or max(normal, skewed) <= WORTH_SAYING:
        return ""
    which = "the smaller arm" if uneven else "one arm"
    return f"should the outcome vary two or three times as much in {which}, {_rates(normal, skewed)}"


def _kind(contrast: DesignContrast, sizes: Sequence[int], even: bool) -> str:
    """Key of `REACHED` of a comparison of groups."""
    n_groups = len(sizes)
    if contrast.n_variates > 1:
        return "courses" if even else "unequal courses" if n_groups == 2 else "several unequal courses"
    if n_groups > 2 and contrast.rank == 1:
        return "cells" if even else "unequal cells"
    if n_groups == 2 and even and sizes[-1] >= ENOUGH:
        return "two large groups"
    return f"{'two' if n_groups == 2 else 'several'} {'' if even else 'unequal '}groups"


def _sizes(contrast: DesignContrast) -> list[int]:
    """Sizes of groups, the largest first, also of those that a formula tests; none when a slope is tested."""
    members = contrast.row_levels
    if not members:
        tested = contrast.tested.round(9).tolist()
        members = tuple(map(str, tested)) if len(set(tested)) == contrast.rank + 1 else ()
    return sorted(Counter(members).values(), reverse=True)


def _reached(kind: str) -> str:
    return f"vary two or three times as much, {_rates(*REACHED[kind])}"


def _rates(normal: int, skewed: int) -> str:
    return f"family-wise false positives reach {normal} % instead of 5 %, {skewed} % with strong skew"


def carried_notes(source: Source, plan: Plan, contrast: DesignContrast) -> Iterator[str]:
    """How many people of a contrast have an earlier score in place of one that is missing."""
    for reference in carried_references(source, plan):
        found = carried(reference, source.clinical, source.cohort, source.key)
        people = [person for person in contrast.subjects if person in found]
        if people:
            yield (
                f"{plan.name}: {reference} is an earlier score in {len(people)} of {contrast.n} subjects "
                f"({subjects_words(people)}); carrying observations forward assumes that nothing changed "
                "after them, which is seldom true: a sensitivity analysis"
            )


def companion_notes(contrasts: Sequence[DesignContrast], beside: Mapping[str, str]) -> Iterator[str]:
    """Where a score is not of the same people as the dichotomy that it stands beside.

    Parameters
    ----------
    contrasts
        Of a design.
    beside
        Name of a contrast on a score to that of its dichotomy, see `conn.config.contrasts.continuous`.
    """
    by_name = {contrast.name: contrast for contrast in contrasts}
    for contrast in contrasts:
        other = by_name.get(beside.get(contrast.name, ""))
        if other is None or contrast.subjects == other.subjects:
            continue
        lost = {(d, s): reason for d, s, reason in contrast.dropped if (d, s) in other.subjects}
        parts = []
        for reason in sorted(set(lost.values())):
            people = [person for person, why in lost.items() if why == reason]
            parts.append(f"{reason} in {len(people)} who count in {other.name} ({subjects_words(people)})")
        more = [person for person in contrast.subjects if person not in other.subjects]
        if more:
            parts.append(f"{len(more)} with the score are not in {other.name} ({subjects_words(more)})")
        yield f"{contrast.name} is of {contrast.n} subjects, {other.name} of {other.n}: {'; '.join(parts)}"


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
