"""Truth of clinical questions: associations, mediation, prediction, moderation, and what motion pretends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.simulate import estimands, planted
from conn.simulate.cohort import mean_displacement
from conn.simulate.edges import place_of
from conn.simulate.estimands import Values
from conn.simulate.jobs import POPULATION, stream
from conn.simulate.latent import Latent
from conn.simulate.measurement import Measurement, measure
from conn.simulate.motion import Motion, draw_motion, expected_displacement, varied
from conn.simulate.population import SIZE, Population, draw_population, expected_change
from conn.simulate.scores import Score, ScoreLink, responded
from conn.simulate.spec import CohortSpec, arm_shares

Array = NDArray[np.float64]

_RUNS = 2000
_DIGITS = 4


@dataclass(frozen=True)
class ClinicalTruth:
    """Population values of one question.

    Attributes
    ----------
    kind
        ``mediation``, ``prediction``, ``moderation``, ``association`` or ``artefact``.
    score
        Scale; None for an artefact.
    roi_a, roi_b
        The edge.
    arms
        First against second; one arm for a prediction, and for an association in one arm.
    planted
        Values of true z and scores that are not rounded, by formula.
    measured
        Values that an analysis finds on average, in scores as recorded and z as measured: a scan is short,
        and its noise weakens whatever z predicts.
    reliability
        Share of the variance of measured z before treatment that is true.
    noise_sd
        Standard deviation of the noise of a scan's z.
    """

    kind: str
    score: str | None
    roi_a: str
    roi_b: str
    arms: tuple[str, ...]
    planted: Values
    measured: Values
    reliability: float
    noise_sd: float


def derive_clinical(spec: CohortSpec, latent: Latent) -> tuple[ClinicalTruth, ...]:
    """Truth of all links of scores and of all artefacts; empty when none is planted.

    Parameters
    ----------
    spec
        The trial.
    latent
        The population, for the noise of regions.

    Raises
    ------
    ConfigError
        A link of a change or an artefact in a trial that has not two arms and two sessions.
    """
    artefacts = [number for number, edge in enumerate(spec.edges) if edge.fd_slope]
    if len(spec.sessions) < 2 or not (artefacts or any(score.links for score in spec.scores)):
        return ()
    seen = _Seen.draw(spec, latent)
    found = [truth for score in spec.scores for link in score.links for truth in seen.of_link(score, link)]
    changes = [truth for score in spec.scores for truth in seen.of_changes(score)]
    return (*found, *changes, *(seen.of_artefact(number) for number in artefacts))


def clinical_record(truths: Iterable[ClinicalTruth]) -> list[dict[str, Any]]:
    """Entries of `truth.json`."""
    return [
        {
            "kind": truth.kind,
            "score": truth.score,
            "roi_a": truth.roi_a,
            "roi_b": truth.roi_b,
            "arms": list(truth.arms),
            "planted": _rounded(truth.planted),
            "measured": _rounded(truth.measured),
            "reliability": round(truth.reliability, _DIGITS),
            "noise_sd": round(truth.noise_sd, _DIGITS),
        }
        for truth in truths
    ]


def _rounded(values: Values) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(value, _DIGITS) + 0.0 for name, value in values.items()}


@dataclass(frozen=True)
class _Seen:
    """Many people of each arm as an analysis sees them.

    `z` and `fd` have shape (n_people, 2, n_edges) and (n_people, 2), by arm; z only of edges in question.
    """

    spec: CohortSpec
    population: Mapping[str, Population]
    measurement: Mapping[int, Measurement]
    z: Mapping[str, Array]
    fd: Mapping[str, Array]

    @classmethod
    def draw(cls, spec: CohortSpec, latent: Latent) -> _Seen:
        """Draw people, motion and noise of scans."""
        mean = expected_change(spec).mean
        shares = dict(zip(spec.arms, arm_shares(spec, spec.arms) * len(spec.arms), strict=True))
        population = {
            arm: draw_population(spec, arm, max(2, round(SIZE * shares[arm])), mean) for arm in spec.arms
        }
        fd = _displacements(spec, {arm: len(population[arm].z) for arm in spec.arms})
        beyond = {arm: values - expected_displacement(spec.motion) for arm, values in fd.items()}
        slopes = np.array([edge.fd_slope for edge in spec.edges])
        true = {arm: population[arm].z + slopes * beyond[arm][:, :, None] for arm in spec.arms}
        wanted = {
            place_of(spec.edges, link.roi_a, link.roi_b) for score in spec.scores for link in score.links
        } | set(np.flatnonzero(slopes).tolist())
        measurement = {
            edge: measure(spec, latent, edge, np.concatenate([z[:, :, edge].ravel() for z in true.values()]))
            for edge in sorted(wanted)
        }
        return cls(spec, population, measurement, _with_noise(true, measurement), fd)

    def of_link(self, score: Score, link: ScoreLink) -> Iterator[ClinicalTruth]:
        """What follows from a link."""
        edge = place_of(self.spec.edges, link.roi_a, link.roi_b)
        if link.when == "change":
            self._need_two_arms(f"score {score.name}: the share of an effect that goes through an edge")
            values = estimands.mediation(*self._both(score, edge, ("z0", "z1", "score0", "score1")))
            yield self._truth("mediation", score, edge, planted.mediation(self.spec, score, link), values)
            return
        for arm in self.spec.arms:
            if link.per_z.get(arm, 0.0):
                y = self.population[arm].scores[score.name]
                z, gain = self.z[arm][:, :, edge], score.improving * (y[:, 1] - y[:, 0])
                values = estimands.prediction(z[:, 0], z[:, 1], gain, responded(score, y[:, 0], y[:, 1]))
                told = planted.prediction(self.spec, score, link, arm)
                yield self._truth("prediction", score, edge, told, values, (arm,))
        if len(self.spec.arms) == 2 and len({link.per_z.get(arm, 0.0) for arm in self.spec.arms}) == 2:
            values = estimands.moderation(*self._both(score, edge, ("z0", "score0", "score1")))
            yield self._truth("moderation", score, edge, planted.moderation(self.spec, score, link), values)

    def of_changes(self, score: Score) -> Iterator[ClinicalTruth]:
        """How linked edges change with a score: in each arm, and within both arms."""
        edges = [place_of(self.spec.edges, link.roi_a, link.roi_b) for link in score.links]
        for edge in dict.fromkeys(edges):
            for arm in self.spec.arms:
                z, y = self.z[arm][:, :, edge], self.population[arm].scores[score.name]
                values = estimands.association(z[:, 1] - z[:, 0], y[:, 1] - y[:, 0])
                told = planted.association(self.spec, score, edge, (arm,))
                yield self._truth("association", score, edge, told, values, (arm,))
            if len(self.spec.arms) == 2:
                treated, z0, z1, y0, y1 = self._both(score, edge, ("z0", "z1", "score0", "score1"))
                values = estimands.association(z1 - z0, y1 - y0, treated)
                told = planted.association(self.spec, score, edge, self.spec.arms)
                yield self._truth("association", score, edge, told, values)

    def of_artefact(self, edge: int) -> ClinicalTruth:
        """What an artefact of motion pretends."""
        self._need_two_arms("an artefact that follows the arm")
        treated, z0, z1, fd0, fd1 = self._both(self.spec.score, edge, ("z0", "z1", "fd0", "fd1"))
        values = estimands.artefact(treated, z1 - z0, fd1 - fd0)
        told = planted.artefact(self.spec, edge, values["difference_fd"])
        return self._truth("artefact", None, edge, told, values)

    def _need_two_arms(self, what: str) -> None:
        if len(self.spec.arms) != 2:
            raise ConfigError(f"{what} needs two arms; there are {len(self.spec.arms)}")

    def _both(self, score: Score, edge: int, names: tuple[str, ...]) -> tuple[Any, ...]:
        """Who is in the first arm, and columns of both arms one after the other."""
        sources = {
            "z": {arm: z[:, :, edge] for arm, z in self.z.items()},
            "score": {arm: population.scores[score.name] for arm, population in self.population.items()},
            "fd": self.fd,
        }
        sizes = [len(self.fd[arm]) for arm in self.spec.arms]
        treated = np.repeat([True, False], sizes)
        columns = [
            np.concatenate([sources[name[:-1]][arm][:, int(name[-1])] for arm in self.spec.arms])
            for name in names
        ]
        return (treated, *columns)

    def _truth(
        self,
        kind: str,
        score: Score | None,
        edge: int,
        told: Values,
        values: Values,
        arms: tuple[str, ...] | None = None,
    ) -> ClinicalTruth:
        one, measurement = self.spec.edges[edge], self.measurement[edge]
        return ClinicalTruth(
            kind=kind,
            score=None if score is None else score.name,
            roi_a=one.roi_a,
            roi_b=one.roi_b,
            arms=arms or self.spec.arms,
            planted=told,
            measured=values,
            reliability=measurement.reliability(one.person_sd),
            noise_sd=measurement.noise_sd,
        )


def _displacements(spec: CohortSpec, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Mean framewise displacement in mm of two scans of people, by arm; ndarrays of shape (size, 2)."""
    if spec.restless is None:
        ordinary = expected_displacement(spec.motion)
        return {arm: np.full((size, 2), ordinary) for arm, size in sizes.items()}
    rng = stream(0, POPULATION, 0, 101)
    still, moving = (_runs(rng, spec, motion) for motion in (spec.motion, spec.restless.motion))
    return {
        arm: np.stack(
            [rng.choice(still, size), rng.choice(moving if arm == spec.restless.arm else still, size)], axis=1
        )
        for arm, size in sizes.items()
    }


def _runs(rng: np.random.Generator, spec: CohortSpec, motion: Motion) -> Array:
    spread = 0.0 if spec.restless is None else spec.restless.spread
    runs = [draw_motion(rng, spec.volumes, varied(rng, motion, spread)) for _ in range(_RUNS)]
    return mean_displacement(np.array(runs))


def _with_noise(true: Mapping[str, Array], measurement: Mapping[int, Measurement]) -> dict[str, Array]:
    """True z as scans show them; edges not in question stay."""
    seen = {}
    for number, (arm, z) in enumerate(true.items()):
        rng = stream(0, POPULATION, number, 102)
        measured = z.copy()
        for edge, one in measurement.items():
            noise = one.noise_sd * rng.standard_normal(z.shape[:2])
            measured[:, :, edge] = one.offset + one.gain * z[:, :, edge] + noise
        seen[arm] = measured
    return seen
