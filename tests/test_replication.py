"""Stage replication: designs within trials, what trials say together, and its error rates."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conn import paths
from conn.clinic.pooled_test import joint_set, pooled_test
from conn.clinic.pooling import common_effect, estimates
from conn.config.model import Inference, Moderator, OneSample, Paired, TwoSample
from conn.config.replication import Replication
from conn.design import compile_model
from conn.design.within import contrasts_to_replicate
from conn.errors import DesignError
from conn.files import read_json, write_json
from conn.index import Index
from conn.permutation import permutation_set
from conn.stages.exclusions import gather
from conn.stages.left_out import Analyses, Replicated
from conn.stages.replication import Wanted, replicate
from conn.stages.replication_fits import Chance, TrialRows, fit
from conn.stages.rows import Rows
from conn.tables import read_tsv, write_tsv
from replicated_trials import CLINICAL, Trial, model, write

TWO = {"first": Trial(30, effect=0.35), "second": Trial(44, effect=0.3)}
NETWORK = {"both": [["PAG", "sgACCL"], ["PAG", "insulaL", -1]]}


def run(
    out: Path,
    asked: dict[str, Any] | None = None,
    settings: Any = None,
    min_share: float = 1.0,
    **wanted: Any,
):
    """Run the stage: the table over trials, the table of trials, and the summary."""
    options = {"model": "arms"} | (asked or {})
    replicate(
        out,
        "both",
        Replication(**options),
        settings or model(),
        CLINICAL,
        Inference(permutations=199, min_share=min_share),
        Wanted(**({"edges": "all", "networks": {}} | wanted)),
        seed=3,
        order=["first", "second"],
    )
    tables = [
        numbers(read_tsv(out / paths.analysis("replication", n, ".tsv"))) for n in ("both", "both_trials")
    ]
    return *tables, read_json(out / paths.analysis("replication", "both"))


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    words = ("contrast", "kind", "roi_a", "roi_b", "network", "trial", "status")
    found = {c: table[c].replace("n/a", "nan").astype(float) for c in table.columns if c not in words}
    return table.assign(**found)


def edge(table: pd.DataFrame, contrast: str = "adjusted") -> pd.DataFrame:
    rows = (table["roi_a"] == "PAG") & (table["roi_b"] == "sgACCL") & (table["contrast"] == contrast)
    return table[rows].reset_index(drop=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    write(out, TWO)
    return out, *run(out, networks=NETWORK)


# What is written ------------------------------------------------------------------------------------


@pytest.mark.truth
def test_an_effect_of_both_trials_is_found_in_each_and_together(done):
    _, pooled, trials, record = done
    own, whole = edge(trials), edge(pooled).iloc[0]
    assert own["trial"].tolist() == ["first", "second"]
    assert own["n"].tolist() == [30, 44]
    assert own["estimate"].tolist() == pytest.approx([0.35, 0.3], abs=0.25)
    assert whole["estimate"] == pytest.approx(0.32, abs=0.15)
    assert whole["same_sign"] == whole["n_trials"] == 2
    assert whole["p_fwe"] == pytest.approx(1 / 200)
    assert whole["p_replicability_holm"] < 0.01
    assert np.isnan(whole["random_estimate"])
    assert np.isnan(whole["tau2"])
    assert [one["contrast"] for one in record["families"]] == ["adjusted", "adjusted", "change", "change"]


def test_the_estimates_of_a_trial_are_those_of_its_own_model(done):
    out, _, trials, _ = done
    cohort, runs = read_tsv(out / paths.COHORT), read_tsv(out / paths.RUNS)
    own = cohort[cohort["dataset"] == "second"].reset_index(drop=True)
    design = compile_model("arms", model(), CLINICAL, own, runs, Inference(permutations=199))
    contrast = next(c for c in design.contrasts if c.name == "change")
    change = []
    for weights in contrast.run_weights:
        z = {
            r: np.arctanh(float(read_tsv(out / f"{r}_stat-pearsoncorrelation_relmat.tsv").loc[0, "sgACCL"]))
            for r in weights
        }
        change.append(sum(w * z[r] for r, w in weights.items()))
    change, drug = np.array(change), contrast.cells == 0
    test = stats.ttest_ind(change[drug], change[~drug])
    row = edge(trials, "change").iloc[1]
    assert row["estimate"] == pytest.approx(change[drug].mean() - change[~drug].mean(), rel=1e-9)
    assert row["stat"] == pytest.approx(test.statistic, rel=1e-9)
    low, high = test.confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), rel=1e-9)


def test_the_common_effect_is_that_of_the_table_of_trials(done):
    _, pooled, trials, _ = done
    own = edge(trials)
    found = common_effect(estimates(*(own[c].to_numpy()[:, None] for c in ("estimate", "se", "df"))))
    row = edge(pooled).iloc[0]
    assert row["estimate"] == pytest.approx(found.effect[0])
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((found.low[0], found.high[0]))
    assert own["weight"].sum() == pytest.approx(1)


def test_networks_are_a_family_of_their_own(done):
    _, pooled, _, record = done
    rows = pooled[pooled["kind"] == "network"]
    assert rows["network"].tolist() == ["both", "both"]
    assert [one["features"] for one in record["families"]] == [6, 1, 6, 1]
    assert (rows["p_fwe"] == rows["p"]).all()
    assert (pooled["p_holm"] >= pooled["p_fwe"]).all()


def test_three_trials_have_random_effects(tmp_path):
    write(tmp_path, TWO | {"third": Trial(20, effect=-0.2)})
    pooled, _, _ = run(tmp_path, {"contrasts": ("change",)})
    row = edge(pooled, "change").iloc[0]
    assert row["random_df"] == 2
    assert row["random_ci_low"] < row["estimate"] < row["random_ci_high"]
    assert row["predicted_low"] < row["random_ci_low"]
    assert row["p_q"] < 0.05
    assert row["same_sign"] == 2


# Who and what takes part ----------------------------------------------------------------------------


def test_a_site_of_one_data_set_may_be_a_trial(tmp_path):
    write(tmp_path, TWO, site_in="everybody")
    pooled, trials, record = run(tmp_path, {"by": "site", "contrasts": ("change",)})
    write(tmp_path, TWO)
    other, own, _ = run(tmp_path, {"contrasts": ("change",)})
    assert record["by"] == "site"
    assert trials["estimate"].tolist() == own["estimate"].tolist()
    assert pooled["p_fwe"].tolist() == other["p_fwe"].tolist()


def test_a_covariate_that_is_constant_in_a_trial_drops_out_there_and_is_told(tmp_path):
    write(tmp_path, {"first": Trial(30, women_only=True), "second": Trial(44)})
    settings = model(covariates=("age", "sex"), strata=("site",))
    _, _, record = run(tmp_path, settings=settings)
    first, second = record["contrasts"]["adjusted"]["trials"]
    assert first["constant"] == ["sex", "site"]
    assert second["constant"] == ["site"]
    assert first["columns"] == ["intercept", "drug - placebo", "age"]
    assert second["columns"][-1] == "sex=m"


def test_a_trial_whose_design_cannot_be_compiled_is_named_and_left_out(tmp_path):
    write(tmp_path, TWO | {"third": Trial(12, arms=("drug",))})
    pooled, trials, record = run(tmp_path, {"contrasts": ("change",)})
    third = record["contrasts"]["change"]["trials"][2]
    assert third["trial"] == "third"
    assert "no subject has arm = 'placebo'" in third["reason"]
    assert set(trials["trial"]) == {"first", "second"}
    assert (pooled["n_trials"] == 2).all()


def test_fewer_than_two_trials_with_a_design_are_refused_with_the_reasons(tmp_path):
    write(tmp_path, {"first": Trial(20), "second": Trial(12, arms=("drug",))})
    with pytest.raises(
        DesignError, match=r"replication\.both: adjusted: fewer than two trials .*second: .*placebo"
    ):
        run(tmp_path)


def test_people_without_a_scan_are_told_with_their_trial(tmp_path):
    write(tmp_path, {"first": Trial(20, lost=(3,)), "second": Trial(20)})
    _, trials, record = run(tmp_path)
    assert record["contrasts"]["change"]["trials"][0]["lost"] == [["first", "004", "no included run at post"]]
    assert edge(trials)["n"].tolist() == [19, 20]


def test_people_whom_a_replication_lacks_stand_in_exclusions_and_its_results_go_with_it(tmp_path):
    write(tmp_path, {"first": Trial(20, lost=(3,)), "second": Trial(20)}, site_in="trial")
    cohort = read_tsv(tmp_path / paths.COHORT)
    cohort.loc[cohort["subject"].isin(("101", "102")), "site"] = ["n/a", "n/a", "third", "third"]
    write_tsv(tmp_path / paths.COHORT, cohort)
    write_json(tmp_path / paths.COHORT_NOTES, {"exclusions": [], "notes": []})
    options = {"model": "arms", "by": "site", "trials": ("first", "second")}
    run(tmp_path, options)
    own = Replicated(Replication(**options), model(), Inference(permutations=199), ("trial",))
    gather(tmp_path, Index((), (), ()), [], Analyses(CLINICAL, replication={"both": own}))
    rows = read_tsv(tmp_path / paths.EXCLUSIONS)
    assert set(zip(rows["stage"], rows["reason"], strict=True)) == {("replication", "not_in_analysis")}
    assert rows[["dataset", "subject", "value"]].to_numpy().tolist() == [
        ["trial", "004", "both: adjusted: no included run at post"],
        ["trial", "004", "both: change: no included run at post"],
        ["trial", "101", "both: site is missing"],
    ]
    folder = (tmp_path / paths.analysis("replication", "both")).parent
    (folder / "notes.txt").write_text("of the user")
    gather(tmp_path, Index((), (), ()), [], Analyses(CLINICAL))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_same_label_in_two_data_sets_is_two_people(tmp_path):
    write(tmp_path, {"first": Trial(20), "second": Trial(20, first=-100)})
    cohort = read_tsv(tmp_path / paths.COHORT)
    assert set(cohort.loc[cohort["dataset"] == "first", "subject"]) == set(
        cohort.loc[cohort["dataset"] == "second", "subject"]
    )
    _, trials, _ = run(tmp_path)
    assert edge(trials)["n"].tolist() == [20, 20]


def test_trials_that_are_named_are_taken_in_their_order(tmp_path):
    write(tmp_path, TWO | {"third": Trial(20)})
    _, trials, record = run(tmp_path, {"trials": ("third", "first")})
    assert trials["trial"].unique().tolist() == ["third", "first"]
    assert len(record["homeless"]) == 44
    assert record["homeless"][0][2] == "dataset is second, which is not asked for"
    with pytest.raises(DesignError, match="nobody has dataset = 'fourth'"):
        run(tmp_path, {"trials": ("first", "fourth")})


def test_an_edge_that_one_of_two_trials_lacks_is_not_put_together(tmp_path):
    write(tmp_path, {"first": Trial(20), "second": Trial(20)})
    for file in tmp_path.glob("seconds101*relmat.tsv"):
        table = read_tsv(file).set_index("roi")
        table.loc["PAG", "sgACCL"] = table.loc["sgACCL", "PAG"] = "n/a"
        table.to_csv(file, sep="\t")
    pooled, trials, _ = run(tmp_path)
    row = edge(pooled).iloc[0]
    assert row["n_trials"] == 1
    assert np.isnan(row[["estimate", "p_fwe", "p_replicability", "q"]].astype(float)).all()
    assert np.isfinite(edge(trials)["estimate"].iloc[0])
    assert np.isfinite(pooled["p_fwe"]).sum() == 10


def test_an_f_has_no_one_estimate():
    three = TwoSample(design="two_sample", at="pre", group="arm", levels=("a", "b", "c"))
    with pytest.raises(DesignError, match=r"replication\.x\.contrasts: 'difference' tests several numbers"):
        contrasts_to_replicate([], three, CLINICAL, "replication.x")
    assert contrasts_to_replicate(["differenceAVsB"], three, CLINICAL, "replication.x") == ["differenceAVsB"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": ("a",)}, "alone is no replication"),
        ({"trials": ("a", "a")}, "listed twice"),
        ({"edges": "none", "networks": ()}, "nothing is left"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Replication(model="arms", **options)


# Rearrangements -------------------------------------------------------------------------------------


def flips(n, permutations=10_000):
    return permutation_set(n, "flips", n_permutations=permutations, seed=1, has_nuisance=False)


def test_few_combinations_of_rearrangements_are_all_used_once():
    joint = joint_set([flips(4), flips(5)], 1000, 0)
    assert joint.complete
    assert joint.n_set == 16 * 32 == len({tuple(row) for row in joint.index.tolist()})
    assert joint.index[0].tolist() == [0, 0]
    assert joint.smallest_p == pytest.approx(2 / 512)


def test_many_combinations_are_drawn_and_a_small_trial_is_drawn_from_its_complete_set():
    joint = joint_set([flips(5, 400), flips(30, 400)], 400, 0)
    assert not joint.complete
    assert joint.n_set == 401
    assert joint.index[0].tolist() == [0, 0]
    assert joint.index[1:, 1].tolist() == list(range(1, 401))
    assert set(joint.index[1:, 0]) == set(range(32))
    assert joint.smallest_p == pytest.approx(1 / 401)


@pytest.mark.oracle
def test_p_is_that_of_a_loop_over_all_sign_flips_of_both_trials():
    rng = np.random.default_rng(5)
    data = [rng.standard_normal((4, 3)) + 0.6, rng.standard_normal((5, 3)) + 0.6]
    found = fit([rows_of(one) for one in data], Chance(1000, 0))
    signs = [np.array(np.meshgrid(*[[1, -1]] * n)).reshape(n, -1).T for n in (4, 5)]
    sizes = []
    for first in signs[0]:
        for second in signs[1]:
            z = 0
            for one, sign in zip(data, (first, second), strict=True):
                t = stats.ttest_1samp(one * sign[:, None], 0).statistic
                z = z + np.sqrt(len(one)) * stats.norm.ppf(stats.t.cdf(t, len(one) - 1))
            sizes.append(np.abs(z) / 3)
    sizes = np.array(sizes)
    observed = sizes[np.all(np.isclose(sizes, np.abs(found.test.z)), axis=1)][0]
    expected = (sizes >= observed - 1e-9).mean(axis=0)
    largest = (sizes.max(axis=1)[:, None] >= observed - 1e-9).mean(axis=0)
    assert found.test.p == pytest.approx(expected)
    assert found.test.p_fwe == pytest.approx(largest)


def rows_of(values: np.ndarray) -> TrialRows:
    """Mean of a sample, as one trial."""
    return TrialRows(_mean_of(len(values)), Rows(values))


@cache
def _mean_of(n: int):
    cohort, runs = [], []
    for person in range(n):
        cohort.append({"dataset": "d", "subject": f"{person:03d}", "time_point": "pre", "runs": f"r{person}"})
        runs.append({"run": f"r{person}", "df": "80", "included": "true"})
    settings = OneSample(design="one_sample", at="pre", sensitivity="none")
    design = compile_model(
        "mean", settings, CLINICAL, pd.DataFrame(cohort), pd.DataFrame(runs), Inference(permutations=199)
    )
    return design.contrasts[0]


def test_trials_of_one_size_are_not_rearranged_in_step():
    chance = Chance(300, 0)
    assert len({chance.of_trial(place) for place in range(5)}) == 5
    rng = np.random.default_rng(8)
    values = rng.standard_normal((20, 1))
    found = fit([rows_of(values), rows_of(-values)], chance)
    # In step, the two would cancel in every rearrangement, and every one would reach the observed 0.
    assert found.test.z[0] == pytest.approx(0)
    maps = found.joint.index
    assert maps.shape == (301, 2)
    alone = fit([rows_of(values), rows_of(values)], chance)
    assert alone.test.p[0] < 1


def test_a_feature_of_one_trial_alone_is_left_out_of_the_largest():
    joint = joint_set([flips(4), flips(4)], 1000, 0)
    z = np.full((16, 2), 0.5)
    z[:, 1] = 9.0
    there = np.array([[True, True], [True, False]])
    found = pooled_test([([z, z], there)], [1.0, 1.0], joint)
    assert np.isnan(found.z[1])
    assert found.p_fwe[0] == 1.0


# Error rates ----------------------------------------------------------------------------------------


@pytest.mark.calibration
@pytest.mark.parametrize("sizes", [(12, 20), (10, 14, 24)])
def test_nothing_in_any_trial_is_called_something_as_often_as_alpha_says(sizes):
    rng, sets, permutations = np.random.default_rng(11), 200, 99
    single, any_feature = [], []
    for number in range(sets):
        data = [rows_of(rng.standard_normal((n, 4)) * (1 + k)) for k, n in enumerate(sizes)]
        found = fit(data, Chance(permutations, number))
        single.append(found.test.p[0] <= 0.05)
        any_feature.append(found.test.p_fwe.min() <= 0.05)
    low, high = stats.binom.interval(0.999, sets, 0.05)
    for hits in (single, any_feature):
        assert low <= sum(hits) <= high


@pytest.mark.truth
def test_a_planted_common_effect_is_recovered_over_simulated_trials():
    """Arms compared in 150 pairs of trials: unbiased, covered, and found."""
    rng, effect, sets = np.random.default_rng(12), 0.3, 150
    found, covered, power = [], [], []
    cohort = _arms(24), _arms(40)
    for number in range(sets):
        trials = [TrialRows(c, Rows(_outcome(rng, c, effect))) for c in cohort]
        made = fit(trials, Chance(99, number))
        found.append(made.common.effect[0])
        covered.append(made.common.low[0] <= effect <= made.common.high[0])
        power.append(made.test.p_fwe[0] <= 0.05)
    assert np.mean(found) == pytest.approx(effect, rel=0.05)
    low, high = stats.binom.interval(0.999, sets, 0.95)
    assert low <= sum(covered) <= high
    assert np.mean(power) > 0.8


def _arms(n: int):
    cohort = []
    for person in range(n):
        for point in ("pre", "post"):
            cell = {
                "dataset": "d",
                "subject": f"{person:03d}",
                "time_point": point,
                "runs": f"{point}{person}",
            }
            cohort.append(cell | {"arm": "drug" if person % 2 else "placebo"})
    table = pd.DataFrame(cohort)
    runs = pd.DataFrame({"run": table["runs"], "df": "80", "included": "true"})
    settings = model(contrasts={"change": {}}, sensitivity="none")
    return compile_model("arms", settings, CLINICAL, table, runs, Inference(permutations=199)).contrasts[0]


def _outcome(rng: np.random.Generator, contrast, effect: float) -> np.ndarray:
    values = 0.3 * rng.standard_normal((contrast.n, 3))
    values[contrast.cells == 0, 0] += effect
    return values


def test_estimates_and_z_of_a_moderator_go_the_same_way(tmp_path):
    """Its estimate is a slope of the outcome, and its test has the roles exchanged."""
    write(tmp_path, TWO)
    settings = Moderator(design="moderator", at="pre", arm="arm", levels=("drug", "placebo"), outcome="age")
    pooled, trials, _ = run(tmp_path, settings=settings)
    assert (trials["se"] > 0).all()
    assert (np.sign(trials["stat"]) == np.sign(trials["estimate"])).all()
    agree = pooled[pooled["same_sign"] == 2]
    assert len(agree)
    assert (np.sign(agree["z"]) == np.sign(agree["estimate"])).all()


def test_features_that_some_lack_are_tested_with_min_share(tmp_path):
    write(tmp_path, {"first": Trial(24, effect=0.5), "second": Trial(30, effect=0.5)})
    (file,) = tmp_path.glob("seconds101post*relmat.tsv")
    table = read_tsv(file).set_index("roi")
    table.loc["PAG", "sgACCL"] = table.loc["sgACCL", "PAG"] = "n/a"
    table.to_csv(file, sep="\t")
    pooled, trials, _ = run(tmp_path, {"contrasts": ("change",)}, min_share=0.8)
    assert edge(trials, "change")["n"].tolist() == [24, 29]
    row = edge(pooled, "change").iloc[0]
    assert row["n"] == 53
    assert row["p_fwe"] < 0.05
    assert np.sign(row["z"]) == np.sign(row["estimate"]) == 1


def test_paired_models_are_replicated_too(tmp_path):
    write(tmp_path, TWO)
    settings = Paired(design="paired", before="pre", after="post", subset={"arm": ("drug",)})
    pooled, trials, _ = run(tmp_path, settings=settings)
    assert edge(trials, "change")["n"].tolist() == [15, 22]
    assert edge(pooled, "change")["p_fwe"].iloc[0] < 0.05
