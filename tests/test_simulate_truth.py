"""The truth that the simulator states is what a correct analysis finds on average."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from conn.errors import ConfigError
from conn.simulate import CohortSpec, PlantedEdge, TruthModel, demo_spec, derive_truth, prepare, simulate_z
from conn.simulate.cohort import Prepared, loadings_of
from conn.simulate.jobs import SCAN, stream
from conn.simulate.latent import measured_correlation
from conn.simulate.regions import measured_voxels
from conn.simulate.scan import compose
from conn.simulate.truth import TrueEffect, simulate_cohort

Array = NDArray[np.float64]
PEOPLE = 600


@pytest.fixture(scope="module")
def large() -> tuple[CohortSpec, Prepared, Array]:
    spec = demo_spec(PEOPLE, seed=7)
    prepared = prepare(spec)
    return spec, prepared, simulate_z(spec, prepared)


def _estimate(effect: TrueEffect, prepared: Prepared, z: Array) -> tuple[float, float]:
    """Estimate and standard error of an effect from measured z."""
    a, b = (prepared.latent.labels.index(label) for label in (effect.roi_a, effect.roi_b))
    change = z[:, -1, a, b] - z[:, 0, a, b]
    arm = np.array([person.arm for person in prepared.people])
    inside = np.isin(arm, effect.arms)
    if effect.contrast == "change":
        return change[inside].mean(), change[inside].std() / np.sqrt(inside.sum())
    if effect.contrast == "interaction":
        first, second = (change[arm == name] for name in effect.arms)
        error = np.sqrt(first.var() / first.size + second.var() / second.size)
        return first.mean() - second.mean(), error
    score = np.array([float(p.scores[-1] or 0) - float(p.scores[0] or 0) for p in prepared.people])
    fit = stats.linregress(score[inside], change[inside])
    return fit.slope, fit.stderr


@pytest.mark.truth
def test_measured_effects_equal_the_truth_within_5_percent_and_sampling_error(
    large: tuple[CohortSpec, Prepared, Array],
) -> None:
    spec, prepared, z = large
    truth = derive_truth(spec, prepared)
    assert {effect.contrast for effect in truth.effects} == {"change", "interaction", "slope"}
    for effect in truth.effects:
        estimate, error = _estimate(effect, prepared, z)
        assert abs(estimate - effect.delta_z) < 0.05 * abs(effect.delta_z) + 3.3 * error, effect


@pytest.mark.truth
def test_measured_z_equals_the_z_planted_in_each_scan_on_average(
    large: tuple[CohortSpec, Prepared, Array],
) -> None:
    spec, prepared, z = large
    for number, edge in enumerate(spec.edges):
        a, b = (prepared.latent.labels.index(label) for label in (edge.roi_a, edge.roi_b))
        planted = prepared.targets[:, :, number]
        fit = stats.linregress(planted.ravel(), z[:, :, a, b].ravel())
        assert fit.slope == pytest.approx(1.0, abs=0.05 + 2 * fit.stderr)
        assert fit.intercept == pytest.approx(0.0, abs=0.03)


@pytest.mark.calibration
def test_edges_that_were_not_planted_do_not_change(large: tuple[CohortSpec, Prepared, Array]) -> None:
    spec, prepared, z = large
    change = z[:, 1] - z[:, 0]
    rows, columns = np.triu_indices(prepared.latent.n_rois, 1)
    planted = {frozenset((edge.roi_a, edge.roi_b)) for edge in spec.edges}
    labels = prepared.latent.labels
    free = [frozenset((labels[i], labels[j])) not in planted for i, j in zip(rows, columns, strict=True)]
    t = stats.ttest_1samp(change[:, rows, columns][:, free], 0.0).statistic
    assert len(t) == 557
    assert abs(t.mean()) < 0.3
    assert 0.85 < t.std() < 1.15
    assert (np.abs(t) > stats.norm.isf(0.005 / 2)).mean() < 0.02


def test_people_differ_more_than_scans_of_one_person(large: tuple[CohortSpec, Prepared, Array]) -> None:
    spec, prepared, _ = large
    true = np.array(
        [
            [measured_correlation(prepared.latent, loadings_of(spec, prepared, p, s))[1, 2] for s in (0, 1)]
            for p in range(150)
        ]
    )
    z = np.arctanh(true)
    between, within = z.mean(axis=1).var(), (z[:, 1] - z[:, 0]).var() / 2
    assert 0.08 < np.sqrt(between) < 0.2
    assert between > within


def test_every_scan_has_a_correlation_matrix_with_exactly_the_planted_values(
    large: tuple[CohortSpec, Prepared, Array],
) -> None:
    spec, prepared, _ = large
    reached = 0
    for person in range(50):
        loadings = loadings_of(spec, prepared, person, 1)
        np.testing.assert_allclose(np.linalg.norm(loadings, axis=1), 1.0, rtol=1e-12)
        r = measured_correlation(prepared.latent, loadings)
        found = np.arctanh(r[tuple(prepared.latent.ends.T)])
        reached += int(np.isclose(found, prepared.targets[person, 1], atol=1e-9).sum())
    assert reached >= 0.98 * 50 * len(spec.edges)


@pytest.mark.truth
def test_an_explicit_regression_of_voxel_data_finds_the_planted_correlations(tmp_path: Path) -> None:
    rois = (
        ("insulaL", (-36.0, 18.0, 2.0), 6.0),
        ("insulaR", (38.0, 21.0, -1.0), 6.0),
        ("PAG", (0.4, -31.0, -9.0), 6.0),
        ("thalamus", (-6.0, -17.0, 8.0), 6.0),
    )
    edges = (
        PlantedEdge("insulaL", "PAG", baseline_z=0.5, person_sd=0.1, change_sd=0.1, delta_z={"drug": -0.9}),
        PlantedEdge("insulaR", "thalamus", baseline_z=-0.5, person_sd=0.1, change_sd=0.1),
    )
    spec = CohortSpec(rois=rois, edges=edges, n_subjects=3, arms=("drug",), volumes=500, voxel_mm=4.0, seed=1)
    truth = simulate_cohort(tmp_path, spec, workers=2)
    prepared = prepare(spec)
    scans = [scan for _, scan in truth.scans.groupby(["subject", "session"])]
    found = pd.concat([_cleaned_z(scan, tmp_path, prepared, spec) for scan in scans])
    planted = truth.scans["z"].loc[found.index]
    assert np.polyfit(planted, found["voxels"], 1)[0] == pytest.approx(1.0, abs=0.1)
    assert abs((found["voxels"] - planted).mean()) < 0.1
    assert np.polyfit(found["sources"], found["voxels"], 1)[0] == pytest.approx(1.0, abs=0.05)
    assert abs((found["voxels"] - found["sources"]).mean()) < 0.02
    assert (found["voxels"] - found["sources"]).std() < 0.04


def _cleaned_z(rows: pd.DataFrame, out: Path, prepared: Prepared, spec: CohortSpec) -> pd.DataFrame:
    """Fisher z of the edges of one scan by least squares in float64.

    `voxels` comes from the image, `sources` from the time courses that went into it, with the attenuation by
    noise that the simulator works out on paper: what is left between them is none of sampling.
    """
    subject, session = rows[["subject", "session"]].iloc[0]
    stem = f"{subject}_ses-{session}_task-rest"
    folder = out / "derivatives" / "fmriprep" / subject / f"ses-{session}" / "func"
    image = nib.load(folder / f"{stem}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz")
    data = image.dataobj.get_unscaled().reshape(-1, spec.volumes, order="F")
    design = _design(folder / f"{stem}_desc-confounds_timeseries.tsv", spec)
    labels = prepared.latent.labels
    voxels = [prepared.scene.anatomy.active[measured_voxels(prepared.scene, spec.rois, x)] for x in labels]
    measured = np.stack([data[v].mean(axis=0) for v in voxels], axis=1)
    sources = _sources(prepared, spec, int(str(subject)[4:]) - 1, spec.sessions.index(str(session)))
    attenuation = np.sqrt(np.outer(prepared.latent.reliability, prepared.latent.reliability))
    ends = [[labels.index(a), labels.index(b)] for a, b in zip(rows["roi_a"], rows["roi_b"], strict=True)]
    first, second = np.array(ends).T
    r = _correlation(measured, design), _correlation(sources, design) * attenuation
    z = {name: np.arctanh(m[first, second]) for name, m in zip(("voxels", "sources"), r, strict=True)}
    return pd.DataFrame(z, index=rows.index)


def _correlation(series: Array, design: Array) -> Array:
    residuals = series - design @ np.linalg.lstsq(design, series, rcond=None)[0]
    r: Array = np.corrcoef(residuals.T)
    return r


def _sources(prepared: Prepared, spec: CohortSpec, person: int, session: int) -> Array:
    """Time courses of the regions of one scan; ndarray of shape (n_volumes, n_rois)."""
    run = compose(
        stream(spec.seed, SCAN, person, session, 1),
        prepared.scene,
        loadings_of(spec, prepared, person, session),
        volumes=spec.volumes,
        tr=spec.tr,
        signal=spec.signal,
        motion=spec.motion,
        lowest_mm=-60.0,
    )
    return run.nodes[: prepared.latent.n_rois].T


def _design(path: Path, spec: CohortSpec) -> Array:
    """Constant, motion, tissue signals and every cosine outside 0.008-0.1 Hz."""
    table = pd.read_csv(path, sep="\t", na_values="n/a").fillna(0.0)
    motion = [name for name in table.columns.astype(str) if name.startswith(("trans_", "rot_"))]
    time = (np.arange(spec.volumes) + 0.5) / spec.volumes
    order = np.arange(1, spec.volumes)
    frequency = order / (2 * spec.volumes * spec.tr)
    outside = order[(frequency < 0.008) | (frequency > 0.1)]
    cosines = np.cos(np.pi * np.outer(time, outside))
    design = np.hstack([np.ones((spec.volumes, 1)), table[[*motion, "csf", "white_matter"]], cosines])
    scaled: Array = design / np.linalg.norm(design, axis=0)
    return scaled


def test_truth_json_lists_each_edge_for_each_model(tmp_path: Path) -> None:
    spec = replace(demo_spec(4), volumes=20, voxel_mm=6.0, rois=_disjoint(), edges=_one_edge())
    simulate_cohort(tmp_path, spec, workers=1)
    record = json.loads((tmp_path / "truth.json").read_text())
    assert record["groups"] == {"drug": 2, "placebo": 2}
    assert [(e["model"], e["contrast"]) for e in record["edges"]] == [
        ("prepost", "change"),
        ("drugprepost", "change"),
        ("armbytime", "interaction"),
        ("slope", "slope"),
    ]
    values = {e["model"]: e["delta_z"] for e in record["edges"]}
    assert values["drugprepost"] == pytest.approx(-0.4)
    assert values["prepost"] == pytest.approx(-0.2)
    assert values["armbytime"] == pytest.approx(-0.4)
    assert values["slope"] > 0
    assert [e["sized"] for e in record["edges"]] == [False, True, False, False]
    assert all(e["planted"] for e in record["edges"])
    assert len(pd.read_csv(tmp_path / "truth_scans.tsv", sep="\t")) == 8


def _disjoint() -> tuple[tuple[str, tuple[float, float, float], float], ...]:
    return (("insulaL", (-36.0, 18.0, 2.0), 7.0), ("precuneus", (0.0, -68.0, 42.0), 7.0))


def _one_edge() -> tuple[PlantedEdge, ...]:
    return (
        PlantedEdge(
            "insulaL", "precuneus", baseline_z=0.2, delta_z={"drug": -0.4}, sized_for=("drugprepost",)
        ),
    )


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((PlantedEdge("apart", "precuneus", delta_z={"drug": 1.5}),), "z would reach"),
        ((PlantedEdge("apart", "nowhere"),), "unknown region 'nowhere'"),
        ((PlantedEdge("apart", "apart"),), "give two regions"),
        ((PlantedEdge("apart", "precuneus"), PlantedEdge("precuneus", "apart")), "each pair once"),
        ((PlantedEdge("insulaL", "precuneus"),), "insulaL and twin share voxels"),
    ],
)
def test_effects_that_would_bias_the_truth_are_refused(edges: tuple[PlantedEdge, ...], message: str) -> None:
    rois = (*_disjoint(), ("twin", (-36.0, 26.0, 2.0), 7.0), ("apart", (36.0, 18.0, 2.0), 7.0))
    with pytest.raises(ConfigError, match=message):
        prepare(CohortSpec(rois=rois, edges=edges, voxel_mm=4.0))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TruthModel("m", "difference"), "contrast 'difference' is none of"),
        (TruthModel("m", "change", ("ketamine",)), "arm 'ketamine' is none of"),
        (TruthModel("m", "interaction", ("drug",)), "needs two arms"),
    ],
)
def test_truth_of_an_unknown_model_is_refused(model: TruthModel, message: str) -> None:
    spec = CohortSpec(rois=_disjoint(), edges=_one_edge(), voxel_mm=6.0, models=(model,))
    with pytest.raises(ConfigError, match=message):
        derive_truth(spec, prepare(spec))
