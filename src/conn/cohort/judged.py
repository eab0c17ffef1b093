"""Rules of a study applied to everybody: response, remission, and how large a reliable change is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from conn.clinic.outcomes import RELIABLE, error_of_difference, remitted, responded
from conn.clinic.scales import threshold_words
from conn.cohort.names import Person
from conn.config.model import Clinical, Remission, Response
from conn.errors import ConfigError

Scores = Mapping[str, Mapping[tuple[str, str, str], float]]
"""Per scale or variable: data set, subject and time point to number."""

WORDS = {"response": ("nonresponder", "responder"), "remission": ("not_remitted", "remitted")}


def score_at(scores: Mapping[tuple[str, str, str], float], person: Person, point: str | None) -> float:
    """The score of a person at a time point; NaN when it is missing."""
    return math.nan if point is None else scores.get((*person, point), math.nan)


def outcomes_of(
    clinical: Clinical, scores: Scores, people: Sequence[Person], notes: list[str]
) -> dict[str, dict[Person, str]]:
    """Response and remission of everybody of whom they are known, in words.

    Parameters
    ----------
    clinical
        Scales and rules.
    scores
        Numbers of the scales.
    people
        Everybody in the cohort.
    notes
        Sentences about people without an outcome are added.

    Raises
    ------
    ConfigError
        A rule is n/a for everybody.
    """
    found: dict[str, dict[Person, str]] = {"response": {}, "remission": {}}
    for key, rule in (("response", clinical.response), ("remission", clinical.remission)):
        if rule is None:
            continue
        judged = {person: _judge(clinical, rule, scores, person) for person in people}
        notes += _missing(key, clinical, rule, scores, judged)
        if isinstance(rule, Remission):
            notes += _threshold(clinical, rule)
        filled = _filled(clinical, rule, scores, judged)
        if filled:
            notes.append(
                f"{key}: {len(filled)} subjects with a score of {rule.scale} at {clinical.baseline} and none "
                f"at {clinical.point_of(rule)} count as {WORDS[key][0]} (clinical.{key}.missing)"
            )
        known = {person: value for person, value in judged.items() if value is not None}
        found[key] = {person: WORDS[key][value] for person, value in known.items()}
        found[key] |= dict.fromkeys(filled, WORDS[key][0])
    return found


def _threshold(clinical: Clinical, rule: Remission) -> list[str]:
    """Where the threshold of a known scale comes from."""
    words = threshold_words(clinical.scales[rule.scale].kind, rule.threshold)
    stated = f" (source: {rule.source})" if rule.source else ""
    return [f"remission by {rule.scale}{stated}, {words}"] if words else []


def _judge(clinical: Clinical, rule: Response | Remission, scores: Scores, person: Person) -> bool | None:
    scale, of_scale = clinical.scales[rule.scale], scores[rule.scale]
    end = score_at(of_scale, person, clinical.point_of(rule))
    if isinstance(rule, Remission):
        return remitted(end, rule.threshold, scale.direction)
    start = score_at(of_scale, person, clinical.baseline)
    return responded(start, end, rule.percent, scale.direction, scale.zero)


def _filled(
    clinical: Clinical, rule: Response | Remission, scores: Scores, judged: Mapping[Person, bool | None]
) -> list[Person]:
    """People who began and have no endpoint, when the rule counts them as not improved."""
    if rule.missing == "exclude":
        return []
    start, end, of_scale = clinical.baseline, clinical.point_of(rule), scores[rule.scale]
    return [
        person
        for person, value in judged.items()
        if value is None
        and not math.isnan(score_at(of_scale, person, start))
        and math.isnan(score_at(of_scale, person, end))
    ]


def _missing(
    key: str,
    clinical: Clinical,
    rule: Response | Remission,
    scores: Scores,
    found: Mapping[Person, bool | None],
) -> list[str]:
    """A note with counts when some are n/a; an error when all are."""
    scale = rule.scale
    points = [p for p in (clinical.baseline, clinical.point_of(rule)) if p is not None]
    points = points if key == "response" else points[-1:]
    counts = ", ".join(
        f"at {p} {sum(not math.isnan(score_at(scores[scale], person, p)) for person in found)}"
        for p in points
    )
    known = sum(value is not None for value in found.values())
    if known == 0:
        raise ConfigError(
            f"clinical.{key}: the rule gives n/a for all {len(found)} subjects: scores of {scale} exist "
            f"{counts}, and nobody has what the rule needs. Choose another scale or time point, or remove "
            "the rule."
        )
    if known == len(found):
        return []
    lowest = clinical.scales[scale].zero
    flat = [p for p in found if key == "response" and score_at(scores[scale], p, clinical.baseline) <= lowest]
    zero = f"; {len(flat)} with a baseline that is not above {lowest:g}" if flat else ""
    what = "cannot be judged" if rule.missing != "exclude" else "is n/a"
    return [
        f"{key} {what} for {len(found) - known} of {len(found)} subjects (scores of {scale}: {counts}{zero})"
    ]


def errors_of(
    clinical: Clinical, scores: Scores, people: Sequence[Person], notes: list[str]
) -> dict[str, float]:
    """Standard error of a difference of every scale that states its reliability.

    Raises
    ------
    ConfigError
        No standard deviation is stated and none can be computed.
    """
    found = {}
    for name, scale in clinical.scales.items():
        if scale.reliability is None:
            continue
        start = [score_at(scores[name], person, clinical.baseline) for person in people]
        there = [score for score in start if not math.isnan(score)]
        if scale.sd is None and (len(there) < 2 or statistics.stdev(there) == 0):
            raise ConfigError(
                f"clinical.scales.{name}.reliability: {len(there)} people have a score at "
                f"{clinical.baseline or 'the baseline (clinical.baseline is not set)'}, from which no "
                f"standard deviation can be computed. State clinical.scales.{name}.sd."
            )
        sd = statistics.stdev(there) if scale.sd is None else scale.sd
        found[name] = error_of_difference(sd, scale.reliability)
        origin = f"of {len(there)} people at {clinical.baseline}" if scale.sd is None else "as stated"
        notes.append(
            f"{name}: a change of more than {RELIABLE * found[name]:.3g} points is reliable (reliability "
            f"{scale.reliability:g}, standard deviation {sd:.3g} {origin})"
        )
    return found
