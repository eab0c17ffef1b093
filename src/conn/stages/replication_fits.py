"""One contrast fitted within each trial: estimates, and z of every rearrangement, feature by feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn import multiplicity
from conn.clinic import pooling
from conn.clinic.pooled_test import JointSet, PooledTest, joint_set, pooled_test
from conn.clinic.pooling import Estimates
from conn.design import DesignContrast
from conn.glm import t_to_z
from conn.stages.rows import Rows, rearrangements, tested
from conn.stages.tested import Tested

Floats = NDArray[np.floating[Any]]

FEATURES_AT_A_TIME = 512
"""Whose statistics under every rearrangement are held at once."""


@dataclass(frozen=True)
class Chance:
    """How chance is measured.

    Attributes
    ----------
    permutations
        Number of rearrangements.
    seed
        They start from it.
    alpha
        Intervals have coverage 1 - alpha.
    min_share
        Share of rows with a value from which a feature is tested.
    """

    permutations: int
    seed: int
    alpha: float = 0.05
    min_share: float = 1.0

    def of_trial(self, place: int) -> int:
        """Seed of a trial: trials of one size must not be rearranged in step."""
        return int(np.random.SeedSequence([self.seed, place]).generate_state(1)[0])


@dataclass(frozen=True, eq=False)
class TrialRows:
    """One trial: its design and its data.

    Attributes
    ----------
    contrast
        Compiled for its people.
    rows
        Their values of every feature.
    """

    contrast: DesignContrast
    rows: Rows

    @property
    def weight(self) -> float:
        """Precision that the design alone promises, the root of it: the same under every rearrangement."""
        inverse = np.linalg.inv(self.contrast.matrix.T @ self.contrast.matrix)
        return float(1 / np.sqrt(self.contrast.contrast @ inverse @ self.contrast.contrast))


@dataclass(frozen=True, eq=False)
class Fitted:
    """One contrast over several trials; arrays of shape (n_trials, n_features) or (n_features,).

    Attributes
    ----------
    estimates
        Of the trials.
    n
        Rows with a value.
    p
        Uncorrected p of every trial by its own rearrangements.
    common, heterogeneity, random, test
        Over the trials.
    same_sign
        Trials that agree in their sign.
    p_replicability, p_replicability_holm
        That fewer than two trials have an effect in one direction; and by Holm over the features.
    joint
        The rearrangements of all trials.
    """

    estimates: Estimates
    n: NDArray[np.int64]
    p: Floats
    common: pooling.Pooled
    heterogeneity: pooling.Heterogeneity
    random: pooling.RandomEffects
    test: PooledTest
    same_sign: NDArray[np.int64]
    p_replicability: Floats
    p_replicability_holm: Floats
    joint: JointSet


def fit(trials: Sequence[TrialRows], chance: Chance) -> Fitted:
    """Fit a contrast within every trial and put the trials together.

    Parameters
    ----------
    trials
        Two or more, with the same features.
    chance
        Rearrangements and level.

    Returns
    -------
    Fitted
    """
    joint = joint_of([one.contrast for one in trials], chance)
    parts: list[list[Tested]] = []
    test = pooled_test(_blocks(trials, chance, parts), [one.weight for one in trials], joint)
    found = pooling.estimates(*(_stacked(parts, name) for name in ("effect", "se", "df")))
    different = pooling.heterogeneity(found, chance.alpha)
    p_replicability = pooling.replicability(found)
    return Fitted(
        estimates=found,
        n=np.concatenate([np.stack([one.n for one in block]) for block in parts], axis=1),
        p=_stacked(parts, "p"),
        common=pooling.common_effect(found, chance.alpha),
        heterogeneity=different,
        random=pooling.random_effects(found, different.tau2, chance.alpha),
        test=test,
        same_sign=pooling.same_sign(found),
        p_replicability=p_replicability,
        p_replicability_holm=multiplicity.holm(p_replicability),
        joint=joint,
    )


def joint_of(contrasts: Sequence[DesignContrast], chance: Chance) -> JointSet:
    """Rearrangements of all trials at once.

    Parameters
    ----------
    contrasts
        Of every trial.
    chance
        Their number and seed.
    """
    sets = [
        rearrangements(one, chance.permutations, chance.of_trial(place))
        for place, one in enumerate(contrasts)
    ]
    return joint_set(sets, chance.permutations, chance.seed)


def _stacked(parts: Sequence[Sequence[Tested]], name: str) -> Floats:
    """Results of all blocks, of shape (n_trials, n_features); NaN where a trial could not be tested."""
    blocks = [
        np.stack([np.where(one.result.valid, getattr(one.result, name), np.nan) for one in block])
        for block in parts
    ]
    return np.concatenate(blocks, axis=1)


def _blocks(
    trials: Sequence[TrialRows], chance: Chance, parts: list[list[Tested]]
) -> Iterator[tuple[list[Floats], NDArray[np.bool_]]]:
    """Test some features after the other; what is found is put to `parts`."""
    n_features = trials[0].rows.values.shape[-1]
    for start in range(0, n_features, FEATURES_AT_A_TIME):
        features = np.arange(start, min(start + FEATURES_AT_A_TIME, n_features))
        made, maps = [], []
        for place, one in enumerate(trials):
            kept = _Kept()
            result = tested(
                one.contrast,
                one.rows.of(features),
                features,
                chance.permutations,
                chance.of_trial(place),
                min_share=chance.min_share,
                enhance=kept,
            )
            made.append(result)
            maps.append(_z(kept.table, result))
        parts.append(made)
        yield maps, np.stack([one.result.valid for one in made])


def _z(table: Floats, found: Tested) -> Floats:
    """Statistics on the scale of z: trials of different size count by how unlikely they are."""
    if found.result.scale == "z":
        return table
    return t_to_z(table, np.where(found.result.valid, found.result.df, 1.0))


@dataclass
class _Kept:
    """Keeps the statistic of every rearrangement, in the place of what enhances it."""

    maps: list[Floats] = field(default_factory=list)

    @property
    def table(self) -> Floats:
        """Ndarray of shape (n_set, n_features), what was observed first."""
        return np.concatenate(self.maps)

    def scores(self, values: ArrayLike) -> NDArray[np.float64]:
        """The statistic itself."""
        return np.asarray(values, dtype=np.float64)

    def maxima(self, values: ArrayLike) -> NDArray[np.float64]:
        """Keeps the maps, which are valid until the next batch."""
        kept = np.array(values, dtype=np.float64)
        self.maps.append(kept)
        return np.asarray(np.abs(kept).max(axis=1, initial=0.0))
