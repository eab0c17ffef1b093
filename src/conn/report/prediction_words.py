"""Predictions in the methods text."""

from __future__ import annotations

from collections.abc import Iterator

from conn.config.prediction import Prediction
from conn.points import at
from conn.report import undone
from conn.report.contract import Outputs
from conn.report.words import count, listed

_ALWAYS = (
    "Imputation, harmonisation, removal of covariates, scaling, the choice of features and the penalty were "
    "all learnt inside each training part, and folds were made of people. AUC was averaged within folds; "
    "intervals of cross-validated scores come from folds within folds (Bates et al. 2024), averaged with the "
    "corrected resampled variance (Nadeau and Bengio 2003), those of AUC with limits after Newcombe (2006). "
    "Tests are one-sided, with p = (b + 1) / (n + 1): for the whole, outcomes were permuted and everything "
    "was fitted again; for what imaging adds to clinical values, residuals of scans on clinical values were "
    "permuted (as Freedman and Lane 1983 do) with outcome and clinical values fixed."
)


def methods(outputs: Outputs) -> Iterator[str]:
    """Sentences on every prediction that was made."""
    made = undone.done(outputs, "prediction")
    for name in made:
        yield _one(name, outputs.config.prediction[name])
    if made:
        yield _ALWAYS
    if any(outputs.config.prediction[name].test for name in made):
        yield "The AUC in another data set has the interval of DeLong et al. (1988)."


def limits(outputs: Outputs) -> Iterator[str]:
    """What predictions cannot tell."""
    if undone.done(outputs, "prediction"):
        yield (
            "A score in people whom a model has not seen holds for people like these, scanned and treated "
            "like these; which features carry it is not tested."
        )


def _one(name: str, settings: Prediction) -> str:
    features = {
        "edges": "edges" if settings.edges == "all" else "chosen edges",
        "networks": f"the means of {listed(settings.networks)}",
        "seeds": f"maps of {listed(settings.seeds)}, averaged over cubes of {settings.parcel_mm:g} mm",
    }[settings.features]
    if settings.reduce != "none":
        kept = "most related to the outcome" if settings.reduce == "best" else "as principal components"
        features += f" ({settings.n_reduced} kept, {kept})"
    parts = [
        f"{name}: {settings.outcome} was predicted from {features}{at(settings.at)} by penalised regression, "
        f"in {settings.folds} folds dealt {count(settings.repeats, 'time')}, the penalty chosen by "
        f"{settings.inner_folds} folds inside, tested with {settings.permutations:,} permutations"
    ]
    if settings.strata or settings.harmonise:
        within = dict.fromkeys([*settings.strata, *([settings.harmonise] if settings.harmonise else [])])
        parts.append(f"within {listed(list(within))}")
    if settings.remove:
        parts.append(f"without what {listed(settings.remove)} explained")
    if settings.harmonise:
        parts.append(
            f"harmonised over {settings.harmonise} by ComBat (Johnson et al. 2007), which did not know the "
            "outcome"
        )
    if settings.test:
        parts.append(f"and the finished model was tested in {listed(settings.test)}")
    return f"{', '.join(parts)}."
