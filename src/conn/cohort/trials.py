"""A data set in the cohort: its people, its time points, its runs, and where its sessions belong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from conn.cohort.names import as_text, did_you_mean, natural
from conn.cohort.reading import ClinicalData
from conn.config.model import Clinical
from conn.config.times import order_of
from conn.errors import ConfigError, InputError
from conn.exclusions import Exclusion
from conn.tables import MISSING


@dataclass(frozen=True)
class Trial:
    """One data set: its people, its time points, its runs, and where its sessions belong."""

    dataset: str
    data: ClinicalData
    people: tuple[str, ...]
    time_points: tuple[str, ...]
    runs: Mapping[tuple[str, str], Sequence[Mapping[str, str]]]
    sessions: Mapping[tuple[str, str], frozenset[str]]
    labels: Mapping[str, str]

    def place(self, subject: str, session: str, key: str) -> str | None:
        """The time point of a session: as its runs have it, else by the values of the labels."""
        points = self.sessions.get((subject, session), frozenset())
        if len(points) > 1:
            raise ConfigError(
                f"{key}: ses-{session} of sub-{subject} in {self.dataset} holds the time points "
                f"{', '.join(sorted(points))}, and a long table cannot tell them apart. "
                "Give one column per time point (columns) instead."
            )
        if points:
            return next(iter(points))
        point = self.labels.get(session, session)
        return point if point in self.time_points else None


def make_trial(
    dataset: str,
    clinical: Clinical,
    data: ClinicalData,
    runs: pd.DataFrame,
    labels: Mapping[str, Sequence[str]],
    only: Sequence[str],
) -> Trial:
    """The people, time points and runs of one data set."""
    records = [r for r in _records(runs) if r["dataset"] == dataset]
    points = _time_points(clinical, data, records, labels)
    keep = {label.removeprefix("sub-") for label in only} or set(data.listed)
    grouped: dict[tuple[str, str], list[Mapping[str, str]]] = defaultdict(list)
    sessions: dict[tuple[str, str], frozenset[str]] = defaultdict(frozenset)
    for record in records:
        if record["included"] == "true":
            grouped[(record["subject"], record["time_point"])].append(record)
        if MISSING not in (record["session"], record["time_point"]):
            sessions[(record["subject"], record["session"])] |= {record["time_point"]}
    return Trial(
        dataset=dataset,
        data=data,
        people=tuple(sorted(keep & set(data.listed))),
        time_points=points,
        runs={place: sorted(found, key=lambda r: r["run"]) for place, found in grouped.items()},
        sessions=dict(sessions),
        labels={value.removeprefix("ses-"): label for label, values in labels.items() for value in values},
    )


def _records(runs: pd.DataFrame) -> list[dict[str, str]]:
    names = ("run", "dataset", "subject", "session", "time_point", "frames_kept", "df", "mean_fd", "included")
    absent = [name for name in names if name not in runs.columns]
    if absent:
        raise InputError(f"runs.tsv has no column {absent[0]!r}; it is not a run table of this version")
    texts = [dict(zip(names, row, strict=True)) for row in as_text(runs[list(names)]).itertuples(index=False)]
    return [
        row | {"subject": row["subject"].removeprefix("sub-"), "session": row["session"].removeprefix("ses-")}
        for row in texts
    ]


def _time_points(
    clinical: Clinical,
    data: ClinicalData,
    records: Sequence[Mapping[str, str]],
    labels: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """In the order of the trial; scores may exist at time points without scans (a later endpoint)."""
    if labels:
        return order_of(labels, clinical)
    scored = {point for scale in clinical.scales.values() for point in scale.columns}
    sessions = {session for values in data.long.values() for _, session in values}
    asked = (clinical.baseline, clinical.endpoint, *(rule.at for rule in clinical.rules))
    named = {p for p in asked if p is not None and p in sessions}
    points = {r["time_point"] for r in records} - {MISSING} | named | scored
    ordered = sorted(points, key=lambda point: (point != clinical.baseline, natural(point)))
    return tuple(ordered) or (MISSING,)


def check_points(clinical: Clinical, trials: Sequence[Trial]) -> None:
    """Refuse a baseline or endpoint that is no time point."""
    known = list(dict.fromkeys(point for trial in trials for point in trial.time_points))
    named = {"baseline": clinical.baseline, "endpoint": clinical.endpoint}
    named |= {"response.at": clinical.response.at} if clinical.response else {}
    named |= {"remission.at": clinical.remission.at} if clinical.remission else {}
    for key, point in named.items():
        if point is not None and point not in known:
            raise ConfigError(
                f"clinical.{key}: {point!r} is none of the time points {', '.join(known)}."
                f"{did_you_mean(point, known)}"
            )


def people_notes(trial: Trial) -> Iterator[str]:
    """Who is in the tables but not in the folder, and runs and time points that lead nowhere."""
    scanned = set(trial.data.subjects) | {subject for subject, _ in trial.runs}
    absent = [subject for subject in trial.people if subject not in scanned]
    if absent:
        yield (
            f"{trial.dataset}: {len(absent)} of {len(trial.people)} subjects are in the clinical tables but "
            f"not in the data set: {some(absent)}"
        )
    lost = sum(len(runs) for (_, point), runs in trial.runs.items() if point not in trial.time_points)
    if lost:
        yield f"{trial.dataset}: {lost} included runs belong to no time point and are in no row of the cohort"
    for note in trial.data.notes:
        yield f"{trial.dataset}: {note}"
    reached = {point for _, point in trial.runs}
    for point in trial.time_points:
        if point not in reached and point != MISSING:
            yield f"{trial.dataset}: time point {point} has no included run"


def some(subjects: Sequence[str], most: int = 10) -> str:
    """The first of several subjects, and how many more there are."""
    names = ", ".join(f"sub-{subject}" for subject in subjects[:most])
    return f"{names} and {len(subjects) - most} more" if len(subjects) > most else names


def exclusions_of(trial: Trial, only: Mapping[str, Sequence[str]]) -> Iterator[Exclusion]:
    """Table rows that cannot be used, and people of the folder who are in no table."""
    for exclusion in trial.data.exclusions:
        yield replace(exclusion, dataset=trial.dataset)
    keep = {label.removeprefix("sub-") for label in only.get(trial.dataset, ())}
    scanned = set(trial.data.subjects) | {subject for subject, _ in trial.runs}
    for subject in sorted(scanned - set(trial.data.listed)):
        if keep and subject not in keep:
            continue
        bare = [label for label in trial.data.listed if label.lstrip("0") == subject.lstrip("0")]
        value = f"the table has {bare[0]}" if bare else MISSING
        yield Exclusion(trial.dataset, subject, stage="cohort", reason="not_in_table", value=value)
