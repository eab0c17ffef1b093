"""A fitted pipeline as JSON: numbers and names alone, nothing that could run when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conn.clinic.prediction.combat import Harmonisation
from conn.clinic.prediction.people import Floats, People, people
from conn.clinic.prediction.pipeline import Fitted
from conn.clinic.prediction.steps import Reduction, Scaling, Steps
from conn.errors import InputError

FORMAT = "conn prediction model 1"


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted pipeline with the names of what it takes.

    Attributes
    ----------
    fitted
        The pipeline.
    features, clinical, covariates
        Names of the columns of imaging, clinical predictors and covariates, in this order.
    outcome
        What is predicted.
    uses_site
        Whether people's site is needed.
    """

    fitted: Fitted
    features: tuple[str, ...]
    clinical: tuple[str, ...]
    covariates: tuple[str, ...]
    outcome: str
    uses_site: bool

    def predict(
        self,
        names: Sequence[str],
        values: Mapping[str, Sequence[float]],
        site: Sequence[str] | None = None,
    ) -> Floats:
        """Predict new people.

        Parameters
        ----------
        names
            Who they are.
        values
            Column by name of feature, clinical predictor or covariate: one number of each person, NaN where
            it is missing.
        site
            Of each person, when the model was harmonised.

        Returns
        -------
        ndarray of shape (n,)
            Probability, or outcome in its units.

        Raises
        ------
        InputError
            A column is missing.
        """
        missing = [c for c in (*self.features, *self.clinical, *self.covariates) if c not in values]
        if missing:
            raise InputError(f"the model needs {len(missing)} more columns, such as {missing[0]!r}")
        if self.uses_site and site is None:
            raise InputError("the model was harmonised over sites; give the site of each person")
        return self.fitted.predict(self._people(names, values, site if self.uses_site else None))

    def _people(
        self, names: Sequence[str], values: Mapping[str, Sequence[float]], site: Sequence[str] | None
    ) -> People:
        def block(columns: Sequence[str]) -> Floats:
            rows = [np.asarray(values[column], dtype=np.float64) for column in columns]
            return np.stack(rows, axis=1) if rows else np.zeros((len(names), 0))

        return people(names, block(self.features), block(self.clinical), block(self.covariates), site)


def record(model: Model, versions: Mapping[str, str]) -> dict[str, Any]:
    """The model as JSON-ready values; numbers keep all their digits.

    Parameters
    ----------
    model
        The model.
    versions
        Of the programs that made it.
    """
    fitted = model.fitted
    return {
        "format": FORMAT,
        "versions": dict(versions),
        "kind": fitted.kind,
        "outcome": model.outcome,
        "features": list(model.features),
        "clinical": list(model.clinical),
        "covariates": list(model.covariates),
        "uses_site": model.uses_site,
        "intercept": fitted.intercept,
        "penalty": None if np.isnan(fitted.penalty) else fitted.penalty,
        "training_mean": fitted.centre,
        "imaging_coefficients": fitted.imaging.tolist(),
        "clinical_coefficients": fitted.clinical.tolist(),
        "steps": _steps_record(fitted.steps),
    }


def _steps_record(steps: Steps) -> dict[str, Any]:
    sites, kept = steps.sites, steps.reduction
    return {
        "fill": steps.fill.tolist(),
        "sites": None
        if sites is None
        else {
            "names": list(sites.sites),
            "mean": sites.mean.tolist(),
            "sd": sites.sd.tolist(),
            "shift": sites.shift.tolist(),
            "spread": sites.spread.tolist(),
        },
        "covariates": _scaling_record(steps.covariates),
        "slopes": steps.slopes.tolist(),
        "mean": steps.mean.tolist(),
        "sd": _finite(steps.sd),
        "selected": None if kept.chosen is None else kept.chosen.tolist(),
        "components": None if kept.components is None else kept.components.tolist(),
        "scale": kept.scale,
        "clinical": _scaling_record(steps.clinical),
    }


def _scaling_record(scaling: Scaling) -> dict[str, Any]:
    return {"fill": scaling.fill.tolist(), "mean": scaling.mean.tolist(), "sd": _finite(scaling.sd)}


def _finite(sd: Floats) -> list[float | None]:
    """Infinity, of a column that does not vary, is not JSON."""
    return [float(value) if np.isfinite(value) else None for value in sd]


def read(data: Any) -> Model:
    """The model from what `record` made.

    Raises
    ------
    InputError
        It is no such model, or not complete.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise InputError(f"this is no prediction model: format is {found!r}, not {FORMAT!r}")
    try:
        return _model(data)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the prediction model is damaged: {error!r}") from None


def _model(data: Mapping[str, Any]) -> Model:
    features, clinical, covariates = (tuple(data[k]) for k in ("features", "clinical", "covariates"))
    fitted = Fitted(
        data["kind"],
        _steps(data["steps"], len(features), len(covariates)),
        _array(data["imaging_coefficients"]),
        _array(data["clinical_coefficients"]),
        float(data["intercept"]),
        float("nan") if data["penalty"] is None else float(data["penalty"]),
        float(data["training_mean"]),
    )
    return Model(fitted, features, clinical, covariates, str(data["outcome"]), bool(data["uses_site"]))


def _steps(data: Mapping[str, Any], n_features: int, n_covariates: int) -> Steps:
    sites = data["sites"]
    chosen, components = data["selected"], data["components"]
    return Steps(
        _array(data["fill"]),
        None
        if sites is None
        else Harmonisation(
            tuple(sites["names"]),
            *(_array(sites[k]) for k in ("mean", "sd")),
            *(_array(sites[k]).reshape(len(sites["names"]), n_features) for k in ("shift", "spread")),
        ),
        _scaling(data["covariates"]),
        _array(data["slopes"]).reshape(n_covariates, n_features),
        _array(data["mean"]),
        _sd(data["sd"]),
        Reduction(
            None if chosen is None else np.asarray(chosen, dtype=np.int64),
            None if components is None else _array(components),
            float(data["scale"]),
        ),
        _scaling(data["clinical"]),
    )


def _scaling(data: Mapping[str, Any]) -> Scaling:
    return Scaling(_array(data["fill"]), _array(data["mean"]), _sd(data["sd"]))


def _array(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _sd(values: Sequence[float | None]) -> Floats:
    return np.array([np.inf if value is None else value for value in values], dtype=np.float64)
