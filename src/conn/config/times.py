"""When something is known: the order of a trial, and the scores that a reference is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conn.config.clinical import Clinical

LOCF = "locf"
"""In a reference: the last observation carried forward."""

FROM_BASELINE = ("change", "percent_change", "rci")
"""In a reference: what is counted from baseline."""


@dataclass(frozen=True)
class Score:
    """A scale at a time point."""

    scale: str
    point: str

    def __str__(self) -> str:
        return f"{self.scale} at {self.point}"


def order_of(labels: Iterable[str], clinical: Clinical) -> tuple[str, ...]:
    """Time points in the order of the trial, those with scores and without scans among them.

    Parameters
    ----------
    labels
        Time points of scans, in the order of the trial.
    clinical
        Its wide scales have columns in an order of their own. A time point without scans comes after the one
        that stands before it there, or before the one that follows.
    """
    order = list(dict.fromkeys(labels))
    for scale in clinical.scales.values():
        columns = list(scale.columns)
        for place, point in enumerate(columns):
            if point in order:
                continue
            follows = next((p for p in columns[place:] if p in order), None)
            if place:
                order.insert(order.index(columns[place - 1]) + 1, point)
            else:
                order.insert(len(order) if follows is None else order.index(follows), point)
    return tuple(order)


def scores_of(reference: str, clinical: Clinical) -> tuple[Score, ...]:
    """Scores that a reference is made of, the one that it is judged at last; none for anything else.

    Parameters
    ----------
    reference
        As in `conn.cohort.resolve`: ``MADRS.rci`` is made of the scores at baseline and at the endpoint.
    clinical
        Scales, rules, baseline and endpoint. A variable that is read from the column of a scale is that score.
    """
    if reference in ("response", "remission"):
        return _judged(reference, clinical)
    if reference in clinical.variables:
        column = clinical.variables[reference].column
        return tuple(
            Score(name, point)
            for name, scale in clinical.scales.items()
            for point, own in scale.columns.items()
            if own == column
        )
    scale, _, rest = reference.partition(".")
    if scale not in clinical.scales:
        return ()
    what, _, point = rest.partition(".")
    derived = what in (*FROM_BASELINE, LOCF)
    points = [clinical.baseline] if what in FROM_BASELINE else []
    points += [(point or clinical.endpoint) if derived else rest]
    return tuple(Score(scale, one) for one in points if one)


def _judged(rule_name: str, clinical: Clinical) -> tuple[Score, ...]:
    rule = clinical.response if rule_name == "response" else clinical.remission
    if rule is None:
        return ()
    points = [clinical.baseline] if rule_name == "response" else []
    return tuple(Score(rule.scale, one) for one in (*points, clinical.point_of(rule)) if one)


@dataclass(frozen=True)
class Moment:
    """What a prediction is about, and when its scans are made.

    Attributes
    ----------
    at
        Time point of the scans.
    outcome
        What is predicted.
    clinical
        What references mean.
    orders
        Time points of each data set, in the order of the trial.
    """

    at: str
    outcome: str
    clinical: Clinical
    orders: Mapping[str, Sequence[str]]

    def objections(self, asked: Mapping[str, Iterable[str]], key: str) -> Iterator[str]:
        """Why references may not be used; nothing when they may.

        Parameters
        ----------
        asked
            Of each option, the references.
        key
            Where the prediction stands in the configuration.
        """
        for field, references in asked.items():
            for reference in references:
                late = "" if field == "leave_out" else self._late(reference)
                why = late or self._reveals(reference)
                if why:
                    yield f"{key}.{field}: {reference} {why}; {_WRONG[field]}. {self._instead(field, reference)}"

    def _reveals(self, reference: str) -> str:
        """The outcome itself, or another form of it."""
        if reference == self.outcome:
            return "is the outcome"
        decisive = scores_of(self.outcome, self.clinical)[-1:]
        if any(score in scores_of(reference, self.clinical) for score in decisive):
            return f"is made of {decisive[0]}, as the outcome {self.outcome} is"
        return ""

    def _late(self, reference: str) -> str:
        """A score that comes later than the scan in some data set."""
        for score in scores_of(reference, self.clinical):
            if any(_after(score.point, self.at, order) for order in self.orders.values()):
                return f"is made of {score} and is not known at {self.at}, when the scan is made"
        return ""

    def _instead(self, field: str, reference: str) -> str:
        if field not in ("clinical", "remove"):
            return f"Use a category that is known at {self.at}, such as the site, or leave it out."
        scores = scores_of(reference, self.clinical)
        earlier = f"{scores[-1].scale}.{self.at}" if scores else ""
        if not earlier or self._reveals(earlier) or not self._scored(scores[-1].scale):
            return f"Use what is known at {self.at}, or leave it out."
        return f"Use {earlier} or leave it out."

    def _scored(self, scale: str) -> bool:
        settings = self.clinical.scales[scale]
        return settings.column is not None or self.at in settings.columns


_TOLD = "a model that uses it would be told what it predicts"
_WRONG = {
    "clinical": _TOLD,
    "remove": _TOLD,
    "harmonise": _TOLD,
    "strata": "folds and permutations within it would depend on what is predicted",
    "leave_out": "a model of the others would know one outcome only",
}


def _after(point: str, at: str, order: Sequence[str]) -> bool:
    return point in order and at in order and order.index(point) > order.index(at)
