"""Tables and summary of a replication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import multiplicity
from conn.config.replication import Replication
from conn.design import exchange_words
from conn.design.within import TrialDesign, Trials
from conn.stages.replication_fits import Fitted
from conn.tables import MISSING

Floats = NDArray[np.float64]
NAMES = ("contrast", "kind", "roi_a", "roi_b", "network")
"""First columns of both tables."""

TEXT = (*NAMES, "trial", "status")
"""Columns that hold words."""


@dataclass(frozen=True, eq=False)
class Family:
    """One contrast over the trials, for edges or for networks.

    Attributes
    ----------
    contrast
        Its name.
    kind
        ``edges`` or ``networks``.
    labels
        Regions of each edge; name and number of edges of each network.
    trials
        Names of the trials, in the order of `fitted`.
    fitted
        What was found.
    """

    contrast: str
    kind: Literal["edges", "networks"]
    labels: tuple[tuple[str, str], ...]
    trials: Sequence[str]
    fitted: Fitted

    @property
    def names(self) -> dict[str, Any]:
        """Columns that say what a feature is."""
        edges = self.kind == "edges"
        first, second = ([pair[side] for pair in self.labels] for side in (0, 1))
        gone = [MISSING] * len(self.labels)
        return {
            "contrast": self.contrast,
            "kind": self.kind.removesuffix("s"),
            "roi_a": first if edges else gone,
            "roi_b": second if edges else gone,
            "network": gone if edges else first,
        }


def tables(families: Sequence[Family], alpha: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of each feature over all trials, and one of each feature in each trial.

    Parameters
    ----------
    families
        With results.
    alpha
        Intervals have coverage 1 - alpha.
    """
    holm = multiplicity.holm_families([one.fitted.test.p_fwe for one in families])
    pooled = [_pooled(one).assign(p_holm=own) for one, own in zip(families, holm, strict=True)]
    trials = [_trial(one, place, alpha) for one in families for place in range(len(one.trials))]
    return pd.concat(pooled, ignore_index=True), pd.concat(trials, ignore_index=True)


def _pooled(family: Family) -> pd.DataFrame:
    found, common = family.fitted, family.fitted.common
    different, mean = found.heterogeneity, found.random.mean
    there = found.estimates.there
    return pd.DataFrame(
        {
            **family.names,
            "n_trials": found.estimates.n,
            "n": np.where(there, found.n, 0).sum(axis=0),
            "same_sign": found.same_sign,
            "estimate": common.effect,
            "se": common.se,
            "df": common.df,
            "ci_low": common.low,
            "ci_high": common.high,
            "z": found.test.z,
            "p": found.test.p,
            "p_fwe": found.test.p_fwe,
            "p_replicability": found.p_replicability,
            "p_replicability_holm": found.p_replicability_holm,
            "q": different.q,
            "q_df": different.df,
            "p_q": different.p,
            "p_q_chi2": different.p_chi2,
            "i2": different.i2,
            "i2_ci_low": different.i2_low,
            "i2_ci_high": different.i2_high,
            "tau2": np.where(found.estimates.n > 2, different.tau2, np.nan),
            "random_estimate": mean.effect,
            "random_se": mean.se,
            "random_df": mean.df,
            "random_ci_low": mean.low,
            "random_ci_high": mean.high,
            "predicted_low": found.random.predicted_low,
            "predicted_high": found.random.predicted_high,
        }
    )


def _trial(family: Family, place: int, alpha: float) -> pd.DataFrame:
    found = family.fitted.estimates
    low, high = found.limits(alpha)
    with np.errstate(invalid="ignore"):
        share = found.weights / found.weights.sum(axis=0)
    return pd.DataFrame(
        {
            **family.names,
            "trial": family.trials[place],
            "n": family.fitted.n[place],
            "estimate": found.effect[place],
            "se": found.se[place],
            "df": found.df[place],
            "ci_low": low[place],
            "ci_high": high[place],
            "stat": found.t[place],
            "p": family.fitted.p[place],
            "weight": share[place],
        }
    )


def summary(
    name: str,
    asked: Replication,
    trials: Trials,
    designs: Mapping[str, Sequence[TrialDesign]],
    skipped: Mapping[str, str],
    families: Sequence[Family],
    alpha: float,
) -> dict[str, Any]:
    """What was compared, in whom, and how chance was measured, as JSON-ready values."""
    return {
        "name": name,
        "model": asked.model,
        "by": trials.by,
        "alpha": alpha,
        "homeless": [list(one) for one in trials.homeless],
        "contrasts": {
            contrast: {"trials": [_of_trial(one) for one in several], "skipped": skipped.get(contrast)}
            for contrast, several in designs.items()
        },
        "families": [_of_family(one) for one in families],
    }


def _of_trial(one: TrialDesign) -> dict[str, Any]:
    if one.design is None:
        return {"trial": one.trial, "reason": one.reason}
    contrast = one.contrast
    return {
        "trial": one.trial,
        "words": contrast.words,
        "n": contrast.n,
        "columns": list(contrast.columns),
        "constant": list(one.constant),
        "exchange": exchange_words(contrast),
        "lost": [list(entry) for entry in contrast.lost],
    }


def _of_family(one: Family) -> dict[str, Any]:
    joint = one.fitted.joint
    return {
        "contrast": one.contrast,
        "kind": one.kind,
        "features": int(np.isfinite(one.fitted.test.p_fwe).sum()),
        "permutations": joint.n_set,
        "complete": joint.complete,
        "smallest_p": joint.smallest_p,
    }
