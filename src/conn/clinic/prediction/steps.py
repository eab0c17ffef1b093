"""What happens to features between the scan and the model, learnt from the training part alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conn.clinic.prediction import combat
from conn.clinic.prediction.combat import Harmonisation
from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Scaling:
    """Fill in the mean, subtract it, divide by the SD.

    Attributes
    ----------
    fill
        ndarray of shape (n_columns,): stands for a missing value.
    mean, sd
        ndarrays of shape (n_columns,). A column that does not vary has SD infinity and so becomes 0.
    """

    fill: Floats
    mean: Floats
    sd: Floats

    def apply(self, values: Floats) -> Floats:
        """Scaled columns of shape (n, n_columns), without missing values."""
        return (filled(values, self.fill) - self.mean) / self.sd


@dataclass(frozen=True, eq=False)
class Reduction:
    """All features, a choice of them, or components.

    Attributes
    ----------
    chosen
        Indices of the features that are kept; None for all.
    components
        ndarray of shape (n_features, n_components) of orthonormal columns; None without.
    scale
        Factor that gives all that is kept, together, the variance of one standardised variable.
    """

    chosen: Ints | None
    components: Floats | None
    scale: float

    def apply(self, scaled: Floats) -> Floats:
        """What is kept, of shape (n, n_kept)."""
        if self.components is not None:
            scaled = scaled @ self.components
        elif self.chosen is not None:
            scaled = scaled[:, self.chosen]
        return np.asarray(scaled * self.scale)

    def undo(self, coefficients: Floats, n_features: int) -> Floats:
        """Coefficients of features, of shape (n_features,), from those of what is kept."""
        if self.components is not None:
            return np.asarray(self.components @ coefficients * self.scale)
        result = np.zeros(n_features)
        result[slice(None) if self.chosen is None else self.chosen] = coefficients * self.scale
        return result


@dataclass(frozen=True, eq=False)
class Steps:
    """Imputation, harmonisation, covariates, scaling and reduction, in this order.

    Attributes
    ----------
    fill
        ndarray of shape (n_features,): mean of the training part, for missing values.
    sites
        What harmonisation learnt; None without.
    covariates
        Of the covariates.
    slopes
        ndarray of shape (n_covariates, n_features): what is subtracted per SD of a covariate.
    mean, sd
        ndarrays of shape (n_features,), after what stands before.
    reduction
        What becomes of scaled features.
    clinical
        Of the clinical predictors.
    """

    fill: Floats
    sites: Harmonisation | None
    covariates: Scaling
    slopes: Floats
    mean: Floats
    sd: Floats
    reduction: Reduction
    clinical: Scaling

    def imaging_of(self, people: People) -> Floats:
        """Features for the model, of shape (n, n_kept)."""
        return self.reduction.apply(self.scaled(people))

    def scaled(self, people: People) -> Floats:
        """Features before reduction, of shape (n, n_features)."""
        values = _adjusted(people, self.fill, self.sites, self.covariates, self.slopes)
        return (values - self.mean) / self.sd


def filled(values: Floats, fill: Floats) -> Floats:
    """Values with `fill` where they are missing."""
    missing = np.isnan(values)
    return np.where(missing, fill, values) if missing.any() else values


def learn(training: People, outcome: Floats, recipe: Recipe) -> Steps:
    """Learn all steps.

    Parameters
    ----------
    training
        People of the training part.
    outcome
        ndarray of shape (n,): theirs; only the choice of features looks at it.
    recipe
        Which steps.
    """
    fill = means(training.imaging)
    sites = None
    if training.site is not None and training.imaging.shape[1]:
        sites = combat.learn(filled(training.imaging, fill), training.site)
    covariates = _scaling(training.covariates)
    slopes = np.zeros((training.covariates.shape[1], training.imaging.shape[1]))
    values = _adjusted(training, fill, sites, covariates, slopes)
    if slopes.size:
        slopes = np.linalg.lstsq(covariates.apply(training.covariates), values - values.mean(axis=0))[0]
        values = values - covariates.apply(training.covariates) @ slopes
    mean, sd = values.mean(axis=0), _spread(values)
    reduction = _reduction((values - mean) / sd, outcome, recipe)
    return Steps(fill, sites, covariates, slopes, mean, sd, reduction, _scaling(training.clinical))


def _adjusted(
    people: People, fill: Floats, sites: Harmonisation | None, covariates: Scaling, slopes: Floats
) -> Floats:
    values = filled(people.imaging, fill)
    if sites is not None and people.site is not None:
        values = sites.apply(values, people.site)
    return values - covariates.apply(people.covariates) @ slopes if slopes.size else values


def means(values: Floats) -> Floats:
    """Mean of what is there in each column, of shape (n_columns,); 0 for a column without any value."""
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.asarray(total / np.maximum(there.sum(axis=0), 1))


def _spread(values: Floats) -> Floats:
    """SD of columns; infinity for one that does not vary, which has nothing to say."""
    sd = values.std(axis=0)
    least = 1e-10 * np.abs(values).max(axis=0, initial=0.0)
    return np.where(sd > least, sd, np.inf)


def _scaling(values: Floats) -> Scaling:
    fill = means(values)
    complete = filled(values, fill)
    return Scaling(fill, complete.mean(axis=0), _spread(complete))


def _reduction(scaled: Floats, outcome: Floats, recipe: Recipe) -> Reduction:
    n_features = scaled.shape[1]
    if n_features == 0 or recipe.reduce == "none":
        return Reduction(None, None, 1 / np.sqrt(max(n_features, 1)))
    if recipe.reduce == "best":
        chosen = best(scaled, outcome, recipe.n_reduced)
        return Reduction(chosen, None, 1 / np.sqrt(chosen.size))
    return _components(scaled, recipe.n_reduced)


def best(scaled: Floats, outcome: Floats, n_best: int) -> Ints:
    """The features most correlated with the outcome, in their order.

    With a class as outcome this ranks them by |t| of the pooled two-sample test.
    """
    related = np.abs((outcome - outcome.mean()) @ scaled)
    return np.sort(np.argsort(-related, kind="stable")[:n_best])


def _components(scaled: Floats, n_components: int) -> Reduction:
    """Principal components, together of the variance 1 that one standardised variable has."""
    _, singular, axes = np.linalg.svd(scaled, full_matrices=False)
    n_kept = min(n_components, int((singular > 1e-10 * singular[0]).sum()))
    variance = float((singular[:n_kept] ** 2).sum()) / scaled.shape[0]
    # A sign for every component, so that results do not depend on the library that found it.
    signs = np.sign(axes[np.arange(n_kept), np.abs(axes[:n_kept]).argmax(axis=1)])
    return Reduction(None, (axes[:n_kept] * signs[:, None]).T, 1 / np.sqrt(variance))
