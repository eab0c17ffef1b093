"""Connectivity of each person at a time point."""

import json

import numpy as np
import pandas as pd
import pytest

from conn import images, paths
from conn.correlation import fisher_z
from conn.errors import ConfigError, DesignError
from conn.stages.features import edges_of, maps_of, networks_of, scans

REGIONS = ("sgACCL", "insulaL", "NAcL", "PAG")
ANNA, BEN, CARL = ("trial", "anna"), ("trial", "ben"), ("trial", "carl")
PEOPLE = (ANNA, BEN, CARL)
RUNS = {"a1": 42.0, "a2": 82.0, "a3": 40.0, "b1": 50.0, "b3": 50.0}
"""Degrees of freedom; anna has two runs before, carl has none."""


def _matrix(run):
    r = np.corrcoef(np.random.default_rng(list(run.encode())).standard_normal((4, 12)))
    if run == "b3":
        r[1, :] = r[:, 1] = np.nan
    return r


@pytest.fixture
def out(tmp_path):
    cells = [("anna", "pre", "a1;a2"), ("anna", "post", "a3"), ("ben", "pre", "b1"), ("ben", "post", "b3")]
    cells += [("carl", "pre", "n/a"), ("carl", "post", "n/a")]
    cohort = pd.DataFrame(cells, columns=["subject", "time_point", "runs"]).assign(
        dataset="trial", n_runs="1", df="n/a", mean_fd="n/a"
    )
    cohort.to_csv(tmp_path / paths.COHORT, sep="\t", index=False)
    runs = pd.DataFrame({"run": list(RUNS), "df": list(RUNS.values()), "included": "true"})
    runs = runs.assign(session="1", run_entity="1", task="rest", acq="n/a", frames_kept="100", mean_fd="0.1")
    runs.to_csv(tmp_path / paths.RUNS, sep="\t", index=False)
    collected = {}
    for run in RUNS:
        name = f"{run}_stat-pearsoncorrelation_relmat.tsv"
        table = pd.DataFrame(_matrix(run), columns=REGIONS, index=pd.Index(REGIONS, name="roi"))
        table.to_csv(tmp_path / name, sep="\t", na_rep="n/a", float_format="%.17g")
        image = f"sub-x_run-{run}_space-MNI152NLin2009cAsym_seed-PAG_stat-fisherz_statmap.nii.gz"
        images.write_map(tmp_path / image, images.Grid((3, 4, 5), np.diag([3.0, 3, 3, 1])), _volume(run))
        collected[run] = {name: "", image: ""}
    (tmp_path / paths.COLLECTED).parent.mkdir()
    (tmp_path / paths.COLLECTED).write_text(json.dumps(collected))
    return tmp_path


def _volume(run):
    values = np.random.default_rng(list(run.encode())).standard_normal((3, 4, 5)).astype(np.float32)
    values[0, 0, 0] = np.nan if run == "a2" else 1
    return values


def test_runs_of_a_time_point_are_weighted_by_df_minus_two_in_z(out):
    found = edges_of(scans(out, "mediation.m", "weighted"), PEOPLE, ["pre", "post"], "all")
    z = {run: fisher_z(_matrix(run)) for run in RUNS}
    assert found.labels[0] == ("sgACCL", "insulaL")
    assert len(found.labels) == 6
    np.testing.assert_allclose(
        found.z["pre"][0, 0], (40 * z["a1"][0, 1] + 80 * z["a2"][0, 1]) / 120, atol=1e-12
    )
    np.testing.assert_allclose(found.z["post"][0, 5], z["a3"][2, 3], atol=1e-12)


def test_people_without_a_scan_and_lost_regions_are_nan(out):
    found = edges_of(
        scans(out, "mediation.m", "weighted"), PEOPLE, ["post"], [("PAG", "NAcL"), ("insulaL", "PAG")]
    )
    assert np.isnan(found.z["post"][2]).all()
    assert np.isnan(found.z["post"][1]).tolist() == [False, True]


def test_one_run_stands_for_a_time_point_when_that_is_asked_for(out):
    found = edges_of(scans(out, "mediation.m", "most_df"), [ANNA], ["pre"], [("sgACCL", "PAG")])
    np.testing.assert_allclose(found.z["pre"], fisher_z(_matrix("a2"))[0, 3], atol=1e-12)


def test_a_network_is_the_mean_of_its_edges_and_nothing_without_one_of_them(out):
    networks = {"one": [("sgACCL", "insulaL"), ("NAcL", "PAG")], "two": [("sgACCL", "PAG")]}
    signed = {"one": [("sgACCL", "insulaL", 1), ("NAcL", "PAG", -1)]}
    found = networks_of(scans(out, "mediation.m", "weighted"), PEOPLE, ["post"], networks)
    z = fisher_z(_matrix("a3"))
    assert found.labels == (("one", "2"), ("two", "1"))
    np.testing.assert_allclose(found.z["post"][0], [(z[0, 1] + z[2, 3]) / 2, z[0, 3]], atol=1e-12)
    assert np.isnan(found.z["post"][1]).tolist() == [True, False]
    found = networks_of(scans(out, "mediation.m", "weighted"), PEOPLE, ["post"], signed)
    np.testing.assert_allclose(found.z["post"][0], [(z[0, 1] - z[2, 3]) / 2], atol=1e-12)


def test_a_region_that_no_matrix_has_is_named(out):
    with pytest.raises(
        ConfigError, match=r"mediation\.m: region 'LC' is in no matrix; the matrices have sgACCL"
    ):
        edges_of(scans(out, "mediation.m", "weighted"), PEOPLE, ["pre"], [("LC", "PAG")])


def test_a_time_point_without_scans_is_named(out):
    with pytest.raises(DesignError, match="nobody has a scan at time point 'late'"):
        edges_of(scans(out, "mediation.m", "weighted"), PEOPLE, ["late"], "all")


def test_maps_keep_the_voxels_that_everybody_with_a_scan_has(out):
    found = maps_of(scans(out, "prediction.p", "weighted"), PEOPLE, "pre", "PAG")
    assert found.space == "MNI152NLin2009cAsym"
    assert found.voxels.tolist() == list(range(1, 60))
    assert np.isnan(found.z[2]).all()
    expected = (40 * _volume("a1") + 80 * _volume("a2")) / 120
    np.testing.assert_allclose(found.z[0], expected.ravel(order="F")[1:], atol=1e-6)
