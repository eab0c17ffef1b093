"""Simulated trials with a known effect through connectivity, for tests and for the table of rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.clinic.mediation.bootstrap import Interval, bootstrap
from conn.clinic.mediation.joint import joined, path_tests
from conn.clinic.mediation.trial import Trial, make_trial

Floats = NDArray[np.float64]

NULLS = {"a = 0, b = 0": (0.0, 0.0), "a ≠ 0, b = 0": (0.25, 0.0), "a = 0, b ≠ 0": (0.0, 14.0)}
"""Paths, a in Fisher z and b in points of the scale per unit of z, of which one or both are not there."""

EFFECT = (0.25, 14.0)
SD_MEDIATOR, SD_OUTCOME, DIRECT = 0.2, 4.0, -3.0


@dataclass(frozen=True)
class Simulated:
    """A trial and its connectivity, arrays of shape (n, n_features)."""

    trial: Trial
    mediator: Floats
    before: Floats


def simulate(
    rng: np.random.Generator,
    n: int,
    a: Floats | float,
    b: Floats | float,
    *,
    sizes: tuple[int, int] | None = None,
    ratio: float = 1.0,
    confounding: float = 0.0,
) -> Simulated:
    """Two arms with a baseline of everything.

    Parameters
    ----------
    rng
        Random numbers.
    n
        People.
    a, b
        Paths, one number or one per feature.
    sizes
        People of the treated and the control arm; halves when not given.
    ratio
        SD of connectivity in the treated arm over that in the control arm.
    confounding
        Correlation of the errors of mediator and outcome (one feature).
    """
    a, b = np.atleast_1d(np.asarray(a, dtype=float)), np.atleast_1d(np.asarray(b, dtype=float))
    a, b = np.broadcast_arrays(a, b)
    treated, control = sizes or (n - n // 2, n // 2)
    arm = np.repeat([1.0, 0.0], [treated, control])
    before, y0 = rng.normal(0.3, 0.2, (arm.size, a.size)), rng.normal(26, 4, arm.size)
    noise = rng.normal(0, SD_MEDIATOR, before.shape)
    left = rng.normal(size=arm.size) * np.sqrt(1 - confounding**2) + confounding * noise[:, 0] / SD_MEDIATOR
    noise *= np.where(arm == 1, ratio, 1.0)[:, None]
    mediator = 0.5 * before + arm[:, None] * a + noise
    outcome = 0.5 * y0 + mediator @ b + DIRECT * arm + SD_OUTCOME * left
    return Simulated(make_trial(arm, outcome, y0), mediator, before)


@dataclass
class Tally:
    """Of how many sets the joint test and both intervals say that there is an effect, and how many cover it.

    `plain` and `plain_bca` count the sets whose intervals without widened levels miss the effect.
    """

    sets: int = 0
    joint: int = 0
    percentile: int = 0
    bca: int = 0
    covered: int = 0
    bca_covered: int = 0
    plain: int = 0
    plain_bca: int = 0


def tally(
    sets: range,
    n: int,
    a: float,
    b: float,
    *,
    seed: int,
    draws: int = 1000,
    permutations: int = 299,
    plain: bool = False,
) -> Tally:
    """Simulate trials with one feature and count.

    Parameters
    ----------
    sets
        Numbers of the trials; each has a seed of its own.
    n, a, b
        See `simulate`.
    seed
        First part of the seeds.
    draws, permutations
        Of the bootstrap and of each path.
    plain
        Count intervals without widened levels, too.
    """
    found = Tally()
    for number in sets:
        one = simulate(np.random.default_rng([seed, number]), n, a, b)
        tests = path_tests(one.trial, one.mediator, one.before, permutations=permutations, seed=number)
        tested = joined([tests])
        got = bootstrap(one.trial, one.mediator, one.before, draws=draws, seed=number).ab
        found.sets += 1
        found.joint += int(tested.p[0] <= 0.05)
        found.percentile += excludes(got.low, got.high, 0.0)
        found.bca += excludes(got.bca_low, got.bca_high, 0.0)
        found.covered += not excludes(got.low, got.high, a * b)
        found.bca_covered += not excludes(got.bca_low, got.bca_high, a * b)
        if plain:
            narrow = bootstrap(one.trial, one.mediator, one.before, draws=draws, seed=number, widen=False).ab
            found.plain += excludes(narrow.low, narrow.high, a * b)
            found.plain_bca += excludes(narrow.bca_low, narrow.bca_high, a * b)
    return found


def excludes(low: Floats, high: Floats, value: float) -> bool:
    """Whether the interval of the first feature excludes a value."""
    return bool(value < low[0] or value > high[0])


MANY = 64
"""Features when one path is looked at alone."""

MIXED = 10
"""Features of each kind in a family that holds all kinds of nulls."""


def families(sets: range, n: int, kind: str, *, seed: int, permutations: int = 299) -> Iterator[Floats]:
    """Family-wise p of features without an effect through them, in families of one kind of null or of all.

    Parameters
    ----------
    sets, n, seed, permutations
        See `tally`.
    kind
        A name of `NULLS`, or ``mixed``: as many features of each.
    """
    paths = list(NULLS.values()) if kind == "mixed" else [NULLS[kind]] * len(NULLS)
    a, b = (np.repeat([path[i] for path in paths], MIXED) for i in (0, 1))
    # Together, features explain as much of the outcome as one does alone.
    b = b / np.sqrt(max(1, int((b != 0).sum())))
    for number in sets:
        one = simulate(np.random.default_rng([seed, number]), n, a, b)
        tests = path_tests(one.trial, one.mediator, one.before, permutations=permutations, seed=number)
        tested = joined([tests])
        yield tested.p_fwe


def alone(number: int, n: int, path: str, *, seed: int, permutations: int = 299) -> Floats:
    """Plain p of one path in many features that lack it, the other one being there in half of them.

    Parameters
    ----------
    number
        Of the trial.
    n, seed, permutations
        See `tally`.
    path
        ``a`` or ``b``.
    """
    a, b = np.zeros(MANY), np.zeros(MANY)
    if path == "b":
        a[: MANY // 2] = EFFECT[0]
    else:
        b[: MANY // 2] = EFFECT[1] / np.sqrt(MANY // 2)
    one = simulate(np.random.default_rng([seed, number]), n, a, b)
    tests = path_tests(one.trial, one.mediator, one.before, permutations=permutations, seed=number)
    return np.asarray((tests.b if path == "b" else tests.a).p)


__all__ = [
    "EFFECT",
    "NULLS",
    "Interval",
    "Simulated",
    "Tally",
    "alone",
    "excludes",
    "families",
    "simulate",
    "tally",
]
