"""Stages on tiny data: what they write is what it says, and what cannot be used is a row, not a crash."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.image import smooth_img
from scipy import stats
from threadpoolctl import threadpool_limits

from conn import confounds, images, paths, projection, receipts
from conn.config.model import (
    Clinical,
    Connectivity,
    CustomRoi,
    Denoise,
    Enhancement,
    Inference,
    Paired,
    Partial,
    Rois,
)
from conn.errors import DesignError, InputError
from conn.files import read_json, write_json
from conn.graph import lattice
from conn.index import Run
from conn.receipts import Receipt
from conn.rois import on_grid, registry
from conn.stages.correct import correct, nearest_region
from conn.stages.design import design
from conn.stages.measure import measure
from conn.stages.project import RunSettings, project
from conn.stages.test import test_edges, test_seed
from conn.stages.tested import load
from conn.suprathreshold import Clusters
from conn.tables import read_tsv, write_tsv
from conn.tfce import Tfce

test_edges.__test__ = test_seed.__test__ = False  # stages, not tests

SHAPE = (11, 12, 13)
AFFINE = np.array([[-4.0, 0, 0, 20], [0, 4, 0, -24], [0, 0, 4, -22], [0, 0, 0, 1]])
VOLUMES, TR = 100, 2.0
SPACE = "MNI152NLin2009cAsym"
DENOISE = Denoise(min_df=10, min_seconds=60)


def sphere(x: float, y: float, z: float, radius: float = 6.0, space: str = "MNI152") -> CustomRoi:
    return CustomRoi(center=(x, y, z), radius_mm=radius, space=space)


OWN = Rois(
    use=(),
    weighting="centre",
    custom={
        "left": sphere(-10, 0, 0),
        "right": sphere(10, 0, 0),
        "front": sphere(0, 12, 8),
        "rim": sphere(15, 0, 0),
        "beyond": sphere(60, 0, 0),
        "speck": sphere(1, -9, 3, 1.3),
        "foreign": sphere(0, -12, 0, space="MNI152NLin6Asym"),
    },
)
LABELS = list(OWN.custom)
MAPS = Connectivity(seeds=("left", "front"), fwhm_mm=6.0)


def brain() -> np.ndarray:
    """A mask that leaves out a layer on every side and some of the region `rim`."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:10, 1:11, 1:12] = True
    return mask


def scan(root: Path, **changes) -> Run:
    """One run in `root`, with drifts that follow head motion.

    `changes`: seed, volumes, tr (header), stated (sidecar), mask, mask_affine, data (a function of the 4-D
    array), rows (of the confounds table), moved (volumes with high motion), columns (to drop), session.
    """
    rng = np.random.default_rng(changes.get("seed", 0))
    n = changes.get("volumes", VOLUMES)
    motion = np.cumsum(rng.normal(0, 0.05, size=(n, 8)), axis=0)
    data = rng.normal(0, 20, size=(*SHAPE, n)) + (rng.normal(0, 40, size=(*SHAPE, 8)) @ motion.T)
    data += 15 * np.sin(np.arange(n) / 5) * (np.indices(SHAPE)[0] > 5)[..., None]
    data = np.rint(1000 + data).astype(np.int16)
    if "data" in changes:
        data = changes["data"](data)
    session = changes.get("session")
    entities = {
        "sub": "01",
        **({"ses": session} if session else {}),
        "task": "rest",
        "space": SPACE,
        "res": "4",
    }
    stem = "_".join(f"{k}-{v}" for k, v in entities.items())
    folder = root / "prep" / "sub-01" / (f"ses-{session}/func" if session else "func")
    folder.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = changes.get("tr", TR)
    bold, mask = folder / f"{stem}_desc-preproc_bold.nii.gz", folder / f"{stem}_desc-brain_mask.nii.gz"
    nib.save(image, bold)
    if changes.get("stated", TR) is not None:
        write_json(folder / f"{stem}_desc-preproc_bold.json", {"RepetitionTime": changes.get("stated", TR)})
    nib.save(
        nib.Nifti1Image(
            np.asarray(changes.get("mask", brain()), dtype=np.uint8), changes.get("mask_affine", AFFINE)
        ),
        mask,
    )
    table = folder / "confounds.tsv"
    write_confounds(table, motion, changes)
    return Run("one", "d", "01", session, entities, session or "all", bold, mask, table, None)


def write_confounds(path: Path, motion: np.ndarray, changes: dict) -> None:
    n = changes.get("rows", len(motion))
    columns: dict[str, np.ndarray] = {}
    for name, base in zip(
        ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"), motion.T, strict=False
    ):
        change = np.diff(base, prepend=np.nan)
        columns |= {name: base, f"{name}_derivative1": change, f"{name}_power2": base**2}
        columns |= {f"{name}_derivative1_power2": change**2}
    for name, base in (("csf", motion[:, 6]), ("white_matter", motion[:, 7])):
        change = np.diff(base, prepend=np.nan)
        columns |= {name: base, f"{name}_derivative1": change, f"{name}_power2": base**2}
        columns |= {f"{name}_derivative1_power2": change**2}
    moved = np.full(len(motion), 0.1)
    moved[0] = np.nan
    moved[list(changes.get("moved", ()))] = 0.9
    columns["framewise_displacement"] = moved
    table = pd.DataFrame({k: v[:n] for k, v in columns.items() if k not in changes.get("columns", ())})
    write_tsv(path, table, digits=17)


def settings(root: Path, **changes) -> RunSettings:
    return RunSettings(roots=(root / "prep",), **changes)


def projected(root: Path, run: Run, denoise: Denoise = DENOISE, fwhm: float = 0.0, **changes) -> Receipt:
    return project(root / "out", run, denoise, settings(root, **changes), fwhm)


def arrays(root: Path) -> dict[str, np.ndarray]:
    folder = root / "out" / paths.project_folder("one")
    return {p.stem: np.load(p) for p in folder.glob("*.npy")}


def cleaning(run: Run, denoise: Denoise = DENOISE) -> tuple[np.ndarray, np.ndarray]:
    """The residual-forming matrix of the kept frames, by least squares; and which frames are kept."""
    table = confounds.read_confounds(run.confounds)
    chosen = confounds.select(table, denoise.strategy)
    n = len(table)
    frequency = np.arange(n) / (2 * n * TR)
    out = (frequency < denoise.high_pass) | (frequency > denoise.low_pass)
    cosines = np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(n)[out]) / n)
    kept = ~chosen.censored
    design = np.hstack([cosines, chosen.regressors])[kept]
    design /= np.linalg.norm(design, axis=0)
    fit = design @ np.linalg.pinv(design, rcond=1e-10)
    return np.eye(kept.sum()) - fit, kept


# ---------------------------------------------------------------------------------------------- project


def test_the_coefficients_are_u_transposed_times_the_volumes(tmp_path):
    run = scan(tmp_path)
    receipt = projected(tmp_path, run)
    made = arrays(tmp_path)
    data = np.asarray(nib.load(run.bold).dataobj, dtype=float).reshape(-1, VOLUMES, order="F")
    held = np.flatnonzero(brain().ravel(order="F"))
    assert np.array_equal(made["voxels"], held)
    chosen = confounds.select(confounds.read_confounds(run.confounds), "simple")
    U = projection.retained_basis(chosen.regressors, chosen.censored, TR, 0.008, 0.1)
    assert np.array_equal(made["U"], U)
    assert np.allclose(made["Y"], U.T @ data[held].T, rtol=1e-4, atol=2e-3)
    assert np.allclose(made["mean"], data[held].mean(axis=1), rtol=1e-5)
    assert np.allclose(made["sd"], data[held].std(axis=1), rtol=1e-3)
    assert receipt.numbers["df"] == made["Y"].shape[0] == U.shape[1]
    assert receipt.numbers["mean_fd"] == pytest.approx(0.1)


