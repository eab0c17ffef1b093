"""What a simulated trial is: everything that is decided before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.simulate.edges import PlantedEdge
from conn.simulate.motion import Motion, Restless
from conn.simulate.regions import Sphere
from conn.simulate.scores import Score, check_links
from conn.simulate.signal import Signal


@dataclass(frozen=True)
class TruthModel:
    """A model of the analysis that a true value is wanted for.

    Attributes
    ----------
    name
        Name of the model in the configuration.
    contrast
        ``change`` (paired), ``interaction`` (first arm minus second) or ``slope`` (change of connectivity
        on change of score).
    arms
        Arms whose people are in the model; empty for all.
    """

    name: str
    contrast: str
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class CohortSpec:
    """A simulated trial.

    Attributes
    ----------
    rois
        Regions with a signal of their own: label, centre in mm, radius in mm. Spheres with one label are
        one region.
    edges
        Planted edges; the truth.
    n_subjects, arms
        People, dealt evenly to the arms in random order.
    sessions
        Labels; the first is the baseline.
    volumes, tr, voxel_mm
        Length of a run, repetition time in s, voxel size in mm.
    seed
        Everything random starts from it.
    score, signal, motion
        Clinical score; strength of signals; head motion of an ordinary run.
    further_scores
        Other scales of the same people.
    restless
        An arm that moves more after the first session; None: motion has nothing to do with arms.
    global_gain
        Factor of the fluctuation of the whole brain after the first session, by arm; an arm that is not
        named has 1.
    models
        Models that `truth.json` gives values for. Empty: one of each contrast, for any model.
    missing_last
        People without a scan and score at the last session (the last people of the list).
    high_motion
        People whose last scan moves too much (from the second person on).
    truncated
        People whose first image is cut short (from the third person on).
    task, space, res
        Entities of the file names. `res` None: "2" on the 2 mm grid, else absent.
    margin_mm
        How far a region's signal reaches beyond the region.
    name
        Name of the data set.
    first_label
        Label of the first person, a number; two data sets of one study need different labels.
    """

    rois: tuple[Sphere, ...]
    edges: tuple[PlantedEdge, ...] = ()
    n_subjects: int = 24
    arms: tuple[str, ...] = ("drug", "placebo")
    sessions: tuple[str, ...] = ("pre", "post")
    volumes: int = 150
    tr: float = 2.0
    voxel_mm: float = 3.0
    seed: int = 0
    score: Score = field(default_factory=Score)
    signal: Signal = field(default_factory=Signal)
    motion: Motion = field(default_factory=Motion)
    further_scores: tuple[Score, ...] = ()
    restless: Restless | None = None
    global_gain: Mapping[str, float] = field(default_factory=dict)
    models: tuple[TruthModel, ...] = ()
    missing_last: int = 0
    high_motion: int = 0
    truncated: int = 0
    task: str = "rest"
    space: str = "MNI152NLin2009cAsym"
    res: str | None = None
    margin_mm: float = 1.5
    name: str = "Simulated treatment trial"
    first_label: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.n_subjects < 1 or not self.arms or not self.sessions:
            raise ConfigError("a cohort needs at least one subject, one arm and one session")
        if self.volumes < 20:
            raise ConfigError(f"volumes {self.volumes} is below 20; too short for a band of frequencies")
        self._refuse_unknown("planted edge", {arm for edge in self.edges for arm in edge.delta_z})
        self._refuse_unknown("restless", {self.restless.arm} if self.restless else set())
        self._refuse_unknown("global_gain", set(self.global_gain))
        check_links(self.scores, self.edges, self.arms)
        if self.restless is None and any(edge.fd_slope for edge in self.edges):
            raise ConfigError("planted edge: fd_slope needs an arm that is restless; set restless")
        if max(self.missing_last, self.high_motion + 1, self.truncated + 2) > max(self.n_subjects, 2):
            raise ConfigError(f"more faulty scans asked for than {self.n_subjects} subjects have")

    def _refuse_unknown(self, what: str, arms: set[str]) -> None:
        unknown = sorted(arms - set(self.arms))
        if unknown:
            raise ConfigError(f"{what}: arm {unknown[0]!r} is none of {', '.join(self.arms)}")

    @property
    def scores(self) -> tuple[Score, ...]:
        """All scales, the first one first."""
        return (self.score, *self.further_scores)

    def dealt(self, arm: str) -> int:
        """People of an arm."""
        return [self.arms[i % len(self.arms)] for i in range(self.n_subjects)].count(arm)


def arm_shares(spec: CohortSpec, arms: tuple[str, ...]) -> NDArray[np.float64]:
    """Share of each arm among the people of some arms; ndarray of shape (n_arms,)."""
    counts = np.array([spec.dealt(arm) for arm in arms], dtype=float)
    return counts / counts.sum() if counts.sum() else np.full(len(arms), 1.0 / len(arms))
