"""One run: everything that reaches a voxel, chunk by chunk, and the confounds measured on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.confounds import HIGH_PASS_S
from conn.simulate.anatomy import Anatomy, FloatMap
from conn.simulate.components import Components, components
from conn.simulate.motion import (
    PARAMETERS,
    Motion,
    draw_motion,
    framewise_displacement,
    root_mean_square_displacement,
)
from conn.simulate.regions import Scene
from conn.simulate.signal import CHUNK, Signal, band_limited, smooth_noise

Array = NDArray[np.float64]

FD_LIMIT_MM, DVARS_LIMIT = 0.5, 1.5
"""fMRIPrep's limits above which a volume gets a motion_outlier column."""

_LINGERING = 0.4


@dataclass(frozen=True)
class Run:
    """A run before its voxels are made.

    Attributes
    ----------
    nodes : ndarray of shape (n_nodes, n_volumes)
        Unit time courses of regions, then networks.
    maps : ndarray of shape (n_sources, n_active), float32
        Where networks, nuisance, drift and motion act.
    series : ndarray of shape (n_volumes, n_sources), float32
        When they act.
    motion : ndarray of shape (n_volumes, 6)
    seen : ndarray of shape (n_active,), bool
        Voxels inside the field of view.
    """

    nodes: Array
    maps: FloatMap
    series: FloatMap
    motion: Array
    seen: NDArray[np.bool_]


def compose(
    rng: np.random.Generator,
    scene: Scene,
    loadings: Array,
    *,
    volumes: int,
    tr: float,
    signal: Signal,
    motion: Motion,
    lowest_mm: float,
    parameters: Array | None = None,
) -> Run:
    """Draw the time courses of a run and lay out where they act.

    Parameters
    ----------
    rng
        Source of random numbers of this run.
    scene
        Tissue, regions and networks.
    loadings
        ndarray of shape (n_nodes, n_sources), see `conn.simulate.latent.scan_loadings`.
    volumes, tr
        Length and repetition time in s.
    signal, motion
        Strengths.
    lowest_mm
        Lower end of the field of view in mm.
    parameters
        ndarray of shape (n_volumes, 6): how the head moves; None draws it from `motion`.
    """
    nodes = loadings @ band_limited(rng, loadings.shape[1], volumes, tr, signal.band_hz)
    if parameters is None:
        parameters = draw_motion(rng, volumes, motion)
    parts = [
        (scene.networks, signal.network * nodes[len(scene.labels) :].T),
        _nuisance(rng, scene.anatomy, volumes, tr, signal),
        _drift(rng, scene.anatomy, volumes, signal),
        _displacement(scene.anatomy, parameters),
        _spikes(rng, scene.anatomy, parameters, signal),
    ]
    return Run(
        nodes=nodes,
        maps=np.vstack([maps for maps, _ in parts]).astype(np.float32),
        series=np.hstack([series for _, series in parts]).astype(np.float32),
        motion=parameters,
        seen=scene.anatomy.xyz[:, 2] >= lowest_mm,
    )


def _nuisance(
    rng: np.random.Generator, anatomy: Anatomy, volumes: int, tr: float, signal: Signal
) -> tuple[FloatMap, Array]:
    """A fluctuation of the whole brain, and pulsation of CSF that leaks into tissue beside it."""
    brain = anatomy.brain * (0.8 * anatomy.gm + 1.0 * anatomy.wm + 0.6 * anatomy.csf)
    leak = np.clip(anatomy.csf + 0.15 * anatomy.gm, 0.0, 1.0) * anatomy.brain
    slow = band_limited(rng, 2, volumes, tr, (0.008, 0.15))
    return np.stack([brain, leak]), slow.T * np.array([signal.global_signal, signal.csf])


def _drift(
    rng: np.random.Generator, anatomy: Anatomy, volumes: int, signal: Signal
) -> tuple[FloatMap, Array]:
    """Linear and slower-than-a-run changes with three random smooth patterns."""
    time = np.linspace(-1.0, 1.0, volumes)
    slow = np.stack([time, np.cos(np.pi * (time + 1.0)), np.cos(np.pi * (time + 1.0) / 2)], axis=1)
    return _smooth_patterns(rng, anatomy, 3), slow * signal.drift


def _smooth_patterns(rng: np.random.Generator, anatomy: Anatomy, count: int) -> FloatMap:
    """Random quadratic functions of position, of mean square about 1 in the brain."""
    x, y, z = (anatomy.xyz / np.array([70.0, 90.0, 70.0])).T
    terms = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x, y * y, z * z])
    patterns = rng.standard_normal((count, len(terms))) @ terms
    size = np.sqrt((patterns[:, anatomy.brain] ** 2).mean(axis=1, keepdims=True))
    scaled: FloatMap = (patterns / size).astype(np.float32)
    return scaled


def _displacement(anatomy: Anatomy, parameters: Array) -> tuple[FloatMap, Array]:
    """First-order change of intensity where an edge of the image moves through a voxel."""
    gx, gy, gz = anatomy.gradient
    x, y, z = anatomy.xyz.T
    turned = [y * gz - z * gy, z * gx - x * gz, x * gy - y * gx]
    return -np.stack([gx, gy, gz, *turned]), parameters


def _spikes(
    rng: np.random.Generator, anatomy: Anatomy, parameters: Array, signal: Signal
) -> tuple[FloatMap, Array]:
    """Artefacts proportional to displacement that no motion parameter describes, and their echo."""
    moved = np.nan_to_num(framewise_displacement(parameters))
    echo = np.concatenate([[0.0], _LINGERING * moved[:-1]])
    patterns = _smooth_patterns(rng, anatomy, 2) * anatomy.brain
    return patterns, signal.spike_per_mm * np.stack([moved, echo], axis=1)