@pytest.mark.oracle
@pytest.mark.parametrize("moved", [(), (20, 21, 50, 53, 80)])
def test_correlations_equal_explicit_regression_over_the_kept_frames(tmp_path, moved):
    run = scan(tmp_path, moved=moved)
    denoise = Denoise(strategy="scrubbing.2", min_df=3, min_seconds=0, low_pass=0.2)
    receipt = projected(tmp_path, run, denoise)
    Y = arrays(tmp_path)["Y"][:, ::17].astype(float)
    residual, kept = cleaning(run, denoise)
    held = np.flatnonzero(brain().ravel(order="F"))[::17]
    data = np.asarray(nib.load(run.bold).dataobj, dtype=float).reshape(-1, VOLUMES, order="F")[held].T
    expected = np.corrcoef(residual @ data[kept], rowvar=False)
    size = np.linalg.norm(Y, axis=0)
    assert np.abs((Y / size).T @ (Y / size) - expected).max() < 1e-5
    assert receipt.numbers["frames_kept"] == kept.sum()
    assert receipt.numbers["df"] == round(np.trace(residual))


def test_the_same_run_gives_the_same_bytes_again(tmp_path):
    run = scan(tmp_path)
    receipts_made, bytes_made = [], []
    for name in ("a", "b"):
        out = tmp_path / name
        receipts_made.append(project(out, run, DENOISE, settings(tmp_path), 6.0))
        measure(out, run, OWN, MAPS, tmp_path, "bids:d:x")
        bytes_made.append({p.relative_to(out): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()})
    assert receipts_made[0] == receipts_made[1]
    assert len(bytes_made[0]) > 12
    assert bytes_made[0] == bytes_made[1]


def refused(tmp_path: Path, run: Run, **changes) -> str:
    """The reason of a run that is left out because of its files."""
    receipt = projected(tmp_path, run, **changes)
    written = receipts.read(tmp_path / "out" / paths.project_receipt("one"))
    assert written == receipt
    assert (receipt.included, receipt.reason, dict(receipt.files)) == (False, "bad_input", {})
    (row,) = receipt.exclusions
    assert (row.dataset, row.subject, row.run, row.stage, row.reason) == (
        "d",
        "01",
        "one",
        "project",
        "bad_input",
    )
    assert arrays(tmp_path) == {}
    return row.value


@pytest.mark.parametrize("stated", [2.0012, 2000.0, 1.9])
def test_repetition_times_that_disagree_leave_the_run_out(tmp_path, stated):
    said = refused(tmp_path, scan(tmp_path, stated=stated))
    assert f"RepetitionTime is {stated:g} s in the sidecar and 2 s in the header (limit 1 ms)" in said


@pytest.mark.parametrize("stated", [0, -2.0, "2.0", "n/a", True, [2.0]])
def test_a_repetition_time_that_is_no_positive_number_leaves_the_run_out(tmp_path, stated):
    assert "RepetitionTime in the sidecar is" in refused(tmp_path, scan(tmp_path, stated=stated))


def test_a_difference_below_a_millisecond_is_none_and_the_sidecar_decides(tmp_path):
    assert projected(tmp_path, scan(tmp_path, stated=2.0009)).numbers["tr"] == 2.0009


def test_the_header_decides_when_the_sidecar_is_silent_and_the_configuration_always(tmp_path):
    assert projected(tmp_path, scan(tmp_path, stated=None)).numbers["tr"] == 2.0
    wrong = scan(tmp_path, stated=1.0)
    assert projected(tmp_path, wrong, repetition_time=2.5).numbers["tr"] == 2.5


def test_a_run_of_which_nobody_knows_the_repetition_time_is_left_out(tmp_path):
    assert "set datasets.NAME.repetition_time" in refused(tmp_path, scan(tmp_path, stated=None, tr=0.0))


def test_a_mask_on_another_grid_leaves_the_run_out(tmp_path):
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.01
    said = refused(tmp_path, scan(tmp_path, mask_affine=shifted))
    assert "desc-brain_mask.nii.gz: grid (11, 12, 13) is not that of" in said
    assert "(11, 12, 12)" in refused(tmp_path, scan(tmp_path, mask=np.ones((11, 12, 12))))


def test_a_mask_within_a_thousandth_of_a_millimetre_is_the_same_grid(tmp_path):
    nearly = AFFINE.copy()
    nearly[0, 3] += 5e-4
    assert projected(tmp_path, scan(tmp_path, mask_affine=nearly)).included


def test_an_empty_mask_leaves_the_run_out(tmp_path):
    assert "the brain mask is empty" in refused(tmp_path, scan(tmp_path, mask=np.zeros(SHAPE)))


def test_an_image_that_never_varies_leaves_the_run_out(tmp_path):
    picture = np.random.default_rng(5).integers(500, 900, size=(*SHAPE, 1))
    run = scan(tmp_path, data=lambda d: np.broadcast_to(picture, d.shape).astype(d.dtype))
    assert "no voxel in the brain mask is finite and varies" in refused(tmp_path, run)


def test_a_run_of_zeros_leaves_the_run_out(tmp_path):
    said = refused(tmp_path, scan(tmp_path, data=np.zeros_like))
    assert (
        "desc-preproc_bold.nii.gz: all 100 volumes hold one number, such as 0, in every voxel of the brain"
        in said
    )


def with_frames(frames: list[int], value: float):
    def change(data):
        data = data.astype(np.float32)
        data[..., frames] = value
        return data

    return change


def test_a_volume_without_numbers_leaves_the_run_out(tmp_path):
    said = refused(tmp_path, scan(tmp_path, data=with_frames([17], np.nan)))
    assert "volume 17 of 100 (counted from 0) holds no number in every voxel of the brain" in said
    said = refused(tmp_path, scan(tmp_path, data=with_frames([17, 60], 0)))
    assert "volumes 17, 60 of 100 (counted from 0) hold one number, such as 0, in every voxel" in said


def test_a_censored_volume_may_hold_anything(tmp_path):
    low = Denoise(min_df=5, min_seconds=60)
    made = []
    for root, value in ((tmp_path / "a", 700.0), (tmp_path / "b", np.nan)):
        run = scan(root, data=with_frames([0, 1], value))
        assert projected(root, run, low, dummy_scans=2).included
        made.append(arrays(root))
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])


def test_a_volume_is_looked_at_in_the_brain_also_when_more_is_read(tmp_path):
    def lost(data):
        data = data.astype(np.float32)
        data[brain(), 17] = np.nan
        return data

    run = scan(tmp_path, data=lost)
    assert "volume 17 of 100" in refused(tmp_path, run, fwhm=6.0)


def test_a_header_that_cannot_be_leaves_the_run_out(tmp_path):
    run = scan(tmp_path)
    raw = bytearray(gzip.decompress(run.bold.read_bytes()))
    raw[70:72] = (12345).to_bytes(2, "little")
    run.bold.write_bytes(gzip.compress(bytes(raw)))
    assert "not a NIfTI-1 image that can be read" in refused(tmp_path, run)


def test_confounds_with_fewer_rows_or_columns_leave_the_run_out(tmp_path):
    assert "99 rows, but the image has 100 volumes" in refused(tmp_path, scan(tmp_path, rows=99))
    assert "needs 1 column that the table lacks: csf" in refused(tmp_path, scan(tmp_path, columns=("csf",)))


def test_a_truncated_image_leaves_the_run_out_and_no_arrays(tmp_path):
    run = scan(tmp_path)
    run.bold.write_bytes(run.bold.read_bytes()[:-2000])
    assert "truncated" in refused(tmp_path, run)


