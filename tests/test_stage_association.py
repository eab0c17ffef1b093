"""Stages association and reliability: from the files of a trial to tables and summaries."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy import stats

from clinic_contract import CLINICAL, edit, write
from conn import paths
from conn.config.association import Association
from conn.config.reliability import Reliability
from conn.errors import DesignError
from conn.stages.association import association
from conn.stages.association_table import COLUMNS
from conn.stages.reliability import COLUMNS as RELIABILITY_COLUMNS
from conn.stages.reliability import reliability
from conn.tables import read_tsv

NETWORKS = {"reward": [("sgACCL", "NAcL"), ("sgACCL", "insulaL")]}
BASE = {"before": "pre", "after": "post", "scales": ("MADRS.change", "SHAPS.change"), "resamples": 100}
ARMS = {"arm": "arm", "levels": ("drug", "placebo")}


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    write(folder)
    return folder


@pytest.fixture
def out(trial, tmp_path):
    return shutil.copytree(trial, tmp_path / "out")


def run(out, edges="all", networks=None, permutations=199, **options):
    asked = Association(**(BASE | options))
    association(
        out,
        "a",
        asked,
        CLINICAL,
        edges,
        networks or {},
        combine_runs="weighted",
        permutations=permutations,
        seed=1,
    )
    return read(out, "association", "a")


def measure(out, name="r", edges="all", networks=None, **options):
    asked = Reliability(**({"before": "pre", "after": "post"} | options))
    reliability(out, name, asked, CLINICAL, edges, networks or {}, combine_runs="weighted")
    return read(out, "reliability", name)


def read(out, kind, name):
    table = read_tsv(out / paths.analysis(kind, name, ".tsv"))
    return table, json.loads((out / paths.analysis(kind, name)).read_text())


def row(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def change_of(out, a, b):
    """Change of an edge by subject, by scipy and the files alone."""
    found = {}
    for subject in range(40):
        z = []
        for point in ("pre", "post"):
            name = f"p{subject:02d}{point}_stat-pearsoncorrelation_relmat.tsv"
            table = read_tsv(out / name).set_index("roi")
            z.append(np.arctanh(float(table.loc[a, b])))
        found[f"{subject:02d}"] = z[1] - z[0]
    return found


# ---------------------------------------------------------------------------------------- association


def test_every_scale_edge_and_set_of_people_has_a_row(trial):
    table, summary = run(trial, networks=NETWORKS, **ARMS)
    assert list(table.columns) == [*COLUMNS, "status"]
    # Two scales; six edges and one network; two arms, all of them, and their difference.
    assert len(table) == 2 * (6 + 1) * 4
    assert set(table["family"]) == {
        f"{a}-{k}" for a in ("drug", "placebo", "all", "difference") for k in ("edges", "networks")
    }
    tests = {family["name"]: family["tests"] for family in summary["families"]}
    assert tests["all-edges"] == 12
    assert tests["drug-networks"] == 2
    assert summary["declared"] == {"edges": False, "networks": True}


@pytest.mark.oracle
def test_a_correlation_is_that_of_the_files(trial):
    table, _ = run(trial, **ARMS)
    change = change_of(trial, "sgACCL", "insulaL")
    cohort = read_tsv(trial / paths.COHORT)
    cohort = cohort[(cohort["time_point"] == "post") & (cohort["arm"] == "drug")]
    z = [change[subject] for subject in cohort["subject"]]
    score = cohort["MADRS_change"].astype(float)
    found = row(table, scale="MADRS.change", roi_a="sgACCL", roi_b="insulaL", arm="drug")
    assert float(found["r"]) == pytest.approx(stats.pearsonr(z, score).statistic, abs=1e-8)
    assert float(found["r_spearman"]) == pytest.approx(stats.spearmanr(z, score).statistic, abs=1e-8)
    assert float(found["slope"]) == pytest.approx(stats.linregress(score, z).slope, abs=1e-8)
    assert found["n"] == "20"


@pytest.mark.truth
def test_the_planted_pair_is_found_in_its_arm(trial):
    table, summary = run(trial, permutations=499, **ARMS)
    planted = {"scale": "MADRS.change", "roi_a": "sgACCL", "roi_b": "insulaL"}
    assert float(row(table, arm="drug", **planted)["p_fwe"]) <= 0.05
    assert float(row(table, arm="difference", **planted)["p_fwe"]) <= 0.05
    assert float(row(table, arm="placebo", **planted)["p_fwe"]) > 0.05
    assert {summary["shown"][0][key] for key in ("roi_a", "roi_b")} == {"sgACCL", "insulaL"}


def test_holm_goes_over_all_sets_of_people(trial):
    table, _ = run(trial, networks=NETWORKS, **ARMS)
    known = table[table["p_fwe"] != "n/a"]
    assert (known["p_holm"].astype(float) >= known["p_fwe"].astype(float)).all()


def test_an_adjusted_change_says_the_same_as_the_adjusted_score(trial):
    changes, _ = run(trial, adjusted=True, scales=("MADRS.change",), covariates=("age",), **ARMS)
    scores, _ = run(trial, adjusted=True, scales=("MADRS.post",), covariates=("age",), **ARMS)
    numbers = [
        c
        for c in COLUMNS
        if c.startswith(("r", "ci", "p", "slope")) and "robust" not in c and "spearman" not in c
    ]
    numbers = [c for c in numbers if c not in ("roi_a", "roi_b") and not c.startswith("reliability")]
    for column in numbers:
        np.testing.assert_allclose(
            changes[column].replace("n/a", "nan").astype(float),
            scores[column].replace("n/a", "nan").astype(float),
            atol=1e-7,
            err_msg=column,
        )


def test_people_who_lack_a_scale_are_named(out):
    edit(out, lambda t: t.__setitem__("SHAPS_change", t["SHAPS_change"].where(t["subject"] != "03", "n/a")))
    table, summary = run(out)
    assert ["trial", "03", "SHAPS.change missing"] in summary["lost"]
    assert set(table["n"]) == {"39"}
    assert summary["families"][0]["joint"]


def test_each_scale_can_have_people_of_its_own(out):
    edit(out, lambda t: t.__setitem__("SHAPS_change", t["SHAPS_change"].where(t["subject"] != "03", "n/a")))
    table, summary = run(out, people="each")
    assert set(table.loc[table["scale"] == "MADRS.change", "n"]) == {"40"}
    assert set(table.loc[table["scale"] == "SHAPS.change", "n"]) == {"39"}
    assert not summary["families"][0]["joint"]


def test_an_arm_of_few_people_is_told_and_the_others_go_on(out):
    def few(table):
        table.loc[(table["arm"] == "placebo") & (table["subject"] > "06"), "arm"] = "n/a"

    edit(out, few)
    table, summary = run(out, **ARMS)
    assert "placebo" not in set(table["arm"])
    assert any(text.startswith("edges, placebo: 3 people in 1 cells") for text in summary["skipped"])


def test_an_edge_that_somebody_lacks_has_no_result(out):
    name = out / "p04post_stat-pearsoncorrelation_relmat.tsv"
    table = read_tsv(name)
    table.loc[table["roi"] == "PAG", ["sgACCL", "insulaL", "NAcL"]] = "n/a"
    table.loc[:, "PAG"] = "n/a"
    table.to_csv(name, sep="\t", index=False)
    found, summary = run(out)
    lacking = found[(found["roi_a"] == "PAG") | (found["roi_b"] == "PAG")]
    assert set(lacking["p_fwe"]) == {"n/a"}
    assert set(lacking["n"]) == {"0"}
    assert summary["families"][0]["tests"] == 6


def test_nobody_with_all_that_is_asked_for_is_an_error(out):
    edit(out, lambda t: t.__setitem__("SHAPS_change", "n/a"))
    with pytest.raises(DesignError, match=r"associations\.a: nobody has all .*SHAPS\.change missing: 40"):
        run(out)


def test_a_covariate_that_is_the_same_for_all_is_refused(out):
    edit(out, lambda t: t.__setitem__("age", "40"))
    with pytest.raises(DesignError, match="covariate 'age' is the same for all 40 people"):
        run(out, covariates=("age",))


# ---------------------------------------------------------------------------------------- reliability


def test_sessions_of_untreated_people_give_agreement(trial):
    table, summary = measure(trial, stable={"arm": ("placebo",)}, networks=NETWORKS)
    assert list(table.columns) == list(RELIABILITY_COLUMNS)
    assert len(table) == 7
    assert set(table["n_stable"]) == {"20"}
    assert set(table["sem_source"]) == {"sessions"}
    assert summary["found"]["edges"]["stable"] == {"n": 20}
    planted = row(table, roi_a="sgACCL", roi_b="insulaL")
    # People differ by 0.3, noise of a run is 1 / (k - 2).
    assert 0.6 < float(planted["icc_consistent"]) < 0.95
    assert float(planted["detectable_change"]) == pytest.approx(2.7718 * float(planted["sem"]), rel=1e-3)


@pytest.mark.oracle
def test_a_network_of_one_edge_with_a_sign_is_as_reliable_as_the_edge(trial):
    signed = {"turned": [("sgACCL", "insulaL", -1)]}
    table, _ = measure(trial, stable={"arm": ("placebo",)}, networks=signed)
    edge_of, network = row(table, roi_a="sgACCL", roi_b="insulaL"), row(table, network="turned")
    for column in ("icc_consistent", "sem", "half_before", "half_change", "half_after_r"):
        assert float(network[column]) == pytest.approx(float(edge_of[column]), abs=1e-9)
    assert float(network["shift"]) == pytest.approx(-float(edge_of["shift"]), abs=1e-9)


@pytest.mark.truth
def test_halves_and_sessions_agree_where_nothing_else_changes(trial):
    table, _ = measure(trial, stable={"arm": ("placebo",)})
    three = table[(table["roi_a"] == "sgACCL")]
    for column in ("half_before", "half_after"):
        np.testing.assert_allclose(
            three[column].astype(float), three["icc_consistent"].astype(float), atol=0.35
        )


def test_without_untreated_people_the_error_comes_from_halves(trial):
    table, _ = measure(trial)
    assert set(table["sem_source"]) == {"halves"}
    changed = row(table, roi_a="sgACCL", roi_b="insulaL")
    assert float(changed["reliability_change"]) == pytest.approx(
        max(0, float(changed["half_change"])), abs=1e-6
    )
    assert set(table["icc_absolute"]) == {"n/a"}


def test_one_time_point_has_halves_alone(trial):
    table, summary = measure(trial, after=None)
    assert set(table["half_before"]) != {"n/a"}
    assert set(table["half_change"]) == {"n/a"}
    assert set(table["sem_change"]) == {"n/a"}
    assert summary["after"] is None


def test_the_registry_s_reliability_is_that_number_and_is_written_with_its_source(out):
    measure(out, "stability", stable={"arm": ("placebo",)})
    scales = {**CLINICAL.scales, "MADRS": CLINICAL.scales["MADRS"].model_copy(update={"kind": "MADRS"})}
    clinical = CLINICAL.model_copy(update={"scales": scales})
    found = {}
    for share in ("registry", 0.93):
        asked = Association(
            before="pre", after="post", scales=("MADRS.change",), edges=(("sgACCL", "insulaL"),), resamples=0,
            reliability="stability", scale_reliability={"MADRS": share},
        )  # fmt: skip
        association(
            out, "a", asked, clinical, asked.edges, {}, combine_runs="weighted", permutations=99, seed=0
        )
        found[share] = read(out, "association", "a")
    (first, known), (second, given) = found["registry"], found[0.93]
    assert first.equals(second)
    assert known["scale_reliability"]["MADRS"]["source"].startswith("Williams and Kobak 2008")
    assert given["scale_reliability"]["MADRS"] == {
        "value": 0.93, "words": "given by the authors", "source": "the configuration", "verified": True,
    }  # fmt: skip


def test_too_few_untreated_people_are_told(trial):
    with pytest.raises(DesignError, match=r"reliability\.r\.stable: 0 people .*agreement needs 3"):
        measure(trial, stable={"arm": ("waiting",)})


def test_the_ceiling_stands_beside_the_correlation(out):
    measure(out, "stability", stable={"arm": ("placebo",)}, networks=NETWORKS)
    more = {"reliability": "stability", "scale_reliability": {"MADRS": 0.9}}
    table, _ = run(out, networks=NETWORKS, **ARMS, **more)
    found = row(table, scale="MADRS.change", roi_a="sgACCL", roi_b="insulaL", arm="drug")
    error = float(
        row(read(out, "reliability", "stability")[0], roi_a="sgACCL", roi_b="insulaL")["sem_change"]
    )
    change = change_of(out, "sgACCL", "insulaL")
    drug = [change[f"{person:02d}"] for person in range(0, 40, 2)]
    assert float(found["reliability_edge"]) == pytest.approx(1 - error**2 / np.var(drug, ddof=1), abs=1e-6)
    cohort = read_tsv(out / paths.COHORT)
    before = cohort.loc[cohort["time_point"] == "pre", "MADRS"].astype(float)
    gain = cohort.loc[(cohort["time_point"] == "post") & (cohort["arm"] == "drug"), "MADRS_change"].astype(
        float
    )
    expected = 1 - 2 * 0.1 * before.var(ddof=1) / gain.var(ddof=1)
    assert float(found["reliability_scale"]) == pytest.approx(expected, abs=1e-6)
    assert float(found["ceiling"]) == pytest.approx(
        np.sqrt(float(found["reliability_edge"]) * expected), abs=1e-6
    )
    other = row(table, scale="SHAPS.change", roi_a="sgACCL", roi_b="insulaL", arm="drug")
    assert other["reliability_scale"] == "n/a"
    assert float(other["ceiling"]) == pytest.approx(np.sqrt(float(other["reliability_edge"])), abs=1e-6)
    assert row(table, scale="MADRS.change", network="reward", arm="all")["ceiling"] != "n/a"
    assert row(table, scale="MADRS.change", network="reward", arm="difference")["ceiling"] == "n/a"