@dataclass
class Tally:
    """Confounds gathered while chunks go by."""

    means: list[Array] = field(default_factory=list)
    dvars: list[Array] = field(default_factory=list)
    csf: list[FloatMap] = field(default_factory=list)
    wm: list[FloatMap] = field(default_factory=list)
    last: FloatMap | None = None


def volumes_of(
    rng: np.random.Generator, scene: Scene, run: Run, signal: Signal, tally: Tally
) -> Iterator[FloatMap]:
    """The voxels of a run in chunks.

    Parameters
    ----------
    rng
        Source of random numbers for the noise.
    scene, run, signal
        What to make.
    tally
        Filled with tissue means, DVARS and the voxels of tissue masks of the chunks that went by.

    Yields
    ------
    ndarray of shape (up to CHUNK, n_active), float32
        Zero outside the field of view.
    """
    owned = np.flatnonzero(scene.owner >= 0)
    regions = (signal.roi * run.nodes[scene.owner[owned]]).astype(np.float32).T
    masks = _masks(scene, run)
    for number, noise in enumerate(smooth_noise(rng, scene.anatomy, len(run.series), signal)):
        part = slice(number * CHUNK, number * CHUNK + len(noise))
        chunk = run.series[part] @ run.maps + noise
        chunk[:, owned] += regions[part]
        chunk += scene.anatomy.baseline
        chunk *= run.seen
        _count(tally, chunk, masks)
        yield chunk


def _masks(scene: Scene, run: Run) -> list[NDArray[np.int64]]:
    """Voxels of brain, CSF and white matter."""
    wanted = (scene.anatomy.brain, scene.csf_mask, scene.wm_mask)
    return [np.flatnonzero(mask & run.seen) for mask in wanted]


def _count(tally: Tally, chunk: FloatMap, masks: list[NDArray[np.int64]]) -> None:
    brain = chunk[:, masks[0]]
    csf, wm = (chunk[:, mask] for mask in masks[1:])
    tally.csf.append(csf)
    tally.wm.append(wm)
    tissue = [part.mean(axis=1, dtype=np.float64) for part in (csf, wm)]
    tally.means.append(np.stack([brain.mean(axis=1, dtype=np.float64), *tissue], axis=1))
    before = brain[:1] if tally.last is None else tally.last
    steps = np.diff(np.vstack([before, brain]), axis=0)
    tally.dvars.append(np.sqrt(np.einsum("tv,tv->t", steps, steps) / steps.shape[1]).astype(float))
    tally.last = brain[-1:]


def compcor(tally: Tally, tr: float) -> Components:
    """CompCor components of a run after all chunks have gone by; `tr` in s.

    No simulated volume is in a non-steady state, so no row is 0.
    """
    csf, wm = np.vstack(tally.csf), np.vstack(tally.wm)
    slow = list(cosine_columns(len(csf), tr).values())
    return components(csf, wm, np.array(slow).reshape(len(slow), len(csf)).T)


def confounds(run: Run, tally: Tally, tr: float, components: Mapping[str, Array]) -> pd.DataFrame:
    """The confounds of a run under fMRIPrep's column names.

    Parameters
    ----------
    run
        For its motion.
    tally
        After all chunks have gone by.
    tr
        Repetition time in s.
    components
        Columns of `compcor`.

    Returns
    -------
    DataFrame, one row per volume
        `std_dvars` is DVARS over its median.
    """
    means = np.vstack(tally.means)
    columns: dict[str, Array] = {}
    for name, series in zip(("global_signal", "csf", "white_matter"), means.T, strict=True):
        columns.update(_expanded(name, series))
    columns["csf_wm"] = means[:, 1:].mean(axis=1)
    dvars = np.concatenate(tally.dvars)
    dvars[0] = np.nan
    columns["std_dvars"] = dvars / np.nanmedian(dvars)
    columns["dvars"] = dvars
    columns["framewise_displacement"] = framewise_displacement(run.motion)
    columns["rmsd"] = root_mean_square_displacement(run.motion)
    columns.update(components)
    columns.update(cosine_columns(len(means), tr))
    for name, series in zip(PARAMETERS, run.motion.T, strict=True):
        columns.update(_expanded(name, series))
    columns.update(_outliers(columns["framewise_displacement"], columns["std_dvars"]))
    return pd.DataFrame(columns)


def _expanded(name: str, series: Array) -> dict[str, Array]:
    derivative = np.concatenate([[np.nan], np.diff(series)])
    return {
        name: series,
        f"{name}_derivative1": derivative,
        f"{name}_power2": series**2,
        f"{name}_derivative1_power2": derivative**2,
    }


def cosine_columns(n_volumes: int, tr: float) -> dict[str, Array]:
    """FMRIPrep's high-pass columns; none when the run is short.

    Parameters
    ----------
    n_volumes, tr
        Length and repetition time in s.
    """
    count = max(int(np.floor(2 * n_volumes * tr / HIGH_PASS_S)), 1) - 1
    time = (np.arange(n_volumes) + 0.5) / n_volumes
    norm = np.sqrt(2.0 / n_volumes)
    return {f"cosine{k:02d}": norm * np.cos(np.pi * (k + 1) * time) for k in range(count)}


def _outliers(fd: Array, std_dvars: Array) -> dict[str, Array]:
    flagged = (np.nan_to_num(fd) > FD_LIMIT_MM) | (np.nan_to_num(std_dvars) > DVARS_LIMIT)
    rows = np.flatnonzero(flagged)
    return {f"motion_outlier{i:02d}": (np.arange(fd.size) == row).astype(float) for i, row in enumerate(rows)}
