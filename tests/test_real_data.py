"""One real run (studyforrest, in MNI152NLin6Asym): stages against explicit computations and known anatomy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.signal import clean

from conn import confounds, correlation, images, paths, projection, receipts
from conn.config.model import Config, Connectivity, CustomRoi, Denoise, Rois
from conn.index import Run, build_index
from conn.receipts import Receipt
from conn.rois import registry
from conn.stages.measure import measure
from conn.stages.project import RunSettings, project
from conn.tables import read_tsv

SPACE = "MNI152NLin6Asym"
LOW = CustomRoi(center=(0, -36, -54), radius_mm=3.0, space=SPACE)
ROIS = Rois(weighting="centre", custom={"medulla": LOW})
MAPS = Connectivity(seeds=("precuneus", "PAG", "medulla"), fwhm_mm=0.0)

pytestmark = pytest.mark.xdist_group("real")


@dataclass(frozen=True)
class Done:
    """The run, where its outputs are, and its receipts."""

    run: Run
    out: Path
    projected: Receipt
    measured: Receipt

    def table(self, path) -> pd.DataFrame:
        return read_tsv(self.out / path(self.run.entities))

    def array(self, name: str) -> np.ndarray:
        return np.load(self.out / paths.project_folder(self.run.key) / f"{name}.npy")


@pytest.fixture(scope="module")
def run(shared_data) -> Run:
    root = shared_data / "studyforrest"
    dataset = {"bids_dir": ".", "derivatives": "derivatives/quickants", "task": "oneback", "space": SPACE}
    (found,) = build_index(Config.model_validate({"datasets": {"forrest": dataset}}), root).runs
    assert found.exclusion is None
    return found


@pytest.fixture(scope="module")
def simple(run, shared_data, tmp_path_factory) -> Done:
    return analysed(run, shared_data, tmp_path_factory.mktemp("simple"), Denoise(min_df=3, min_seconds=0))


@pytest.fixture(scope="module")
def scrubbed(run, shared_data, tmp_path_factory) -> Done:
    denoise = Denoise(strategy="scrubbing.2", low_pass=None, min_df=3, min_seconds=0)
    return analysed(run, shared_data, tmp_path_factory.mktemp("scrubbed"), denoise)


def analysed(run: Run, shared: Path, out: Path, denoise: Denoise) -> Done:
    root = shared / "studyforrest"
    settings = RunSettings(roots=(root / "derivatives" / "quickants", root))
    before = project(out, run, denoise, settings, 0.0)
    assert before.included, before
    return Done(run, out, before, measure(out, run, ROIS, MAPS, out, "bids:forrest:x"))


@pytest.fixture(scope="module")
def series(run) -> np.ndarray:
    """300 voxels of the mask as nibabel reads them, float64, of shape (volumes, 300)."""
    mask = np.asarray(nib.load(run.mask).dataobj) > 0
    held = np.flatnonzero(mask.ravel(order="F"))
    data = np.asarray(nib.load(run.bold).dataobj).reshape(mask.size, -1, order="F")
    assert data.dtype == np.int16
    return data[held[sample(held.size)]].astype(float).T


def sample(n: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).choice(n, size=300, replace=False))


def regressed(run: Run, data: np.ndarray, denoise: Denoise) -> tuple[np.ndarray, int]:
    """Residuals of an explicit float64 regression over the kept frames, and their degrees of freedom."""
    chosen = confounds.select(confounds.read_confounds(run.confounds), denoise.strategy)
    n, tr = len(data), 2.0
    frequency = np.arange(n) / (2 * n * tr)
    out = (frequency < denoise.high_pass) | (frequency > (denoise.low_pass or np.inf))
    cosines = np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(n)[out]) / n)
    kept = ~chosen.censored
    design = np.hstack([cosines, chosen.regressors])[kept]
    design = np.hstack([design[:, :1], design[:, 1:] - design[:, 1:].mean(axis=0)])
    design /= np.linalg.norm(design, axis=0)
    left = data[kept] - design @ np.linalg.lstsq(design, data[kept], rcond=1e-10)[0]
    return left, int(kept.sum()) - np.linalg.matrix_rank(design, tol=1e-8)


@pytest.mark.oracle
def test_r_equals_an_explicit_regression_of_the_same_columns(simple, series):
    left, df = regressed(simple.run, series, Denoise())
    Y = simple.array("Y")[:, sample(simple.array("voxels").size)].astype(float)
    assert np.abs(correlation.correlation_matrix(Y) - np.corrcoef(left, rowvar=False)).max() < 1e-5
    assert simple.projected.numbers["df"] == df


@pytest.mark.oracle
def test_r_equals_an_explicit_regression_when_frames_are_censored(scrubbed, series):
    denoise = Denoise(strategy="scrubbing.2", low_pass=None)
    left, df = regressed(scrubbed.run, series, denoise)
    assert len(left) < len(series), "this run has no frame to censor; the test would prove nothing"
    Y = scrubbed.array("Y")[:, sample(scrubbed.array("voxels").size)].astype(float)
    assert np.abs(correlation.correlation_matrix(Y) - np.corrcoef(left, rowvar=False)).max() < 1e-5
    assert scrubbed.projected.numbers["df"] == df
    assert scrubbed.projected.numbers["frames_kept"] == len(left)


@pytest.mark.oracle
def test_region_series_and_matrix_are_means_of_explicitly_regressed_voxels(simple):
    mask = np.asarray(nib.load(simple.run.mask).dataobj) > 0
    image = nib.load(simple.run.bold)
    series = simple.table(paths.timeseries)
    grid = np.stack(np.indices(mask.shape), axis=-1) @ image.affine[:3, :3].T + image.affine[:3, 3]
    data = np.asarray(image.dataobj)
    means = {}
    for label in ("precuneusL", "vmPFC", "NAcR"):
        (shape,) = registry.find(label, Rois()).shapes
        inside = (((grid - shape.center) ** 2).sum(axis=-1) <= shape.radius**2) & mask
        means[label] = data[inside].astype(float).mean(axis=0)
    left, _ = regressed(simple.run, np.array(list(means.values())).T, Denoise())
    for label, expected in zip(means, left.T, strict=True):
        assert np.allclose(series[label].astype(float), expected, atol=2e-3 * expected.std())
    relmat = simple.table(paths.relmat).set_index("roi").loc[list(means), list(means)].astype(float)
    assert np.abs(relmat.to_numpy() - np.corrcoef(left, rowvar=False)).max() < 1e-5


@pytest.mark.oracle
def test_the_kernel_equals_nilearn_when_given_its_operator(run, series):
    chosen = confounds.select(confounds.read_confounds(run.confounds), "simple")
    options = {
        "confounds": chosen.regressors,
        "t_r": 2.0,
        "low_pass": 0.1,
        "high_pass": 0.008,
        "standardize": None,
    }
    operator = clean(np.eye(len(series)), detrend=True, **options)
    _, basis = projection.operator_basis(operator)
    Y = projection.project(projection.panels(series.astype(np.float32)), basis).Y.astype(float)
    expected = np.corrcoef(clean(series, detrend=True, **options), rowvar=False)
    assert np.abs(correlation.correlation_matrix(Y) - expected).max() < 1e-6


@pytest.mark.truth
def test_homotopic_regions_correlate_more_than_either_does_with_the_rest(simple):
    relmat = simple.table(paths.relmat).set_index("roi").replace("n/a", "nan").astype(float)
    flags = simple.table(paths.coverage).set_index("roi")["flag"]
    covered = [label for label in relmat.index if flags[label] == "n/a"]
    known = registry.table().drop_duplicates("label").set_index("label")
    z = pd.DataFrame(correlation.fisher_z(relmat.to_numpy()), relmat.index, relmat.columns)
    lateral = [label for label in covered if label in known.index and known.loc[label, "side"] in "LR"]
    pairs = [
        (a, b)
        for a, b in combinations(lateral, 2)
        if known.loc[a, "name"] == known.loc[b, "name"] and known.loc[a, "side"] != known.loc[b, "side"]
    ]
    assert len(pairs) >= 15

    def heterotopic(label: str, twin: str) -> float:
        """Mean z with the regions of the other side, its own twin left out."""
        others = [o for o in lateral if o != twin and known.loc[o, "side"] != known.loc[label, "side"]]
        return float(z.loc[label, others].mean())

    wins = [z.loc[a, b] > max(heterotopic(a, b), heterotopic(b, a)) for a, b in pairs]
    assert np.mean(wins) >= 0.8, [pair for pair, won in zip(pairs, wins, strict=True) if not won]


def test_the_locus_coeruleus_is_flagged_as_smaller_than_a_voxel(simple):
    table = simple.table(paths.coverage).set_index("roi")
    flagged = {label for label, flag in table["flag"].items() if "sub-voxel" in flag}
    assert flagged == {"LCL", "LCR"}


def test_the_rvm_box_lies_partly_outside_the_mask_as_nibabel_counts_it(simple):
    mask = nib.load(simple.run.mask)
    grid = np.stack(np.indices(mask.shape), axis=-1) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    box = (np.abs(grid - [0, -34, -40]) <= [3, 3, 6]).all(axis=-1)
    held = box & (np.asarray(mask.dataobj) > 0)
    row = simple.table(paths.coverage).set_index("roi").loc["RVM"]
    assert (int(row["voxels"]), int(row["covered"])) == (box.sum(), held.sum()) == (24, 13)
    assert float(row["coverage"]) == pytest.approx(13 / 24)


def test_the_audit_of_the_run_names_its_weak_regions(simple):
    table = simple.table(paths.coverage).set_index("roi")
    numbers = table.drop(columns="flag").apply(pd.to_numeric, errors="coerce")
    assert (numbers.loc[["LCL", "LCR"], "half_filled"] == 0).all()
    assert set(numbers.index[numbers["edge_mm"] == 0]) == {"RVM", "medulla"}, "these reach out of the mask"
    frontal, brainstem = numbers.loc[["pgACCL", "pgACCR"], "tsnr"], numbers.loc[["PAG"], "tsnr"]
    assert frontal.min() > 2 * brainstem.max()
    assert numbers["r_ring"].drop("medulla").between(-1, 1).all() and np.isnan(
        numbers.loc["medulla", "r_ring"]
    )
    subdivisions = [label for label in table.index if label.startswith("amygdala")]
    assert numbers.loc[subdivisions, "own_variance"].between(0, 1).all()
    assert numbers[["grey_matter", "csf_mm", "r_csf"]].isna().all().all(), "the run has no tissue maps"


def test_a_region_outside_the_mask_has_no_coverage_no_values_and_a_row(simple):
    row = simple.table(paths.coverage).set_index("roi").loc["medulla"]
    assert (row["covered"], row["coverage"], row["tsnr"]) == ("0", "0", "n/a")
    assert "low-coverage" in row["flag"]
    assert set(simple.table(paths.timeseries)["medulla"]) == {"n/a"}
    relmat = simple.table(paths.relmat).set_index("roi")
    assert set(relmat["medulla"]) == set(relmat.loc["medulla"]) == {"n/a"}
    z = images.read_volume(simple.out / paths.seed_map(simple.run.entities, "medulla"))[1]
    assert np.isnan(z).all()
    written = receipts.read(simple.out / paths.measure_receipt(simple.run.key))
    (excluded,) = [e for e in written.exclusions if e.roi == "medulla"]
    assert (excluded.reason, excluded.stage, excluded.limit) == (
        "low_coverage",
        "measure",
        "rois.min_coverage 0.5",
    )
    assert excluded.value.startswith(f"0 of {row['voxels']} voxels, 0% of")


def test_every_region_left_out_has_a_row_and_every_other_a_value(simple):
    left_out = {e.roi for e in simple.measured.exclusions}
    series = simple.table(paths.timeseries)
    assert {label for label in series.columns if (series[label] == "n/a").all()} == left_out
    assert "medulla" in left_out


@pytest.mark.truth
def test_the_precuneus_map_is_highest_in_its_seed_and_high_in_its_twin(simple):
    grid, z = images.read_volume(simple.out / paths.seed_map(simple.run.entities, "precuneusR"))
    mm = np.stack(np.indices(grid.shape), axis=-1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    peak = mm[np.unravel_index(np.nanargmax(z), z.shape)]
    assert np.linalg.norm(peak - [11, -68, 42]) <= 5
    twin = np.linalg.norm(mm - [-11, -68, 42], axis=-1) <= 5
    assert np.nanmean(z[twin]) > np.nanpercentile(z, 90)
    assert np.array_equal(np.isfinite(z), np.asarray(nib.load(simple.run.mask).dataobj) > 0)
