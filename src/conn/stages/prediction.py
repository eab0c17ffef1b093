"""Stage prediction: from scans at one time point and the cohort to honest scores and a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import conn
from conn import paths
from conn.clinic.prediction import model_file
from conn.clinic.prediction.analysis import Plan, predict
from conn.clinic.prediction.people import People, people
from conn.clinic.prediction.recipe import Recipe
from conn.clinic.prediction.summary import Asked, sentences, summary
from conn.config.model import Clinical, CombineRuns
from conn.config.prediction import Prediction
from conn.errors import TooLittleDataError
from conn.files import write_json
from conn.lock import EXPLORATORY
from conn.stages import predictors
from conn.stages.features import Scans, scans
from conn.stages.predictors import Known, Outcome
from conn.tables import write_tsv

KIND = "prediction"
"""Folder of the results."""

COLUMNS = ("dataset", "subject", "part", "repeat", "fold", "observed", "predicted", "predicted_clinical")
"""Of the table."""


def prediction(
    out: Path,
    name: str,
    settings: Prediction,
    clinical: Clinical,
    combine_runs: CombineRuns,
    edges: Mapping[str, Sequence[Sequence[str | int]]],
    *,
    seed: int,
    alpha: float,
    workers: int = 1,
    status: str = EXPLORATORY,
) -> None:
    """Predict, and write `prediction/<name>.tsv`, `<name>_model.json` and, last, `<name>.json`.

    Parameters
    ----------
    out
        Output folder.
    name
        Of the prediction.
    settings, clinical, combine_runs
        Of the configuration.
    edges
        Edges of each network, with a sign or without, or of the prediction under an empty name; empty for all
        edges.
    seed
        Of folds, permutations and bootstrap.
    alpha
        Intervals cover 1 - alpha.
    workers
        Processes for permutations.
    status
        What the lock says of it, see `conn.lock.label`.

    Raises
    ------
    DesignError, ConfigError
        A reference means nothing, or too few people for the folds.
    TooLittleDataError
        Nobody has both scan and outcome.
    """
    table = scans(out, f"{KIND}.{name}", combine_runs)
    outcome = predictors.outcome_of(table, settings, clinical, f"{KIND}.{name}")
    known = predictors.known(table, settings, clinical, edges, f"{KIND}.{name}")
    chosen = chosen_people(table, name, settings, clinical, outcome, known)
    recipe = _recipe(settings, outcome)
    plan = Plan(
        settings.folds,
        settings.repeats,
        settings.permutations,
        settings.permuted_repeats,
        settings.learning_curve,
        seed,
        alpha,
    )
    who, truth = chosen.people(known, outcome, chosen.training)
    print(
        f"{who.n} people, {len(known.features)} features, {len(known.clinical)} clinical predictors",
        flush=True,
    )
    found = predict(
        who,
        truth,
        recipe,
        plan,
        strata=known.strata_of(chosen.training),
        groups=known.groups_of(chosen.training),
        others=chosen.people(known, outcome, chosen.tested) if chosen.tested.size else None,
        workers=workers,
        progress=lambda what: print(what, flush=True),
    )
    asked = _asked(name, settings, known, outcome, chosen)
    record = summary(asked, found, truth, plan)
    model = model_file.Model(
        found.fitted,
        known.features,
        known.clinical,
        known.covariates,
        settings.outcome,
        settings.harmonise is not None,
    )
    versions = {package: version(package) for package in ("numpy", "scipy", "scikit-learn")}
    write_tsv(out / paths.analysis(KIND, name, ".tsv"), _table(chosen, found, truth, outcome))
    write_json(
        out / paths.analysis(KIND, f"{name}_model"),
        model_file.record(model, {"conn": conn.__version__, **versions}),
    )
    record |= {"words": sentences(record), "status": status}
    write_json(out / paths.analysis(KIND, name), record)


def _recipe(settings: Prediction, outcome: Outcome) -> Recipe:
    return Recipe(
        outcome.kind,
        settings.penalties,
        settings.clinical_penalty,
        settings.reduce,
        settings.n_reduced,
        settings.inner_folds,
    )


@dataclass(frozen=True, eq=False)
class Chosen:
    """Who takes part: rows of everybody that train and test, and who was left out with the reason."""

    everybody: tuple[tuple[str, str], ...]
    training: np.ndarray[Any, np.dtype[np.int64]]
    tested: np.ndarray[Any, np.dtype[np.int64]]
    excluded: tuple[tuple[str, str, str], ...]

    def people(self, known: Known, outcome: Outcome, rows: Any) -> tuple[People, Any]:
        """Values and outcomes of some rows."""
        names = ["/".join(self.everybody[row]) for row in rows]
        site = None if known.site is None else known.site[rows]
        who = people(names, known.imaging[rows], known.predictors[rows], known.removed[rows], site)
        return who, outcome.numbers[rows]


def chosen_people(
    table: Scans, name: str, settings: Prediction, clinical: Clinical, outcome: Outcome, known: Known
) -> Chosen:
    """Who trains and who is tested.

    Parameters
    ----------
    table, name, settings, clinical
        See `prediction`.
    outcome, known
        Of everybody in the cohort.

    Raises
    ------
    ConfigError
        A value of `subset` that nobody has.
    TooLittleDataError
        Nobody is left.
    """
    training, tested, excluded = [], [], []
    for row, reason in asked_for(table, name, settings, clinical, outcome, known):
        dataset, subject = table.people[row]
        if reason:
            excluded.append((dataset, subject, reason))
        elif dataset in settings.test:
            tested.append(row)
        else:
            training.append(row)
    if not training or (settings.test and not tested):
        counts = pd.Series([reason for *_, reason in excluded]).value_counts()
        why = ", ".join(f"{reason} {n}" for reason, n in counts.items())
        part = "train on" if not training else f"test in ({', '.join(settings.test)})"
        raise TooLittleDataError(f"{KIND}.{name}: nobody is left to {part}: {why or 'no such people'}")
    return Chosen(table.people, np.array(training), np.array(tested, dtype=np.int64), tuple(excluded))


def asked_for(
    table: Scans, name: str, settings: Prediction, clinical: Clinical, outcome: Outcome, known: Known
) -> Iterator[tuple[int, str]]:
    """Everybody in the data sets of a prediction.

    Parameters
    ----------
    table, name, settings, clinical, outcome, known
        See `chosen_people`.

    Yields
    ------
    int, str
        Row of `table.people`, and why the person cannot take part; empty when nothing stands against it.
    """
    outside = predictors.outside_of(table, settings, clinical, f"{KIND}.{name}")
    for row, person in enumerate(table.people):
        if settings.train and person[0] not in (*settings.train, *settings.test):
            continue
        scanned = bool(table.runs.get((person, settings.at)))
        yield row, outside[row] or _reason(row, scanned, outcome, known)


def _reason(row: int, scanned: bool, outcome: Outcome, known: Known) -> str:
    """Why somebody of the subset cannot take part; empty when nothing stands against it."""
    if row in outcome.aside:
        return predictors.THIRD_CLASS
    if np.isnan(outcome.numbers[row]):
        return "no_outcome"
    if np.isnan(known.imaging[row]).all():
        return "no_features" if scanned else "no_scan"
    for labels, reason in ((known.site, "no_site"), (known.strata, "no_stratum"), (known.groups, "no_group")):
        if labels is not None and labels[row] == "":
            return reason
    return ""


def _asked(name: str, settings: Prediction, known: Known, outcome: Outcome, chosen: Chosen) -> Asked:
    rows = np.concatenate([chosen.training, chosen.tested])
    values = known.imaging[rows]
    return Asked(
        name=name,
        outcome=settings.outcome,
        event=outcome.event,
        kind=outcome.kind,
        at=settings.at,
        features=settings.features,
        n_features=len(known.features),
        clinical=known.clinical,
        removed=known.covariates,
        harmonised=settings.harmonise,
        strata=settings.strata,
        reduced="" if settings.reduce == "none" else f"{settings.reduce} {settings.n_reduced}",
        train=settings.train,
        test=settings.test,
        baseline_missing=predictors.lacks_baseline(settings, known),
        excluded=chosen.excluded,
        filled=int(np.isnan(values).sum() + np.isnan(known.predictors[rows]).sum()),
        n_values=int(values.size + known.predictors[rows].size),
        n_tested=int(chosen.tested.size),
        model=paths.analysis(KIND, f"{name}_model").name,
    )


def _table(chosen: Chosen, found: Any, truth: Any, outcome: Outcome) -> pd.DataFrame:
    """Predictions of everybody: by repeat, of left-out sites, and in other data sets."""
    names = [chosen.everybody[row] for row in chosen.training]
    parts = []
    for repeat, fold in enumerate(found.found.fold):
        clinical = None if found.clinical_found is None else found.clinical_found.predicted[repeat]
        part = _rows(names, "cross_validation", truth, found.found.predicted[repeat], clinical)
        parts.append(part.assign(repeat=repeat + 1, fold=fold + 1))
    if found.sites is not None:
        parts.append(_rows(names, "left_out", truth, found.sites.predicted, None))
    if found.outside is not None:
        others = [chosen.everybody[row] for row in chosen.tested]
        clinical = None if found.clinical_outside is None else found.clinical_outside.predicted
        observed = outcome.numbers[chosen.tested]
        parts.append(_rows(others, "test", observed, found.outside.predicted, clinical))
    table = pd.concat(parts, ignore_index=True)
    table = table.reindex(columns=list(COLUMNS))
    return table.astype({"repeat": "Int64", "fold": "Int64"})


def _rows(
    names: Sequence[tuple[str, str]], part: str, observed: Any, predicted: Any, clinical: Any
) -> pd.DataFrame:
    frame = pd.DataFrame(names, columns=["dataset", "subject"])
    alone = np.full(len(names), np.nan) if clinical is None else clinical
    return frame.assign(part=part, observed=observed, predicted=predicted, predicted_clinical=alone)