@pytest.mark.parametrize("at", [0.5, -8])
def test_a_flipped_bit_or_a_wrong_checksum_leaves_the_run_out_and_no_arrays(tmp_path, at):
    run = scan(tmp_path)
    raw = bytearray(run.bold.read_bytes())
    raw[int(at * len(raw)) if at > 0 else at] ^= 4
    run.bold.write_bytes(bytes(raw))
    assert "the gzip stream is damaged" in refused(tmp_path, run)


def test_the_same_bytes_whatever_else_the_machine_does(tmp_path, monkeypatch):
    run = scan(tmp_path)
    digests = []
    for read_ahead, threads in ((1, 1), (2, 2), (7, 1)):
        monkeypatch.setattr(images.panels, "__defaults__", (read_ahead,))
        with threadpool_limits(threads):
            digests.append(projected(tmp_path, run, fwhm=6.0).files)
    assert digests[0] == digests[1] == digests[2]


def test_both_floors_are_rows_with_value_and_limit(tmp_path):
    run = scan(tmp_path, moved=range(10, 60, 2))
    receipt = projected(tmp_path, run, Denoise(strategy="scrubbing.5", min_df=25, min_seconds=180))
    assert (receipt.included, receipt.reason) == (False, "too_few_seconds")
    rows = {row.reason: (row.value, row.limit) for row in receipt.exclusions}
    assert set(rows) == {"too_few_seconds", "too_few_df"}
    assert rows["too_few_seconds"] == (f"{receipt.numbers['seconds_kept']:g}", "denoise.min_seconds 180")
    assert rows["too_few_df"] == (str(receipt.numbers["df"]), "denoise.min_df 25")
    # Between the moved volumes are segments of one volume, which go too.
    assert receipt.numbers["frames_kept"] == VOLUMES - 49
    assert arrays(tmp_path) == {}


def test_a_run_on_the_floor_stays(tmp_path):
    run = scan(tmp_path)
    k = projected(tmp_path, run).numbers["df"]
    assert projected(tmp_path, run, Denoise(min_df=k, min_seconds=VOLUMES * TR)).included
    assert projected(tmp_path, run, Denoise(min_df=k + 1, min_seconds=0)).reason == "too_few_df"


def test_a_run_of_which_nothing_is_left_is_a_row_and_no_crash(tmp_path):
    receipt = projected(tmp_path, scan(tmp_path, moved=range(1, VOLUMES)), Denoise(strategy="scrubbing.2"))
    assert receipt.numbers["df"] == 0
    assert {row.reason for row in receipt.exclusions} == {"too_few_seconds", "too_few_df"}


def test_voxels_that_are_constant_or_not_finite_are_invalid_not_zero(tmp_path):
    def damage(data):
        data = data.astype(np.float32)
        data[5, 5, 5] = 3
        data[5, 6, 5, 40] = np.nan
        return data

    projected(tmp_path, scan(tmp_path, data=damage))
    made = arrays(tmp_path)
    bad = np.ravel_multi_index(([5, 5], [5, 6], [5, 5]), SHAPE, order="F")
    assert np.array_equal(made["voxels"][~made["valid"]], bad)
    assert np.isnan(made["Y"][:, ~made["valid"]]).all()


# ---------------------------------------------------------------------------------------------- measure


def measured(root: Path, run: Run, rois: Rois = OWN, maps: Connectivity = MAPS, **changes) -> Receipt:
    denoise = changes.pop("denoise", DENOISE)
    projected(root, run, denoise, maps.fwhm_mm if maps.seeds or maps.together else 0.0)
    return measure(root / "out", run, rois, maps, root, "bids:d:sub-01/x")


def tables(root: Path, run: Run) -> dict[str, pd.DataFrame]:
    kinds = {"series": paths.timeseries, "relmat": paths.relmat, "coverage": paths.coverage}
    return {name: read_tsv(root / "out" / path(run.entities)) for name, path in kinds.items()}


@pytest.mark.oracle
def test_smoothed_seed_maps_equal_nilearn(tmp_path):
    run = scan(tmp_path, mask=np.ones(SHAPE))
    measured(tmp_path, run)
    residual, kept = cleaning(run)
    assert kept.all()
    image = nib.load(run.bold)
    cleaned = np.einsum("st,xyzt->xyzs", residual, np.asarray(image.dataobj, dtype=float))
    smoothed = smooth_img(nib.Nifti1Image(cleaned, AFFINE), 6.0).get_fdata()
    flat = smoothed.reshape(-1, VOLUMES, order="F")
    for seed in ("left", "front"):
        where, z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, seed))
        own = on_grid.place(registry.find(seed, OWN), where, SPACE, OWN, tmp_path).inside
        series = cleaned.reshape(-1, VOLUMES, order="F")[own].mean(axis=0)
        expected = np.array([np.corrcoef(series, voxel)[0, 1] for voxel in flat])
        assert np.abs(np.tanh(z.ravel(order="F")) - expected).max() < 1e-4


@pytest.mark.oracle
def test_series_are_means_weighted_by_how_much_of_a_voxel_lies_in_the_region(tmp_path):
    run = scan(tmp_path)
    measured(tmp_path, run, OWN.model_copy(update={"weighting": "coverage"}))
    residual, _ = cleaning(run)
    cleaned = np.einsum("st,xyzt->xyzs", residual, np.asarray(nib.load(run.bold).dataobj, dtype=float))
    fine = (np.arange(24) + 0.5) / 24 - 0.5
    offsets = np.stack(np.meshgrid(fine, fine, fine), axis=-1).reshape(-1, 3) @ AFFINE[:3, :3].T
    centers = np.stack(np.indices(SHAPE), axis=-1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    share = np.zeros(SHAPE)
    for offset in offsets:
        share += (((centers + offset - [-10, 0, 0]) ** 2).sum(axis=-1) <= 36) / len(offsets)
    share[~brain()] = 0
    expected = np.einsum("xyz,xyzs->s", share, cleaned) / share.sum()
    made = tables(tmp_path, run)["series"]["left"].astype(float)
    assert np.corrcoef(made, expected)[0, 1] > 0.99995
    assert made.std() == pytest.approx(expected.std(), rel=0.01)


@pytest.mark.oracle
def test_a_nuisance_region_is_one_more_confound_of_everything(tmp_path):
    run = scan(tmp_path)
    maps = MAPS.model_copy(update={"nuisance_regions": ("front",), "fwhm_mm": 0.0, "seeds": ("left",)})
    receipt = measured(tmp_path, run, maps=maps)
    residual, _ = cleaning(run)
    data = np.asarray(nib.load(run.bold).dataobj, dtype=float).reshape(-1, VOLUMES, order="F")
    grid = images.Grid(SHAPE, AFFINE)
    mean = {}
    for name in ("left", "right", "front"):
        inside = on_grid.place(registry.find(name, OWN), grid, SPACE, OWN, tmp_path).inside
        mean[name] = data[inside[brain().ravel(order="F")[inside]]].mean(axis=0)
    # The regression of confounds, frequencies and the region together, by the residuals of the residuals.
    front = residual @ mean["front"]
    more = residual - np.outer(front, front @ residual) / (front @ front)
    assert np.allclose(more, more @ residual, atol=1e-9)
    expected = np.corrcoef(more @ mean["left"], more @ mean["right"])[0, 1]
    relmat = tables(tmp_path, run)["relmat"].set_index("roi")
    assert float(relmat.loc["left", "right"]) == pytest.approx(expected, abs=1e-5)
    assert relmat.loc["left", "front"] == "n/a"
    assert tables(tmp_path, run)["coverage"].set_index("roi").loc["front", "flag"] == "removed"
    z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, "left"))[1].ravel(order="F")
    voxel = np.flatnonzero(brain().ravel(order="F"))[77]
    expected = np.corrcoef(more @ mean["left"], more @ data[voxel])[0, 1]
    assert np.tanh(z[voxel]) == pytest.approx(expected, abs=1e-4)
    k = arrays(tmp_path)["Y"].shape[0]
    assert receipt.numbers["df"] == k - 1
    about = read_json(tmp_path / "out" / paths.relmat(run.entities, ".json"))
    assert (about["DegreesOfFreedom"], about["NuisanceRegions"]) == (k - 1, ["front"])


