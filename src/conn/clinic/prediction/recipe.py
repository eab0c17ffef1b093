"""Everything that a prediction does inside a fold, as settings without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["classifier", "regression"]
Reduce = Literal["none", "best", "pca"]

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class Recipe:
    """Settings of the pipeline. It holds no data, so nothing can be fitted outside a fold.

    Attributes
    ----------
    kind
        ``classifier``: logistic regression; ``regression``: linear regression. Both have an L2 penalty.
    penalties
        Candidates for the penalty of imaging, chosen by cross-validation inside the training part. Features
        are scaled so that 1 gives all of them together the prior weight of one standardised variable.
    clinical_penalty
        Penalty of each standardised clinical variable, the same with and without imaging. 1 is the prior that
        one SD changes the log odds by about 1; it keeps coefficients finite where a variable separates the
        classes.
    reduce
        ``none``: all features; ``best``: the `n_reduced` most related to the outcome in the training part;
        ``pca``: as many principal components of the training part.
    n_reduced
        See `reduce`.
    inner_folds
        Folds that choose the penalty.
    """

    kind: Kind
    penalties: tuple[float, ...] = PENALTIES
    clinical_penalty: float = 1.0
    reduce: Reduce = "none"
    n_reduced: int = 20
    inner_folds: int = 5
