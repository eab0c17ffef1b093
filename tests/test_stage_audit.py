"""Tables about the regions of a study: change of signal, pairs, labels of reference atlases."""

from __future__ import annotations

from itertools import product

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conn.config.model import ReferenceAtlas, Rois
from conn.images import Grid
from conn.rois import on_grid, registry
from conn.rois.placement import cover
from conn.stages import audit
from conn.stages.coverage import COLUMNS, Held, table

SPACE = "MNI152NLin2009cAsym"
LABELS = ("one", "two", "three")


def study(n: int, seed: int = 0, drop: float = 0.0, alone: int = 0):
    """Runs and coverage tables of n people with two scans and some with one; `two` loses tSNR afterwards."""
    rng = np.random.default_rng(seed)
    rows, tables = [], {}
    for person, point in product(range(n + alone), ("pre", "post")):
        if person >= n and point == "post":
            continue
        key = f"{person}{point}"
        rows.append((key, "d", f"{person:02d}", point))
        tsnr = 60 + rng.normal(0, 4, 3) - drop * np.array([0, 1, 0]) * (point == "post")
        coverage = np.array([1.0, 0.9, 0.8]) + rng.normal(0, 0.02, 3)
        tables[key] = pd.DataFrame({"coverage": coverage, "tsnr": tsnr}, index=pd.Index(LABELS))
    return pd.DataFrame(rows, columns=pd.Index(["run", "dataset", "subject", "time_point"])), tables


@pytest.mark.truth
def test_a_loss_of_signal_after_treatment_is_found_in_its_region_and_flagged():
    runs, tables = study(20, drop=10.0, alone=3)
    found = audit.change_table(runs, tables, ("pre", "post", "later")).set_index("roi")
    assert list(found.columns) == list(audit.CHANGE[1:])
    two = found.loc["two"]
    wide = two["tsnr_high"] - two["tsnr_low"]
    assert two["tsnr_high"] < 0 and two["tsnr_change"] == pytest.approx(-10, abs=wide)
    assert found.loc["two", "flag"] == "changes: tsnr"
    assert found.loc["two", "tsnr_percent"] == pytest.approx(-100 * 10 / 60, abs=4)
    assert set(found["n"]) == {20}, "people with one time point are not compared"
    assert set(zip(found["before"], found["after"], strict=True)) == {("pre", "post")}


@pytest.mark.oracle
def test_intervals_are_those_of_a_paired_t_test():
    runs, tables = study(9, seed=4, drop=3.0)
    row = audit.change_table(runs, tables, ("pre", "post")).set_index("roi").loc["two"]
    before, after = (
        np.array([tables[f"{i}{point}"].loc["two", "tsnr"] for i in range(9)]) for point in ("pre", "post")
    )
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (row["tsnr_low"], row["tsnr_high"]) == pytest.approx((expected.low, expected.high))
    assert row["tsnr_change"] == pytest.approx((after - before).mean())


@pytest.mark.calibration
def test_without_a_change_one_region_in_twenty_is_flagged_for_each_measure():
    flags = [
        flag for seed in range(400) for flag in audit.change_table(*study(12, seed), ("pre", "post"))["flag"]
    ]
    low, high = stats.binom.interval(0.999, len(flags), 0.05)
    assert low <= sum("tsnr" in flag for flag in flags) <= high
    assert low <= sum("coverage" in flag for flag in flags) <= high


def test_several_runs_of_a_time_point_are_averaged_before_people_are_compared():
    runs, tables = study(5)
    again = runs.assign(run=runs["run"] + "b")
    doubled = {f"{key}b": one + 6.0 for key, one in tables.items()}
    both = audit.change_table(pd.concat([runs, again]), tables | doubled, ("pre", "post"))
    alone = audit.change_table(runs, tables, ("pre", "post"))
    assert np.allclose(both["tsnr_before"], alone["tsnr_before"] + 3)
    assert np.allclose(both["tsnr_low"], alone["tsnr_low"])


def test_a_missing_value_leaves_its_person_out_of_that_region_alone():
    runs, tables = study(6)
    tables["3post"].loc["one"] = np.nan
    found = audit.change_table(runs, tables, ("pre", "post")).set_index("roi")["n"]
    assert found.to_dict() == {"one": 5, "two": 6, "three": 6}


def regions(**custom) -> Rois:
    return Rois(use=(), custom={k: {"space": SPACE, **v} for k, v in custom.items()})


ROIS = regions(
    left={"center": (-8, 0, 0), "radius_mm": 5},
    near={"center": (-1, 0, 0), "radius_mm": 5},
    far={"center": (14, 12, 12), "radius_mm": 3},
)
GRID = Grid((21, 22, 23), np.array([[2.0, 0, 0, -20], [0, 2, 0, -22], [0, 0, 2, -20], [0, 0, 0, 1]]))


def placed():
    every = registry.regions(ROIS)
    return every, [on_grid.place(roi, GRID, SPACE, ROIS, None) for roi in every]