def test_a_run_without_its_nuisance_region_or_with_too_little_left_is_left_out(tmp_path):
    run = scan(tmp_path)
    lacking = MAPS.model_copy(update={"nuisance_regions": ("beyond",)})
    receipt = measured(tmp_path, run, maps=lacking)
    assert (receipt.included, receipt.reason) == (False, "nuisance_region_missing")
    assert [(r.value, r.limit) for r in receipt.exclusions] == [("beyond", "connectivity.nuisance_regions")]
    assert not (tmp_path / "out" / paths.relmat(run.entities)).exists()
    maps = MAPS.model_copy(update={"nuisance_regions": ("front",)})
    k = arrays(tmp_path)["Y"].shape[0]
    receipt = measure(tmp_path / "out", run, OWN, maps, tmp_path, "bids:d:x", min_df=k)
    assert [(r.reason, r.value, r.limit) for r in receipt.exclusions] == [
        ("too_few_df", f"{k} - 1 nuisance regions", f"denoise.min_df {k}")
    ]
    assert measure(tmp_path / "out", run, OWN, maps, tmp_path, "bids:d:x", min_df=k - 1).included


def test_regions_keep_to_the_grey_matter_of_the_person_when_asked(tmp_path):
    run = scan(tmp_path)
    asked = OWN.model_copy(update={"grey_matter": 0.5})
    receipt = measured(tmp_path, run, asked)
    assert (receipt.included, receipt.reason) == (False, "no_tissue_map")
    assert f"space-{SPACE}" in receipt.exclusions[-1].value
    grey = np.zeros(SHAPE, np.float32)
    grey[:, :, 6:] = 0.9
    nib.save(nib.Nifti1Image(grey, AFFINE), tmp_path / "grey.nii.gz")
    tissues = {"GM": tmp_path / "grey.nii.gz"}
    receipt = measure(tmp_path / "out", run, asked, MAPS, tmp_path, "bids:d:x", tissues)
    assert receipt.included
    residual, _ = cleaning(run)
    data = np.asarray(nib.load(run.bold).dataobj, dtype=float).reshape(-1, VOLUMES, order="F")
    inside = on_grid.place(
        registry.find("left", OWN), images.Grid(SHAPE, AFFINE), SPACE, OWN, tmp_path
    ).inside
    own = inside[(grey > 0.5).ravel(order="F")[inside] & brain().ravel(order="F")[inside]]
    assert 0 < own.size < inside.size
    expected = residual @ data[own].mean(axis=0)
    made = tables(tmp_path, run)["series"]["left"].astype(float)
    assert np.corrcoef(made, expected)[0, 1] > 0.9999
    table = tables(tmp_path, run)["coverage"].set_index("roi")
    assert 0 < float(table.loc["left", "grey_matter"]) < 1
    assert float(table.loc["left", "coverage"]) == 1.0


@pytest.mark.oracle
def test_smoothing_uses_the_image_beyond_the_mask_as_nilearn_does(tmp_path):
    run = scan(tmp_path)
    measured(tmp_path, run)
    residual, _ = cleaning(run)
    cleaned = np.einsum("st,xyzt->xyzs", residual, np.asarray(nib.load(run.bold).dataobj, dtype=float))
    flat = smooth_img(nib.Nifti1Image(cleaned, AFFINE), 6.0).get_fdata().reshape(-1, VOLUMES, order="F")
    where, z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, "left"))
    own = on_grid.place(registry.find("left", OWN), where, SPACE, OWN, tmp_path).inside
    series = cleaned.reshape(-1, VOLUMES, order="F")[own].mean(axis=0)
    held = brain().ravel(order="F")
    expected = np.array([np.corrcoef(series, voxel)[0, 1] for voxel in flat[held]])
    assert np.abs(np.tanh(z.ravel(order="F")[held]) - expected).max() < 1e-4
    assert np.isnan(z.ravel(order="F")[~held]).all()


def test_maps_smoothed_within_the_mask_know_nothing_of_what_lies_outside(tmp_path):
    def loud(data):
        data[~brain()] += (3000 * np.sin(np.arange(VOLUMES) / 5)).astype(np.int16)
        return data

    made = []
    for root, change in ((tmp_path / "a", lambda d: d), (tmp_path / "b", loud)):
        run = scan(root, data=change)
        project(root / "out", run, DENOISE, settings(root), 6.0, within_mask=True)
        measure(root / "out", run, OWN, MAPS, root, "bids:d:x")
        about = read_json(root / "out" / paths.seed_map_sidecar(run.entities))
        assert (about["SmoothingFWHM"], about["SmoothingWithinMask"]) == (6.0, True)
        made.append((root / "out" / paths.seed_map(run.entities, "left")).read_bytes())
    assert made[0] == made[1]


def test_series_are_means_of_unsmoothed_cleaned_voxels_and_censored_frames_are_missing(tmp_path):
    run = scan(tmp_path, moved=(30, 31))
    denoise = Denoise(strategy="scrubbing.5", min_df=3, min_seconds=0)
    measured(tmp_path, run, denoise=denoise)
    series = tables(tmp_path, run)["series"]
    residual, kept = cleaning(run, denoise)
    assert (
        (series["left"] == "n/a").to_numpy().nonzero()[0].tolist()
        == [30, 31]
        == (~kept).nonzero()[0].tolist()
    )
    grid = images.Grid(SHAPE, AFFINE)
    own = on_grid.place(registry.find("left", OWN), grid, SPACE, OWN, tmp_path).inside
    data = (
        np.asarray(nib.load(run.bold).dataobj, dtype=float).reshape(-1, VOLUMES, order="F")[own].mean(axis=0)
    )
    assert np.allclose(series["left"][kept].astype(float), residual @ data[kept], atol=5e-3)


def test_the_matrix_is_symmetric_with_ones_and_its_names_on_both_sides(tmp_path):
    run = scan(tmp_path)
    measured(tmp_path, run)
    relmat = tables(tmp_path, run)["relmat"]
    assert relmat["roi"].tolist() == LABELS == list(relmat.columns[1:])
    r = relmat.iloc[:, 1:].replace("n/a", "nan").to_numpy(float)
    assert np.array_equal(r, r.T, equal_nan=True)
    there = np.array([label not in {"rim", "beyond", "foreign"} for label in LABELS])
    assert np.isfinite(r).sum() == there.sum() ** 2
    assert (np.diag(r)[there] == 1).all()


def test_a_region_in_another_space_is_left_out_with_a_row(tmp_path):
    run = scan(tmp_path)
    receipt = measured(tmp_path, run)
    rows = {row.roi: row for row in receipt.exclusions}
    assert (rows["foreign"].reason, rows["foreign"].value, rows["foreign"].limit) == (
        "space_mismatch",
        "MNI152NLin6Asym",
        SPACE,
    )
    made = tables(tmp_path, run)
    assert set(made["series"]["foreign"]) == {"n/a"}
    assert made["coverage"].set_index("roi").loc["foreign", "flag"] == "space-mismatch"


def test_a_region_in_another_space_is_used_and_flagged_when_allowed(tmp_path):
    run = scan(tmp_path)
    receipt = measured(tmp_path, run, OWN.model_copy(update={"space_mismatch": "allow"}))
    assert "foreign" not in {row.roi for row in receipt.exclusions}
    made = tables(tmp_path, run)
    assert "n/a" not in set(made["series"]["foreign"])
    assert made["coverage"].set_index("roi").loc["foreign", "flag"] == "space-mismatch"


