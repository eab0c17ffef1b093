"""Scores that are possible but improbable, told and never changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from conn.clinic import plausibility
from conn.cohort.judged import Scores
from conn.cohort.trials import Trial, some
from conn.config.model import Clinical, Scale


def doubts(clinical: Clinical, scores: Scores, trials: Sequence[Trial]) -> Iterator[str]:
    """Sentences about scores that somebody should look at.

    Parameters
    ----------
    clinical
        Scales, baseline, and from where on a change is improbable.
    scores
        Numbers of the scales.
    trials
        Data sets with their people and time points.
    """
    for trial in trials:
        courses = {name: _course(trial, scores[name]) for name in clinical.scales}
        for name, scale in clinical.scales.items():
            for doubt in _of_scale(clinical, scale, courses[name]):
                who = f": {some(doubt.people)}" if doubt.people else ""
                yield f"{trial.dataset}: {name} {doubt.words}{who}"
        if clinical.baseline is not None and clinical.endpoint is not None:
            yield from _against_others(clinical, clinical.baseline, clinical.endpoint, trial, courses)


def _course(trial: Trial, scores: Mapping[tuple[str, str, str], float]) -> plausibility.Course:
    return {
        point: {
            subject: scores[trial.dataset, subject, point]
            for subject in trial.people
            if (trial.dataset, subject, point) in scores
        }
        for point in trial.time_points
    }


def _of_scale(clinical: Clinical, scale: Scale, course: plausibility.Course) -> Iterator[plausibility.Doubt]:
    yield from plausibility.levels(course, scale.minimum, scale.zero)
    if clinical.baseline is not None:
        yield from plausibility.changes(course, clinical.baseline, scale.direction, clinical.improbable_sd)


def _against_others(
    clinical: Clinical, start: str, end: str, trial: Trial, courses: dict[str, plausibility.Course]
) -> Iterator[str]:
    directions = {name: scale.direction for name, scale in clinical.scales.items()}
    for one, other, r, n in plausibility.opposed(courses, directions, start, end):
        yield (
            f"{trial.dataset}: improvement of {one} goes with worsening of {other} (r = {r:.2f} in {n} "
            f"people, {start} to {end}); look at the direction of both"
        )
