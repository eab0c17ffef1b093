"""Who correlates with whom: a correlation matrix for every scan, positive definite by construction.

Every node (region or network) is a row of loadings on independent time courses, so no matrix ever has to be
repaired. Loadings of a scan are those of the population times a random matrix, which makes correlations a
Wishart draw around the population: people differ, and so, less, do scans of one person.

A planted edge has a part of the variance of its two regions for itself. That part is shared by them to
exactly the degree that gives the correlation asked for, and by nobody else, so that no other edge changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.simulate.edges import PlantedEdge
from conn.simulate.regions import NETWORKS, Scene, Sphere, measured_voxels
from conn.simulate.signal import (
    Signal,
    ar1_covariance,
    band_covariance,
    kept_variance,
    noise_correlation,
)

Array = NDArray[np.float64]

ANALYSIS_BAND = (0.008, 0.1)
"""The cleaning, in Hz, that the truth is stated for."""

_COMMON, _NETWORK, _PAIR = 0.1, 0.2, 0.35
_PERSON_DF = 60
_PERSON_SHARE = 0.8
_RESERVED = 0.9
_SPARE_Z = 2.5


@dataclass(frozen=True)
class Latent:
    """What is needed to draw the time courses of a scan.

    Attributes
    ----------
    labels
        The first `n_rois` nodes; networks follow.
    loadings : ndarray of shape (n_nodes, n_factors)
        Of the population, rows of unit norm.
    own, shared : ndarray of shape (n_nodes,)
        Amplitude left for the background, and for each planted edge of the node; own² + n shared² = 1.
    reliability : ndarray of shape (n_rois,)
        Share of signal in the variance of a cleaned regional mean.
    roi_noise_sd : ndarray of shape (n_rois,)
        Noise of a regional mean over the amplitude of its signal, before cleaning.
    ends : ndarray of shape (n_edges, 2), int64
        Nodes of the planted edges.
    """

    labels: tuple[str, ...]
    loadings: Array
    own: Array
    shared: Array
    reliability: Array
    roi_noise_sd: Array
    ends: NDArray[np.int64]

    @property
    def n_rois(self) -> int:
        """Number of regions."""
        return len(self.labels)


def build_latent(
    scene: Scene,
    spheres: Sequence[Sphere],
    edges: Sequence[PlantedEdge],
    signal: Signal,
    volumes: int,
    tr: float,
) -> Latent:
    """Prepare the population.

    Parameters
    ----------
    scene
        Regions on a grid.
    spheres
        The regions as they will be measured.
    edges
        Planted edges.
    signal
        Strength of signals and noise.
    volumes, tr
        Length of a run and repetition time in s: they decide how much noise falls into the band.

    Raises
    ------
    ConfigError
        An edge names an unknown region, itself, or an edge that is there already, or a region that shares
        voxels with another one.
    """
    ends = _ends(scene.labels, edges)
    measured = [measured_voxels(scene, spheres, label) for label in scene.labels]
    _refuse_overlap(scene, measured, ends)
    n_nodes = len(scene.labels) + len(scene.networks)
    count = np.bincount(ends.ravel(), minlength=n_nodes)
    shared = np.sqrt(_RESERVED / np.maximum(count, 1)) * (count > 0)
    noise = np.array([_regional_noise(scene, inside, signal) for inside in measured]) / signal.roi
    kept_signal = kept_variance(band_covariance(volumes, tr, signal.band_hz), tr, ANALYSIS_BAND)
    kept_noise = kept_variance(ar1_covariance(volumes, signal.autocorrelation), tr, ANALYSIS_BAND)
    return Latent(
        labels=scene.labels,
        loadings=_population(scene),
        own=np.sqrt(1.0 - count * shared**2),
        shared=shared,
        reliability=kept_signal / (kept_signal + kept_noise * noise**2),
        roi_noise_sd=noise,
        ends=ends,
    )


def check_reach(
    latent: Latent, edges: Sequence[PlantedEdge], change_spread: float, more_motion: float = 0.0
) -> None:
    """Refuse effects that the variance reserved for an edge cannot carry.

    Parameters
    ----------
    latent
        The population.
    edges
        Planted edges.
    change_spread
        Standard deviation between people of the change of the score.
    more_motion
        Mean framewise displacement of a restless arm beyond that of an ordinary scan, in mm.

    Raises
    ------
    ConfigError
        z would leave the reachable range in more than about 1 % of scans, which would bias the truth.
    """
    for number, edge in enumerate(edges):
        a, b = latent.ends[number]
        room = latent.shared[a] * latent.shared[b] - 0.3 * latent.own[a] * latent.own[b]
        limit = float(np.arctanh(room * _attenuation(latent)[number]))
        spread = np.sqrt(edge.person_sd**2 + edge.change_sd**2 + (edge.slope * change_spread) ** 2)
        artefact = edge.fd_slope * more_motion
        later = [edge.baseline_z + delta + artefact for delta in (0.0, *edge.delta_z.values())]
        means = [edge.baseline_z, *later]
        worst = max(abs(mean) for mean in means) + _SPARE_Z * spread
        if worst > limit:
            raise ConfigError(
                f"planted edge {edge.roi_a}-{edge.roi_b}: z would reach {worst:.2f}, above {limit:.2f}. "
                "Bring baseline_z, baseline_z + delta_z and fd_slope nearer to 0, or make the spread smaller."
            )


def draw_person(rng: np.random.Generator, latent: Latent) -> Array:
    """The random part that all scans of a person have; ndarray of shape (n_factors, _PERSON_DF)."""
    return rng.standard_normal((latent.loadings.shape[1], _PERSON_DF))


def scan_loadings(rng: np.random.Generator, latent: Latent, person: Array, targets: Array) -> Array:
    """Loadings of one scan on independent time courses.

    Parameters
    ----------
    rng
        Source of random numbers of this scan.
    latent
        The population.
    person
        See `draw_person`.
    targets
        ndarray of shape (n_edges,): Fisher z that cleaned data should show at the planted edges.

    Returns
    -------
    ndarray of shape (n_nodes, n_sources)
        Rows have unit norm: their products are the correlations of the scan.
    """
    fresh = rng.standard_normal(person.shape)
    mixed = np.sqrt(_PERSON_SHARE) * person + np.sqrt(1.0 - _PERSON_SHARE) * fresh
    background = latent.loadings @ mixed
    background /= np.linalg.norm(background, axis=1, keepdims=True)
    background *= latent.own[:, None]
    a, b = latent.ends.T
    wanted = np.tanh(targets) / _attenuation(latent)
    present = (background[a] * background[b]).sum(axis=1)
    degree = np.clip((wanted - present) / (latent.shared[a] * latent.shared[b]), -1.0, 1.0)
    edge = np.arange(len(targets))
    extra = np.zeros((len(background), 2 * len(targets)))
    extra[a, 2 * edge] = latent.shared[a]
    extra[b, 2 * edge] = latent.shared[b] * degree
    extra[b, 2 * edge + 1] = latent.shared[b] * np.sqrt(1.0 - degree**2)
    return np.hstack([background, extra])


def measured_correlation(latent: Latent, loadings: Array) -> Array:
    """Correlation of cleaned regional means in an endless scan; ndarray of shape (n_rois, n_rois)."""
    regions = loadings[: latent.n_rois] * np.sqrt(latent.reliability)[:, None]
    correlation = regions @ regions.T
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _attenuation(latent: Latent) -> Array:
    a, b = latent.ends.T
    attenuation: Array = np.sqrt(latent.reliability[a] * latent.reliability[b])
    return attenuation


def _ends(labels: tuple[str, ...], edges: Sequence[PlantedEdge]) -> NDArray[np.int64]:
    seen: set[frozenset[str]] = set()
    for edge in edges:
        pair = frozenset((edge.roi_a, edge.roi_b))
        unknown = sorted(pair - set(labels))
        if unknown:
            raise ConfigError(f"planted edge: unknown region {unknown[0]!r}; known: {', '.join(labels)}")
        if len(pair) == 1 or pair in seen:
            raise ConfigError(f"planted edge {edge.roi_a}-{edge.roi_b}: give two regions, and each pair once")
        seen.add(pair)
    pairs = [(labels.index(edge.roi_a), labels.index(edge.roi_b)) for edge in edges]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _population(scene: Scene) -> Array:
    """Loadings on: all, each network, each pair of homologues, and every node by itself."""
    n_rois, n_networks = len(scene.labels), len(NETWORKS)
    stems = [_stem(label) for label in scene.labels]
    pairs = list(dict.fromkeys(stems))
    network = np.concatenate([scene.network_of, np.arange(n_networks)])
    share = np.zeros((n_rois + n_networks, 1 + n_networks + len(pairs)))
    share[:, 0] = _COMMON
    share[np.arange(n_rois + n_networks), 1 + network] = _NETWORK
    for row, stem in enumerate(stems):
        share[row, 1 + n_networks + pairs.index(stem)] = _PAIR
    alone = np.diag(1.0 - share.sum(axis=1))
    loadings: Array = np.sqrt(np.hstack([share, alone]))
    return loadings


def _stem(label: str) -> str:
    return label[:-1] if label.endswith(("L", "R")) else label


def _refuse_overlap(scene: Scene, measured: Sequence[NDArray[np.int64]], ends: NDArray[np.int64]) -> None:
    """An effect in a region that shares voxels with another would show up in that one too."""
    for node in np.unique(ends):
        for other, voxels in enumerate(measured):
            if other != node and np.intersect1d(voxels, measured[node]).size:
                raise ConfigError(
                    f"planted edge: {scene.labels[node]} and {scene.labels[other]} share voxels at "
                    f"{scene.anatomy.voxel_mm:g} mm, so that {scene.labels[other]} would change too. "
                    "Plant the edge elsewhere, or leave one of the two out."
                )


def _regional_noise(scene: Scene, inside: NDArray[np.int64], signal: Signal) -> float:
    """Standard deviation of the mean of a region's noise."""
    correlation = noise_correlation(scene.anatomy.xyz[inside], scene.anatomy.voxel_mm, signal.fwhm_mm)
    return float(signal.noise * np.sqrt(correlation.mean()))
