"""Clinical scores: whole numbers within the range of a scale, and what connectivity does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.simulate.edges import PlantedEdge, place_of

Array = NDArray[np.float64]
Scores = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreLink:
    """What an edge does to the change of a score.

    Attributes
    ----------
    roi_a, roi_b
        A planted edge.
    per_z
        Points of change of the score for each unit of Fisher z, by arm; an arm that is not named has 0.
    when
        ``baseline``: how far z at the first session is from its mean predicts the change. ``change``: the
        change of z since the first session goes into the change of the score at the same session.
    """

    roi_a: str
    roi_b: str
    per_z: Mapping[str, float]
    when: Literal["baseline", "change"] = "baseline"


@dataclass(frozen=True)
class Score:
    """A clinical score at every session.

    Attributes
    ----------
    name
        Start of its columns, as in `MADRS_ses-pre`.
    baseline_mean, baseline_sd
        At the first session.
    change
        Mean and standard deviation of the change by arm, the same for all later sessions; `links` come on
        top.
    minimum, maximum
        Range of the scale.
    links
        Edges that the change depends on.
    noise_sd
        Standard deviation of what a repeated assessment of an unchanged person would differ by, over √2.
    missing
        Share of later scores that are not on record though there is a scan, at random.
    tied
        Correlation of the scale's own part, at baseline and of the change, with that of the first scale.
    higher_is_better, response_percent
        Direction, and improvement in percent of baseline that counts as response.
    """

    name: str = "MADRS"
    baseline_mean: float = 31.0
    baseline_sd: float = 4.0
    change: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {"drug": (-14.0, 7.0), "placebo": (-8.0, 7.0)}
    )
    minimum: int = 0
    maximum: int = 60
    links: tuple[ScoreLink, ...] = ()
    noise_sd: float = 0.0
    missing: float = 0.0
    tied: float = 0.0
    higher_is_better: bool = False
    response_percent: float = 50.0

    @property
    def improving(self) -> float:
        """1 when a higher score is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0


@dataclass(frozen=True)
class Normals:
    """What is random about the scores of people: standard normal numbers.

    Attributes
    ----------
    first : ndarray of shape (n_people, 1)
    change : ndarray of shape (n_people, n_sessions - 1)
    noise : ndarray of shape (n_people, n_sessions)
        Of each assessment.
    """

    first: Array
    change: Array
    noise: Array


def draw_normals(
    rng: np.random.Generator, sessions: int, size: int, noise: np.random.Generator | None = None
) -> Normals:
    """Random numbers of a scale; `noise` None: nothing but the person is random."""
    first = rng.standard_normal((size, 1))
    change = rng.standard_normal((size, sessions - 1))
    repeated = np.zeros((size, sessions)) if noise is None else noise.standard_normal((size, sessions))
    return Normals(first, change, repeated)


def tie(own: Normals, first: Normals, tied: float) -> Normals:
    """Random numbers of a scale that correlates with the first one."""
    rest = np.sqrt(1.0 - tied**2)
    return Normals(tied * first.first + rest * own.first, tied * first.change + rest * own.change, own.noise)


def scored(score: Score, arm: str, normals: Normals, shift: Array | float = 0.0) -> Scores:
    """Scores of people of one arm.

    Parameters
    ----------
    score
        The scale.
    arm
        Decides the change.
    normals
        See `draw_normals`.
    shift
        ndarray of shape (n_people, n_sessions - 1): change that edges bring, see `shift_by`.

    Returns
    -------
    ndarray of shape (n_people, n_sessions), int64
    """
    mean, sd = score.change.get(arm, (0.0, 0.0))
    first = score.baseline_mean + score.baseline_sd * normals.first
    change = mean + sd * normals.change + shift
    values = np.rint(np.hstack([first, np.rint(first) + change]) + score.noise_sd * normals.noise)
    clipped: Scores = np.clip(values, score.minimum, score.maximum).astype(np.int64)
    return clipped


def shift_by(score: Score, edges: Sequence[PlantedEdge], arm: str, z: Array) -> Array:
    """Change of a score that edges bring.

    Parameters
    ----------
    score
        With its links.
    edges
        Planted edges.
    arm
        Decides the weight of each link.
    z
        ndarray of shape (n_people, n_sessions, n_edges), see `conn.simulate.edges.true_z`.

    Returns
    -------
    ndarray of shape (n_people, n_sessions - 1)
    """
    shift = np.zeros((z.shape[0], z.shape[1] - 1))
    for link in score.links:
        e = place_of(edges, link.roi_a, link.roi_b)
        before = np.full((len(z), 1), edges[e].baseline_z) if link.when == "baseline" else z[:, :1, e]
        after = z[:, :1, e] if link.when == "baseline" else z[:, 1:, e]
        shift += link.per_z.get(arm, 0.0) * (after - before)
    return shift


def responded(score: Score, baseline: NDArray[np.number], last: NDArray[np.number]) -> NDArray[np.bool_]:
    """Who improved by at least `response_percent` of baseline; ndarray of shape (n_people,)."""
    gain = score.improving * (last - baseline)
    met: NDArray[np.bool_] = (baseline > 0) & (100.0 * gain >= score.response_percent * baseline)
    return met


def check_links(scores: Sequence[Score], edges: Sequence[PlantedEdge], arms: Sequence[str]) -> None:
    """Refuse scores that cannot be simulated.

    Raises
    ------
    ConfigError
        Two scales of one name; a share outside 0 to 1; a link of no planted edge or with an unknown arm, of
        an edge that follows the score itself, or of a change whose weight differs between arms.
    """
    names = [score.name for score in scores]
    if len(set(names)) < len(names):
        raise ConfigError(f"scores {', '.join(names)}: two have one name; give each its own")
    for score in scores:
        if not (0.0 <= score.missing < 1.0 and -1.0 <= score.tied <= 1.0 and score.noise_sd >= 0.0):
            raise ConfigError(
                f"score {score.name}: missing {score.missing:g} must be from 0 to below 1, tied "
                f"{score.tied:g} from -1 to 1, noise_sd {score.noise_sd:g} not below 0"
            )
        for link in score.links:
            _check_link(score, link, edges[place_of(edges, link.roi_a, link.roi_b)], arms)


def _check_link(score: Score, link: ScoreLink, edge: PlantedEdge, arms: Sequence[str]) -> None:
    what = f"score {score.name}, link of {link.roi_a}-{link.roi_b}"
    unknown = sorted(set(link.per_z) - set(arms))
    if unknown:
        raise ConfigError(f"{what}: arm {unknown[0]!r} is none of {', '.join(arms)}")
    if edge.slope:
        raise ConfigError(
            f"{what}: the edge follows the score (slope {edge.slope:g}), so the score cannot follow the "
            "edge; set one of them to 0"
        )
    if link.when == "change" and len({link.per_z.get(arm, 0.0) for arm in arms}) > 1:
        raise ConfigError(
            f"{what}: per_z of a change differs between arms, so that no single share of the effect goes "
            "through the edge; give all arms one value"
        )
