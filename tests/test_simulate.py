"""The simulator writes what fMRIPrep writes, and the data have the properties asked for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from conn.bids import parse
from conn.confounds import MOTION_24, combined_components, metadata_file, read_confounds, select
from conn.errors import ConfigError
from conn.simulate import CohortSpec, PlantedEdge, Signal, simulate_cohort
from conn.simulate.anatomy import Anatomy, grid, load_anatomy
from conn.simulate.components import components
from conn.simulate.motion import HIGH, Motion, draw_motion, framewise_displacement
from conn.simulate.people import draw_people
from conn.simulate.regions import build_scene, measured_voxels
from conn.simulate.scan import cosine_columns
from conn.simulate.signal import ar1_covariance, band_covariance, band_limited, kept_variance, smooth_noise
from conn.tables import read_tsv

ROIS = (
    ("insulaL", (-36.0, 18.0, 2.0), 8.0),
    ("insulaR", (38.0, 21.0, -1.0), 8.0),
    ("PAG", (0.0, -30.0, -8.0), 6.0),
    ("precuneus", (0.0, -68.0, 42.0), 8.0),
)
SMALL = CohortSpec(rois=ROIS, n_subjects=4, volumes=60, voxel_mm=5.0, seed=3)


@pytest.fixture(scope="module")
def coarse() -> Anatomy:
    return load_anatomy(5.0)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trial")
    simulate_cohort(out, replace(SMALL, missing_last=1, high_motion=1, truncated=1), workers=2)
    return out


def _images(out: Path) -> list[Path]:
    return sorted((out / "derivatives" / "fmriprep").rglob("*_desc-preproc_bold.nii.gz"))


def _confounds(image: Path) -> pd.DataFrame:
    stem = image.name.split("_space-")[0]
    path = image.with_name(f"{stem}_desc-confounds_timeseries.tsv")
    return pd.read_csv(path, sep="\t", na_values="n/a")


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


# ------------------------------------------------------------------------------------------ grid, layout


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("voxel_mm", "shape", "origin"),
    [(3.0, (65, 77, 65), (-96, -132, -78)), (2.0, (97, 115, 97), (-96.5, -132.5, -78.5))],
)
def test_grids_are_those_that_fmriprep_writes(
    voxel_mm: float, shape: tuple[int, int, int], origin: tuple[float, float, float]
) -> None:
    found, affine = grid(voxel_mm)
    assert found == shape
    np.testing.assert_array_equal(affine[:3, 3], origin)
    np.testing.assert_array_equal(np.diag(affine), [voxel_mm] * 3 + [1.0])


def test_a_grid_too_fine_to_simulate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0.5 mm is outside"):
        grid(0.5)


def test_tissue_lies_where_it_should(coarse: Anatomy) -> None:
    def at(point: tuple[float, float, float]) -> int:
        return int(((coarse.xyz - np.array(point)) ** 2).sum(axis=1).argmin())

    assert 1_300_000 < coarse.brain.sum() * 125 < 2_100_000
    assert coarse.wm[at((-26, -20, 28))] > 0.7
    assert coarse.csf[at((-19, -34, 18))] > 0.5
    assert coarse.gm[at((-12, 12, 10))] > 0.5


def test_every_image_has_its_mask_confounds_and_sidecars(trial: Path) -> None:
    images = _images(trial)
    assert len(images) == 7
    for image in images:
        stem = image.name.removesuffix("_desc-preproc_bold.nii.gz")
        acquisition = stem.split("_space-")[0]
        for name in (
            f"{stem}_desc-preproc_bold.json",
            f"{stem}_desc-brain_mask.nii.gz",
            f"{stem}_desc-brain_mask.json",
            f"{acquisition}_desc-confounds_timeseries.tsv",
            f"{acquisition}_desc-confounds_timeseries.json",
        ):
            assert image.with_name(name).is_file(), name
            assert parse(name) is not None
        raw = (
            trial / image.parent.relative_to(trial / "derivatives" / "fmriprep") / f"{acquisition}_bold.json"
        )
        assert json.loads(raw.read_text()) == {"RepetitionTime": 2.0, "TaskName": "rest"}
        assert (
            json.loads(image.with_name(f"{stem}_desc-preproc_bold.json").read_text())["RepetitionTime"] == 2.0
        )


def test_headers_are_int16_with_slope_template_codes_and_repetition_time(trial: Path) -> None:
    image = nib.load(_images(trial)[0])
    mask = nib.load(str(_images(trial)[0]).replace("desc-preproc_bold", "desc-brain_mask"))
    shape, affine = grid(5.0)
    assert image.shape == (*shape, 60)
    assert image.get_data_dtype() == np.int16
    assert image.dataobj.slope == 0.5
    assert image.header.get_zooms()[3] == 2.0
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 4
    np.testing.assert_allclose(image.affine, affine)
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-4)
    assert mask.shape == shape
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}
    inside = np.asarray(image.dataobj)[np.asarray(mask.dataobj) == 1]
    assert (inside.std(axis=1) > 0).all()


def test_descriptions_say_that_the_data_are_simulated(trial: Path) -> None:
    for folder in (trial, trial / "derivatives" / "fmriprep"):
        description = json.loads((folder / "dataset_description.json").read_text())
        assert [entry["Name"] for entry in description["GeneratedBy"]] == ["conn simulate"]
        assert "Nobody was scanned" in description["GeneratedBy"][0]["Description"]


def test_participants_have_arms_scores_and_a_missing_last_score_where_a_scan_is_missing(trial: Path) -> None:
    people = read_tsv(trial / "participants.tsv")
    assert list(people) == ["participant_id", "age", "sex", "arm", "site", "MADRS_ses-pre", "MADRS_ses-post"]
    assert sorted(people["arm"]) == ["drug", "drug", "placebo", "placebo"]
    assert list(people["MADRS_ses-post"] == "n/a") == [False, False, False, True]
    assert set(json.loads((trial / "participants.json").read_text())) == set(people) - {"participant_id"}
    assert not list(trial.rglob("sub-04/ses-post"))


def test_the_faults_asked_for_are_there(trial: Path) -> None:
    images = _images(trial)
    moving = _confounds(images[2])["framewise_displacement"]
    assert images[2].name.startswith("sub-02_ses-post")
    assert (moving > 0.5).mean() > 0.5
    cut = next(image for image in images if image.name.startswith("sub-03_ses-pre"))
    with pytest.raises(EOFError):
        nib.load(cut).get_fdata()


# --------------------------------------------------------------------------------------------- confounds


def test_confound_names_are_those_of_a_real_table(trial: Path, shared_data: Path) -> None:
    def kinds(names: list[str]) -> set[str]:
        return {name.rstrip("0123456789") if name[-2:].isdigit() else name for name in names}

    real = pd.read_csv(
        shared_data / "confounds" / "nilearn_v21" / "test-v21_desc-confounds_timeseries.tsv",
        sep="\t",
        nrows=1,
    )
    longer = pd.read_csv(
        shared_data / "confounds" / "nilearn_test" / "test_desc-confounds_regressors.tsv", sep="\t", nrows=1
    )
    names = {name for image in _images(trial) for name in _confounds(image)}
    assert kinds(sorted(names)) <= kinds([*real, *longer])
    wanted = {name for name in real if name.split("_")[0] in ("trans", "rot", "csf", "white", "global")}
    assert wanted <= names


def test_cells_are_missing_only_in_the_first_row_of_derivatives_dvars_and_displacement(trial: Path) -> None:
    table = _confounds(_images(trial)[0])
    assert len(table) == 60
    assert not table.iloc[1:].isna().any().any()
    missing = set(table.columns[table.iloc[0].isna()])
    assert {name for name in table if "derivative1" in name} < missing
    others = {name for name in missing if "derivative1" not in name}
    assert others == {"dvars", "std_dvars", "framewise_displacement", "rmsd"}


@pytest.mark.oracle
def test_tissue_confounds_are_means_of_the_image_and_dvars_its_steps(trial: Path) -> None:
    path = _images(trial)[0]
    data = np.asarray(nib.load(path).dataobj)
    mask = np.asarray(nib.load(str(path).replace("desc-preproc_bold", "desc-brain_mask")).dataobj) == 1
    table = _confounds(path)
    np.testing.assert_allclose(table["global_signal"], data[mask].mean(axis=0), atol=0.02)
    steps = np.sqrt((np.diff(data[mask], axis=1) ** 2).mean(axis=0))
    np.testing.assert_allclose(table["dvars"][1:], steps, rtol=1e-3)


def test_short_runs_have_no_cosine_column_and_longer_ones_what_fmriprep_counts() -> None:
    assert cosine_columns(60, 2.0) == {}
    columns = cosine_columns(150, 2.0)
    assert list(columns) == ["cosine00", "cosine01", "cosine02"]
    basis = np.stack(list(columns.values()))
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)


def test_motion_reaches_the_data(trial: Path) -> None:
    pairs = []
    for image in _images(trial)[:2]:
        table = _confounds(image)
        pairs.append(np.corrcoef(table["framewise_displacement"][1:], table["dvars"][1:])[0, 1])
    assert np.mean(pairs) > 0.3


@pytest.mark.oracle
def test_framewise_displacement_is_the_sum_of_steps_with_rotations_on_a_50_mm_sphere() -> None:
    parameters = np.zeros((3, 6))
    parameters[1] = [0.1, -0.2, 0.0, 0.002, 0.0, -0.001]
    np.testing.assert_allclose(framewise_displacement(parameters), [np.nan, 0.45, 0.45])


def test_an_ordinary_head_is_still_and_a_restless_one_is_not() -> None:
    still = framewise_displacement(draw_motion(np.random.default_rng(1), 2000, Motion()))[1:]
    restless = framewise_displacement(draw_motion(np.random.default_rng(1), 2000, HIGH))[1:]
    assert np.median(still) < 0.12
    assert 0.02 < (still > 0.3).mean() < 0.10
    assert (restless > 0.5).mean() > 0.7


# ---------------------------------------------------------------------------------------------- CompCor


@pytest.mark.oracle
@pytest.mark.parametrize(("volumes", "sizes"), [(23, (40, 7)), (23, (5, 8)), (31, (9, 0))])
def test_components_are_those_of_a_singular_value_decomposition(volumes: int, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    csf, wm = (10 + rng.normal(size=(volumes, n)).astype(np.float32) * rng.gamma(2, size=n) for n in sizes)
    slow = np.linalg.qr(np.column_stack([np.ones(volumes), rng.normal(size=(volumes, 3))]))[0][:, 1:]
    both = np.hstack([csf, wm]).astype(float)
    design = np.column_stack([np.ones(volumes), slow])
    both -= design @ np.linalg.lstsq(design, both, rcond=None)[0]
    left, singular, _ = np.linalg.svd(both / both.std(axis=0), full_matrices=False)
    share = np.cumsum(singular**2) / (singular**2).sum()
    kept = int((share < 0.5).sum()) + 1
    made = components(csf.astype(np.float32), wm.astype(np.float32), slow)
    names = [name for name in made.columns if name.startswith("a_")]
    assert names == [f"a_comp_cor_{number:02d}" for number in range(kept)]
    for number, name in enumerate(names):
        assert abs(made.columns[name] @ left[:, number]) == pytest.approx(1.0, abs=1e-6)
        assert made.columns[name][np.abs(made.columns[name]).argmax()] > 0
    told = [entry for entry in made.metadata.values() if entry["Mask"] == "combined"]
    assert len(told) == len(singular)
    found = [[entry[key] for entry in told] for key in ("SingularValue", "CumulativeVarianceExplained")]
    np.testing.assert_allclose(found, [singular, share], atol=1e-5)


def test_components_describe_themselves_as_those_of_fmriprep_do(trial: Path, shared_data: Path) -> None:
    real = json.loads(
        (shared_data / "confounds/nilearn_v21/test-v21_desc-confounds_timeseries.json").read_text()
    )
    for image in _images(trial):
        table = image.with_name(f"{image.name.split('_space-')[0]}_desc-confounds_timeseries.tsv")
        metadata = json.loads(metadata_file(table).read_text())
        told = {name: entry for name, entry in metadata.items() if entry["Method"] == "aCompCor"}
        assert {frozenset(entry) for entry in told.values()} == {frozenset(real["a_comp_cor_00"])}
        for mask, prefix in (("CSF", "c_"), ("WM", "w_"), ("combined", "a_")):
            of_mask = {name: entry for name, entry in told.items() if entry["Mask"] == mask}
            retained = [name for name, entry in of_mask.items() if entry["Retained"]]
            assert retained and all(name.startswith(f"{prefix}comp_cor_") for name in retained)
            assert {name for name, entry in of_mask.items() if not entry["Retained"]} == {
                name for name in of_mask if name.startswith("dropped_")
            }
        columns = {name for name in _confounds(image) if "comp_cor" in name}
        assert columns == {name for name, entry in told.items() if entry["Retained"]}
        assert len(columns) < len(told)
        combined = [n for n in told if told[n]["Mask"] == "combined" and told[n]["Retained"]]
        assert list(combined_components(metadata)) == sorted(combined)


def test_components_hold_tissue_noise_and_nothing_slower_than_fmriprep_leaves(trial: Path) -> None:
    for image in _images(trial):
        table = _confounds(image)
        names = [name for name in table if name.startswith("a_comp_cor")]
        series = table[names].to_numpy()
        np.testing.assert_allclose(series.sum(axis=0), 0.0, atol=1e-8)
        np.testing.assert_allclose(series.T @ series, np.eye(len(names)), atol=1e-8)
        tissue = table["white_matter"].to_numpy() - table["white_matter"].mean()
        assert ((series.T @ tissue) ** 2).sum() > 0.5 * (tissue**2).sum()


def test_compcor_selects_from_a_simulated_table(trial: Path) -> None:
    image = _images(trial)[0]
    path = image.with_name(f"{image.name.split('_space-')[0]}_desc-confounds_timeseries.tsv")
    chosen = select(read_confounds(path), "compcor")
    assert chosen.columns[:24] == MOTION_24
    assert chosen.columns[24] == "a_comp_cor_00"
    assert not chosen.censored.any()


# ------------------------------------------------------------------------------------------------- noise


@pytest.mark.oracle
def test_noise_has_the_size_autocorrelation_and_smoothness_asked_for() -> None:
    anatomy = load_anatomy(3.0)
    signal = Signal(noise=7.0, autocorrelation=0.4, fwhm_mm=6.0)
    noise = np.vstack(list(smooth_noise(np.random.default_rng(0), anatomy, 60, signal)))
    assert noise.shape == (60, anatomy.active.size)
    assert noise.std() == pytest.approx(7.0, rel=0.01)
    lag1 = (noise[1:] * noise[:-1]).mean() / noise.var()
    assert lag1 == pytest.approx(0.4, abs=0.01)
    volume = np.full((60, int(np.prod(anatomy.shape))), np.nan, dtype=np.float32)
    volume[:, anatomy.active] = noise
    volume = volume.reshape(60, *anatomy.shape[::-1])
    for axis in (1, 2, 3):
        pairs = np.take(volume, range(1, 40), axis) * np.take(volume, range(39), axis)
        neighbours = np.nanmean(pairs) / noise.var()
        fwhm = 3.0 * np.sqrt(-2 * np.log(2) / np.log(neighbours))
        assert fwhm == pytest.approx(6.0, rel=0.03)


@pytest.mark.oracle
def test_signals_are_of_unit_variance_and_live_in_their_band() -> None:
    series = band_limited(np.random.default_rng(0), 400, 300, 2.0, (0.01, 0.08))
    assert series.var() == pytest.approx(1.0, rel=0.03)
    power = (np.abs(np.fft.rfft(series * np.hanning(300))) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(300, 2.0)
    inside = (frequency >= 0.008) & (frequency <= 0.082)
    assert power[inside].sum() / power.sum() > 0.98
    covariance = series.T @ series / 400
    lags = [np.diag(covariance, lag).mean() for lag in range(0, 30, 5)]
    expected = band_covariance(300, 2.0, (0.01, 0.08))[0, 0:30:5]
    np.testing.assert_allclose(lags, expected, atol=0.03)


def test_the_share_of_variance_in_the_band_is_what_a_projection_leaves() -> None:
    white = kept_variance(np.eye(200), 2.0, (0.008, 0.1))
    assert white == pytest.approx(2 * 200 * 2.0 * (0.1 - 0.008) / 200, abs=0.02)
    assert kept_variance(ar1_covariance(200, 0.5), 2.0, (0.008, 0.1)) > white


# ---------------------------------------------------------------------------------------------- regions


def test_a_voxel_near_two_regions_belongs_to_the_nearer_and_no_network_reaches_into_them(
    coarse: Anatomy,
) -> None:
    near = (("a", (-36.0, 18.0, 2.0), 9.0), ("b", (-36.0, 4.0, 2.0), 9.0))
    scene = build_scene(coarse, near, margin_mm=4.0)
    distance = [((coarse.xyz - np.array(centre)) ** 2).sum(axis=1) for _, centre, _ in near]
    owned = scene.owner >= 0
    np.testing.assert_array_equal(scene.owner[owned], np.argmin(distance, axis=0)[owned])
    assert (scene.networks[:, owned] == 0).all()
    assert not (scene.wm_mask | scene.csf_mask)[owned].any()
    assert (scene.owner[measured_voxels(scene, near[:1], "a")] == 0).mean() > 0.7


def test_a_region_outside_the_brain_is_refused(coarse: Anatomy) -> None:
    with pytest.raises(ConfigError, match=r"'far' holds no voxel"):
        build_scene(coarse, [("far", (0.0, 0.0, 120.0), 5.0)], 1.0)


# ------------------------------------------------------------------------------------------ determinism


def test_labels_may_begin_elsewhere_and_people_stay_the_same():
    people, others = draw_people(SMALL), draw_people(replace(SMALL, first_label=101))
    assert [person.label for person in others] == [f"{101 + i}" for i in range(len(people))]
    assert [replace(person, label="") for person in people] == [
        replace(person, label="") for person in others
    ]


def test_bytes_depend_on_the_seed_and_not_on_the_number_of_workers(tmp_path: Path) -> None:
    spec = replace(SMALL, n_subjects=2, volumes=30, voxel_mm=6.0)
    simulate_cohort(tmp_path / "one", spec, workers=1)
    simulate_cohort(tmp_path / "two", spec, workers=2)
    simulate_cohort(tmp_path / "other", replace(spec, seed=4), workers=1)
    one, two, other = (_digests(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    images = [name for name in one if name.endswith("bold.nii.gz")]
    assert len(images) == 4
    assert all(one[name] != other[name] for name in images)
    assert len({one[name] for name in images}) == 4


def test_a_person_does_not_change_when_the_trial_grows() -> None:
    few, many = draw_people(SMALL), draw_people(replace(SMALL, n_subjects=40))
    assert [(p.age, p.sex, p.site) for p in few] == [(p.age, p.sex, p.site) for p in many[:4]]
    assert len({(p.age, p.scores) for p in many}) > 35


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_subjects": 0}, "at least one subject"),
        ({"volumes": 10}, "below 20"),
        ({"edges": (PlantedEdge("insulaL", "PAG", delta_z={"ketamine": 1.0}),)}, "'ketamine' is none of"),
        ({"missing_last": 9}, "more faulty scans"),
    ],
)
def test_trials_that_cannot_be_simulated_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change)