def test_pairs_that_share_volume_are_listed_with_the_mean_of_their_correlation():
    every, where = placed()
    matrices = [np.array([[1, r, 0.1], [r, 1, 0.2], [0.1, 0.2, 1]]) for r in (0.3, 0.5, np.nan)]
    (row,) = audit.pair_table(every, where, GRID, matrices).to_dict("records")
    assert (row["roi_a"], row["roi_b"], row["touching"], row["n"]) == ("left", "near", "yes", 2)
    z = np.arctanh([0.3, 0.5])
    assert row["mean_r"] == pytest.approx(np.tanh(z.mean())) and row["sd_r"] == pytest.approx(z.std(ddof=1))
    apart, radius = 7.0, 5.0
    lens = np.pi * (4 * radius + apart) * (2 * radius - apart) ** 2 / 12
    assert row["shared_mm3"] == pytest.approx(lens, rel=0.25), (
        "smaller weights of two voxels are no exact lens"
    )


def test_regions_are_compared_with_labels_and_with_probabilities_of_a_reference(tmp_path):
    labels = np.zeros(GRID.shape, np.int16)
    labels[:8], labels[8:] = 3, 7
    nib.save(nib.Nifti1Image(labels, GRID.affine), tmp_path / "labels.nii.gz")
    (tmp_path / "labels.tsv").write_text("index\tname\n3\twest\n7\teast\n")
    clouds = np.stack([(labels == 3) * 80.0, (labels == 7) * 40.0], axis=-1)
    nib.save(nib.Nifti1Image(clouds.astype(np.float32), GRID.affine), tmp_path / "clouds.nii.gz")
    rois = ROIS.model_copy(
        update={
            "reference": {
                "parcels": ReferenceAtlas(image="labels.nii.gz", table="labels.tsv", space=SPACE),
                "clouds": ReferenceAtlas(image="clouds.nii.gz", space=SPACE),
                "foreign": ReferenceAtlas(image="labels.nii.gz", space="MNI152NLin6Asym"),
            }
        }
    )
    found = audit.label_table(registry.regions(rois), rois, tmp_path)
    assert list(found.columns) == list(audit.LABELS)
    parcels = found[found["atlas"] == "parcels"].set_index(["roi", "label"])["share"]
    west = parcels["left", "west"]
    # The plane x = -5 cuts a cap of 2 mm off the sphere around -8.
    assert 1 - west == pytest.approx((np.pi * 4 * (15 - 2) / 3) / (4 / 3 * np.pi * 125), abs=0.01)
    assert parcels["left", "west"] + parcels["left", "east"] == pytest.approx(1)
    assert parcels["far", "east"] == pytest.approx(1)
    clouds = found[found["atlas"] == "clouds"].set_index(["roi", "id"])["share"]
    assert clouds["left", 0] == pytest.approx(0.8 * west) and clouds["far", 1] == pytest.approx(0.4)
    foreign = found[found["atlas"] == "foreign"]
    assert set(foreign["label"]) == {"not compared with MNI152NLin6Asym"} and foreign["share"].isna().all()


def test_a_coverage_table_weighs_signal_by_coverage_and_says_what_is_not_known():
    every, where = placed()
    rng = np.random.default_rng(0)
    voxels = np.flatnonzero(rng.uniform(size=21 * 22 * 23) < 0.9)
    valid = rng.uniform(size=voxels.size) < 0.95
    mean, sd = rng.uniform(500, 900, voxels.size), rng.uniform(5, 20, voxels.size)
    held = Held(GRID, voxels, valid, rng.normal(size=(30, voxels.size)).astype(np.float32), mean, sd)
    covers = [cover(one, _column(voxels), valid, 0.5) for one in where]
    made = table(held, every, where, covers, rng.normal(size=(30, 3)), {}).set_index("roi")
    assert ("roi", *made.columns) == COLUMNS
    column, place = _column(voxels), where[0]
    used = [(column[v], w) for v, w in zip(place.inside, place.weight, strict=True) if column[v] >= 0]
    used = [(c, w) for c, w in used if valid[c]]
    tsnr = sum(w * mean[c] / sd[c] for c, w in used) / sum(w for _, w in used)
    row = made.loc["left"]
    assert row["tsnr"] == pytest.approx(tsnr)
    assert row["volume_mm3"] == pytest.approx(8 * sum(w for _, w in used))
    assert row["coverage"] == pytest.approx(row["volume_mm3"] / row["filled_mm3"])
    assert row["filled_mm3"] == pytest.approx(4 / 3 * np.pi * 125, rel=0.01)
    assert made[["grey_matter", "csf_mm", "r_csf", "own_variance"]].isna().all().all()
    assert made["r_ring"].notna().all()


def _column(voxels: np.ndarray) -> np.ndarray:
    column = np.full(21 * 22 * 23, -1)
    column[voxels] = np.arange(voxels.size)
    return column
