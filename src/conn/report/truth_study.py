"""Whether what an analysis of the study asks is what a truth of the simulator answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conn.config.clinical import Scale
from conn.config.model import Clinical
from conn.report.contract import Outputs
from conn.tables import MISSING

MOTION = "mean_fd"
RESPONSE = ("responder", "nonresponder")


@dataclass(frozen=True)
class TruthStudy:
    """The simulated trial, as the truth file states it, beside the study's own names.

    A truth is an answer to one question: of these people, these sessions, this scale, these arms. Every
    method says whether an option of an analysis means the same; what is not known is not the same.

    Attributes
    ----------
    truth
        The truth file.
    clinical
        Scales and variables of the study.
    sessions
        Session labels of the scans of each time point.
    """

    truth: Mapping[str, Any]
    clinical: Clinical
    sessions: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, outputs: Outputs) -> TruthStudy:
        """The trial that a report is about."""
        runs = outputs.runs
        sessions = {
            str(point): frozenset("" if name == MISSING else str(name) for name in rows)
            for point, rows in runs.groupby("time_point")["session"]
        }
        return cls(outputs.truth or {}, outputs.config.clinical, sessions)

    @property
    def _tables(self) -> Mapping[str, Any]:
        return dict(self.truth.get("tables") or {})

    def session(self, point: str | None) -> str | None:
        """The one session of a time point; None when it has several, or none."""
        found = self.sessions.get(str(point), frozenset())
        return next(iter(found)) if len(found) == 1 else None

    def is_first(self, point: str | None) -> bool:
        """Whether a time point is before treatment."""
        own = self.session(point)
        return own is not None and own == next(iter(self.truth.get("sessions", ())), None)

    def is_later(self, point: str | None) -> bool:
        """Whether a time point is after treatment began."""
        return self.session(point) in list(self.truth.get("sessions", ()))[1:]

    def spans(self, before: str | None, after: str | None) -> bool:
        """Whether two time points are one before treatment and one after it."""
        return self.is_first(before) and self.is_later(after)

    def is_arm(self, name: str | None) -> bool:
        """Whether a variable is the arm."""
        variable = self.clinical.variables.get(str(name))
        return variable is not None and variable.column == self._tables.get("arm")

    def arms_of(self, name: str | None, levels: Iterable[str]) -> tuple[str, ...]:
        """Levels of a variable as the simulator calls its arms; none when it is not the arm."""
        if not self.is_arm(name):
            return ()
        own = {new: old for old, new in self.clinical.variables[str(name)].levels.items()}
        return tuple(own.get(level, level) for level in levels)

    def sign(self, name: str | None, levels: Sequence[str], arms: Sequence[str]) -> int:
        """1 where the levels are the arms, -1 where they stand in the other order, else 0."""
        found = list(self.arms_of(name, levels))
        return 1 if found == list(arms) else -1 if found == list(arms)[::-1] else 0

    def people(self, subset: Mapping[str, Iterable[str]], arms: Iterable[str]) -> bool:
        """Whether an analysis takes all people of these arms and nobody else."""
        kept = {arm for name, levels in subset.items() for arm in self.arms_of(name, levels)}
        if len(subset) > 1 or (subset and not kept):
            return False
        return set(arms) == (kept or set(self.truth.get("groups", ())))

    def harmless(self, names: Iterable[str], roi_a: str, roi_b: str) -> bool:
        """Whether holding these constant leaves the truth of an edge as it is.

        So do columns that nothing depends on, the arm, and motion where no artefact sits on the edge.
        """
        return all(self._harmless(name, {roi_a, roi_b}) for name in names)

    def _harmless(self, name: str, pair: set[str]) -> bool:
        if name == MOTION:
            return all(pair != ends(one) for one in self.entries("artefact"))
        variable = self.clinical.variables.get(name)
        known = {self._tables.get("arm"), *self._tables.get("unrelated", ())}
        return variable is not None and variable.column in known

    def scale(self, name: str, score: str | None, *points: str | None) -> bool:
        """Whether a scale at these time points is that score at their sessions."""
        found = self.clinical.scales.get(name)
        columns = dict(self._scores(score).get("columns", {}))
        return found is not None and all(
            self.session(point) is not None and _column(found, point) == columns.get(self.session(point))
            for point in points
        )

    def reference(self, text: str, score: str | None, before: str, after: str) -> str:
        """``change``, or the time point, of a reference to that score (`MADRS.change`); else nothing."""
        name, _, what = text.partition(".")
        if what == "change":
            counted = self.clinical.baseline
            return what if counted == before and self.scale(name, score, before, after) else ""
        return what if what == after and self.scale(name, score, before, after) else ""

    def responds(self, score: str | None) -> bool:
        """Whether the rule of response is that of the simulator."""
        rule, stated = self.clinical.response, self._scores(score)
        if rule is None or rule.missing != "exclude" or rule.percent != stated.get("response_percent"):
            return False
        before, after = self.clinical.baseline, self.clinical.point_of(rule)
        better = self.clinical.scales[rule.scale].direction == "higher_is_better"
        return (
            self.spans(before, after)
            and self.scale(rule.scale, score, before, after)
            and better == stated.get("higher_is_better")
            and self.clinical.scales[rule.scale].zero == 0
        )

    def improving(self, score: str | None) -> int:
        """1 when a higher score is better, else -1."""
        return 1 if self._scores(score).get("higher_is_better") else -1

    def entries(self, kind: str) -> list[Mapping[str, Any]]:
        """Clinical truths of a kind."""
        found = [one for one in self.truth.get("clinical", ()) if isinstance(one, Mapping)]
        return [one for one in found if one.get("kind") == kind]

    def _scores(self, score: str | None) -> Mapping[str, Any]:
        return dict(dict(self._tables.get("scores", {})).get(str(score), {}))


def ends(entry: Mapping[str, Any]) -> set[str]:
    """The two regions of an entry."""
    return {str(entry.get("roi_a")), str(entry.get("roi_b"))}


def _column(scale: Scale, point: str | None) -> str | None:
    return scale.columns.get(str(point))
