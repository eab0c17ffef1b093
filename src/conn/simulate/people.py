"""Participants: arms, scores, head motion, and the true connectivity of every scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.files import write_json
from conn.simulate.edges import true_z
from conn.simulate.jobs import ASSIGNMENT, MOTION, PERSON, stream
from conn.simulate.motion import HIGH, draw_motion, varied
from conn.simulate.scores import Score, draw_normals, scored, shift_by, tie
from conn.simulate.spec import CohortSpec
from conn.tables import MISSING, write_tsv

Array = NDArray[np.float64]
Record = tuple[int | None, ...]
"""A score of one person at each session; None where it is not on record."""

ARM = "arm"
"""Column of the arm."""

UNRELATED = ("age", "sex", "site")
"""Columns that neither connectivity nor scores have to do with."""

_SCORES = 4
"""Number of the stream of the first scale among a person's; the others follow."""


@dataclass(frozen=True)
class Person:
    """One participant.

    Attributes
    ----------
    number, label, arm, age, sex, site
        Who it is.
    scores
        First scale: one value per session, None when it is not on record.
    scanned
        Whether there is a scan, by session.
    further
        Other scales, by name.
    real
        First scale whether or not it is on record.
    """

    number: int
    label: str
    arm: str
    age: int
    sex: str
    site: str
    scores: Record
    scanned: tuple[bool, ...]
    further: Mapping[str, Record] = field(default_factory=dict)
    real: tuple[int, ...] = ()

    def on_scale(self, name: str) -> Record:
        """Scores on a scale; a name that no other scale has means the first."""
        return self.further.get(name, self.scores)


def draw_people(spec: CohortSpec) -> tuple[Person, ...]:
    """Participants of a trial; arms are dealt evenly in random order."""
    dealt = [spec.arms[i % len(spec.arms)] for i in range(spec.n_subjects)]
    order = stream(spec.seed, ASSIGNMENT).permutation(spec.n_subjects)
    labels = range(spec.first_label, spec.first_label + spec.n_subjects)
    width = max(2, len(str(labels[-1])))
    return tuple(_draw_person(spec, i, f"{n:0{width}d}", dealt[order[i]]) for i, n in enumerate(labels))


def _draw_person(spec: CohortSpec, number: int, label: str, arm: str) -> Person:
    rng = stream(spec.seed, PERSON, number, 0)
    age, sex, site = int(rng.integers(21, 60)), str(rng.choice(["F", "M"])), str(rng.choice(["A", "B"]))
    sessions = len(spec.sessions)
    scanned = (*[True] * (sessions - 1), number < spec.n_subjects - spec.missing_last)
    z = true_z(spec.edges, arm, *_deviations(spec, number), np.zeros((1, sessions)))
    first = draw_normals(rng, sessions, 1, stream(spec.seed, PERSON, number, _SCORES))
    real: tuple[int, ...] = ()
    records: dict[str, Record] = {}
    for place, score in enumerate(spec.scores):
        own = stream(spec.seed, PERSON, number, _SCORES + place)
        normals = tie(draw_normals(own, sessions, 1, own), first, score.tied) if place else first
        values = scored(score, arm, normals, shift_by(score, spec.edges, arm, z))[0]
        real = real or tuple(int(value) for value in values)
        records[score.name] = _on_record(spec, score, number, place, values, scanned)
    scores = records.pop(spec.score.name)
    return Person(number, label, arm, age, sex, site, scores, scanned, records, real)


def _on_record(
    spec: CohortSpec,
    score: Score,
    number: int,
    place: int,
    values: NDArray[np.int64],
    scanned: Iterable[bool],
) -> Record:
    """Scores without those that get lost: of sessions without a scan, and at random after the first."""
    lost = stream(spec.seed, PERSON, number, _SCORES + place, 1).random(len(values)) < score.missing
    lost[0] = False
    return tuple(
        int(value) if there and not gone else None
        for value, there, gone in zip(values, scanned, lost, strict=True)
    )


def _deviations(spec: CohortSpec, number: int) -> tuple[Array, Array]:
    """A person's own deviation and those of each scan at the planted edges, standard normal."""
    rng = stream(spec.seed, PERSON, number, 1)
    own = rng.standard_normal((1, len(spec.edges)))
    each = rng.standard_normal((1, len(spec.sessions), len(spec.edges)))
    return own, each


def person_z(spec: CohortSpec, person: Person, mean_change: float) -> Array:
    """True Fisher z of one person, without artefacts; ndarray of shape (n_sessions, n_edges).

    Parameters
    ----------
    spec, person
        Who.
    mean_change
        Mean change of the first score in all arms.
    """
    pull = np.array([value - person.real[0] for value in person.real], dtype=float) - mean_change
    pull[[not there for there in person.scanned]] = 0.0
    z: Array = true_z(spec.edges, person.arm, *_deviations(spec, person.number), pull[None, :])[0]
    return z


def scan_motion(spec: CohortSpec, person: Person, session: int) -> Array:
    """How a head moves in a trial in which an arm is restless; ndarray of shape (n_volumes, 6).

    Motion has a stream of its own here, since connectivity depends on it. In other trials it is drawn with
    the rest of a run.
    """
    rng = stream(spec.seed, MOTION, person.number, session)
    if too_restless(spec, person.number, session):
        return draw_motion(rng, spec.volumes, HIGH)
    motion = spec.motion
    if spec.restless is not None and session > 0:
        motion = spec.restless.motion if person.arm == spec.restless.arm else spec.motion
    spread = 0.0 if spec.restless is None else spec.restless.spread
    return draw_motion(rng, spec.volumes, varied(rng, motion, spread))


def too_restless(spec: CohortSpec, number: int, session: int) -> bool:
    """Whether a scan is one of the faulty ones of `high_motion`."""
    return session == len(spec.sessions) - 1 and 1 <= number <= spec.high_motion


def score_column(score: str, session: str) -> str:
    """Column of a scale at a session."""
    return f"{score}_ses-{session}"


def write_participants(out: Path, spec: CohortSpec, people: tuple[Person, ...]) -> None:
    """`participants.tsv` and `participants.json`, scores wide: one column per session."""
    rows = [
        {"participant_id": f"sub-{p.label}", "age": p.age, "sex": p.sex, ARM: p.arm, "site": p.site}
        | {
            score_column(score.name, session): MISSING if value is None else str(value)
            for score in spec.scores
            for session, value in zip(spec.sessions, p.on_scale(score.name), strict=True)
        }
        for p in people
    ]
    write_tsv(out / "participants.tsv", pd.DataFrame(rows))
    about = {
        "age": {"Description": "Age", "Units": "year"},
        "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
        ARM: {"Description": "Arm of the simulated trial", "Levels": {arm: arm for arm in spec.arms}},
        "site": {"Description": "Simulated site", "Levels": {"A": "site A", "B": "site B"}},
    }
    scores = {
        score_column(score.name, session): {"Description": f"{score.name}, simulated, session {session}"}
        for score in spec.scores
        for session in spec.sessions
    }
    write_json(out / "participants.json", about | scores)
