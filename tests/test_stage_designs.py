"""From matrices of single scans to tables and maps, for every kind of statistic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels import api as sm
from statsmodels.multivariate.manova import MANOVA

from conn import effects, images, paths
from conn.config.model import (
    EdgeEnhancement,
    Enhancement,
    GroupByTime,
    Inference,
    Model,
    OneSample,
    Paired,
    ParallelArms,
    TwoSample,
    Within,
)
from conn.errors import DesignError
from conn.files import read_json, write_json
from conn.graph import numbered, shared_nodes
from conn.multiplicity import fdr
from conn.rois import networks, registry
from conn.stages.correct import correct
from conn.stages.design import design
from conn.stages.test import test_edges as edges_stage
from conn.stages.test import test_factor as factor_stage
from conn.stages.test import test_networks as networks_stage
from conn.stages.test import test_seed as seed_stage
from conn.stages.tested import load
from conn.tables import read_tsv, write_tsv
from conn.tfce import Tfce
from trials import CLINICAL, members, trial

Floats = NDArray[np.float64]
NETWORK = "descendingModulation"
REGIONS = sorted({label for pair in networks.edges(NETWORK) for label in pair})
GRID = images.Grid((7, 8, 9), np.array([[3.0, 0, 0, -9], [0, 3, 0, -10], [0, 0, 3, -12], [0, 0, 0, 1]]))
SEED = registry.Roi("aL", "MNI152", shapes=(registry.Shape((-8.0, -8.0, -10.0), radius=3.0),))
OPTIONS: dict[str, Any] = {"permutations": 199, "seed": 1}
SETTINGS = Inference(permutations=199)


def study(
    out: Path,
    model: Model,
    people: dict[str, dict[str, Any]],
    points: tuple[str, ...] = ("pre", "post"),
    lacking: tuple[str, ...] = (),
    maps: bool = False,
) -> dict[str, Floats]:
    """First-level outputs of a trial and its compiled design; z between regions by run.

    Who is `lacking` has no signal in the first region at the last time point.
    """
    cohort, runs = trial(people, points)
    rng = np.random.default_rng(2)
    made, collected = {}, {}
    for subject, person in people.items():
        own = rng.normal(0, 0.2, size=(len(REGIONS), len(REGIONS)))
        for point in points:
            treated = person.get("arm") == "drug" and point == points[-1]
            z = np.triu(own + rng.normal(0, 0.1, size=own.shape) + 0.3 * treated, 1)
            z = z + z.T
            if subject in lacking and point == points[-1]:
                z[0], z[:, 0] = np.nan, np.nan
            key = f"r{subject}{point}"
            made[key] = z
            entities = {"sub": subject, "ses": point, "task": "rest", "space": "MNI152NLin2009cAsym"}
            table = pd.DataFrame(np.tanh(z), columns=REGIONS)
            np.fill_diagonal(table.to_numpy(), 1.0)
            table.insert(0, "roi", REGIONS)
            write_tsv(out / paths.relmat(entities), table, digits=15)
            files = [paths.relmat(entities)]
            if maps:
                values = rng.normal(0, 0.1, size=GRID.shape) + 0.2 * treated
                values[5, 5, 5] = np.nan if subject in lacking and point == points[-1] else values[5, 5, 5]
                images.write_map(out / paths.seed_map(entities, "aL"), GRID, values)
                files.append(paths.seed_map(entities, "aL"))
            collected[key] = {path.as_posix(): "0" * 64 for path in files}
    write_tsv(out / paths.COHORT, cohort)
    write_tsv(out / paths.RUNS, runs)
    write_json(out / paths.COLLECTED, collected)
    design(out, "m", model, CLINICAL, SETTINGS)
    return made


def numbers(path: Path) -> pd.DataFrame:
    """A table with its cells as numbers where they are."""
    table = read_tsv(path).replace("n/a", "nan")
    text = {"roi_a", "roi_b", "contrast", "family", "g_type", "status", "network"}
    return table.astype({c: float for c in table.columns if c not in text})


def edges_of(out: Path, settings: Inference = SETTINGS, **options: Any) -> pd.DataFrame:
    edges_stage(out, "m", "all", **OPTIONS, **options)
    correct(out, "m", ["edges"], settings)
    return numbers(out / paths.edges("m"))


def edge(made: dict[str, Floats], people: list[str], point: str, a: str, b: str) -> Floats:
    return np.array([made[f"r{person}{point}"][REGIONS.index(a), REGIONS.index(b)] for person in people])


ARMS = ParallelArms(
    design="parallel_arms", before="pre", after="post", arm="arm", levels=("drug", "placebo"), randomised=True
)


@pytest.mark.oracle
def test_an_arm_difference_is_adjusted_for_the_baseline_of_the_same_edge(tmp_path: Path) -> None:
    people = members(drug=9, placebo=9)
    made = study(tmp_path, ARMS, people)
    table = edges_of(tmp_path)
    assert list(dict.fromkeys(table["contrast"])) == ["adjusted", "change", "adjustedFD"]
    drug = np.array([person["arm"] == "drug" for person in people.values()])
    for _, row in table[table["contrast"] == "adjusted"].iterrows():
        pre, post = (edge(made, list(people), point, row["roi_a"], row["roi_b"]) for point in ("pre", "post"))
        matrix = np.column_stack([np.ones(18), drug, pre])
        beta, rss = np.linalg.lstsq(matrix, post, rcond=None)[:2]
        se = np.sqrt(rss[0] / 15 * np.linalg.inv(matrix.T @ matrix)[1, 1])
        found = row[["estimate", "se", "stat", "df"]].astype(float)
        np.testing.assert_allclose(found, [beta[1], se, beta[1] / se, 15], rtol=1e-6)
        spread = np.sqrt((pre[drug].var(ddof=1) + pre[~drug].var(ddof=1)) / 2)
        assert row["g"] == pytest.approx(effects.hedges_factor(16) * beta[1] / spread, rel=1e-6)
        assert row["g_type"] == "g_baseline"
        assert row["g_ci_low"] < row["g"] < row["g_ci_high"]


def test_a_repetition_with_motion_is_about_edges_and_counts_for_no_correction(tmp_path: Path) -> None:
    study(tmp_path, ARMS, members(drug=9, placebo=9), maps=True)
    seed_stage(tmp_path, "m", "aL", [SEED], fwhm_mm=0.0, folder=tmp_path, **OPTIONS)
    edges_stage(tmp_path, "m", "all", **OPTIONS)
    correct(tmp_path, "m", ["seed-aL", "edges"], SETTINGS)
    table = numbers(tmp_path / paths.edges("m"))
    again = table["contrast"] == "adjustedFD"
    assert table.loc[again, "p_holm"].isna().all()
    assert table.loc[~again, "p_holm"].notna().all()
    families = [one["name"] for one in read_json(tmp_path / paths.families("m"))]
    assert "adjustedFD.edges" in families
    assert "adjustedFD.maps" not in families
    assert not list((tmp_path / paths.model_folder("m")).glob("*contrast-adjustedFD*"))


@pytest.mark.oracle
def test_three_time_points_are_one_test_of_two_differences(tmp_path: Path) -> None:
    people, points = members(drug=11), ("pre", "mid", "post")
    made = study(tmp_path, Within(design="within", points=points), people, points)
    table = edges_of(tmp_path)
    for _, row in table[table["contrast"] == "within"].iterrows():
        x = np.column_stack([edge(made, list(people), p, row["roi_a"], row["roi_b"]) for p in points])
        d = np.diff(x, axis=1)
        t2 = 11 * d.mean(axis=0) @ np.linalg.solve(np.cov(d.T), d.mean(axis=0))
        assert row["stat"] == pytest.approx(t2 * 9 / 20, rel=1e-6)
        assert (row["df_num"], row["df"]) == (2, 9)
        assert row[["estimate", "se", "ci_low", "ci_sim_high", "g"]].isna().all()


def test_maps_of_an_f_have_neither_effect_nor_size(tmp_path: Path) -> None:
    points = ("pre", "mid", "post")
    study(tmp_path, Within(design="within", points=points), members(drug=11), points, maps=True)
    seed_stage(
        tmp_path, "m", "aL", [SEED], fwhm_mm=0.0, folder=tmp_path, enhancement=Enhancement(), **OPTIONS
    )
    correct(tmp_path, "m", ["seed-aL"], Inference(permutations=199, enhancement=Enhancement()))
    names = sorted(path.name for path in (tmp_path / paths.model_folder("m")).glob("*statmap.nii.gz"))
    kinds = [name.split("stat-")[1].split("_")[0] for name in names]
    assert kinds == ["F", "p", "pfwe", "ptail", "tfce"]
    f = images.read_volume(tmp_path / paths.group_map("m", "aL", "within", "F"))[1]
    assert np.nanmin(f) >= 0
    assert np.isfinite(f).sum() > 400


@pytest.mark.oracle
def test_more_than_two_groups_are_welchs_anova_of_their_changes(tmp_path: Path) -> None:
    people = members(drug=7, placebo=9, waiting=11)
    model = GroupByTime(
        design="group_by_time", before="pre", after="post", group="arm", levels=("drug", "placebo", "waiting")
    )
    made = study(tmp_path, model, people)
    table = edges_of(tmp_path)
    assert {one["scale"] for one in read_json(tmp_path / paths.families("m"))} == {"z"}
    for _, row in table[table["contrast"] == "interaction"].iterrows():
        change = np.subtract(
            *(edge(made, list(people), point, row["roi_a"], row["roi_b"]) for point in ("post", "pre"))
        )
        parts = [change[[p["arm"] == arm for p in people.values()]] for arm in model.levels]
        n, mean, var = (np.array([f(x) for x in parts]) for f in (len, np.mean, lambda x: np.var(x, ddof=1)))
        w = n / var
        spread = ((1 - w / w.sum()) ** 2 / (n - 1)).sum()
        welch = (w * (mean - (w * mean).sum() / w.sum()) ** 2).sum() / 2 / (1 + spread / 4)
        assert row["stat"] == pytest.approx(welch, rel=1e-6)
        assert row["df"] == pytest.approx(8 / (3 * spread), rel=1e-6)


TWO = TwoSample(
    design="two_sample", at="post", group="arm", levels=("drug", "placebo"), edges=NETWORK, sensitivity="none"
)


def with_networks(out: Path, settings: Inference = SETTINGS) -> tuple[pd.DataFrame, pd.DataFrame]:
    pairs = [list(pair) for pair in networks.edges(NETWORK)]
    edges_stage(out, "m", [(a, b) for a, b in pairs], **OPTIONS)
    networks_stage(out, "m", {NETWORK: [(a, b) for a, b in pairs]}, **OPTIONS)
    correct(out, "m", ["edges", "networks"], settings)
    return numbers(out / paths.edges("m")), numbers(out / paths.networks("m"))


@pytest.mark.oracle
def test_a_network_is_one_test_of_the_mean_of_its_edges(tmp_path: Path) -> None:
    people = members(drug=8, placebo=8)
    made = study(tmp_path, TWO, people)
    edges, found = with_networks(tmp_path)
    (row,) = found.to_dict("records")
    z = {
        person: np.mean([edge(made, [person], "post", a, b)[0] for a, b in networks.edges(NETWORK)])
        for person in people
    }
    drug, placebo = ([z[p] for p in people if people[p]["arm"] == arm] for arm in ("drug", "placebo"))
    test = stats.ttest_ind(drug, placebo)
    assert (row["network"], row["n_edges"], row["family"]) == (NETWORK, len(edges), "difference.networks")
    assert row["stat"] == pytest.approx(test.statistic, rel=1e-7)
    assert row["estimate"] == pytest.approx(edges["estimate"].mean(), rel=1e-7)
    interval = test.confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert row["p_fwe"] == row["p"], "one network is one test"


@pytest.mark.oracle
def test_edges_with_the_sign_minus_enter_the_mean_turned_round(tmp_path: Path) -> None:
    people = members(drug=8, placebo=8)
    made = study(tmp_path, TWO, people)
    pairs = networks.edges(NETWORK)
    signed = [(a, b, -1 if i % 3 == 0 else 1) for i, (a, b) in enumerate(pairs)]
    edges_stage(tmp_path, "m", pairs, **OPTIONS)
    networks_stage(tmp_path, "m", {"own": signed, "plain": pairs}, **OPTIONS)
    correct(tmp_path, "m", ["edges", "networks"], SETTINGS)
    found = numbers(tmp_path / paths.networks("m")).set_index("network")
    z = {p: np.mean([s * edge(made, [p], "post", a, b)[0] for a, b, s in signed]) for p in people}
    drug, placebo = ([z[p] for p in people if people[p]["arm"] == arm] for arm in ("drug", "placebo"))
    test = stats.ttest_ind(drug, placebo)
    interval = test.confidence_interval(0.95)
    row = found.loc["own"]
    assert row["stat"] == pytest.approx(test.statistic, rel=1e-7)
    assert row["estimate"] == pytest.approx(np.mean(drug) - np.mean(placebo))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert found["n_negative"].tolist() == [len(range(0, len(pairs), 3)), 0]
    assert row["estimate"] != pytest.approx(found.loc["plain", "estimate"])
    edges = numbers(tmp_path / paths.edges("m"))
    signs = np.array([sign for *_, sign in signed])
    assert row["estimate"] == pytest.approx((signs * edges["estimate"]).mean())
    assert edges["p_closed"].notna().all()


def test_edges_are_read_after_their_network(tmp_path: Path) -> None:
    study(tmp_path, TWO, members(drug=8, placebo=8))
    edges, found = with_networks(tmp_path)
    expected = np.maximum(edges["p_fwe"], found["p_fwe"].iloc[0])
    np.testing.assert_allclose(edges["p_closed"], expected)
    nothing = study(tmp_path / "none", TWO.model_copy(update={"at": "pre"}), members(drug=8, placebo=8))
    assert nothing
    edges, found = with_networks(tmp_path / "none")
    assert (edges["p_closed"] >= found["p_fwe"].iloc[0]).all()


def test_edges_outside_every_tested_network_have_no_closed_p(tmp_path: Path) -> None:
    study(
        tmp_path, TWO.model_copy(update={"edges": "all", "networks": (NETWORK,)}), members(drug=8, placebo=8)
    )
    pairs = [(a, b) for a, b in networks.edges(NETWORK)]
    edges_stage(tmp_path, "m", "all", **OPTIONS)
    networks_stage(tmp_path, "m", {NETWORK: pairs}, **OPTIONS)
    correct(tmp_path, "m", ["edges", "networks"], SETTINGS)
    table = numbers(tmp_path / paths.edges("m"))
    inside = [frozenset(pair) in set(map(frozenset, pairs)) for pair in table[["roi_a", "roi_b"]].to_numpy()]
    np.testing.assert_array_equal(table["p_closed"].notna(), inside)
    assert 0 < sum(inside) < len(table)
    # Among the edges of networks there are fewer to be compared with than among all.
    alone = numbers(tmp_path / paths.networks("m"))["p_fwe"].iloc[0]
    assert (table.loc[inside, "p_closed"] <= np.maximum(table.loc[inside, "p_fwe"], alone)).all()


def test_an_edge_that_somebody_lacks_is_tested_in_the_others_when_asked_for(tmp_path: Path) -> None:
    people = members(drug=9, placebo=8)
    made = study(tmp_path, TWO.model_copy(update={"edges": "all"}), people, lacking=("03",))
    plain = edges_of(tmp_path)
    lacked = (plain["roi_a"] == REGIONS[0]) | (plain["roi_b"] == REGIONS[0])
    np.testing.assert_array_equal(plain["stat"].isna(), lacked)
    table = edges_of(tmp_path, min_share=0.9)
    assert table["stat"].notna().all()
    np.testing.assert_array_equal(table["n"], np.where(lacked, 16, 17))
    row = table[lacked].iloc[0]
    there = [person for person in people if person != "03"]
    z = edge(made, there, "post", row["roi_a"], row["roi_b"])
    drug = np.array([people[person]["arm"] == "drug" for person in there])
    expected = stats.ttest_ind(z[drug], z[~drug], equal_var=False)
    assert (row["stat"], row["df"]) == pytest.approx((expected.statistic, expected.df), rel=1e-6)
    np.testing.assert_allclose(table.loc[~lacked, "stat"], plain.loc[~lacked, "stat"])
    own = effects.effect_size("two_sample", z[:, None], np.column_stack([drug, ~drug]).astype(float), [1, -1])
    assert (row["g"], row["g_ci_low"], row["g_ci_high"]) == pytest.approx(
        (own.g[0], own.low[0], own.high[0]), rel=1e-6
    )
    np.testing.assert_allclose(table.loc[~lacked, "g"], plain.loc[~lacked, "g"])


def test_maps_have_a_p_from_the_tail_beside_that_of_the_count(tmp_path: Path) -> None:
    study(tmp_path, TWO, members(drug=9, placebo=9), maps=True)
    many = {**OPTIONS, "permutations": 999}
    seed_stage(tmp_path, "m", "aL", [SEED], fwhm_mm=0.0, folder=tmp_path, **many)
    correct(tmp_path, "m", ["seed-aL"], SETTINGS)
    tail, count = (
        images.read_volume(tmp_path / paths.group_map("m", "aL", "difference", stat))[1]
        for stat in ("ptail", "pfwe")
    )
    (family,) = read_json(tmp_path / paths.families("m"))
    assert not family["complete"]
    there = np.isfinite(tail)
    assert there.any() and (count[there] <= 0.1).all()
    assert tail[there] == pytest.approx(count[there], abs=0.03)
    assert (tail[there] < 1 / 1000).any() or (count[there] > 1 / 1000).all()


def test_a_voxel_that_somebody_lacks_is_tested_in_the_others_when_asked_for(tmp_path: Path) -> None:
    study(tmp_path, TWO, members(drug=9, placebo=8), lacking=("03",), maps=True)
    seen = {}
    for share in (1.0, 0.9):
        seed_stage(tmp_path, "m", "aL", [SEED], fwhm_mm=0.0, folder=tmp_path, min_share=share, **OPTIONS)
        correct(tmp_path, "m", ["seed-aL"], SETTINGS)
        seen[share] = images.read_volume(tmp_path / paths.group_map("m", "aL", "difference", "pfwe"))[1]
    assert np.isnan(seen[1.0][5, 5, 5])
    assert np.isfinite(seen[0.9][5, 5, 5])
    assert np.isfinite(seen[0.9]).sum() == np.isfinite(seen[1.0]).sum() + 1


@pytest.mark.oracle
def test_edges_are_scored_by_those_they_share_a_region_with(tmp_path: Path) -> None:
    study(tmp_path, TWO.model_copy(update={"edges": "all"}), members(drug=8, placebo=8))
    plain, scored = edges_of(tmp_path), edges_of(tmp_path, enhancement=EdgeEnhancement())
    assert plain[["score", "p_score"]].isna().all(axis=None)
    pairs = [(a, b) for a, b in scored[["roi_a", "roi_b"]].to_numpy()]
    expected = Tfce(shared_nodes(numbered(pairs)), 0.4, 3.0).scores(scored["stat"].to_numpy())
    np.testing.assert_allclose(scored["score"], expected, rtol=1e-6)
    assert scored["p_score"].between(1 / 200, 1).all()
    same = ["estimate", "p", "p_fwe", "ci_sim_low"]
    pd.testing.assert_frame_equal(plain[same], scored[same])


def test_components_of_edges_share_one_p(tmp_path: Path) -> None:
    study(tmp_path, TWO.model_copy(update={"edges": "all"}), members(drug=8, placebo=8))
    table = edges_of(tmp_path, enhancement=EdgeEnhancement(kind="extent", threshold=2.5))
    above = table["stat"] > 2.5
    assert above.sum() > 3
    assert table.loc[above, "score"].max() <= above.sum()
    assert (table.loc[table["stat"].abs() <= 2.5, "score"] == 0).all()
    shared = table[above].groupby("score")["p_score"].nunique()
    assert (shared == 1).all()


@pytest.mark.oracle
def test_equivalence_is_two_one_sided_tests(tmp_path: Path) -> None:
    people = members(drug=12)
    made = study(tmp_path, OneSample(design="one_sample", at="pre"), people)
    table = edges_of(tmp_path, Inference(permutations=199, equivalence=0.3))
    row = table[table["contrast"] == "mean"].iloc[0]
    z = edge(made, list(people), "pre", row["roi_a"], row["roi_b"])
    above, below = (
        stats.ttest_1samp(z, bound, alternative=side).pvalue
        for bound, side in ((-0.3, "greater"), (0.3, "less"))
    )
    assert row["p_equivalence"] == pytest.approx(max(above, below), rel=1e-6)
    assert edges_of(tmp_path)["p_equivalence"].isna().all()


@pytest.mark.oracle
def test_a_slope_beside_a_baseline_has_its_partial_correlation_and_neither_equivalence_nor_other_slopes(
    tmp_path: Path,
) -> None:
    answers = ["responder", "nonresponder"] * 8
    people = {f"{n:02d}": {"response": answer} for n, answer in enumerate(answers, start=1)}
    model = ARMS.model_copy(
        update={"arm": "response", "levels": ("responder", "nonresponder"), "randomised": False}
    )
    made = study(tmp_path, model, people)
    table = edges_of(tmp_path, Inference(permutations=199, equivalence=0.3))
    by_score = table[table["contrast"] == "adjustedScore"]
    cohort = read_tsv(tmp_path / paths.COHORT)
    start, end = (
        cohort.loc[cohort["time_point"] == point, "MADRS"].astype(float).to_numpy()
        for point in ("pre", "post")
    )
    for _, row in by_score.iloc[:3].iterrows():
        pre, post = (edge(made, list(people), point, row["roi_a"], row["roi_b"]) for point in ("pre", "post"))
        fitted = sm.OLS(post, sm.add_constant(np.column_stack([end, start, pre]))).fit()
        expected = fitted.tvalues[1] / np.sqrt(fitted.tvalues[1] ** 2 + fitted.df_resid)
        assert row["g"] == pytest.approx(expected, rel=1e-6)
        assert row["estimate"] == pytest.approx(fitted.params[1], rel=1e-6)
    assert by_score[["p_equivalence", "slope_difference", "p_slope_difference"]].isna().all(axis=None)
    arms = table[table["contrast"] == "adjusted"]
    assert arms[["p_equivalence", "slope_difference", "p_slope_difference"]].notna().all(axis=None)


@pytest.mark.oracle
def test_a_change_has_its_size_over_both_spreads_of_the_differences_and_of_the_time_points(
    tmp_path: Path,
) -> None:
    people = members(drug=12)
    made = study(tmp_path, Paired(design="paired", before="pre", after="post"), people)
    table = edges_of(tmp_path)
    row = table[table["contrast"] == "change"].iloc[3]
    pre, post = (edge(made, list(people), point, row["roi_a"], row["roi_b"]) for point in ("pre", "post"))
    size = effects.hedges_factor(11) * (post - pre).mean()
    assert row["g"] == pytest.approx(size / (post - pre).std(ddof=1), rel=1e-6)
    spread = np.sqrt((pre.var(ddof=1) + post.var(ddof=1)) / 2)
    assert row["g_av"] == pytest.approx(size / spread, rel=1e-6)
    assert row["g_av_ci_low"] < row["g_av"] < row["g_av_ci_high"]
    assert table.loc[table["contrast"] == "changeFD", "g_av"].isna().all()


def test_the_tail_stands_beside_the_count_of_a_random_set_alone(tmp_path: Path) -> None:
    study(tmp_path, TWO.model_copy(update={"edges": "all"}), members(drug=8, placebo=8))
    table = edges_of(tmp_path)
    seen = table["p_tail"].notna()
    assert seen.any()
    assert (table.loc[seen, "p_fwe"] <= 0.1).all()
    counted = seen & (table["p_fwe"] > 0.02)
    assert counted.sum() > 3
    assert (np.abs(np.log(table.loc[counted, "p_tail"] / table.loc[counted, "p_fwe"])) < np.log(2)).all()
    assert (table.loc[seen & (table["p_fwe"] == 1 / 200), "p_tail"] < 1 / 200).all()
    # Seven people have 128 sign flips, and all of them are taken.
    study(tmp_path / "few", OneSample(design="one_sample", at="pre"), members(drug=7))
    assert edges_of(tmp_path / "few")["p_tail"].isna().all()


@pytest.mark.oracle
def test_whether_a_change_differs_between_seeds_is_one_test_of_their_differences(tmp_path: Path) -> None:
    people = members(drug=10)
    study(tmp_path, Paired(design="paired", before="pre", after="post"), people, maps=True)
    collected = read_json(tmp_path / paths.COLLECTED)
    rng = np.random.default_rng(4)
    changes = []
    for label in ("aL", "bL", "cL"):
        rows = []
        for person in people:
            pair = []
            for point in ("pre", "post"):
                entities = {"sub": person, "ses": point, "task": "rest", "space": "MNI152NLin2009cAsym"}
                path = paths.seed_map(entities, label)
                if label != "aL":
                    images.write_map(tmp_path / path, GRID, rng.normal(0, 0.1, size=GRID.shape))
                    collected[f"r{person}{point}"][path.as_posix()] = "0" * 64
                pair.append(images.read_volume(tmp_path / path)[1][4, 5, 6])
            rows.append(pair[1] - pair[0])
        changes.append(rows)
    write_json(tmp_path / paths.COLLECTED, collected)
    seeds = {label: [SEED] for label in ("aL", "bL", "cL")}
    factor_stage(tmp_path, "m", "abc", seeds, fwhm_mm=0.0, folder=tmp_path, **OPTIONS)
    d = np.diff(np.array(changes, dtype=float).T, axis=1)
    t2 = 10 * d.mean(axis=0) @ np.linalg.solve(np.cov(d.T), d.mean(axis=0))
    loaded = load(tmp_path / paths.test_result("m", "factor-abc"))[0]["change"]
    flat = np.ravel_multi_index((4, 5, 6), GRID.shape, order="F")
    place = int(np.flatnonzero(loaded.features == flat)[0])
    assert loaded.result.stat[place] == pytest.approx(t2 * 8 / 18, rel=1e-4)
    assert (loaded.result.rank, loaded.result.df[place]) == (2, 8)


def other_seeds(out: Path, people: dict[str, dict[str, Any]], points: tuple[str, ...]) -> dict[str, Floats]:
    """Maps of two further seeds; values of one voxel by seed, of shape (n, n_points)."""
    collected, rng = read_json(out / paths.COLLECTED), np.random.default_rng(4)
    found = {}
    for label in ("aL", "bL", "cL"):
        found[label] = np.zeros((len(people), len(points)))
        for i, person in enumerate(people):
            for j, point in enumerate(points):
                entities = {"sub": person, "ses": point, "task": "rest", "space": "MNI152NLin2009cAsym"}
                path = paths.seed_map(entities, label)
                if label != "aL":
                    images.write_map(out / path, GRID, rng.normal(0, 0.1, size=GRID.shape))
                    collected[f"r{person}{point}"][path.as_posix()] = "0" * 64
                found[label][i, j] = images.read_volume(out / path)[1][4, 5, 6]
    write_json(out / paths.COLLECTED, collected)
    return found


def at_the_voxel(out: Path, contrast: str) -> tuple[float, int, float]:
    """F with its degrees of freedom of the comparison of seeds in that voxel."""
    one = load(out / paths.test_result("m", "factor-abc"))[0][contrast]
    flat = np.ravel_multi_index((4, 5, 6), GRID.shape, order="F")
    place = int(np.flatnonzero(one.features == flat)[0])
    return float(one.result.stat[place]), one.result.rank, float(one.result.df[place])


SEEDS = {label: [SEED] for label in ("aL", "bL", "cL")}


@pytest.mark.oracle
def test_whether_arms_differ_between_seeds_is_adjusted_for_the_baselines_of_all_seeds(tmp_path: Path) -> None:
    people = members(drug=9, placebo=8)
    study(tmp_path, ARMS.model_copy(update={"seed_factors": {"abc": ("aL", "bL", "cL")}}), people, maps=True)
    z = other_seeds(tmp_path, people, ("pre", "post"))
    factor_stage(tmp_path, "m", "abc", SEEDS, fwhm_mm=0.0, folder=tmp_path, **OPTIONS)
    data = pd.DataFrame(
        {
            "g": [people[person]["arm"] for person in people],
            **{f"y{k}": z[b][:, 1] - z[a][:, 1] for k, (a, b) in enumerate((("aL", "bL"), ("bL", "cL")))},
            **{f"b{k}": z[b][:, 0] - z[a][:, 0] for k, (a, b) in enumerate((("aL", "bL"), ("bL", "cL")))},
        }
    )
    table = MANOVA.from_formula("y0 + y1 ~ C(g) + b0 + b1", data).mv_test().results["C(g)"]["stat"]
    wilks = table.loc["Wilks' lambda"]
    f, rank, df = at_the_voxel(tmp_path, "adjusted")
    assert f == pytest.approx(float(wilks["F Value"]), rel=1e-4)
    assert (rank, df) == (wilks["Num DF"], wilks["Den DF"])
    correct(tmp_path, "m", ["factor-abc"], SETTINGS)
    names = {entry["name"] for entry in read_json(tmp_path / paths.families("m"))}
    assert {"adjusted.factors", "change.factors"} <= names


@pytest.mark.oracle
def test_whether_courses_differ_between_seeds_is_one_test_of_all_differences(tmp_path: Path) -> None:
    points, people = ("pre", "mid", "post"), members(drug=12)
    study(tmp_path, Within(design="within", points=points), people, points, maps=True)
    z = other_seeds(tmp_path, people, points)
    factor_stage(tmp_path, "m", "abc", SEEDS, fwhm_mm=0.0, folder=tmp_path, **OPTIONS)
    changes = [np.diff(z[label], axis=1) for label in z]
    d = np.concatenate([changes[1] - changes[0], changes[2] - changes[1]], axis=1)
    t2 = 12 * d.mean(axis=0) @ np.linalg.solve(np.cov(d.T), d.mean(axis=0))
    assert at_the_voxel(tmp_path, "within") == pytest.approx((t2 * 8 / (4 * 11), 4, 8), rel=1e-4)


def test_too_few_people_for_all_seeds_and_time_points_say_so(tmp_path: Path) -> None:
    points, people = ("pre", "mid", "post"), members(drug=4)
    study(tmp_path, Within(design="within", points=points), people, points, maps=True)
    other_seeds(tmp_path, people, points)
    with pytest.raises(DesignError, match="rows hold 4 values and leave 3 residual degrees of freedom"):
        factor_stage(tmp_path, "m", "abc", SEEDS, fwhm_mm=0.0, folder=tmp_path, **OPTIONS)


def test_fdr_is_over_the_edges_of_a_contrast(tmp_path: Path) -> None:
    study(tmp_path, ARMS, members(drug=9, placebo=9))
    for _, part in edges_of(tmp_path).groupby("contrast"):
        np.testing.assert_allclose(part["p_fdr"], fdr(part["p"].to_numpy()), rtol=1e-6)
