"""Partial correlations, unique maps of seeds entered together, and what a study makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.connectome import ConnectivityMeasure
from scipy import stats
from sklearn.covariance import EmpiricalCovariance
from statsmodels.api import OLS

from conn import correlation, images, partial, paths
from conn.check import check, foresee, foreseen_exclusions
from conn.config.load import to_yaml
from conn.config.pairs import partial_set
from conn.correlation import BLOCK
from conn.errors import ConfigError
from conn.files import read_json
from conn.rois import on_grid
from conn.rois.registry import find
from conn.simulate import DEMO_ROIS, CohortSpec, PlantedEdge, TruthModel, simulate_cohort
from conn.status import why
from conn.study import Study, open_study
from conn.tables import read_tsv
from line import first_level, inside, walk


def mixed(k: int, n: int, seed: int = 0) -> np.ndarray:
    """Coefficients of n regions that depend on each other."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, n)) @ (np.eye(n) + 0.4 * rng.normal(size=(n, n)))


def residual_correlation(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> float:
    """What partial correlation is by definition."""
    rest = [v - others @ np.linalg.lstsq(others, v, rcond=None)[0] for v in (x, y)]
    return float(rest[0] @ rest[1] / np.linalg.norm(rest[0]) / np.linalg.norm(rest[1]))


# --------------------------------------------------------------------------------------------- regions


@pytest.mark.oracle
def test_a_partial_correlation_is_the_correlation_of_what_regression_on_the_others_leaves():
    series = mixed(31, 7)
    r = partial.partial_correlations(series).r
    for i in range(7):
        for j in range(i):
            others = np.delete(series, [i, j], axis=1)
            assert r[i, j] == pytest.approx(
                residual_correlation(series[:, i], series[:, j], others), abs=1e-12
            )


@pytest.mark.oracle
def test_without_shrinkage_it_is_that_of_nilearn():
    series = mixed(41, 9)
    centred = np.linalg.qr(np.hstack([np.ones((60, 1)), np.random.default_rng(1).normal(size=(60, 41))]))[0]
    measure = ConnectivityMeasure(EmpiricalCovariance(store_precision=False), kind="partial correlation")
    theirs = measure.fit_transform([centred[:, 1:] @ series])[0]
    assert np.abs(partial.partial_correlations(series).r - theirs).max() < 1e-10


@pytest.mark.oracle
@pytest.mark.parametrize("shrinkage", [0.05, 0.3, 0.9])
def test_shrinkage_mixes_the_identity_into_the_correlations_before_they_are_inverted(shrinkage):
    series = mixed(31, 7)
    P = np.linalg.inv((1 - shrinkage) * correlation.correlation_matrix(series) + shrinkage * np.eye(7))
    expected = -P / np.sqrt(np.outer(np.diag(P), np.diag(P)))
    off = ~np.eye(7, dtype=bool)
    assert np.abs(partial.partial_correlations(series, shrinkage).r - expected)[off].max() < 1e-12


@pytest.mark.truth
def test_in_a_chain_the_ends_are_correlated_but_not_partially():
    k = 4000
    rng = np.random.default_rng(3)
    a = rng.normal(size=k)
    b = a + 0.7 * rng.normal(size=k)
    c = b + 0.7 * rng.normal(size=k)
    series = np.stack([a, b, c], axis=1)
    assert correlation.correlation_matrix(series)[0, 2] > 0.6
    r = partial.partial_correlations(series).r
    assert abs(r[0, 2]) < 4 / np.sqrt(k)
    assert min(r[0, 1], r[1, 2]) > 0.5


@pytest.mark.calibration
def test_without_dependence_z_varies_as_k_minus_the_regions_held_constant_says():
    k, n, rng = 14, 7, np.random.default_rng(5)
    r = np.array([partial.partial_correlations(rng.normal(size=(k, n))).r[0, 1] for _ in range(2000)])
    df = k - (n - 2) - 1
    ratio = r / np.sqrt(1 - r**2)
    assert stats.kstest(ratio * np.sqrt(df), stats.t(df).cdf).pvalue > 0.001
    wrong = stats.kstest(ratio * np.sqrt(k - 1), stats.t(k - 1).cdf).pvalue
    assert wrong < 0.001, "regions held constant cost degrees of freedom"


def test_one_region_that_is_not_there_takes_the_whole_matrix_with_it():
    series = mixed(31, 7)
    series[:, 4] = np.nan
    made = partial.partial_correlations(series)
    assert np.isnan(made.r).all() and np.isnan(made.condition)
    series[:, 4] = 0
    assert np.isnan(partial.partial_correlations(series).r).all()


def test_regions_that_explain_each_other_have_no_partial_correlation_unless_shrunk():
    series = mixed(31, 7)
    series[:, 6] = series[:, 0] + series[:, 1] - 2 * series[:, 2]
    made = partial.partial_correlations(series)
    assert np.isnan(made.r).all() and made.condition > partial.MOST_CONDITION
    assert np.isfinite(partial.partial_correlations(series, 0.1).r).all()


def test_two_regions_have_nothing_to_hold_constant():
    series = mixed(31, 2)
    assert partial.partial_correlations(series).r == pytest.approx(correlation.correlation_matrix(series))


sizes = st.tuples(st.integers(2, 9), st.integers(0, 10_000), st.floats(0, 0.9))


@given(sizes, st.permutations(range(9)))
@settings(max_examples=40, deadline=None)
def test_matrices_are_exactly_symmetric_within_one_and_follow_order_and_not_scale(size, order):
    n, seed, shrinkage = size
    series = mixed(30, n, seed)
    r = partial.partial_correlations(series, shrinkage).r
    assert np.array_equal(r, r.T)
    assert (np.diag(r) == 1).all() and (np.abs(r) <= 1).all()
    own = [i for i in order if i < n]
    turned = partial.partial_correlations(series[:, own], shrinkage).r
    assert np.abs(turned - r[np.ix_(own, own)]).max() < 1e-9
    scale = np.random.default_rng(seed).choice([-1, 1], n) * 10.0 ** np.arange(-4, n - 4)
    scaled = partial.partial_correlations(series * scale, shrinkage).r
    assert np.abs(scaled - r * np.sign(np.outer(scale, scale))).max() < 1e-9


# ----------------------------------------------------------------------------------------- unique maps


def seeds_and_voxels(k: int, n_seeds: int, n_voxels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    seeds = mixed(k, n_seeds, seed)
    Y = seeds @ rng.normal(size=(n_seeds, n_voxels)) + 2 * rng.normal(size=(k, n_voxels))
    return seeds, Y.astype(np.float32)


@pytest.mark.oracle
def test_a_unique_map_is_the_correlation_of_what_the_other_seeds_leave_of_seed_and_voxel():
    seeds, Y = seeds_and_voxels(29, 3, BLOCK + 7)
    r = np.tanh(partial.unique_maps(Y, seeds).z)
    for v in (0, 8, BLOCK - 1, BLOCK, BLOCK + 6):
        for i in range(3):
            expected = residual_correlation(seeds[:, i], Y[:, v].astype(float), np.delete(seeds, i, axis=1))
            assert r[i, v] == pytest.approx(expected, abs=1e-6)


@pytest.mark.oracle
def test_a_unique_map_is_the_t_of_the_seed_in_the_regression_on_all_seeds():
    seeds, Y = seeds_and_voxels(29, 4, 11)
    r = np.tanh(partial.unique_maps(Y, seeds).z)
    for v in range(11):
        fit = OLS(Y[:, v].astype(float), seeds).fit()
        assert r[:, v] == pytest.approx(fit.tvalues / np.sqrt(fit.tvalues**2 + fit.df_resid), abs=1e-6)


@pytest.mark.truth
def test_a_unique_map_finds_the_seed_that_a_voxel_belongs_to():
    k, rng = 3000, np.random.default_rng(7)
    shared = rng.normal(size=(k, 1))
    seeds = shared + 0.6 * rng.normal(size=(k, 3))
    owner = np.arange(9) % 3
    Y = (seeds[:, owner] + rng.normal(size=(k, 9))).astype(np.float32)
    single, unique = correlation.seed_maps(Y, seeds), partial.unique_maps(Y, seeds).z
    own = owner == np.arange(3)[:, None]
    assert (single[~own] > 0.4).all(), "the maps of single seeds all look alike"
    assert (unique[own] > 0.25).all()
    assert np.abs(unique[~own]).max() < 4 / np.sqrt(k)


@pytest.mark.calibration
def test_a_unique_map_without_dependence_varies_as_k_minus_the_other_seeds_says():
    k, rng = 19, np.random.default_rng(9)
    seeds = mixed(k, 5)
    r = np.tanh(partial.unique_maps(rng.normal(size=(k, 3000)).astype(np.float32), seeds).z[2])
    df = k - 4 - 1
    assert stats.kstest(r * np.sqrt(df / (1 - r**2)), stats.t(df).cdf).pvalue > 0.001


def test_a_unique_map_at_a_voxel_is_the_partial_correlation_of_seeds_and_voxel():
    seeds, Y = seeds_and_voxels(29, 4, 6)
    r = np.tanh(partial.unique_maps(Y, seeds).z)
    for v in range(6):
        matrix = partial.partial_correlations(np.column_stack([seeds, Y[:, v].astype(float)])).r
        assert r[:, v] == pytest.approx(matrix[:-1, -1], abs=1e-6)


def test_a_seed_that_is_not_there_takes_all_maps_of_its_group_with_it():
    seeds, Y = seeds_and_voxels(29, 3, 9)
    seeds[:, 1] = np.nan
    made = partial.unique_maps(Y, seeds)
    assert np.isnan(made.z).all() and np.isnan(made.own).all()


def test_voxels_without_variance_or_data_are_nan_not_zero():
    seeds, Y = seeds_and_voxels(29, 3, 9)
    Y[:, 2], Y[3, 5] = 0, np.nan
    z = partial.unique_maps(Y, seeds).z
    assert np.isnan(z[:, [2, 5]]).all()
    assert np.isfinite(np.delete(z, [2, 5], axis=1)).all()


def test_a_voxel_that_is_a_seed_has_nothing_left_for_the_others():
    seeds, Y = seeds_and_voxels(29, 3, 9)
    Y[:, :3] = seeds
    z = partial.unique_maps(Y, Y[:, :3].astype(float)).z
    for i in range(3):
        assert z[i, i] == pytest.approx(np.arctanh(correlation.CLIP), abs=1e-5)
        assert np.isnan(np.delete(z[i, :3], i)).all(), "0 / 0, and not some rounding"


def test_a_seed_that_is_a_sum_of_others_is_nan_and_harms_nobody_else():
    seeds, Y = seeds_and_voxels(29, 4, 9)
    clean = partial.unique_maps(Y, seeds[:, [0, 1, 3]])
    seeds[:, 2] = 3 * seeds[:, 0] - seeds[:, 1]
    made = partial.unique_maps(Y, seeds)
    assert (made.own <= partial.OWN_SHARE).tolist() == [True, True, True, False]
    assert np.isnan(made.z[:3]).all()
    assert np.abs(made.z[3] - clean.z[2]).max() < 1e-6


def test_the_share_of_a_seed_that_is_its_own_is_one_minus_r_squared():
    seeds, Y = seeds_and_voxels(29, 4, 3)
    own = partial.unique_maps(Y, seeds).own
    for i in range(4):
        others = np.delete(seeds, i, axis=1)
        rest = seeds[:, i] - others @ np.linalg.lstsq(others, seeds[:, i], rcond=None)[0]
        assert own[i] == pytest.approx(rest @ rest / (seeds[:, i] @ seeds[:, i]))


@pytest.mark.oracle
@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4])
def test_voxels_that_seeds_explain_almost_wholly_are_as_exact_as_others(noise):
    rng = np.random.default_rng(11)
    seeds = mixed(29, 3)
    Y = (seeds.sum(axis=1, keepdims=True) + noise * rng.normal(size=(29, 8))).astype(np.float32)
    z = partial.unique_maps(Y, seeds).z
    wide = seeds.astype(np.longdouble)
    for i in range(3):
        basis: list[np.ndarray] = []
        for column in (*np.delete(wide, i, axis=1).T, wide[:, i]):
            rest = column - sum((b * (b @ column) for b in basis), np.zeros(29, np.longdouble))
            rest -= sum((b * (b @ rest) for b in basis), np.zeros(29, np.longdouble))
            basis.append(rest / np.sqrt(rest @ rest))
        for v in range(8):
            voxel = Y[:, v].astype(np.longdouble)
            left = voxel - sum(b * (b @ voxel) for b in basis[:2])
            tail = left - basis[2] * (basis[2] @ left)
            expected = np.arcsinh(float((basis[2] @ left) / np.sqrt(tail @ tail)))  # arctanh r without 1 - r
            assert z[i, v] == pytest.approx(min(expected, np.arctanh(correlation.CLIP)), abs=1e-5)


