"""Effects through connectivity: estimates, intervals, tests of both paths."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from conn.clinic.mediation.bootstrap import bootstrap, draw, interval, widened
from conn.clinic.mediation.joint import joined, path_tests
from conn.clinic.mediation.paths import confounded, estimate
from conn.clinic.mediation.together import together
from conn.clinic.mediation.trial import crossover_rows, make_crossover, make_trial
from conn.errors import DesignError
from conn.simulate import planted, scenario
from conn.simulate.population import draw_population
from mediation_trials import EFFECT, NULLS, families, simulate, tally

ROOT = Path(__file__).parents[1]
RATES = ROOT / "docs" / "explanation" / "mediation.json"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "mediation.json").read_text(encoding="utf-8"))
DATA = {name: np.array(values, dtype=float) for name, values in GOLDEN["data"].items()}
CROSSED = {name: np.array(values, dtype=float) for name, values in GOLDEN["crossover_data"].items()}
SETS = 120


def most(sets: int, rate: float = 0.05) -> int:
    """Upper end of the 99.9 % binomial interval."""
    return int(stats.binom.ppf(0.9995, sets, rate))


@pytest.fixture(name="trial")
def fixture_trial():
    return make_trial(DATA["arm"], DATA["y1"], DATA["y0"], DATA["age"])


def column(name):
    return DATA[name][:, None]


# Estimates ------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_paths_are_those_of_lavaan(trial):
    found = estimate(trial, column("m1"), column("m0"))
    expected = {**GOLDEN["single"], **GOLDEN["reverse"]}
    for name in ("a", "b", "c_prime", "reverse_a", "reverse_b"):
        assert getattr(found, name).estimate[0] == pytest.approx(expected[name], rel=1e-6)
    assert found.ab[0] == pytest.approx(expected["ab"], rel=1e-6)
    assert found.reverse_ab[0] == pytest.approx(expected["reverse_ab"], rel=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("name", GOLDEN["lm"])
def test_standard_errors_are_those_of_r(trial, name):
    found = getattr(estimate(trial, column("m1"), column("m0"), interaction=True), name)
    assert [found.estimate[0], found.se[0], found.p[0]] == pytest.approx(GOLDEN["lm"][name], rel=1e-7)


@pytest.mark.oracle
def test_paths_with_sites_and_covariates_are_those_of_statsmodels():
    rng = np.random.default_rng(4)
    n = 37
    arm, site = rng.permutation(np.arange(n) % 2), rng.integers(0, 3, n)
    y0, age, m0 = rng.normal(20, 4, n), rng.normal(40, 9, n), rng.normal(size=(n, 5))
    m1 = 0.4 * m0 + 0.5 * arm[:, None] + rng.normal(size=(n, 5))
    y1 = 0.5 * y0 + m1[:, 2] + site + rng.normal(size=n)
    found = estimate(make_trial(arm, y1, y0, age, site), m1, m0)
    shared = np.column_stack([np.ones(n), age, site == 1, site == 2])
    for j in range(5):
        first = sm.OLS(m1[:, j], np.column_stack([arm, m0[:, j], shared])).fit()
        second = sm.OLS(y1, np.column_stack([m1[:, j], arm, m0[:, j], y0, shared])).fit()
        assert [found.a.estimate[j], found.a.se[j]] == pytest.approx([first.params[0], first.bse[0]])
        assert [found.b.estimate[j], found.b.se[j]] == pytest.approx([second.params[0], second.bse[0]])
        assert [found.c_prime.estimate[j], found.c_prime.se[j]] == pytest.approx(
            [second.params[1], second.bse[1]]
        )
        assert (found.a.df, found.b.df) == (first.df_resid, second.df_resid)


@pytest.mark.oracle
def test_a_crossover_is_the_within_person_model_of_montoya_and_hayes():
    order = CROSSED["order"]
    treated, control = CROSSED["md"][:, None], CROSSED["mp"][:, None]
    trial = make_crossover(order, CROSSED["yd"] - CROSSED["yp"], CROSSED["yd"] + CROSSED["yp"])
    found = estimate(trial, *crossover_rows(order, treated, control))
    for name, expected in GOLDEN["crossover"].items():
        one = getattr(found, name)
        assert [one.estimate[0], one.se[0], one.p[0]] == pytest.approx(expected, rel=1e-7)


@pytest.mark.truth
def test_planted_effect_and_proportion_are_recovered():
    one = simulate(np.random.default_rng(2), 4000, *EFFECT)
    found = estimate(one.trial, one.mediator, one.before)
    a, b = EFFECT
    assert found.ab[0] == pytest.approx(a * b, rel=0.05)
    assert found.c_prime.estimate[0] == pytest.approx(-3.0, abs=0.5)
    assert found.c.estimate[0] == pytest.approx(a * b - 3.0, abs=0.5)
    one = simulate(np.random.default_rng(3), 4000, -0.25, 14.0)
    found = estimate(one.trial, one.mediator, one.before)
    assert found.proportion[0] == pytest.approx(3.5 / 6.5, rel=0.08)


@pytest.mark.truth
def test_what_the_simulator_plants_is_recovered():
    spec = scenario("mediation")
    expected = planted.mediation(spec, spec.score, spec.score.links[0])
    people = [draw_population(spec, arm, 20_000) for arm in spec.arms]
    z = np.concatenate([one.z[:, :, 0] for one in people])
    score = np.concatenate([one.scores["MADRS"] for one in people])
    trial = make_trial(np.repeat([1.0, 0.0], 20_000), score[:, 1], score[:, 0])
    found = estimate(trial, z[:, 1:], z[:, :1])
    for name in ("a", "b", "c"):
        assert getattr(found, name).estimate[0] == pytest.approx(expected[name], rel=0.03)
    assert found.ab[0] == pytest.approx(expected["ab"], rel=0.03)
    assert found.proportion[0] == pytest.approx(expected["proportion"], rel=0.05)


@pytest.mark.truth
def test_confounding_that_explains_everything_is_found_by_rho():
    one = simulate(np.random.default_rng(5), 20_000, 0.25, 0.0, confounding=0.4)
    found = estimate(one.trial, one.mediator, one.before)
    assert found.rho_zero[0] == pytest.approx(0.4, abs=0.02)
    assert confounded(found, [0.0])[0, 0] == pytest.approx(found.ab[0])
    assert confounded(found, [0.4])[0, 0] == pytest.approx(0.0, abs=0.15)
    one = simulate(np.random.default_rng(6), 20_000, *EFFECT, confounding=-0.3)
    found = estimate(one.trial, one.mediator, one.before)
    assert confounded(found, [-0.3])[0, 0] == pytest.approx(EFFECT[0] * EFFECT[1], rel=0.06)


def test_a_feature_that_is_missing_in_somebody_is_missing_and_the_others_are_not():
    one = simulate(np.random.default_rng(1), 24, [0.2, 0.2, 0.2], [1.0, 1.0, 1.0])
    whole = estimate(one.trial, one.mediator, one.before)
    one.mediator[3, 1], one.before[:, 2] = np.nan, 0.25
    part = estimate(one.trial, one.mediator, one.before)
    tested = joined([path_tests(one.trial, one.mediator, one.before, permutations=99)])
    drawn = bootstrap(one.trial, one.mediator, one.before, draws=1000)
    for values in (part.ab, part.reverse_ab, tested.p, tested.p_fwe, drawn.ab.low, drawn.ab.bca_low):
        assert np.isfinite(values).tolist() == [True, False, False]
    assert part.ab[0] == pytest.approx(whole.ab[0])


# Bootstrap ------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_intervals_are_those_of_a_loop_over_samples(trial):
    draws = 1000
    found = bootstrap(trial, column("m1"), column("m0"), draws=draws, seed=3, interaction=True, widen=False)
    counts = draw(trial.strata, draws, 3).astype(int)
    assert (counts[:, DATA["arm"] == 1].sum(axis=1) == 22).all()
    samples = np.array([_refit(np.repeat(np.arange(40), one)) for one in counts])
    expected = np.quantile(samples, [0.025, 0.975], axis=0)
    for i, name in enumerate(("ab", "reverse_ab", "ab_treated", "ab_control", "proportion")):
        got = getattr(found, name)
        assert [got.low[0], got.high[0]] == pytest.approx(expected[:, i], rel=1e-9)
        assert got.se[0] == pytest.approx(samples[:, i].std(ddof=1), rel=1e-9)


def _refit(rows):
    """Effects of a sample, by least squares on its rows."""
    d = {name: values[rows] for name, values in DATA.items()}
    one = np.ones(rows.size)

    def slopes(y, *columns):
        return np.linalg.lstsq(np.column_stack(columns), y, rcond=None)[0]

    a = slopes(d["m1"], d["arm"], d["m0"], d["age"], one)[0]
    rest = (d["arm"], d["m0"], d["y0"], d["age"], one)
    b = slopes(d["y1"], d["m1"], *rest)[0]
    middle, more = slopes(d["y1"], d["m1"], (d["arm"] - 0.5) * d["m1"], *rest)[:2]
    back = slopes(d["y1"], d["arm"], d["y0"], d["age"], one)[0] * slopes(d["m1"], d["y1"], *rest)[0]
    c = slopes(d["y1"], *rest)[0]
    return a * b, back, a * (middle + more / 2), a * (middle - more / 2), a * b / c


@pytest.mark.oracle
def test_accelerated_limits_of_a_mean_are_scipys():
    x = np.random.default_rng(8).exponential(size=25)
    rng = np.random.default_rng(2)
    expected = stats.bootstrap((x,), np.mean, n_resamples=9999, method="BCa", rng=rng)
    samples, left_out = expected.bootstrap_distribution[:, None], ((x.sum() - x) / 24)[:, None]
    got = interval(samples, x.mean(keepdims=True), left_out, np.zeros(25, dtype=int), 0.05)
    limits = expected.confidence_interval
    assert [got.bca_low[0], got.bca_high[0]] == pytest.approx([limits.low, limits.high], rel=1e-3)
    assert got.bca_low[0] > got.low[0]


def test_levels_are_widened_in_small_samples_only():
    assert widened(0.05, 30, 25) == pytest.approx(0.0241, abs=2e-4)
    assert widened(0.05, 10**7, 10**7 - 5) == pytest.approx(0.05, abs=1e-6)


def test_the_bootstrap_does_not_depend_on_blocks(monkeypatch):
    one = simulate(np.random.default_rng(1), 20, [0.2] * 5, [1.0] * 5)
    whole = bootstrap(one.trial, one.mediator, one.before, draws=1000)
    monkeypatch.setattr("conn.clinic.mediation.bootstrap.BLOCK_BYTES", 1)
    part = bootstrap(one.trial, one.mediator, one.before, draws=1000)
    np.testing.assert_allclose(part.ab.low, whole.ab.low, rtol=1e-10)
    np.testing.assert_allclose(part.ab.bca_high, whole.ab.bca_high, rtol=1e-10)


# Tests of both paths --------------------------------------------------------------------------------


@pytest.mark.oracle
def test_path_b_is_tested_by_the_same_t_with_roles_exchanged():
    one = simulate(np.random.default_rng(7), 30, [0.2, 0.0, 0.3], [1.0, 5.0, 0.0], sizes=(18, 12))
    tests = path_tests(one.trial, one.mediator, one.before, permutations=99)
    found = estimate(one.trial, one.mediator, one.before)
    np.testing.assert_allclose(tests.b.stat, found.b.estimate / found.b.se, rtol=1e-9)
    np.testing.assert_allclose(tests.b.stat, found.reverse_b.estimate / found.reverse_b.se, rtol=1e-9)
    np.testing.assert_allclose(tests.a.effect, found.a.estimate, rtol=1e-9)


@pytest.mark.oracle
def test_path_b_is_permuted_within_arms_as_freedman_and_lane_say():
    rng = np.random.default_rng(3)
    arm = np.repeat([1.0, 0.0], [4, 3])
    m0, m1, y0, y1 = (rng.normal(size=7) for _ in range(4))
    found = path_tests(make_trial(arm, y1, y0), m1[:, None], m0[:, None], permutations=200)
    nuisance = np.column_stack([np.ones(7), arm, m0, y0])
    full = np.column_stack([y1, nuisance])
    fitted = nuisance @ np.linalg.lstsq(nuisance, m1, rcond=None)[0]
    t = [
        abs(sm.OLS(fitted + (m1 - fitted)[[*first, *second]], full).fit().tvalues[0])
        for first in itertools.permutations(range(4))
        for second in itertools.permutations(range(4, 7))
    ]
    assert len(t) == 144
    assert found.b.p[0] == pytest.approx(np.mean(np.array(t) >= t[0] - 1e-9))


@pytest.mark.truth
def test_only_a_feature_with_both_paths_is_found():
    rng = np.random.default_rng(12)
    a, b = np.zeros(40), np.zeros(40)
    a[:2], b[[0, 2]] = 0.3, 12.0
    one = simulate(rng, 80, a, b)
    p = joined([path_tests(one.trial, one.mediator, one.before, permutations=499)]).p_fwe
    assert np.flatnonzero(p <= 0.05).tolist() == [0]


def test_p_of_the_pair_is_the_larger_one():
    one = simulate(np.random.default_rng(3), 60, [0.4, 0.0], [0.0, 12.0])
    tests = path_tests(one.trial, one.mediator, one.before, permutations=199)
    found = joined([tests])
    assert found.p.tolist() == np.maximum(tests.a.p, tests.b.p).tolist()
    assert found.a.p_fwe[0] < 0.05 < found.p_fwe[0]
    assert found.b.p_fwe[1] < 0.05 < found.p_fwe[1]


@pytest.mark.calibration
@pytest.mark.parametrize("kind", list(NULLS)[1:])
def test_joint_test_and_percentile_interval_keep_their_error_in_every_null(kind):
    found = tally(range(SETS), 30, *NULLS[kind], seed=11)
    assert found.joint <= most(SETS)
    assert found.percentile <= most(SETS)


@pytest.mark.calibration
def test_intervals_cover_the_effect():
    found = tally(range(SETS), 30, *EFFECT, seed=13)
    low = int(stats.binom.ppf(0.0005, SETS, 0.95))
    assert found.covered >= low
    assert found.bca_covered >= low


@pytest.mark.calibration
@pytest.mark.parametrize("kind", ["a ≠ 0, b = 0", "mixed"])
def test_family_wise_error_is_kept_where_a_path_is_missing(kind):
    false = sum(bool((p <= 0.05).any()) for p in families(range(SETS), 40, kind, seed=5, permutations=199))
    assert false <= most(SETS)


@pytest.mark.calibration
def test_b_keeps_its_error_where_arms_vary_differently():
    false = 0
    for number in range(SETS):
        rng = np.random.default_rng([21, number])
        one = simulate(rng, 40, 0.4, 0.0, sizes=(26, 14), ratio=3.0)
        tests = path_tests(one.trial, one.mediator, one.before, permutations=199, seed=number)
        false += int(tests.b.p[0] <= 0.05)
    assert false <= most(SETS)


def script():
    """The script that measures the rates of the page."""
    path = ROOT / "scripts" / "calibrate_mediation.py"
    spec = importlib.util.spec_from_file_location("calibrate_mediation", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.calibration
def test_documented_rates_keep_what_is_promised():
    measured, page = json.loads(RATES.read_text(encoding="utf-8")), RATES.with_suffix(".md")
    assert script().filled(page.read_text(encoding="utf-8"), measured) == page.read_text(encoding="utf-8")
    for n in (30, 60, 120):
        for kind in NULLS:
            one = measured["single"][f"{kind}|{n}"]
            assert one["joint"] <= 0.065 * one["sets"]
            assert one["percentile"] <= 0.065 * one["sets"]
        one = measured["single"][f"a ≠ 0, b ≠ 0|{n}"]
        for held in (one["covered"], one["bca_covered"]):
            assert 0.92 * one["sets"] <= held <= 0.98 * one["sets"]
    assert all(one["false"] <= 0.07 * one["sets"] for one in measured["families"].values())


# Several mediators ----------------------------------------------------------------------------------


@pytest.mark.oracle
def test_mediators_together_are_those_of_lavaan(trial):
    pair, own = (np.column_stack([DATA[f"m{i}"], DATA[f"k{i}"]]) for i in (1, 0))
    found = together(trial, pair, own, draws=1000, permutations=99)
    expected = GOLDEN["together"]
    assert found.a.estimate == pytest.approx([expected["a1"], expected["a2"]], rel=1e-6)
    assert found.b.estimate == pytest.approx([expected["b1"], expected["b2"]], rel=1e-6)
    assert found.ab.sum() == pytest.approx(expected["total"], rel=1e-6)
    assert found.c_prime.estimate[0] == pytest.approx(expected["c_prime"], rel=1e-6)
    assert found.total.low[0] < expected["total"] < found.total.high[0]


@pytest.mark.truth
def test_a_mediator_that_only_goes_with_another_carries_nothing_beside_it():
    rng = np.random.default_rng(9)
    one = simulate(rng, 300, [0.3, 0.3], [14.0, 0.0])
    shadow = 0.7 * one.mediator[:, 0] + rng.normal(0, 0.1, 300)
    pair = np.column_stack([one.mediator[:, 0], shadow])
    own = np.column_stack([one.before[:, 0], 0.7 * one.before[:, 0] + rng.normal(0, 0.1, 300)])
    alone = joined([path_tests(one.trial, shadow[:, None], own[:, 1:], permutations=199)])
    found = together(one.trial, pair, own, draws=1000, permutations=199)
    assert alone.p[0] <= 0.05
    assert found.tests.p_fwe[0] <= 0.05 < found.tests.p_fwe[1]
    assert found.specific.low[0] > 0
    assert found.specific.low[1] < 0 < found.specific.high[1]
    assert found.total.low[0] > 0


# Refused --------------------------------------------------------------------------------------------


def test_what_cannot_be_answered_is_refused():
    rng = np.random.default_rng(1)
    arm, y = np.repeat([1.0, 0.0], 8), rng.normal(size=16)
    with pytest.raises(DesignError, match="an arm has 2 people"):
        make_trial(np.repeat([1.0, 0.0], [14, 2]), y, y + 1)
    with pytest.raises(DesignError, match=r"arm has the values \[1.0\]"):
        make_trial(np.ones(16), y)
    with pytest.raises(DesignError, match="of rank 4: one of them is a sum of others"):
        make_trial(arm, y, y**2, arm * 3)
    with pytest.raises(DesignError, match=r"missing in rows \[3\]"):
        make_trial(arm, np.where(np.arange(16) == 3, np.nan, y))
    with pytest.raises(DesignError, match="16 people for 15 columns"):
        make_trial(arm, y, y**2, rng.normal(size=(16, 10)))
    with pytest.raises(DesignError, match="order has the values"):
        make_crossover(arm, y, y)
    trial = make_trial(arm, y, y**2)
    with pytest.raises(DesignError, match="bootstrap: 500 draws"):
        bootstrap(trial, y[:, None], y[:, None], draws=500)
    with pytest.raises(DesignError, match=r"both must be \(16, n_features\)"):
        estimate(trial, np.ones((15, 2)))
    many = rng.normal(size=(16, 6))
    with pytest.raises(DesignError, match="together: 16 people for 15 columns"):
        together(trial, many, many**2 + 1)
    twice = np.column_stack([many[:, 0], many[:, 0]])
    with pytest.raises(DesignError, match="sum of other columns"):
        together(trial, twice, many[:, 1:3])