def test_a_region_below_min_coverage_is_missing_everywhere_and_has_a_row(tmp_path):
    run = scan(tmp_path)
    maps = Connectivity(seeds=("left", "rim"), fwhm_mm=0)
    measured(tmp_path, run, maps=maps)
    covered = tables(tmp_path, run)["coverage"].set_index("roi")
    share = float(covered.loc["rim", "coverage"])
    assert 0 < share < 0.5
    assert covered.loc["rim", "flag"] == "low-coverage"
    assert covered.loc["beyond", ["covered", "coverage", "volume_mm3", "tsnr"]].tolist() == [
        "0",
        "0",
        "0",
        "n/a",
    ]
    rows = {row.roi: row for row in receipts.read(tmp_path / "out" / paths.measure_receipt("one")).exclusions}
    expected = f"{covered.loc['rim', 'covered']} of {covered.loc['rim', 'voxels']} voxels, "
    assert rows["rim"].value.startswith(expected)
    assert rows["rim"].limit == "rois.min_coverage 0.5"
    z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, "rim"))[1]
    assert np.isnan(z).all()
    low = OWN.model_copy(update={"min_coverage": share - 0.01})
    measured(tmp_path, run, low, maps)
    assert "n/a" not in set(tables(tmp_path, run)["series"]["rim"])
    assert np.isfinite(images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, "rim"))[1]).any()


def test_coverage_says_volume_signal_and_flags(tmp_path):
    run = scan(tmp_path)
    measured(tmp_path, run)
    table = tables(tmp_path, run)["coverage"].set_index("roi")
    assert list(table.index) == LABELS
    assert table.loc["speck", ["voxels", "covered", "volume_mm3", "flag"]].tolist() == [
        "1",
        "1",
        "64",
        "sub-voxel",
    ]
    own = on_grid.place(registry.find("left", OWN), images.Grid(SHAPE, AFFINE), SPACE, OWN, tmp_path).inside
    data = np.asarray(nib.load(run.bold).dataobj, dtype=float).reshape(-1, VOLUMES, order="F")[own]
    assert float(table.loc["left", "tsnr"]) == pytest.approx(np.mean(data.mean(1) / data.std(1)), rel=1e-4)
    assert table.loc["left", "flag"] == "n/a"


def test_a_constant_voxel_does_not_dilute_its_region_and_is_missing_in_maps(tmp_path):
    grid = images.Grid(SHAPE, AFFINE)
    own = on_grid.place(registry.find("left", OWN), grid, SPACE, OWN, tmp_path).inside

    def damage(data):
        data[np.unravel_index(own[0], SHAPE, order="F")] = 500
        return data

    run = scan(tmp_path, data=damage)
    measured(tmp_path, run)
    table = tables(tmp_path, run)["coverage"].set_index("roi")
    assert int(table.loc["left", "covered"]) == own.size - 1
    z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, "front"))[1].ravel(order="F")
    assert np.isnan(z[own[0]]), "its smoothed neighbours are no data of its own"
    assert np.isfinite(z[own[1:]]).all()


def test_a_mask_image_is_a_region(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:6, 5:7, 5:7] = 1
    nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / "own.nii.gz")
    custom = {**OWN.custom, "drawn": CustomRoi(mask="own.nii.gz", space=SPACE)}
    run = scan(tmp_path)
    measured(tmp_path, run, OWN.model_copy(update={"custom": custom}))
    assert tables(tmp_path, run)["coverage"].set_index("roi").loc["drawn", "voxels"] == "8"


def test_a_mask_image_that_is_not_there_is_named(tmp_path):
    custom = {"drawn": CustomRoi(mask="nowhere.nii.gz", space=SPACE)}
    with pytest.raises(InputError, match=r"nowhere\.nii\.gz"):
        measured(tmp_path, scan(tmp_path), Rois(use=(), custom=custom), Connectivity(seeds=()))


def test_a_run_that_was_left_out_before_stays_out_with_its_reason(tmp_path):
    run = scan(tmp_path, rows=99)
    receipt = measured(tmp_path, run)
    assert (receipt.included, receipt.reason) == (False, "bad_input")
    assert [e.stage for e in receipt.exclusions] == ["project"]
    assert not (tmp_path / "out" / "sub-01").exists()


def test_receipts_and_sidecars_say_what_was_made(tmp_path):
    run = scan(tmp_path)
    receipt = measured(tmp_path, run)
    out = tmp_path / "out"
    on_disk = {p.relative_to(out).as_posix() for p in (out / "sub-01").rglob("*") if p.is_file()}
    assert set(receipt.files) == on_disk
    assert receipts.digests(out, [Path(name) for name in receipt.files]) == receipt.files
    sidecar = read_json(out / paths.timeseries(run.entities, ".json"))
    assert sidecar["SamplingFrequency"] == 0.5
    assert sidecar["Sources"] == ["bids:d:sub-01/x"]
    assert str(tmp_path) not in json.dumps([read_json(out / n) for n in on_disk if n.endswith(".json")])


def test_without_seeds_there_are_no_maps(tmp_path):
    run = scan(tmp_path)
    receipt = measured(tmp_path, run, maps=Connectivity(seeds=()))
    assert not [name for name in receipt.files if "statmap.nii" in name]
    assert "Ysmooth" not in arrays(tmp_path)


TOGETHER = {"sides": ("left", "right", "front")}