@given(st.integers(2, 5), st.integers(0, 10_000), st.permutations(range(5)))
@settings(max_examples=30, deadline=None)
def test_unique_maps_follow_the_order_of_seeds_and_not_their_scale(n, seed, order):
    seeds, Y = seeds_and_voxels(23, n, 13, seed)
    made = partial.unique_maps(Y, seeds)
    own = [i for i in order if i < n]
    turned = partial.unique_maps(Y, seeds[:, own] * 1e3)
    assert np.abs(turned.z - made.z[own]).max() < 1e-5
    assert np.abs(partial.unique_maps(-2 * Y, seeds).z + made.z).max() < 1e-5
    assert ((made.own >= 0) & (made.own <= 1)).all()


def test_a_voxel_has_the_same_bytes_whatever_comes_after_its_block():
    seeds, Y = seeds_and_voxels(23, 3, BLOCK + 9)
    alone = partial.unique_maps(Y[:, :BLOCK], seeds).z
    assert np.array_equal(partial.unique_maps(Y, seeds).z[:, :BLOCK], alone)


# -------------------------------------------------------------------------------------- configuration

SETTINGS = {
    "datasets": {"trial": {"bids_dir": "data"}},
    "clinical": {
        "baseline": "pre",
        "endpoint": "post",
        "scales": {"MADRS": {"columns": {"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}}},
    },
    "rois": {
        "use": ["insula", "vmPFC", "precuneus"],
        "custom": {"spot": {"center": [0.0, 0.0, 20.0], "radius_mm": 9.0, "space": "MNI152"}},
    },
    "denoise": {"low_pass": None},
    "connectivity": {
        "seeds": ["vmPFC"],
        "fwhm_mm": 8,
        "together": {"ins": ["insula", "spot"]},
        "partial": {"rois": ["precuneus", "insula", "vmPFC"], "shrinkage": 0.05},
        "xdf": True,
    },
    "models": {
        "given": {
            "design": "paired",
            "before": "pre",
            "after": "post",
            "seeds": ["insulaLUnique", "spotUnique"],
            "edge_measure": "partial",
        },
        "plain": {"design": "paired", "before": "pre", "after": "post"},
    },
    "inference": {"permutations": 99},
    "report": {"truth": "data/truth.json"},
}
UNIQUE = ["insulaLUnique", "insulaRUnique", "spotUnique"]
SET = ["insulaL", "insulaR", "vmPFC", "precuneusL", "precuneusR"]


def study(folder: Path, **changes) -> Study:
    (folder / "conn.yaml").write_text(to_yaml({**SETTINGS, **changes}))
    return open_study(folder / "conn.yaml")


def connectivity(**changes) -> dict:
    return {"connectivity": {**SETTINGS["connectivity"], **changes}}


def model(**changes) -> dict:
    return {"models": {"given": {**SETTINGS["models"]["given"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (connectivity(together={"ins": ["insulaL"]}), r"together\.ins: 1 region; at least two"),
        (connectivity(together={"a": ["insula"], "b": ["insulaL", "spot"]}), r"b: insulaL is in a too"),
        (connectivity(together={"ins": ["insulaL", "PAG"]}), r"together\.ins: PAG is not among rois\.use"),
        (connectivity(together={"ins": ["insulaL", "Spot"]}), r"together\.ins: unknown region 'Spot'; did"),
        (connectivity(together={"my group": ["insula"]}), "letters and digits only"),
        (connectivity(partial={"rois": ["insula"]}), r"partial\.rois: 2 regions \(insulaL, insulaR\); at"),
        (connectivity(partial={"rois": ["insula", "PAG"]}), r"partial\.rois: PAG is not among rois\.use"),
        (connectivity(partial={"shrinkage": 1.0}), r"shrinkage = 1\.0"),
        (connectivity(partial=None), r"given\.edge_measure: .*add connectivity\.partial"),
        (model(edges=[["insulaL", "spot"]]), r"spot is not in connectivity\.partial\.rois"),
        (model(edges=[["insulaL", "nowhere"]]), "nowhere is not a region of this study"),
        (model(seeds=["precuneusLUnique"]), r"unknown region 'precuneusLUnique'"),
        (model(seeds=["insulaL"]), r"given\.seeds: insulaL has no map"),
        (
            {
                "rois": {
                    **SETTINGS["rois"],
                    "custom": {
                        **SETTINGS["rois"]["custom"],
                        "spotUnique": {"center": [0.0, 0.0, 0.0], "radius_mm": 9.0, "space": "MNI152"},
                    },
                }
            },
            r"the map of spot would be called spotUnique, and a region has that name",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        study(tmp_path, **changes)


def test_all_seeds_are_the_single_ones_and_those_of_groups(tmp_path):
    one = study(tmp_path)
    assert one.seeds("plain") == ("vmPFC", *UNIQUE)
    assert one.seeds("given") == ("insulaLUnique", "spotUnique")
    assert one.seed_regions("spotUnique") == ["spot", "insulaL", "insulaR"]
    assert one.seed_regions("vmPFC") == ["vmPFC"]


def test_a_study_of_groups_only_has_maps_and_smooths_them(tmp_path):
    one = study(tmp_path, **connectivity(seeds=[]))
    assert one.map_fwhm == 8
    assert one.seeds("plain") == tuple(UNIQUE)
    assert study(tmp_path, **connectivity(seeds=[], together={}), **model(seeds="all")).map_fwhm == 0


def test_an_empty_set_is_all_regions(tmp_path):
    assert partial_set(study(tmp_path, **connectivity(partial={})).config) == (*SET, "spot")


# --------------------------------------------------------------------------------------------- a study

pytestmark = pytest.mark.xdist_group("partial")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("partial")
    rois = tuple(roi for roi in DEMO_ROIS if roi[0] in SET)
    planted = PlantedEdge("insulaL", "precuneusL", 0.4, {"drug": -0.9, "placebo": -0.9}, 0.02, 0.02)
    spec = CohortSpec(
        rois, (planted,), n_subjects=6, volumes=110, voxel_mm=6.0, seed=2, models=(TruthModel("", "change"),)
    )
    simulate_cohort(made / "data", spec, workers=1)
    return made


@pytest.fixture(scope="module")
def walked(folder) -> Study:
    study(folder)
    return walk(folder / "conn.yaml")


def matrix(path: Path) -> tuple[list[str], np.ndarray]:
    table = read_tsv(path)
    assert table["roi"].tolist() == list(table.columns[1:])
    return table["roi"].tolist(), table.iloc[:, 1:].replace("n/a", "nan").to_numpy(float)


def func(one: Study, subject: str, session: str, ending: str) -> Path:
    (found,) = (one.out / f"sub-{subject}" / f"ses-{session}" / "func").glob(f"*_{ending}")
    return found


def test_every_run_has_the_three_measures_with_sidecars(walked):
    labels, r = matrix(func(walked, "03", "post", "stat-partialcorrelation_relmat.tsv"))
    assert labels == SET
    assert np.array_equal(r, r.T) and np.isfinite(r).all()
    about = read_json(func(walked, "03", "post", "stat-partialcorrelation_relmat.json"))
    k = read_json(func(walked, "03", "post", "stat-pearsoncorrelation_relmat.json"))["DegreesOfFreedom"]
    assert about["DegreesOfFreedom"] == k - 3
    assert (about["Shrinkage"], about["Regions"]) == (0.05, SET)
    for label in UNIQUE:
        _, z = images.read_volume(func(walked, "03", "post", f"seed-{label}_stat-fisherz_statmap.nii.gz"))
        assert np.isfinite(z).any()
        about = read_json(func(walked, "03", "post", f"seed-{label}_stat-fisherz_statmap.json"))
        assert about["DegreesOfFreedom"] == k - 2
        assert {f"{other}Unique" for other in about["OtherSeeds"]} == set(UNIQUE) - {label}
        assert 0 < about["UniqueVariance"] <= 1
        assert about["SmoothingFWHM"] == 8
    labels, variance = matrix(func(walked, "03", "post", "stat-xdfvariance_relmat.tsv"))
    assert labels == [*SET, "spot"]
    off = ~np.eye(6, dtype=bool)
    assert (variance[off] >= 1 / (k - 2) - 1e-9).all()
    about = read_json(func(walked, "03", "post", "stat-xdfvariance_relmat.json"))
    assert about["Volumes"] == 110
    assert about["LeastVariance"] == 1 / (k - 2)


@pytest.mark.oracle
def test_the_matrix_of_a_run_is_that_of_its_own_series(walked):
    series = read_tsv(func(walked, "02", "pre", "stat-mean_timeseries.tsv"))[SET].astype(float)
    P = np.linalg.inv(0.95 * np.corrcoef(series.to_numpy(), rowvar=False) + 0.05 * np.eye(5))
    expected = -P / np.sqrt(np.outer(np.diag(P), np.diag(P))) + 2 * np.eye(5)
    _, r = matrix(func(walked, "02", "pre", "stat-partialcorrelation_relmat.tsv"))
    assert np.abs(r - expected).max() < 1e-5


@pytest.mark.oracle
def test_edges_of_the_model_are_changes_of_partial_correlations(walked):
    table, plain = (
        read_tsv(walked.out / f"group/{model}/model-{model}_edges.tsv").set_index(["roi_a", "roi_b"])
        for model in ("given", "plain")
    )
    table, plain = (one[one["contrast"] == "change"] for one in (table, plain))
    assert len(table) == 10, "all pairs of the set"
    subjects = sorted({run.subject for run in walked.runs.values()})
    z = {
        point: np.arctanh(
            [matrix(func(walked, s, point, "stat-partialcorrelation_relmat.tsv"))[1][0, 3] for s in subjects]
        )
        for point in ("pre", "post")
    }
    row = table.loc[("insulaL", "precuneusL")]
    assert float(row["estimate"]) == pytest.approx((z["post"] - z["pre"]).mean(), abs=1e-7)
    assert len(plain) == 15
    assert plain.loc[("insulaL", "precuneusL"), "estimate"] != row["estimate"]
    assert read_json(walked.out / paths.design_json("given"))["edge_measure"] == "partial"
    assert read_json(walked.out / paths.design_json("plain"))["edge_measure"] == "pearson"


def test_a_group_map_leaves_out_all_seeds_that_were_entered_together(walked):
    maps = {
        (m, label): images.read_volume(walked.out / paths.group_map(m, label, "change", "t"))
        for m, label in (("given", "insulaLUnique"), ("given", "spotUnique"), ("plain", "vmPFC"))
    }
    grid, spot = maps["given", "spotUnique"]
    tested = np.isfinite(spot).ravel(order="F")
    assert np.array_equal(tested, np.isfinite(maps["given", "insulaLUnique"][1]).ravel(order="F"))
    elsewhere = np.isfinite(maps["plain", "vmPFC"][1]).ravel(order="F")
    mm = np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3, order="F") @ grid.affine[:3, :3].T
    rois = walked.config.rois
    own = [
        on_grid.place(find(region, rois), grid, "MNI152NLin2009cAsym", rois, walked.root).inside
        for region in ("insulaL", "insulaR", "spot")
    ]
    distance = np.array([np.linalg.norm(mm[:, None] - mm[one], axis=-1).min(axis=1) for one in own])
    assert not tested[(distance <= 8).any(axis=0)].any()
    assert (tested == elsewhere)[(distance > 8).all(axis=0)].mean() > 0.9, "vmPFC's own surroundings differ"
    assert elsewhere[np.concatenate(own)].all()


def test_the_report_calls_partial_what_is_partial(walked):
    text = (walked.out / "methods.md").read_text()
    assert "Maps of 1 seed and unique maps of 3 seeds" in text
    assert "entered together (ins: insulaL, insulaR and spot)" in text
    assert "Partial correlations of 5 regions" in text and "identity by 0.05 in every run" in text
    assert "10.1016/j.neuroimage.2008.11.030" in text and "10.1016/j.neuroimage.2019.05.011" in text
    assert "edges are partial correlations" in text
    page = (walked.out / "report.html").read_text()
    assert "10 edges (partial correlations)" in page
    assert "Change in Fisher z of partial r" in page
    assert "together (ins)" in page
    assert (walked.out / "figures" / "mean_partial_matrix.png").exists()
    truth = page.split("Truth beside estimate")[1].split("</table>")[0]
    assert ">plain</th>" in truth and ">given</th>" not in truth, "what was planted is a correlation"


def test_everything_that_a_run_leaves_is_known_as_its_own(walked):
    files = list(walked.out.glob("sub-*/ses-*/func/*"))
    assert len(files) == 12 * (7 + 6 + 2 + 2)
    assert all(paths.OWN_OUTPUT.fullmatch(path.name) for path in files)
    ignored = (walked.out / ".bidsignore").read_text().splitlines()
    assert {"*_statmap.*", "*_relmat.*"} <= set(ignored)


def test_what_is_no_longer_asked_for_is_gone(folder):
    for changes, count in (({}, 17), (connectivity(xdf=False), 15), ({"connectivity": {"seeds": []}}, 6)):
        one = study(folder, out="smaller", models={}, **changes)
        with inside(one.out):
            first_level(one)
        names = [path.name for path in one.out.glob("sub-*/ses-*/func/*")]
        assert len(names) == 12 * count, changes
    assert not [name for name in names if "Unique" in name or "partial" in name or "xdf" in name]


# ---------------------------------------------------------------------------- what a run has to do without


@pytest.fixture(scope="module")
def lacking(folder) -> Study:
    """Sub-02 has no data where the left insula is, and sub-03 moved in the middle of its second scan."""
    made = folder / "lacking"
    made.mkdir()
    (made / "data").symlink_to(folder / "data")
    changed = made / "derivatives"
    shutil.copytree(folder / "data" / "derivatives" / "fmriprep", changed)
    (mask_file,) = changed.glob("sub-02/ses-pre/func/*desc-brain_mask.nii.gz")
    image = nib.load(mask_file)
    mask = np.asarray(image.dataobj).copy()
    mm = np.stack(np.indices(mask.shape), axis=-1) @ image.affine[:3, :3].T + image.affine[:3, 3]
    mask[mm[..., 0] < -20] = 0
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), mask_file)
    for confounds in changed.rglob("*desc-confounds_timeseries.tsv"):
        lines = [line.split("\t") for line in confounds.read_text().splitlines()]
        for number, line in enumerate(lines[1:]):
            moved = number == 60 and "sub-03_ses-post" in confounds.name
            line[lines[0].index("framewise_displacement")] = "3.0" if moved else "0.1"
        confounds.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    dataset = {"trial": {"bids_dir": "data", "derivatives": "derivatives"}}
    denoise = {"low_pass": None, "strategy": "scrubbing.5"}
    study(made, datasets=dataset, denoise=denoise)
    return walk(made / "conn.yaml")


def rows(one: Study) -> set[tuple[str, ...]]:
    table = read_tsv(one.out / "exclusions.tsv")
    return {tuple(r) for r in table[["subject", "session", "roi", "reason", "value", "limit"]].to_numpy()}


def test_a_run_without_one_region_has_no_matrix_and_no_map_that_is_given_it(lacking):
    found = rows(lacking)
    assert ("02", "pre", "partial correlation", "region_missing", "insulaL", "all 5 regions") in found
    for label in UNIQUE:
        assert ("02", "pre", label, "region_missing", "insulaL", "all 3 seeds") in found
        _, z = images.read_volume(func(lacking, "02", "pre", f"seed-{label}_stat-fisherz_statmap.nii.gz"))
        assert np.isnan(z).all()
    _, r = matrix(func(lacking, "02", "pre", "stat-partialcorrelation_relmat.tsv"))
    assert r.shape == (5, 5) and np.isnan(r).all()
    about = read_json(func(lacking, "02", "pre", "stat-partialcorrelation_relmat.json"))
    assert about["DegreesOfFreedom"] is None
    labels, plain = matrix(func(lacking, "02", "pre", "stat-pearsoncorrelation_relmat.tsv"))
    assert np.isfinite(plain[labels.index("insulaR"), labels.index("vmPFC")])
    _, whole = matrix(func(lacking, "02", "post", "stat-partialcorrelation_relmat.tsv"))
    assert np.isfinite(whole).all()


def test_a_run_with_censored_volumes_between_has_no_variance_under_autocorrelation(lacking):
    reasons = {(r[0], r[1]): r[4] for r in rows(lacking) if r[3] == "censored_frames"}
    assert reasons == {("03", "post"): "1 censored frame"}
    folder = lacking.out / "sub-03" / "ses-post" / "func"
    assert not list(folder.glob("*xdfvariance*"))
    assert len(list((lacking.out / "sub-03" / "ses-pre" / "func").glob("*xdfvariance*"))) == 2


def test_such_a_run_stays_in_the_analysis(lacking):
    runs = read_tsv(lacking.out / "runs.tsv")
    assert set(runs["included"]) == {"true"}


def test_check_foresees_what_a_run_has_to_do_without(lacking):
    regions: dict = {}
    foreseen = foreseen_exclusions(lacking, [foresee(lacking, key, regions) for key in lacking.runs])
    assert {tuple(map(str, vars(row).values())) for row in foreseen} == set(
        read_tsv(lacking.out / "exclusions.tsv").itertuples(index=False, name=None)
    )
    text = check(lacking)
    assert "  partial correlation in 1 runs: region_missing: insulaL (all 5 regions)" in text
    assert "Edges are partial correlations within a set of 5 regions, each pair given all" in text
    lacks = "1 of its 12 scans lack it (sub-02 ses-pre; region_missing: insulaL)"
    assert f"WILL BE EMPTY, no partial edge: {lacks}" in text
    assert f"WILL BE EMPTY, no map of insulaLUnique: {lacks}" in text


def test_why_and_the_report_do_not_take_a_matrix_for_a_region(lacking):
    assert "sub-02 ses-pre partial correlation: region_missing: insulaL" in why(lacking, "sub-02")
    assert "sub-02 ses-pre region insulaL: low_coverage" in why(lacking, "sub-02")
    assert why(lacking, "spotUnique").count("\n") == 0
    page = (lacking.out / "report.html").read_text()
    assert "one region is missing in at least one scan" in page
    assert "five of the maps and matrices are missing in some scan" in page
    assert "No edge could be tested: partial correlations are missing in sub-02" in page
    assert "There is no map of insulaLUnique (missing in sub-02)" in page


def test_a_model_whose_edges_somebody_lacks_is_empty_and_no_crash(lacking):
    table = read_tsv(lacking.out / "group/given/model-given_edges.tsv")
    assert set(table["n"]) == {"5"} and set(table["p_fwe"]) == {"n/a"}


def test_more_regions_than_half_of_k_have_no_partial_correlation(folder):
    one = study(folder, out="short", denoise={"low_pass": 0.09, "min_df": 3}, models={})
    text = check(one)
    assert "too_many_regions: 5 regions, k" in text and "(regions < k / 2)" in text
    walk(folder / "conn.yaml")
    found = {r[2:4] for r in rows(one)}
    assert ("partial correlation", "too_many_regions") in found
    _, r = matrix(func(one, "01", "pre", "stat-partialcorrelation_relmat.tsv"))
    assert np.isnan(r).all()
    about = read_json(func(one, "01", "pre", "stat-pearsoncorrelation_relmat.json"))
    assert json.loads(json.dumps(about))["DegreesOfFreedom"] <= 10
