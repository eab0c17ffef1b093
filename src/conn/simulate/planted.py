"""What follows from a specification by formula, before rounding and clipping of scores and noise of scans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conn.simulate.edges import place_of
from conn.simulate.estimands import Values
from conn.simulate.scores import Score, ScoreLink
from conn.simulate.spec import CohortSpec, arm_shares

Array = NDArray[np.float64]

_NODES = 120


def mediation(spec: CohortSpec, score: Score, link: ScoreLink) -> Values:
    """Paths from the first arm, against the second, through the change of an edge.

    The direct effect holds what goes through other edges. See `conn.simulate.estimands.mediation`.
    """
    edge = place_of(spec.edges, link.roi_a, link.roi_b)
    a, b = _arm_effect(spec, edge), link.per_z.get(spec.arms[0], 0.0)
    first, second = (_mean_change(spec, score, arm) for arm in spec.arms)
    c = first - second
    return {
        "a": a,
        "b": b,
        "c_prime": c - a * b,
        "c": c,
        "ab": a * b,
        "proportion": a * b / c if c else np.nan,
    }


def association(spec: CohortSpec, score: Score, edge: int, arms: tuple[str, ...]) -> Values:
    """Correlation of changes within arms; see `conn.simulate.estimands.association`."""
    one = spec.edges[edge]
    moves = np.array([(one.persistence - 1.0) * one.person_sd, one.change_sd])
    covariance = np.zeros(len(arms))
    variance = np.zeros(len(arms))
    for number, arm in enumerate(arms):
        own, each = _paths(spec, score, arm)
        covariance[number] = moves @ [own[edge], each[edge]]
        variance[number] = _spread(spec, score, arm) ** 2
    shares = arm_shares(spec, arms)
    size = float(np.linalg.norm(moves) * np.sqrt(shares @ variance))
    return {"r": float(shares @ covariance) / size if size else np.nan}


def prediction(spec: CohortSpec, score: Score, link: ScoreLink, arm: str) -> Values:
    """What z before treatment says about improvement in an arm; see `conn.simulate.estimands.prediction`."""
    number = place_of(spec.edges, link.roi_a, link.roi_b)
    edge = spec.edges[number]
    own, each = _paths(spec, score, arm)
    spread = _spread(spec, score, arm)
    after = np.array([edge.persistence * edge.person_sd, edge.change_sd])
    size = float(np.linalg.norm(after))
    shared = {
        "": own[number],
        "_after": float(after @ [own[number], each[number]]) / size if size else np.nan,
    }
    needed = score.response_percent / 100.0
    rule_sd = float(np.hypot(spread, needed * score.baseline_sd))
    gain = score.improving * _mean_change(spec, score, arm)
    limit = (needed * score.baseline_mean - gain) / rule_sd
    found = {"response": float(stats.norm.sf(limit))}
    for name, covariance in shared.items():
        r = score.improving * covariance / rule_sd
        found[f"r{name}"] = float(score.improving * covariance / spread)
        found[f"auc{name}"] = binormal_area(r, limit)
        hazards = stats.norm.pdf(limit) * (1 / stats.norm.sf(limit) + 1 / stats.norm.cdf(limit))
        found[f"difference{name}"] = float(r * hazards * (size if name else edge.person_sd))
    return found


def moderation(spec: CohortSpec, score: Score, link: ScoreLink) -> Values:
    """Slope on z before treatment, first arm minus second; see `conn.simulate.estimands.moderation`."""
    edge = place_of(spec.edges, link.roi_a, link.roi_b)
    first, second = (_paths(spec, score, arm)[0][edge] / spec.edges[edge].person_sd for arm in spec.arms)
    return {"interaction": float(first - second)}


def artefact(spec: CohortSpec, edge: int, difference_fd: float) -> Values:
    """Difference of changes between the arms; see `conn.simulate.estimands.artefact`.

    Parameters
    ----------
    spec, edge
        A planted edge.
    difference_fd
        Difference of changes of mean framewise displacement in mm.
    """
    neural = _arm_effect(spec, edge)
    spurious = spec.edges[edge].fd_slope * difference_fd
    return {"unadjusted": neural + spurious, "adjusted": neural, "difference_fd": difference_fd}


def binormal_area(r: float, limit: float) -> float:
    """Area under the curve of z for a binary outcome, when a normal variable lies above a limit.

    Parameters
    ----------
    r
        Correlation of z with that variable.
    limit
        In standard deviations from its mean.

    Returns
    -------
    float
        By Gauss-Legendre quadrature over both groups.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    share, weights = (nodes + 1) / 2, weights / 2
    above = stats.norm.isf(stats.norm.sf(limit) * share)
    below = stats.norm.ppf(stats.norm.cdf(limit) * share)
    distance = r * (above[:, None] - below) / np.sqrt(2 * (1 - r**2))
    return float(weights @ stats.norm.cdf(distance) @ weights)


def _arm_effect(spec: CohortSpec, edge: int) -> float:
    first, second = (spec.edges[edge].delta_z.get(arm, 0.0) for arm in spec.arms)
    return first - second


def _mean_change(spec: CohortSpec, score: Score, arm: str) -> float:
    """Mean change of a score, with what edges bring."""
    mean = score.change.get(arm, (0.0, 0.0))[0]
    for link in score.links:
        if link.when == "change":
            edge = spec.edges[place_of(spec.edges, link.roi_a, link.roi_b)]
            mean += link.per_z.get(arm, 0.0) * edge.delta_z.get(arm, 0.0)
    return mean


def _spread(spec: CohortSpec, score: Score, arm: str) -> float:
    """Standard deviation of the change of a score in an arm, with what edges bring."""
    own, each = _paths(spec, score, arm)
    return float(np.sqrt(score.change.get(arm, (0.0, 0.0))[1] ** 2 + own @ own + each @ each))


def _paths(spec: CohortSpec, score: Score, arm: str) -> tuple[Array, Array]:
    """Points of change for a standard deviation of each edge at baseline, and of each one's change.

    Returns
    -------
    own, each : ndarray of shape (n_edges,)
    """
    own, each = np.zeros(len(spec.edges)), np.zeros(len(spec.edges))
    for link in score.links:
        number = place_of(spec.edges, link.roi_a, link.roi_b)
        edge, weight = spec.edges[number], link.per_z.get(arm, 0.0)
        if link.when == "baseline":
            own[number] += weight * edge.person_sd
        else:
            own[number] += weight * (edge.persistence - 1.0) * edge.person_sd
            each[number] += weight * edge.change_sd
    return own, each