def cleaned_series(run: Run, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Cleaned image of shape (x, y, z, volumes), and the means of the regions left, right and front."""
    residual, _ = cleaning(run)
    cleaned = np.einsum("st,xyzt->xyzs", residual, np.asarray(nib.load(run.bold).dataobj, dtype=float))
    flat = cleaned.reshape(-1, VOLUMES, order="F")
    grid = images.Grid(SHAPE, AFFINE)
    own = [
        on_grid.place(registry.find(name, OWN), grid, SPACE, OWN, root).inside for name in TOGETHER["sides"]
    ]
    return cleaned, np.stack([flat[one].mean(axis=0) for one in own], axis=1)


def left_over(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    rest = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    return rest / np.linalg.norm(rest, axis=0)


@pytest.mark.oracle
def test_smoothed_unique_maps_equal_regression_of_nilearns_image_on_all_seeds(tmp_path):
    run = scan(tmp_path, mask=np.ones(SHAPE))
    measured(tmp_path, run, maps=Connectivity(seeds=(), together=TOGETHER, fwhm_mm=6.0))
    cleaned, seeds = cleaned_series(run, tmp_path)
    smoothed = smooth_img(nib.Nifti1Image(cleaned, AFFINE), 6.0).get_fdata()
    voxels = smoothed.reshape(-1, VOLUMES, order="F").T
    for i, seed in enumerate(TOGETHER["sides"]):
        _, z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, f"{seed}Unique"))
        others = np.delete(seeds, i, axis=1)
        expected = left_over(seeds[:, i], others) @ left_over(voxels, others)
        assert np.abs(np.tanh(z.ravel(order="F")) - expected).max() < 1e-4


@pytest.mark.oracle
def test_the_partial_matrix_equals_regression_of_cleaned_series(tmp_path):
    run = scan(tmp_path, mask=np.ones(SHAPE))
    measured(tmp_path, run, maps=Connectivity(seeds=(), partial=Partial(rois=("front", "left", "right"))))
    _, series = cleaned_series(run, tmp_path)
    table = read_tsv(tmp_path / "out" / paths.relmat(run.entities, stat=paths.PARTIAL)).set_index("roi")
    assert list(table.columns) == list(table.index) == ["left", "right", "front"], "in the order of regions"
    r = table.to_numpy(float)
    for i, j, other in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        rest = left_over(series[:, [i, j]], series[:, [other]])
        assert r[i, j] == pytest.approx(rest[:, 0] @ rest[:, 1], abs=1e-5)


def test_regions_that_explain_each_other_are_rows_and_the_rest_stays(tmp_path):
    sides = np.zeros((2, *SHAPE), np.uint8)
    sides[0, 3:5, 5:7, 5:7], sides[1, 6:8, 5:7, 5:7] = 1, 1
    masks = {"one": sides[0], "two": sides[1], "both": sides[0] + sides[1]}
    for name, mask in masks.items():
        nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / f"{name}.nii.gz")
    custom = {name: CustomRoi(mask=f"{name}.nii.gz", space=SPACE) for name in masks}
    rois = OWN.model_copy(update={"custom": {**OWN.custom, **custom}})
    names = ("one", "two", "both", "front")
    maps = Connectivity(seeds=("one",), together={"g": names}, partial=Partial(rois=names), fwhm_mm=0)
    run = scan(tmp_path)
    receipt = measured(tmp_path, run, rois, maps)
    assert receipt.included
    rows = {row.roi: row for row in receipt.exclusions if row.reason == "collinear"}
    assert set(rows) == {"oneUnique", "twoUnique", "bothUnique", "partial correlation"}
    assert rows["oneUnique"].limit == "> 1e-08 of its variance"
    assert rows["partial correlation"].value.startswith("condition ")
    for name in names:
        _, z = images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, f"{name}Unique"))
        assert np.isfinite(z).any() == (name == "front")
    assert np.isfinite(images.read_volume(tmp_path / "out" / paths.seed_map(run.entities, "one"))[1]).any()
    matrix = read_tsv(tmp_path / "out" / paths.relmat(run.entities, stat=paths.PARTIAL))
    assert set(matrix.iloc[:, 1:].to_numpy().ravel()) == {"n/a"}
    shrunk = maps.model_copy(update={"partial": Partial(rois=names, shrinkage=0.1)})
    again = measured(tmp_path, run, rois, shrunk)
    assert "partial correlation" not in {row.roi for row in again.exclusions}


def test_dummy_scans_at_the_start_leave_a_run_in_one_piece(tmp_path):
    run = scan(tmp_path)
    maps = Connectivity(seeds=(), xdf=True)
    k = projected(tmp_path, run, Denoise(min_df=3, min_seconds=0), dummy_scans=4).numbers["df"]
    receipt = measure(tmp_path / "out", run, OWN, maps, tmp_path, "bids:d:x")
    assert "variance under autocorrelation" not in {row.roi for row in receipt.exclusions}
    assert read_json(tmp_path / "out" / paths.relmat(run.entities, ".json", paths.XDF))["Volumes"] == 96
    table = read_tsv(tmp_path / "out" / paths.relmat(run.entities, stat=paths.XDF)).set_index("roi")
    assert float(table.loc["left", "right"]) >= 1 / (k - 2) - 1e-9
    assert table.loc["left", "left"] == "n/a" and set(table.loc["beyond"]) == {"n/a"}
    moved = scan(tmp_path, moved=(30,))
    denoise = Denoise(strategy="scrubbing.5", min_df=3, min_seconds=0)
    receipt = measured(tmp_path, moved, maps=maps, denoise=denoise)
    (row,) = [row for row in receipt.exclusions if row.reason == "censored_frames"]
    assert (row.roi, row.value) == ("variance under autocorrelation", "1 censored frame")
    assert not list((tmp_path / "out").rglob("*xdfvariance*")), "that of other settings is gone"


def test_files_of_all_measures_are_the_same_bytes_again(tmp_path):
    maps = Connectivity(seeds=("left",), together=TOGETHER, partial=Partial(rois=TOGETHER["sides"]), xdf=True)
    run = scan(tmp_path)
    digests = [measured(tmp_path, run, maps=maps).files for _ in range(2)]
    assert len(digests[0]) == 7 + 6 + 2 + 2
    assert digests[0] == digests[1]


# ---------------------------------------------------------------------------------------------- group

PEOPLE = [f"{n:02d}" for n in range(1, 10)]
REGIONS = ["aL", "aR", "b", "c"]
GRID = images.Grid((9, 10, 11), np.array([[3.0, 0, 0, -12], [0, 3, 0, -14], [0, 0, 3, -15], [0, 0, 0, 1]]))
SEED = registry.Roi("aL", "MNI152", shapes=(registry.Shape((0.0, 1.0, 0.0), radius=4.0),))
MODEL = Paired(design="paired", before="pre", after="post")


def runs_of(person: str, point: str) -> list[str]:
    """Everybody has one run, but two people have two at `post`."""
    return [f"s{person}{point}{i}" for i in range(2 if point == "post" and person in {"01", "02"} else 1)]


def group(out: Path, missing: tuple[str, ...] = (), hole: bool = False) -> dict[str, np.ndarray]:
    """Outputs of first-level stages for nine people, before and after; the z of edges by run."""
    rng = np.random.default_rng(5)
    cohort, runs, collected, edges = [], [], {}, {}
    for person in PEOPLE:
        own = rng.normal(0, 0.2, size=(4, 4))
        for point in ("pre", "post"):
            keys = runs_of(person, point)
            for number, key in enumerate(keys):
                df = 30 + 10 * number
                z = np.triu(own + rng.normal(0, 0.05, (4, 4)), 1) + (point == "post") * 0.3 * np.eye(4, k=1)
                edges[key] = z + z.T
                if key in missing:
                    edges[key][:, 3] = edges[key][3] = np.nan
                collected[key] = write_first_level(out, person, point, number, edges[key], rng, hole)
                runs.append([key, "d", person, point, point, df, 0.1, 90, "true"])
            cohort.append(["d", person, point, ";".join(keys), len(keys), 30 * len(keys), 0.1, "n/a", "n/a"])
    columns = ["dataset", "subject", "time_point", "runs", "n_runs", "df", "mean_fd", "response", "remission"]
    write_tsv(out / paths.COHORT, pd.DataFrame(cohort, columns=columns))
    names = ["run", "dataset", "subject", "session", "time_point", "df", "mean_fd", "frames_kept", "included"]
    write_tsv(out / paths.RUNS, pd.DataFrame(runs, columns=names))
    write_json(out / paths.COLLECTED, collected)
    design(out, "m", MODEL, Clinical(), Inference(permutations=999))
    return edges


def write_first_level(
    out: Path, person: str, point: str, number: int, z: np.ndarray, rng: np.random.Generator, hole: bool
) -> dict[str, str]:
    entities = {"sub": person, "ses": point, "task": "rest", "run": str(number + 1), "space": SPACE}
    table = pd.DataFrame(np.tanh(z) + np.eye(4) * (1 - np.tanh(z)), columns=REGIONS)
    table.insert(0, "roi", REGIONS)
    write_tsv(out / paths.relmat(entities), table, digits=15)
    values = rng.normal(0, 0.1, size=GRID.shape)
    values[6:9, 6:9, 7:10] += 0.5 * (point == "post")
    values[0] = np.nan
    if hole and person == "03":
        values[8, 8, 8] = np.nan
    images.write_map(out / paths.seed_map(entities, "aL"), GRID, values)
    made = (paths.relmat(entities), paths.seed_map(entities, "aL"))
    return {path.as_posix(): "0" * 64 for path in made}


def change(edges: dict[str, np.ndarray], a: str, b: str) -> np.ndarray:
    """Change of one edge, person by person: runs of one time point weighted by df - 2."""
    i, j = REGIONS.index(a), REGIONS.index(b)
    rows = []
    for person in PEOPLE:
        (before,) = (edges[key][i, j] for key in runs_of(person, "pre"))
        after = [edges[key][i, j] for key in runs_of(person, "post")]
        weights = [28.0, 38.0][: len(after)]
        rows.append(np.average(after, weights=weights) - before)
    return np.array(rows)


def edge_table(out: Path, edges="all", permutations: int = 999, alpha: float = 0.05) -> pd.DataFrame:
    test_edges(out, "m", edges, permutations=permutations, seed=1)
    correct(out, "m", ["edges"], Inference(permutations=permutations, alpha=alpha))
    table = read_tsv(out / paths.edges("m")).replace("n/a", "nan")
    text = {"roi_a", "roi_b", "contrast", "family", "g_type", "status"}
    return table.astype({c: float for c in table.columns if c not in text})


@pytest.mark.oracle
def test_several_runs_of_a_time_point_are_combined_in_z_by_their_degrees_of_freedom(tmp_path):
    edges = group(tmp_path)
    for _, row in edge_table(tmp_path).iterrows():
        expected = stats.ttest_1samp(change(edges, row["roi_a"], row["roi_b"]), 0)
        assert row["estimate"] == pytest.approx(change(edges, row["roi_a"], row["roi_b"]).mean(), abs=1e-9)
        assert row["stat"] == pytest.approx(expected.statistic, rel=1e-7)
        low, high = expected.confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == (
            pytest.approx(low, abs=1e-8),
            pytest.approx(high, abs=1e-8),
        )
        assert (row["n"], row["df"]) == (9, 8)


@pytest.mark.oracle
def test_few_people_are_enumerated_and_p_is_that_of_all_sign_flips(tmp_path):
    edges = group(tmp_path)
    table = edge_table(tmp_path, permutations=5000)
    signs = np.array(np.meshgrid(*[[1, -1]] * 9)).reshape(9, -1).T
    for _, row in table.iterrows():
        values = change(edges, row["roi_a"], row["roi_b"])
        t = np.abs(stats.ttest_1samp(signs * values, 0, axis=1).statistic)
        observed = abs(stats.ttest_1samp(values, 0).statistic)
        assert row["p"] == pytest.approx(np.mean(t >= observed * (1 - 1e-9)), abs=1e-10)


def test_partial_edges_come_from_partial_matrices_and_all_are_those_of_the_set(tmp_path):
    group(tmp_path)
    collected = read_json(tmp_path / paths.COLLECTED)
    for files in collected.values():
        (name,) = [name for name in files if "pearsoncorrelation" in name]
        table = read_tsv(tmp_path / name).iloc[1:][["roi", *REGIONS[1:]]]
        values = table.iloc[:, 1:].astype(float) / 2
        values.insert(0, "roi", table["roi"])
        other = name.replace(paths.PEARSON, paths.PARTIAL)
        write_tsv(tmp_path / other, values, digits=15)
        files[other] = "0" * 64
    write_json(tmp_path / paths.COLLECTED, collected)
    every = edge_table(tmp_path).set_index(["roi_a", "roi_b"])
    test_edges(tmp_path, "m", "all", permutations=99, seed=1, measure="partial")
    correct(tmp_path, "m", ["edges"], Inference(permutations=99))
    table = read_tsv(tmp_path / paths.edges("m")).set_index(["roi_a", "roi_b"])
    assert set(table.index) == {("aR", "b"), ("aR", "c"), ("b", "c")}
    assert (table["estimate"].astype(float).abs() < every.loc[table.index, "estimate"].abs()).all()


def test_the_columns_of_the_edge_table_agree_with_each_other(tmp_path):
    group(tmp_path)
    for alpha in (0.01, 0.05, 0.2):
        table = edge_table(tmp_path, alpha=alpha)
        assert (table["ci_low"] < table["estimate"]).all() and (table["estimate"] < table["ci_high"]).all()
        assert (table["ci_sim_low"] <= table["ci_low"] + 1e-12).all() or alpha == 0.2
        assert np.allclose(table["estimate"] / table["se"], table["stat"])
        excludes = (table["ci_sim_low"] > 0) | (table["ci_sim_high"] < 0)
        assert ((table["p_fwe"] <= alpha) == excludes).all()
        assert (table["p"] <= table["p_fwe"]).all() and (table["p_fwe"] <= table["p_holm"]).all()
        assert (table["p"] <= table["p_fdr"]).all()
        assert (
            (table[["p", "p_fwe", "p_fdr", "p_holm"]] > 0) & (table[["p", "p_fwe", "p_fdr", "p_holm"]] <= 1)
        ).all(None)
        assert ((table["g_ci_low"] < table["g"]) & (table["g"] < table["g_ci_high"])).all()
    planted = table.set_index(["roi_a", "roi_b"])["p_fwe"]
    assert (planted[[("aL", "aR"), ("aR", "b"), ("b", "c")]] < 0.05).all()
    assert (planted[[("aL", "b"), ("aL", "c"), ("aR", "c")]] > 0.05).all()


def test_only_the_edges_asked_for_are_a_family(tmp_path):
    group(tmp_path)
    every = edge_table(tmp_path).set_index(["roi_a", "roi_b"])
    some = edge_table(tmp_path, edges=[("b", "c"), ("aL", "c")]).set_index(["roi_a", "roi_b"])
    assert list(some.index) == [("b", "c"), ("aL", "c")]
    assert np.allclose(some["stat"], every.loc[some.index, "stat"])
    assert (some["p_fwe"] <= every.loc[some.index, "p_fwe"]).all()


def test_an_edge_that_a_person_lacks_says_so_in_n_and_is_never_zero(tmp_path):
    group(tmp_path, missing=("s04pre0",))
    table = edge_table(tmp_path).set_index(["roi_a", "roi_b"])
    lacking = table[[("c" in pair) for pair in table.index]]
    assert (lacking["n"] == 8).all()
    assert (lacking["estimate"] != 0).all()
    assert (table.drop(lacking.index)["n"] == 9).all()
    assert table.drop(lacking.index)["p_fwe"].notna().all()


def test_the_same_tests_give_the_same_bytes_again(tmp_path):
    made = []
    for name in ("a", "b"):
        out = tmp_path / name
        group(out)
        test_edges(out, "m", "all", permutations=200, seed=3)
        test_seed(out, "m", "aL", [SEED], fwhm_mm=6.0, folder=out, permutations=200, seed=3)
        correct(out, "m", ["seed-aL", "edges"], Inference(permutations=200))
        made.append({p.relative_to(out): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()})
    assert made[0] == made[1]


def group_maps(out: Path) -> dict[str, np.ndarray]:
    test_seed(out, "m", "aL", [SEED], fwhm_mm=6.0, folder=out, permutations=999, seed=1)
    correct(out, "m", ["seed-aL"], Inference(permutations=999))
    stems = ("effect", "t", "p", "pfwe", "g")
    return {s: images.read_volume(out / paths.group_map("m", "aL", "change", s))[1] for s in stems}


@pytest.mark.parametrize(
    "asked",
    [
        Enhancement(),
        Enhancement(kind="mass", threshold=2.5, neighbours=6),
        Enhancement(kind="extent", threshold=2),
    ],
)
def test_enhanced_maps_are_corrected_by_their_score_and_edges_by_their_t(tmp_path, asked):
    group(tmp_path)
    settings = Inference(permutations=255, enhancement=asked)
    test_edges(tmp_path, "m", "all", permutations=255, seed=1)
    test_seed(
        tmp_path, "m", "aL", [SEED], fwhm_mm=6.0, folder=tmp_path, permutations=255, seed=1, enhancement=asked
    )
    correct(tmp_path, "m", ["seed-aL", "edges"], settings)
    t, score, p = (
        images.read_volume(tmp_path / paths.group_map("m", "aL", "change", stat))[1]
        for stat in ("t", asked.kind, "pfwe")
    )
    tested = np.isfinite(t)
    graph = lattice(tested, asked.neighbours)
    enhance = Tfce(graph) if asked.kind == "tfce" else Clusters(graph, asked.threshold, asked.kind)
    order = tested.ravel(order="F")
    expected = enhance.scores(t.ravel(order="F")[order])
    found = score.ravel(order="F")[order]
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    # Larger scores never have larger p.
    ranked = p.ravel(order="F")[order][np.argsort(-np.abs(found), kind="stable")]
    assert (np.diff(ranked) >= 0).all() and np.array_equal(np.isfinite(p), tested)
    families = {one["name"]: one for one in read_json(tmp_path / paths.families("m"))}
    assert families["change.maps"]["scale"] == "score" and families["change.maps"]["statistic"] == "t"
    assert families["change.edges"]["scale"] == "t"


def test_group_maps_are_missing_outside_what_was_tested_and_around_the_seed(tmp_path):
    group(tmp_path, hole=True)
    maps = group_maps(tmp_path)
    mm = np.stack(np.indices(GRID.shape), axis=-1) @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    seed = mm.reshape(-1, 3, order="F")[on_grid.place(SEED, GRID, SPACE, Rois(), tmp_path).inside]
    distance = np.min(np.linalg.norm(mm[..., None, :] - seed, axis=-1), axis=-1)
    tested = distance > 6.0
    tested[0] = False
    tested[8, 8, 8] = False
    assert 0 < tested.sum() < tested.size
    for stat, values in maps.items():
        assert np.array_equal(np.isfinite(values), tested), stat


def test_a_unique_map_leaves_out_the_surroundings_of_every_seed_of_its_group(tmp_path):
    group(tmp_path)
    other = registry.Roi("b", "MNI152", shapes=(registry.Shape((9.0, 10.0, 12.0), radius=4.0),))
    tested = []
    for regions in ([SEED], [other], [SEED, other], [other, SEED]):
        test_seed(tmp_path, "m", "aL", regions, fwhm_mm=6.0, folder=tmp_path, permutations=99, seed=1)
        made = load(tmp_path / paths.test_result("m", "seed-aL"))[0]["change"]
        tested.append(set(made.features[made.result.valid].tolist()))
    assert tested[0] != tested[1]
    assert tested[2] == tested[3] == tested[0] & tested[1]


@pytest.mark.oracle
def test_group_maps_are_the_paired_t_of_scipy(tmp_path):
    group(tmp_path)
    maps = group_maps(tmp_path)

    def z(person: str, point: str, number: int) -> np.ndarray:
        entities = {"sub": person, "ses": point, "task": "rest", "run": str(number + 1), "space": SPACE}
        return images.read_volume(tmp_path / paths.seed_map(entities, "aL"))[1].astype(float)

    rows = []
    for person in PEOPLE:
        after = [z(person, "post", i) for i in range(len(runs_of(person, "post")))]
        rows.append(np.average(after, axis=0, weights=[28.0, 38.0][: len(after)]) - z(person, "pre", 0))
    data = np.array(rows)
    with np.errstate(invalid="ignore"):
        t = stats.ttest_1samp(data, 0).statistic
    held = np.isfinite(maps["t"])
    assert np.allclose(maps["t"][held], t[held], rtol=2e-4)
    assert np.allclose(maps["effect"][held], data.mean(axis=0)[held], atol=1e-6)
    assert ((maps["p"][held] > 0) & (maps["p"][held] <= maps["pfwe"][held]) & (maps["pfwe"][held] <= 1)).all()


@pytest.mark.truth
def test_the_planted_cluster_is_found_where_it_is_and_nowhere_else(tmp_path):
    group(tmp_path)
    maps = group_maps(tmp_path)
    found = np.argwhere(maps["pfwe"] <= 0.05)
    assert len(found) > 10
    assert (found >= [6, 6, 7]).all() and (found < [9, 9, 10]).all()
    clusters = read_tsv(tmp_path / paths.clusters("m"))
    assert set(clusters["seed"]) == {"aL"}
    assert clusters["voxels"].astype(int).sum() == len(found)
    peak = clusters[["peak_x", "peak_y", "peak_z"]].astype(float).to_numpy()[0]
    voxel = np.linalg.solve(GRID.affine, [*peak, 1])[:3]
    assert (voxel >= [6, 6, 7]).all() and (voxel < [9, 9, 10]).all()


def test_maps_on_different_grids_are_refused(tmp_path):
    group(tmp_path)
    entities = {"sub": "05", "ses": "pre", "task": "rest", "run": "1", "space": SPACE}
    images.write_map(
        tmp_path / paths.seed_map(entities, "aL"), images.Grid((9, 10, 10), GRID.affine), np.ones((9, 10, 10))
    )
    with pytest.raises(DesignError, match=r"has the grid .* need\s*one grid"):
        test_seed(tmp_path, "m", "aL", [SEED], fwhm_mm=6.0, folder=tmp_path, permutations=99, seed=1)


@pytest.mark.parametrize("lacking", ["*", "sub-04_ses-pre_*"])
def test_a_seed_that_somebody_lacks_gives_empty_maps_and_clusters_and_no_crash(tmp_path, lacking):
    group(tmp_path)
    lost = list(tmp_path.rglob(f"{lacking}_seed-aL_stat-fisherz_statmap.nii.gz"))
    assert lost
    for path in lost:
        images.write_map(path, GRID, np.full(GRID.shape, np.nan))
    maps = group_maps(tmp_path)
    assert all(np.isnan(values).all() for values in maps.values())
    assert len(read_tsv(tmp_path / paths.clusters("m"))) == 0


def test_what_a_test_saves_is_what_is_loaded(tmp_path):
    group(tmp_path)
    test_seed(tmp_path, "m", "aL", [SEED], fwhm_mm=6.0, folder=tmp_path, permutations=99, seed=1)
    tested, extra = load(tmp_path / paths.test_result("m", "seed-aL"))
    assert set(tested) == {"change"}
    assert tuple(extra["shape"]) == GRID.shape
    assert np.array_equal(extra["affine"], GRID.affine)
    one = tested["change"]
    assert one.result.effect.shape == one.features.shape == one.n.shape
    assert one.result.maxima[0] == pytest.approx(np.abs(one.result.stat).max())


def test_maps_and_edges_of_one_contrast_are_two_families_with_holm_across_them(tmp_path):
    group(tmp_path)
    test_edges(tmp_path, "m", "all", permutations=999, seed=1)
    test_seed(tmp_path, "m", "aL", [SEED], fwhm_mm=6.0, folder=tmp_path, permutations=999, seed=1)
    correct(tmp_path, "m", ["seed-aL", "edges"], Inference(permutations=999))
    table = read_tsv(tmp_path / paths.edges("m"))
    assert set(table["family"]) == {"change.edges"}
    assert set(read_tsv(tmp_path / paths.clusters("m"))["family"]) == {"change.maps"}
    assert "p_holm" in table.columns
    assert (table["p_holm"].astype(float) >= table["p_fwe"].astype(float)).all()


def test_a_peak_is_named_by_the_nearest_region_unless_it_is_far():
    assert nearest_region(0.4, -31.3, -9.2) == "0 mm from PAG"
    assert nearest_region(0, 0, 90) == "n/a"


def test_a_receipt_that_is_none_is_named(tmp_path):
    write_json(tmp_path / "receipt.json", {"run": "x"})
    with pytest.raises(InputError, match=r"receipt\.json: not a receipt .*delete it and run again"):
        receipts.read(tmp_path / "receipt.json")


def test_a_session_goes_into_folder_names_and_rows(tmp_path):
    run = scan(tmp_path, session="post", rows=99)
    (row,) = projected(tmp_path, run).exclusions
    assert row.session == "post"
    good = scan(tmp_path, session="post")
    receipt = measured(tmp_path, good)
    assert all(name.startswith("sub-01/ses-post/func/sub-01_ses-post_task-rest_") for name in receipt.files)
    assert replace(good, key="two").name == run.name
