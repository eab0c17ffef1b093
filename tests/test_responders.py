"""The score beside every dichotomy, and connectivity as a moderator of the arm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from conn import inference
from conn.config.contrasts import chosen_contrasts, contrasts_of
from conn.config.model import (
    Contrast,
    Formula,
    GroupByTime,
    Moderator,
    ParallelArms,
    Remission,
    TreatmentByOutcome,
    TwoSample,
    Within,
)
from conn.design import DesignContrast, compile_model, describe, exchange_words
from conn.effects import other_side
from conn.errors import ConfigError, DesignError
from conn.stages import rows as stage
from trials import CLINICAL, INFERENCE, compiled, contrast, data, estimate, trial, values

RESPONSE = ("responder", "nonresponder")
PLAIN = INFERENCE.model_copy(update={"robust_slopes": False})


def patients(n: int = 24, **more: Any) -> dict[str, dict[str, Any]]:
    """People in two arms, half of each arm responders."""
    return {
        f"{i:02d}": {
            "arm": ("drug", "placebo")[i % 2],
            "response": RESPONSE[(i // 2) % 2],
            "age": 20 + 7 * i % 31,
        }
        | {key: value[i % len(value)] for key, value in more.items()}
        for i in range(n)
    }


def two_sample(**options: Any) -> TwoSample:
    return TwoSample(design="two_sample", at="pre", group="response", levels=RESPONSE, **options)


def moderator(**options: Any) -> Moderator:
    return Moderator(
        **{
            "design": "moderator",
            "at": "pre",
            "arm": "arm",
            "levels": ("drug", "placebo"),
            "outcome": "MADRS.post",
        }
        | options
    )


def score(tables: tuple[pd.DataFrame, pd.DataFrame], one: DesignContrast, point: str) -> np.ndarray:
    cohort = tables[0][tables[0]["time_point"] == point].set_index("subject")["MADRS"].astype(float)
    return cohort.loc[[s for _, s in one.subjects]].to_numpy()


# The score beside the dichotomy ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (two_sample(), ("difference", "differenceScore")),
        (
            GroupByTime(
                design="group_by_time", before="pre", after="post", group="response", levels=RESPONSE
            ),
            ("interaction", "interactionScore"),
        ),
        (
            ParallelArms(
                design="parallel_arms", before="pre", after="post", arm="remission",
                levels=("remitted", "not_remitted"), randomised=False,
            ),
            ("change", "adjusted", "adjustedScore", "changeScore"),
        ),
        (
            Within(design="within", points=("pre", "mid", "post"), group="response", levels=RESPONSE),
            ("groupByWithin", "groupByWithinScore"),
        ),
        (
            TreatmentByOutcome(
                design="treatment_by_outcome", at="pre", arm="arm", arm_levels=("drug", "placebo"),
                outcome="response", outcome_levels=RESPONSE,
            ),
            ("interaction", "interactionScore"),
        ),
        (TwoSample(design="two_sample", at="pre", group="arm", levels=("drug", "placebo")), ("difference",)),
    ],
)  # fmt: skip
def test_a_dichotomy_is_never_tested_without_its_score(model, names):
    assert chosen_contrasts(model) == names
    assert set(names) <= set(contrasts_of(model))


@pytest.mark.oracle
def test_the_score_beside_responders_is_the_slope_on_the_endpoint_adjusted_for_baseline() -> None:
    tables = trial(patients())
    design = compiled(two_sample(covariates=("age",)), tables)
    one = contrast(design, "differenceScore")
    z = values(tables)
    assert one.subjects == contrast(design, "difference").subjects
    assert one.words.startswith(
        "the score behind response: slope per unit of MADRS.post: connectivity at pre"
    )
    assert "adjusted for MADRS.pre and age" in one.words
    assert one.effect_type == "slope"
    assert not one.levels
    x = np.column_stack([score(tables, one, "post"), score(tables, one, "pre"), one.matrix[:, -1]])
    fitted = sm.OLS(data(one.run_weights, z), sm.add_constant(x)).fit()
    assert estimate(one, z) == pytest.approx(fitted.params[1], rel=1e-9)
    result = inference.test(
        data(one.run_weights, z)[:, None], one.matrix, one.contrast, stage.rearrangements(one, 99, 0)
    )
    assert result.stat[0] == pytest.approx(fitted.tvalues[1], rel=1e-9)


def test_people_who_count_as_nonresponders_without_a_score_are_told_apart() -> None:
    cohort, runs = trial(patients())
    gone = cohort["subject"].isin(["02", "03", "06"]) & (cohort["time_point"] == "post")
    cohort.loc[gone, "MADRS"] = "n/a"
    cohort.loc[cohort["subject"].isin(["10", "11"]), "response"] = "n/a"
    design = compiled(two_sample(), (cohort, runs))
    said = [note for note in design.notes if note.startswith("differenceScore is of")]
    assert said == [
        "differenceScore is of 21 subjects, difference of 22: MADRS.post is missing in 3 who count in "
        "difference (sub-02, sub-03, sub-06); 2 with the score are not in difference (sub-10, sub-11)"
    ]
    same = compiled(two_sample(), trial(patients()))
    assert not any("differenceScore is of" in note for note in same.notes)


@pytest.mark.oracle
def test_the_score_by_arm_is_a_difference_of_slopes() -> None:
    tables = trial(patients())
    model = TreatmentByOutcome(
        design="treatment_by_outcome", before="pre", after="post", arm="arm", arm_levels=("drug", "placebo"),
        outcome="response", outcome_levels=RESPONSE,
        contrasts={"interaction": Contrast(), "outcome": Contrast()},
    )  # fmt: skip
    design = compiled(model, tables)
    z = values(tables)
    both = contrast(design, "interactionScore")
    change = data(both.run_weights, z)
    arm = np.where(np.array(both.row_levels) == "drug", 0.5, -0.5)
    end, start = score(tables, both, "post"), score(tables, both, "pre")
    fitted = sm.OLS(
        change, sm.add_constant(np.column_stack([arm, end - end.mean(), arm * (end - end.mean()), start]))
    )
    assert estimate(both, z) == pytest.approx(fitted.fit().params[3], rel=1e-9)
    alone = contrast(design, "outcomeScore")
    fitted = sm.OLS(change, sm.add_constant(np.column_stack([arm, end, start]))).fit()
    assert estimate(alone, z) == pytest.approx(fitted.params[2], rel=1e-9)


def test_the_score_of_several_time_points_is_an_f() -> None:
    tables = trial(patients(), ("pre", "mid", "post"))
    design = compiled(
        Within(design="within", points=("pre", "mid", "post"), group="response", levels=RESPONSE), tables
    )
    one = contrast(design, "groupByWithinScore")
    assert (one.statistic, one.rank, one.n_variates, one.effect_type) == ("F", 1, 2, "none")
    assert one.columns == ("intercept", "MADRS.post", "MADRS.pre")


def test_a_score_that_cannot_be_analysed_is_said_and_stops_nothing_unless_it_was_asked_for() -> None:
    cohort, runs = trial(patients())
    cohort.loc[cohort["time_point"] == "post", "MADRS"] = 12
    design = compiled(two_sample(), (cohort, runs))
    assert [c.name for c in design.contrasts] == ["difference", "differenceFD"]
    assert any("differenceScore is left out, the score beside the dichotomy" in note for note in design.notes)
    with pytest.raises(DesignError, match=r"'MADRS\.post' is 12 in all 24 rows"):
        compiled(two_sample(contrasts={"differenceScore": Contrast()}), (cohort, runs))


def test_remission_is_judged_at_its_own_time_point_by_its_own_scale() -> None:
    clinical = CLINICAL.model_copy(update={"remission": Remission(scale="MADRS", threshold=20, at="mid")})
    cohort, runs = trial(patients(), ("pre", "mid", "post"))
    cohort["remission"] = cohort["response"].map(
        dict(zip(RESPONSE, ("remitted", "not_remitted"), strict=True))
    )
    model = TwoSample(design="two_sample", at="pre", group="remission", levels=("remitted", "not_remitted"))
    cohort.loc[cohort["time_point"] == "mid", "MADRS"] = range(24)
    one = contrast(compile_model("m", model, clinical, cohort, runs, INFERENCE), "differenceScore")
    assert one.columns[:3] == ("intercept", "MADRS.mid", "MADRS.pre")


@pytest.mark.truth
def test_the_score_finds_what_the_dichotomy_loses() -> None:
    rng = np.random.default_rng(5)
    found = {"difference": 0, "differenceScore": 0}
    for _ in range(60):
        cohort, runs = trial(patients(32))
        end = rng.normal(18, 6, 32)
        cohort.loc[cohort["time_point"] == "post", "MADRS"] = end
        cohort.loc[cohort["time_point"] == "pre", "MADRS"] = rng.normal(30, 4, 32)
        judged = np.where(end < np.median(end), *RESPONSE).tolist()
        cohort["response"] = cohort["subject"].map(
            dict(zip(dict.fromkeys(cohort["subject"]), judged, strict=True))
        )
        design = compiled(two_sample(sensitivity="none"), (cohort, runs))
        z = dict(zip((f"r{i:02d}pre" for i in range(32)), -0.02 * end + rng.normal(0, 0.2, 32), strict=True))
        for name in found:
            one = contrast(design, name)
            y = data(one.run_weights, z)[:, None]
            result = inference.test(y, one.matrix, one.contrast, stage.rearrangements(one, 199, 1))
            found[name] += int(result.p[0] <= 0.05)
    assert found["differenceScore"] >= found["difference"]
    assert found["differenceScore"] >= 40


def formula(text: str, **tests: Any) -> Formula:
    return Formula(design="formula", at="pre", formula=text, tests=tests, sensitivity="none")


def test_a_formula_on_responders_says_that_no_score_stands_beside_it_and_how_to_have_one() -> None:
    asked = formula(
        "response * arm + age",
        product={"response=responder:arm=placebo": 1.0},
        both=("response=responder", "response=responder:arm=placebo"),
        age={"age": 1.0},
    )
    notes = compiled(asked, trial(patients())).notes
    (told,) = [note for note in notes if "the score itself" in note]
    assert told.startswith("product and both: no contrast on the score itself stands beside response")
    suggested = "MADRS.post * arm + age + MADRS.pre"
    assert f"add a model with formula {suggested}, and test the columns of MADRS.post" in told
    beside = formula(suggested, product={"MADRS.post:arm=placebo": 1.0})
    again = compiled(beside, trial(patients()))
    assert "MADRS.post:arm=placebo" in again.contrasts[0].columns, "what is suggested can be computed"
    assert not [note for note in again.notes if "the score itself" in note]


def test_a_formula_that_only_holds_responders_constant_says_nothing() -> None:
    design = compiled(formula("response + age", age={"age": 1.0}), trial(patients()))
    assert not [note for note in design.notes if "the score itself" in note]


# Connectivity as a moderator ------------------------------------------------------------------------


def simulated(
    n: int,
    rng: np.random.Generator,
    n_edges: int = 1,
    slope: float = 0.0,
    skew: bool = False,
    prognosis: float = 6.0,
):
    """A trial whose outcome depends on arm, by `prognosis` on edge 0, and by `slope` on their product."""
    tables = trial(patients(n))
    z = rng.gamma(2, 0.2, (n, n_edges)) - 0.4 if skew else rng.normal(0.3, 0.25, (n, n_edges))
    arm = np.array([0.5 if i % 2 == 0 else -0.5 for i in range(n)])
    start = rng.normal(30, 4, n)
    end = 0.5 * start - 4 * arm + prognosis * z[:, 0] + slope * arm * z[:, 0] + rng.normal(0, 4, n)
    cohort = tables[0]
    for point, scores in (("pre", start), ("post", end)):
        cohort.loc[cohort["time_point"] == point, "MADRS"] = scores
    return tables, {f"r{i:02d}pre": z[i] for i in range(n)}, (arm, z, start, end)


def run(one: DesignContrast, z: dict[str, np.ndarray], permutations: int = 199, seed: int = 0):
    n_edges = len(next(iter(z.values())))
    rows = stage.rows_of(one, z.__getitem__, n_edges)
    return stage.tested(one, rows, np.arange(n_edges), permutations, seed, alpha=0.05)


@pytest.mark.oracle
def test_moderation_and_prognosis_are_those_of_the_model_of_the_outcome() -> None:
    rng = np.random.default_rng(8)
    tables, z, (arm, values_, start, end) = simulated(26, rng, n_edges=7, slope=10)
    design = compiled(
        moderator(covariates=("age",), contrasts={"moderation": Contrast(), "prognosis": Contrast()}),
        tables,
        PLAIN,
    )
    age = contrast(design, "moderation").matrix[:, -1]
    both, alone = (run(contrast(design, name), z) for name in ("moderation", "prognosis"))
    for edge in range(7):
        m = values_[:, edge]
        x = sm.add_constant(np.column_stack([arm, m, arm * m, start, age]))
        fitted = sm.OLS(end, x).fit()
        assert both.result.effect[edge] == pytest.approx(fitted.params[3], rel=1e-8)
        assert both.result.se[edge] == pytest.approx(fitted.bse[3], rel=1e-8)
        assert both.result.stat[edge] == pytest.approx(fitted.tvalues[3], rel=1e-8)
        assert both.result.df[edge] == fitted.df_resid
        assert both.size.g[edge] == pytest.approx(
            fitted.tvalues[3] / np.sqrt(fitted.tvalues[3] ** 2 + fitted.df_resid)
        )
        fitted = sm.OLS(end, sm.add_constant(np.column_stack([arm, m, start, age]))).fit()
        assert alone.result.effect[edge] == pytest.approx(fitted.params[2], rel=1e-8)
        assert alone.result.stat[edge] == pytest.approx(fitted.tvalues[2], rel=1e-8)
    assert both.size.g_type == "partial_r"
    assert np.isnan(both.slopes.p).all()
    low, high = (
        inference.correct([both.result]).results[0].ci_low,
        inference.correct([both.result]).results[0].ci_high,
    )
    assert (low < both.result.effect).all()
    assert (both.result.effect < high).all()


@pytest.mark.oracle
def test_the_partial_correlation_of_a_moderator_is_that_of_one_variance_also_beside_a_robust_t() -> None:
    rng = np.random.default_rng(8)
    tables, z, (arm, values_, start, end) = simulated(26, rng, n_edges=4, slope=10)
    one = contrast(compiled(moderator(contrasts={"moderation": Contrast()}), tables), "moderation")
    assert one.own_variances
    found = run(one, z)
    for edge in range(4):
        m = values_[:, edge]
        fitted = sm.OLS(end, sm.add_constant(np.column_stack([arm, m, arm * m, start]))).fit()
        t = fitted.tvalues[3]
        assert found.size.g[edge] == pytest.approx(t / np.sqrt(t**2 + fitted.df_resid), abs=1e-9)
        assert found.result.stat[edge] != pytest.approx(t, rel=1e-3)


def test_the_other_side_is_missing_where_nothing_is_left_of_the_data() -> None:
    data = np.column_stack([np.ones(6), np.arange(6.0), [np.nan, 1, 2, 3, 4, 9]])
    matrix = np.column_stack([np.ones(6), [3.0, 1, 4, 1, 5, 9]])
    found = other_side(data, None, matrix, np.array([0.0, 1.0]))
    expected = sm.OLS(matrix[:, 1], sm.add_constant(data[:, 1])).fit().params[1]
    assert found[1] == pytest.approx(expected)
    assert np.isnan(found[[0, 2]]).all()


@pytest.mark.oracle
def test_with_a_variance_of_each_person_the_estimate_stays_and_t_is_that_of_hc3() -> None:
    rng = np.random.default_rng(9)
    tables, z, (arm, values_, start, end) = simulated(26, rng, slope=10)
    plain = run(contrast(compiled(moderator(), tables, PLAIN), "moderation"), z).result
    one = contrast(compiled(moderator(), tables), "moderation")
    assert one.own_variances
    robust = run(one, z).result
    m = values_[:, 0]
    other = sm.OLS(arm * m, sm.add_constant(np.column_stack([arm, m, start, end]))).fit(cov_type="HC3")
    assert robust.stat[0] == pytest.approx(other.tvalues[4], rel=1e-8)
    assert robust.effect[0] == pytest.approx(plain.effect[0], rel=1e-10)
    assert robust.se[0] == pytest.approx(robust.effect[0] / robust.stat[0])


@pytest.mark.oracle
def test_permutation_p_agrees_with_freedman_and_lane_on_the_outcome() -> None:
    rng = np.random.default_rng(12)
    tables, z, (arm, m, start, end) = simulated(30, rng, slope=18, skew=True)
    one = contrast(compiled(moderator(), tables, PLAIN), "moderation")
    p = run(one, z, permutations=2000).result.p[0]
    few = sm.add_constant(np.column_stack([arm, m[:, 0], start]))
    full = np.column_stack([few, arm * m[:, 0]])
    hat = few @ np.linalg.pinv(few)
    fitted, left = hat @ end, end - hat @ end

    def t(y):
        beta, rss = np.linalg.lstsq(full, y, rcond=None)[:2]
        return beta[-1] / np.sqrt(rss[0])

    observed = abs(t(end))
    slow = np.mean([abs(t(fitted + left[rng.permutation(30)])) >= observed for _ in range(2000)])
    assert 0.001 < slow < 0.3
    assert p == pytest.approx(slow, abs=4 * np.sqrt(slow * (1 - slow) / 1000))


@pytest.mark.truth
def test_a_planted_moderation_is_found_and_its_interval_covers() -> None:
    rng = np.random.default_rng(21)
    found, covered, estimates = 0, 0, []
    for seed in range(60):
        tables, z, _ = simulated(60, rng, n_edges=5, slope=-24)
        one = contrast(compiled(moderator(sensitivity="none"), tables), "moderation")
        result = run(one, z, 199, seed).result
        corrected = inference.correct([result]).results[0]
        found += int(corrected.p_fwe[0] <= 0.05)
        covered += int(corrected.ci_low[0] <= -24 <= corrected.ci_high[0])
        estimates.append(result.effect[0])
    assert found >= 48
    assert covered >= stats.binom.ppf(0.0005, 60, 0.95)
    assert abs(np.mean(estimates) + 24) < 4 * np.std(estimates) / np.sqrt(60)


@pytest.mark.truth
def test_a_planted_prognosis_is_found_and_its_interval_covers() -> None:
    rng = np.random.default_rng(22)
    found, covered, estimates = 0, 0, []
    asked = moderator(sensitivity="none", contrasts={"prognosis": Contrast()})
    for seed in range(60):
        tables, z, _ = simulated(60, rng, n_edges=5, prognosis=12)
        result = run(contrast(compiled(asked, tables), "prognosis"), z, 199, seed).result
        corrected = inference.correct([result]).results[0]
        found += int(corrected.p_fwe[0] <= 0.05)
        covered += int(corrected.ci_low[0] <= 12 <= corrected.ci_high[0])
        estimates.append(result.effect[0])
    assert found >= 48
    assert covered >= stats.binom.ppf(0.0005, 60, 0.95)
    assert abs(np.mean(estimates) - 12) < 4 * np.std(estimates) / np.sqrt(60)


@pytest.mark.calibration
@pytest.mark.parametrize("name", ["moderation", "prognosis"])
@pytest.mark.parametrize("skew", [False, True])
def test_without_an_effect_the_family_wise_error_is_5_percent(skew: bool, name: str) -> None:
    """One variance with normal connectivity, a variance of each person with skewed.

    An edge that goes with the outcome in both arms is nothing to moderation, and all there is to prognosis.
    """
    rng = np.random.default_rng(33)
    sets, any_false = 200, 0
    settings = INFERENCE if skew else PLAIN
    asked = moderator(sensitivity="none", contrasts={name: Contrast()})
    first = contrast(compiled(asked, trial(patients()), settings), name)
    prognosis = 6.0 if name == "moderation" else 0.0
    for seed in range(sets):
        _, z, (_, _, start, end) = simulated(24, rng, n_edges=20, skew=skew, prognosis=prognosis)
        outcome = np.column_stack([end - end.mean(), start - start.mean()])
        one = replace(first, matrix=np.column_stack([first.matrix[:, :2], outcome]))
        any_false += int(
            np.nanmin(inference.correct([run(one, z, 199, seed).result]).results[0].p_fwe) <= 0.05
        )
    low, high = stats.binom.interval(0.999, sets, 0.05)
    assert any_false <= high
    assert skew or any_false >= low


def test_a_moderator_says_what_it_does_and_refuses_categories() -> None:
    tables = trial(patients())
    design = compiled(moderator(), tables)
    one = contrast(design, "moderation")
    assert one.words == (
        "difference, drug minus placebo, of the slopes of MADRS.post per unit of connectivity at pre; "
        "adjusted for MADRS.pre"
    )
    assert exchange_words(one).startswith(
        "exchange of the outcome by way of residuals that are made anew in each"
    )
    assert np.ptp(one.variance_groups) == 0
    assert set(one.run_weights[0].values()) == {0.5}
    assert set(one.run_weights[1].values()) == {-0.5}
    assert any("moderation" in line for line in describe(design))
    with pytest.raises(DesignError, match=r"models\.m\.outcome: 'response' is a category"):
        compiled(moderator(outcome="response"), tables)
    with pytest.raises(ConfigError, match=r"models\.m\.outcome: 'MADRS\.pots' is unknown"):
        compiled(moderator(outcome="MADRS.pots"), tables)


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, ("MADRS.post", "MADRS.pre")),
        ({"outcome": "MADRS.change"}, ("MADRS.change",)),
        ({"outcome": "MADRS.change", "baseline": "MADRS.pre"}, ("MADRS.change", "MADRS.pre")),
        ({"covariates": ("MADRS.pre", "age")}, ("MADRS.post", "MADRS.pre", "age")),
        ({"outcome": "age"}, ("age",)),
    ],
)
def test_the_baseline_of_the_outcome_is_a_covariate_where_it_makes_sense(options, columns) -> None:
    one = contrast(compiled(moderator(**options), trial(patients())), "moderation")
    assert one.columns == ("intercept", "drug - placebo", *columns)


# Observations carried forward -----------------------------------------------------------------------


def test_a_carried_observation_is_labelled_and_counted() -> None:
    cohort, runs = trial(patients(12), ("pre", "mid", "post"))
    gone = (cohort["subject"].isin(["02", "05"])) & (cohort["time_point"] == "post")
    cohort.loc[gone, "MADRS"] = "n/a"
    design = compiled(moderator(outcome="MADRS.locf"), (cohort, runs))
    one = contrast(design, "moderation")
    assert one.n == 12
    assert "MADRS.locf is the last observation carried forward, a sensitivity analysis" in one.words
    assert any(
        "MADRS.locf is an earlier score in 2 of 12 subjects (sub-02, sub-05)" in n for n in design.notes
    )
    plain = contrast(compiled(moderator(), (cohort, runs)), "moderation")
    assert plain.n == 10
    assert "carried" not in plain.words


def test_a_moderator_warns_of_unequal_variances_by_its_own_rates() -> None:
    people = patients(24)
    for i, person in enumerate(people.values()):
        person["arm"] = "drug" if i < 16 else "placebo"
    model = moderator(contrasts={"moderation": Contrast(), "prognosis": Contrast()})
    for settings, told in ((INFERENCE, {"the smaller arm"}), (PLAIN, {"one arm", "the smaller arm"})):
        found = {}
        for tables in (trial(patients(24)), trial(people)):
            for note in compiled(model, tables, settings).notes:
                if "should the outcome vary" in note:
                    found[note.partition(" in ")[2].partition(",")[0]] = note
        assert set(found) == told
        assert all(note.startswith("moderation: should") for note in found.values())
