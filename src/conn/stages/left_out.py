"""Whom clinical analyses ask for and cannot have, worked out from cohort and runs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, TypeAdapter

from conn.config.association import Association
from conn.config.mediation import Mediation
from conn.config.model import Clinical, CombineRuns, Inference, Model
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.errors import ConnError
from conn.exclusions import ANALYSES, Exclusion
from conn.stages import association as association_stage
from conn.stages import predictors
from conn.stages import reliability as reliability_stage
from conn.stages.enrolment import Lost, enrol
from conn.stages.features import Scans
from conn.stages.mediation_rows import selected
from conn.stages.needs import Gaps, Needs
from conn.stages.prediction import asked_for
from conn.stages.replication import prepare

ReadScans = Callable[[str], Scans]
"""From the place of an analysis in the configuration to the scans that it may use."""

ReadTables = Callable[[], tuple[pd.DataFrame, pd.DataFrame]]
"""Gives `cohort.tsv` and `runs.tsv`."""


@dataclass(frozen=True)
class Replicated:
    """A replication, and what says who is in its trials: the model, settings of tests, order of data sets."""

    asked: Replication
    model: Model
    inference: Inference
    order: tuple[str, ...]


@dataclass(frozen=True)
class Analyses:
    """Every clinical analysis of a configuration, with what says who takes part.

    Attributes
    ----------
    clinical, combine_runs
        Of the configuration.
    association, mediation, prediction, reliability
        Options by name; the fields are named after the folders of the results.
    features
        Of each prediction: what its features need of a scan.
    replication
        Likewise by name.
    """

    clinical: Clinical = field(default_factory=Clinical)
    combine_runs: CombineRuns = "weighted"
    association: Mapping[str, Association] = field(default_factory=dict)
    mediation: Mapping[str, Mediation] = field(default_factory=dict)
    prediction: Mapping[str, Prediction] = field(default_factory=dict)
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    features: Mapping[str, Needs] = field(default_factory=dict)
    replication: Mapping[str, Replicated] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, frozenset[str]]:
        """Names of the analyses of each folder."""
        return {kind: frozenset(getattr(self, kind)) for kind in ANALYSES}


KINDS: dict[str, type[BaseModel]] = {
    "association": Association,
    "mediation": Mediation,
    "prediction": Prediction,
    "reliability": Reliability,
}


def to_record(analyses: Analyses) -> dict[str, Any]:
    """Analyses as JSON-ready values."""
    options = {
        kind: {name: one.model_dump(mode="json") for name, one in getattr(analyses, kind).items()}
        for kind in KINDS
    }
    features = {
        name: {
            "every": list(one.every),
            "sets": {k: list(v) for k, v in one.sets.items()},
            "partial": one.partial,
        }
        for name, one in analyses.features.items()
    }
    replication = {
        name: {
            "asked": one.asked.model_dump(mode="json"),
            "model": one.model.model_dump(mode="json"),
            "inference": one.inference.model_dump(mode="json"),
            "order": list(one.order),
        }
        for name, one in analyses.replication.items()
    }
    clinical = analyses.clinical.model_dump(mode="json")
    common = {"clinical": clinical, "combine_runs": analyses.combine_runs}
    return {**common, **options, "features": features, "replication": replication}


def from_record(record: Mapping[str, Any]) -> Analyses:
    """The analyses that `to_record` wrote down."""
    options: dict[str, Any] = {
        kind: {name: model.model_validate(one, strict=False) for name, one in record[kind].items()}
        for kind, model in KINDS.items()
    }
    return Analyses(
        clinical=Clinical.model_validate(record["clinical"], strict=False),
        combine_runs=record["combine_runs"],
        features={name: _needs(**one) for name, one in record["features"].items()},
        replication={name: _replicated(**one) for name, one in record["replication"].items()},
        **options,
    )


def _replicated(asked: Any, model: Any, inference: Any, order: Sequence[str]) -> Replicated:
    return Replicated(
        Replication.model_validate(asked, strict=False),
        TypeAdapter(Model).validate_python(model, strict=False),
        Inference.model_validate(inference, strict=False),
        tuple(order),
    )


def _needs(every: Sequence[str], sets: Mapping[str, Sequence[str]], partial: bool) -> Needs:
    return Needs(tuple(every), {name: tuple(own) for name, own in sets.items()}, partial)


def left_out(analyses: Analyses, scans: ReadScans, gaps: Gaps, tables: ReadTables) -> Iterator[Exclusion]:
    """A row for everybody whom an analysis asks for and lacks, as the analysis itself finds them.

    Parameters
    ----------
    analyses
        The analyses.
    scans
        Reads the scans.
    gaps
        What each run lacks; a prediction does not take people without any of its features.
    tables
        Reads the tables of people and of runs.

    Yields
    ------
    Exclusion
        Its stage is the kind of the analysis; its value holds the name and the reason.
    """
    for kind, name, lost in _each(analyses, scans, gaps, tables):
        for dataset, subject, reason in lost:
            value = f"{name}: {reason.replace('_', ' ')}"
            yield Exclusion(dataset, subject, stage=kind, reason="not_in_analysis", value=value)


def _each(
    analyses: Analyses, scans: ReadScans, gaps: Gaps, tables: ReadTables
) -> Iterator[tuple[str, str, Sequence[Lost]]]:
    """Kind, name, and whom it lacks; one that cannot be made is passed over, for its own job says why."""
    finders: dict[str, Callable[[str, Scans], Sequence[Lost]]] = {
        "association": lambda name, own: _unassociated(own, analyses.association[name], analyses.clinical),
        "mediation": lambda name, own: selected(name, own, analyses.mediation[name], analyses.clinical)[2],
        "prediction": lambda name, own: _unpredicted(own, name, analyses, gaps),
        "reliability": lambda name, own: _unmeasured(own, analyses.reliability[name], analyses.clinical),
    }
    for kind, find in finders.items():
        for name in getattr(analyses, kind):
            with suppress(ConnError):
                yield kind, name, find(name, scans(f"{kind}.{name}"))
    for name in analyses.replication:
        with suppress(ConnError):
            yield "replication", name, _unreplicated(name, analyses, *tables())


def _unreplicated(name: str, analyses: Analyses, cohort: pd.DataFrame, runs: pd.DataFrame) -> Sequence[Lost]:
    """People without a trial, and those whom the design of a contrast in their trial asks for and lacks."""
    one, combine = analyses.replication[name], analyses.combine_runs
    options = (one.asked, one.model, analyses.clinical, one.inference, cohort, runs)
    prepared = prepare(name, *options, order=one.order, combine_runs=combine)
    lost: list[Lost] = list(prepared.trials.unplaced)
    for contrast in prepared.designs:
        for trial in prepared.usable(contrast) if contrast not in prepared.skipped else ():
            lost += [(data, who, f"{contrast}: {why}") for data, who, why in trial.contrast.lost]
    return lost


def _unassociated(scans: Scans, asked: Association, clinical: Clinical) -> Sequence[Lost]:
    enrolled = enrol(scans, clinical, association_stage.asked_of(asked, clinical))
    return association_stage.lost_in(enrolled, asked, clinical)


def _unmeasured(scans: Scans, asked: Reliability, clinical: Clinical) -> Sequence[Lost]:
    enrolled = reliability_stage.enrolled_in(scans, asked, clinical)
    return reliability_stage.lost_in(scans, enrolled, asked)


def _unpredicted(scans: Scans, name: str, analyses: Analyses, gaps: Gaps) -> Sequence[Lost]:
    asked, clinical, needs = analyses.prediction[name], analyses.clinical, analyses.features[name]
    key = f"prediction.{name}"
    outcome = predictors.outcome_of(scans, asked, clinical, key)
    known = predictors.known_with(
        scans, asked, clinical, imaging(scans, asked, needs, gaps), needs.names, key
    )
    return [
        (*scans.people[row], reason)
        for row, reason in asked_for(scans, name, asked, clinical, outcome, known)
        if reason and reason not in predictors.NOT_ASKED_FOR
    ]


def imaging(scans: Scans, asked: Prediction, needs: Needs, gaps: Gaps) -> predictors.Floats:
    """Stands for the features of everybody: 0 where there is one, NaN where not.

    Parameters
    ----------
    scans
        Who was scanned when.
    asked
        The prediction.
    needs
        Its features.
    gaps
        What each run lacks.

    Returns
    -------
    ndarray of shape (n_people, n_features)
    """
    gone = needs.lacking(scans, scans.people, [asked.at], gaps)
    scanned = np.array([bool(scans.runs.get((person, asked.at))) for person in scans.people], dtype=bool)
    return np.where(gone | ~scanned[:, None], np.nan, 0.0)
