"""Options of prediction: could the scan have told the outcome?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from conn.config.base import Label, Name, Positive, Section
from conn.config.clinical import Clinical
from conn.config.times import scores_of


class Prediction(Section):
    """Predict an outcome from scans at one time point, judged in people whom the model has not seen. Everything that is learnt, the choice of features and harmonisation included, is learnt anew inside every fold; there is no option to do it outside."""

    at: Label
    """Time point of the scans, normally the baseline."""
    outcome: str
    """What is predicted: `response`, `remission` or another category (by penalised logistic regression), or a number such as `MADRS.post` or `MADRS.change` (by ridge regression). For a score after treatment, the score before it belongs to `clinical`, where it stands unless you say otherwise."""
    event: str | None = None
    """Value of a category whose probability is predicted. Needed unless the outcome is `response` (`responder`) or `remission` (`remitted`)."""
    against: str | None = None
    """The other value of a category that has more than two. Empty: all others."""
    features: Literal["edges", "networks", "seeds"] = "edges"
    """What of a scan: single edges, the means of declared networks, or seed maps."""
    edges: tuple[tuple[str, str], ...] | str = "all"
    """With `features: edges`: `all`, a list of pairs, or the name of a network (`conn rois networks`)."""
    edge_measure: Literal["pearson", "partial"] = "pearson"
    """Whether an edge is a Pearson correlation, or the partial one of `connectivity.partial`."""
    networks: tuple[str, ...] = ()
    """With `features: networks`: their names."""
    seeds: tuple[str, ...] = ()
    """With `features: seeds`: labels of the maps."""
    parcel_mm: Positive = 12.0
    """With `features: seeds`: maps are averaged over cubes of this edge in mm, which looks at no outcome and keeps their number near a thousand."""
    clinical: tuple[str, ...] | None = None
    """Clinical predictors, known at the time of the scan, as in `[MADRS.pre, age]`; what is made of a later score is refused. They have a light penalty of their own, and what they predict without imaging is shown beside. Empty: the baseline of the scale that the outcome is of. `[]`: none."""
    remove: tuple[str, ...] = ("mean_fd",)
    """Covariates that are removed from every feature inside the fold, as slopes of the training part. Like clinical predictors, they are known at the time of the scan."""
    harmonise: Name | None = None
    """A category such as site or scanner: location and scale of features are brought together (ComBat) inside the fold. The outcome is never preserved. Permutations stay within its values. It is known at the time of the scan, and is not the outcome."""
    subset: dict[Name, tuple[str, ...]] = {}
    """Keep only people whose variable has one of these values, as in `arm: [ketamine]`."""
    strata: tuple[Name, ...] = ()
    """Categories that folds are balanced over, and within which people are permuted. They are known at the time of the scan, and none is the outcome."""
    leave_out: Name | None = None
    """A category such as site, or `dataset`: each of its values is also predicted by a model of all others."""
    train: tuple[Label, ...] = ()
    """Data sets that the model is made and cross-validated in. Empty: all."""
    test: tuple[Label, ...] = ()
    """Data sets that the finished model is tested in, as a fixed score. Empty: none."""
    penalties: Annotated[tuple[Positive, ...], Field(min_length=1)] = (
        0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0,
    )  # fmt: skip
    """Candidates for the penalty of imaging, chosen by folds inside the training part. Features are scaled so that with 1, all of them together have the prior weight of one standardised variable."""
    clinical_penalty: Positive = 1.0
    """Penalty of each standardised clinical predictor."""
    reduce: Literal["none", "best", "pca"] = "none"
    """Inside the fold: keep all features, the `n_reduced` most related to the outcome, or as many principal components."""
    n_reduced: Annotated[int, Field(ge=1)] = 20
    """See `reduce`."""
    folds: Annotated[int, Field(ge=3)] = 5
    """Folds of cross-validation. The smaller class needs at least 7 people with 4, 5 or 6 folds, 11 with 3, and one more than folds with more than 6."""
    inner_folds: Annotated[int, Field(ge=2)] = 5
    """Folds inside the training part that choose the penalty."""
    repeats: Annotated[int, Field(ge=1)] = 10
    """Times that people are dealt to folds anew. The interval is made of pairs of folds of all repeats."""
    permutations: Annotated[int, Field(ge=200)] = 500
    """Permutations of each test; the whole pipeline is fitted again in each."""
    permuted_repeats: Annotated[int, Field(ge=1)] = 1
    """Repeats that the tested score is the mean of, the same for the observed and the permuted ones."""
    learning_curve: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.4, 0.6, 0.8, 1.0)
    """Shares of the training part to train on. Empty: no learning curve."""
    confirmatory: bool = False
    """Planned before the data were seen, as a whole; `conn lock` writes it down. Otherwise it is labelled exploratory."""

    @model_validator(mode="after")
    def _fits(self) -> Prediction:
        for kind in ("networks", "seeds"):
            if (self.features == kind) != bool(getattr(self, kind)):
                raise ValueError(f"{kind}: name them with features: {kind}, and only then")
        if self.permuted_repeats > self.repeats:
            raise ValueError(
                f"permuted_repeats is {self.permuted_repeats}, more than repeats ({self.repeats})"
            )
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ValueError(f"{both[0]} is under both train and test; a model is tested in other people")
        if self.test and not self.train:
            raise ValueError("test needs train, the data sets that the model is made in")
        return self

    def predictors(self, clinical: Clinical) -> tuple[str, ...]:
        """Clinical predictors; unless stated, the baseline of the scale that the outcome is of."""
        if self.clinical is not None:
            return self.clinical
        scores = scores_of(self.outcome, clinical)
        if not scores or clinical.baseline is None or self.outcome in clinical.variables:
            return ()
        own = f"{scores[-1].scale}.{clinical.baseline}"
        return () if own == self.outcome else (own,)

    def used(self, clinical: Clinical) -> dict[str, tuple[str, ...]]:
        """References that models, folds and permutations use, by option."""
        return {
            "clinical": self.predictors(clinical),
            "remove": self.remove,
            "harmonise": () if self.harmonise is None else (self.harmonise,),
            "strata": self.strata,
            "leave_out": () if self.leave_out is None else (self.leave_out,),
        }
