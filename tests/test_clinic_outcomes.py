"""Scales, outcomes, reliable change, carried observations, and scores that are improbable."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from conn.clinic import plausibility
from conn.clinic.outcomes import (
    carried_forward,
    error_of_difference,
    percent_change,
    reliable_change,
    reliable_change_index,
    responded,
)
from conn.clinic.scales import KINDS, lines, listing, threshold_words
from conn.cohort import build_cohort, carried, read_clinical, resolve
from conn.config.model import Clinical, Remission, Response, Scale, ScaleName
from conn.config.times import order_of
from conn.errors import ConfigError, InputError
from test_cohort import both, cell, make, run_table, write

WEEKS = {"w0": ("w0",), "w2": ("w2",), "w8": ("w8",)}


def trial(tmp_path, rows, scale=None, **rules):
    """A cohort of MADRS at pre and post, in the order of the subjects 01, 02 ..."""
    labels = [f"{i:02d}" for i, _ in enumerate(rows, start=1)]
    table = [f"sub-{label} {pre} {post}" for label, (pre, post) in zip(labels, rows, strict=True)]
    write(tmp_path / "participants.tsv", "participant_id pre post", *table)
    settings = {"kind": "MADRS", "columns": {"pre": "pre", "post": "post"}} | (scale or {})
    clinical = Clinical(baseline="pre", endpoint="post", scales={"MADRS": Scale(**settings)}, **rules)
    return make(tmp_path, clinical, both(" ".join(labels))), clinical


# Scales ---------------------------------------------------------------------------------------------


def test_the_configuration_knows_the_scales_of_the_registry():
    assert set(get_args(ScaleName)) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_number_of_a_scale_lies_in_its_range_and_has_a_source(kind):
    low, high = kind.minimum or 0, kind.maximum or math.inf
    assert low < high
    for one in kind.remission:
        assert low <= one.value < high
    for one in kind.response:
        assert 0 < one.value <= 100
    for one in kind.retest:
        assert 0 < one.value < 1
    for one in (*kind.response, *kind.remission, *kind.retest):
        assert one.words
        assert any(character.isdigit() for character in one.source)


def test_what_was_not_read_in_its_source_says_so():
    text = "\n".join(lines(KINDS["HDRS17"]))
    assert "Frank 1991, 10.1001/archpsyc.1991.01810330075011; from memory" in text
    assert "from memory" not in "\n".join(lines(KINDS["MADRS"]))
    assert all(name in listing() for name in KINDS)


def test_a_known_scale_gives_direction_and_range_and_own_values_override():
    taken = Scale(kind="TEPS", column="TEPS")
    assert (taken.direction, taken.minimum, taken.maximum) == ("higher_is_better", 18, 108)
    own = Scale(kind="painVAS", column="VAS", maximum=10.0)
    assert (own.direction, own.minimum, own.maximum) == ("lower_is_better", 0, 10)
    assert Scale.model_validate(own.model_dump()) == own


def test_a_range_the_wrong_way_round_and_a_deviation_without_reliability_are_refused():
    with pytest.raises(ValueError, match="minimum 60 must be below maximum 0"):
        Scale(column="x", minimum=60, maximum=0)
    with pytest.raises(ValueError, match="sd goes with reliability"):
        Scale(column="x", sd=3.0)


def test_the_range_of_a_known_scale_is_held(tmp_path):
    with pytest.raises(InputError, match="sub-02 has 61, above the maximum 60"):
        trial(tmp_path, [(30, 10), (61, 10)])


def test_a_threshold_is_told_with_its_source_and_the_others_in_use(tmp_path):
    cohort, _ = trial(
        tmp_path, [(30, 10), (30, 11)], remission=Remission(scale="MADRS", threshold=10, source="protocol")
    )
    assert cell(cohort, "01", "post", "remission") == "remitted"
    assert cell(cohort, "02", "post", "remission") == "not_remitted"
    (note,) = [n for n in cohort.notes if n.startswith("remission by MADRS")]
    assert "(source: protocol), 10: stands for a HDRS-17 of 7" in note
    assert "Others in use: 4, 5, 7, 9, 11" in note
    assert "in none of the sources" in threshold_words("MADRS", 12)
    assert threshold_words(None, 12) == ""


# Response and its missing rule ----------------------------------------------------------------------


def test_people_without_an_endpoint_are_left_out_or_count_as_nonresponders(tmp_path):
    rows = [(30, 10), (30, 28), (30, "n/a"), ("n/a", "n/a")]
    left_out, _ = trial(tmp_path, rows, response=Response(scale="MADRS"))
    assert [cell(left_out, s, "post", "response") for s in ("01", "02", "03", "04")] == [
        "responder", "nonresponder", "n/a", "n/a",
    ]  # fmt: skip
    counted, _ = trial(tmp_path, rows, response=Response(scale="MADRS", missing="nonresponder"))
    assert cell(counted, "03", "post", "response") == "nonresponder"
    assert cell(counted, "04", "post", "response") == "n/a"
    assert any(
        "1 subjects with a score of MADRS at pre and none at post count as nonresponder" in n
        for n in counted.notes
    )


def test_people_without_an_endpoint_may_count_as_not_remitted_but_only_if_they_began(tmp_path):
    rule = Remission(scale="MADRS", threshold=9, missing="not_remitted")
    cohort, _ = trial(tmp_path, [(30, 8), (30, "n/a"), ("n/a", "n/a")], remission=rule)
    found = [cell(cohort, s, "post", "remission") for s in ("01", "02", "03")]
    assert found == ["remitted", "not_remitted", "n/a"]
    with pytest.raises(ValueError, match=r"remission needs clinical\.baseline"):
        Clinical(endpoint="post", scales={"MADRS": Scale(column="M")}, remission=rule)


def test_response_may_be_judged_at_another_time_point_than_the_endpoint(tmp_path):
    write(tmp_path / "participants.tsv", "participant_id a b c", "sub-01 30 12 28", "sub-02 30 28 12")
    clinical = Clinical(
        baseline="w0",
        endpoint="w8",
        scales={"MADRS": Scale(columns={"w0": "a", "w2": "b", "w8": "c"})},
        response=Response(scale="MADRS", at="w2"),
    )
    runs = run_table([(s, p, p) for s in ("01", "02") for p in WEEKS])
    cohort = build_cohort(
        clinical, {"trial": read_clinical(tmp_path, clinical, ["01", "02"])}, runs, {"trial": WEEKS}
    )
    assert [cell(cohort, s, "w8", "response") for s in ("01", "02")] == ["responder", "nonresponder"]


def test_percentages_of_a_scale_that_begins_at_14_may_be_counted_from_there():
    assert percent_change(42, 28) == pytest.approx(-100 / 3)
    assert percent_change(42, 28, zero=14) == -50
    assert not responded(42, 28, 50, "lower_is_better")
    assert responded(42, 28, 50, "lower_is_better", zero=14)
    assert responded(14, 20, 50, "lower_is_better", zero=14) is None


def test_a_scale_that_does_not_begin_at_0_is_told(tmp_path):
    rows = [(40, 30)] * 6
    cohort, _ = trial(tmp_path, rows, {"kind": "SHAPS56"})
    assert any("MADRS begins at 14, so percent change" in note for note in cohort.notes)
    cohort, _ = trial(tmp_path, rows, {"kind": "SHAPS56", "zero": 14.0})
    assert cell(cohort, "01", "post", "MADRS_percent_change").startswith("-38.46")
    assert not any("begins at" in note for note in cohort.notes)


# Reliable change ------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_reliable_change_is_that_of_the_published_example():
    error = error_of_difference(10, 0.80)
    assert error == pytest.approx(6.32, abs=0.005)
    assert reliable_change_index(47.5, 32.5, error, "lower_is_better") == pytest.approx(2.37, abs=0.005)


@pytest.mark.calibration
def test_measurement_error_alone_gives_a_reliable_change_in_5_of_100():
    rng = np.random.default_rng(4)
    reliability, n = 0.8, 4000
    true = rng.normal(25, math.sqrt(reliability) * 6, n)
    first, second = (true + rng.normal(0, math.sqrt(1 - reliability) * 6, n) for _ in range(2))
    error = error_of_difference(6, reliability)
    words = [
        reliable_change(reliable_change_index(a, b, error, "lower_is_better"))
        for a, b in zip(first, second, strict=True)
    ]
    changed = n - words.count("unchanged")
    low, high = stats.binom.interval(0.999, n, 0.05)
    assert low <= changed <= high


@pytest.mark.truth
def test_the_cohort_says_who_changed_reliably_and_how_much_that_is(tmp_path):
    scale = {"reliability": 0.75, "sd": 4.0}
    cohort, clinical = trial(tmp_path, [(30, 24), (30, 28), (30, 38), (30, "n/a")], scale)
    assert [cell(cohort, s, "post", "MADRS_reliable_change") for s in ("01", "02", "03", "04")] == [
        "improved", "unchanged", "deteriorated", "n/a",
    ]  # fmt: skip
    assert float(cell(cohort, "01", "post", "MADRS_rci")) == pytest.approx(6 / (4 * math.sqrt(0.5)), rel=1e-4)
    assert any("more than 5.54 points is reliable" in note for note in cohort.notes)
    assert resolve("MADRS.rci", clinical, cohort.table).by_person["trial", "03"] < 0


def test_reliability_without_a_spread_at_baseline_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"State clinical\.scales\.MADRS\.sd"):
        trial(tmp_path, [(30, 24), (30, 28)], {"reliability": 0.75})
    cohort, clinical = trial(tmp_path, [(30, 24), (32, 28)])
    with pytest.raises(ConfigError, match=r"needs clinical\.scales\.MADRS\.reliability"):
        resolve("MADRS.rci", clinical, cohort.table)


# Last observation carried forward -------------------------------------------------------------------


def test_the_last_observation_is_carried_forward_but_never_the_baseline(tmp_path):
    write(
        tmp_path / "participants.tsv",
        "participant_id a b c",
        "sub-01 30 20 10", "sub-02 30 22 n/a", "sub-03 30 n/a n/a", "sub-04 n/a 9 n/a",
    )  # fmt: skip
    clinical = Clinical(
        baseline="w0", endpoint="w8", scales={"MADRS": Scale(columns={"w0": "a", "w2": "b", "w8": "c"})}
    )
    people = ["01", "02", "03", "04"]
    runs = run_table([(s, p, p) for s in people for p in WEEKS])
    cohort = build_cohort(
        clinical, {"trial": read_clinical(tmp_path, clinical, people)}, runs, {"trial": WEEKS}
    ).table
    found = resolve("MADRS.locf", clinical, cohort).by_person
    assert found == {("trial", "01"): 10, ("trial", "02"): 22, ("trial", "04"): 9}
    assert carried("MADRS.locf", clinical, cohort, "models.x") == {
        ("trial", "02"): "w2",
        ("trial", "04"): "w2",
    }
    assert resolve("MADRS.locf.w2", clinical, cohort).by_person["trial", "01"] == 20
    assert carried("MADRS.locf.w2", clinical, cohort, "models.x") == {}
    assert resolve("MADRS.w8", clinical, cohort).by_person == {("trial", "01"): 10}


def test_a_score_from_before_baseline_is_not_carried_and_one_without_a_scan_is(tmp_path):
    write(
        tmp_path / "participants.tsv",
        "participant_id s a b c",
        "sub-01 33 30 20 10", "sub-02 36 28 n/a n/a", "sub-03 35 n/a n/a n/a", "sub-04 31 30 19 n/a",
    )  # fmt: skip
    columns = {"screening": "s", "pre": "a", "week2": "b", "post": "c"}
    clinical = Clinical(baseline="pre", endpoint="post", scales={"MADRS": Scale(columns=columns)})
    people = ["01", "02", "03", "04"]
    scanned = {"pre": ("pre",), "post": ("post",)}
    data = {"trial": read_clinical(tmp_path, clinical, people)}
    cohort = build_cohort(
        clinical, data, run_table([(s, p, p) for s in people for p in scanned]), {"trial": scanned}
    ).table
    assert list(dict.fromkeys(cohort["time_point"])) == ["screening", "pre", "week2", "post"]
    assert resolve("MADRS.locf", clinical, cohort).by_person == {("trial", "01"): 10, ("trial", "04"): 19}
    assert carried("MADRS.locf", clinical, cohort, "models.x") == {("trial", "04"): "week2"}
    for point in ("pre", "screening"):
        with pytest.raises(ConfigError, match=rf"up to {point}, but {point} does not come after.*\(pre\)"):
            resolve(f"MADRS.locf.{point}", clinical, cohort)
    nowhere = cohort[cohort["time_point"] != "pre"]
    with pytest.raises(ConfigError, match="does not come after"):
        resolve("MADRS.locf", clinical, nowhere)


@pytest.mark.parametrize(
    ("labels", "columns", "order"),
    [
        (["pre", "post"], ["pre", "post"], ["pre", "post"]),
        (["b", "d"], ["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
        (["pre", "post"], ["w2", "w4", "post"], ["pre", "w2", "w4", "post"]),
        (["pre", "mid", "post"], ["post", "pre"], ["pre", "mid", "post"]),
        (["pre", "post"], ["x", "y"], ["pre", "post", "x", "y"]),
    ],
)  # fmt: skip
def test_scores_without_scans_stand_where_the_columns_of_their_scale_put_them(labels, columns, order):
    clinical = Clinical(scales={"MADRS": Scale(columns={point: point for point in columns})})
    assert list(order_of(labels, clinical)) == order


def test_nothing_is_carried_from_nothing():
    assert carried_forward({"w2": 4.0}, ("w2", "w8")) == (4.0, "w2")
    assert carried_forward({"w2": math.nan, "w0": 9.0}, ("w2", "w8"))[1] is None


# Plausibility ---------------------------------------------------------------------------------------


def course(pre, post):
    def scores(values):
        return {f"{i:02d}": float(v) for i, v in enumerate(values, start=1)}

    return {"pre": scores(pre), "post": scores(post)}


def words(*doubts):
    return " | ".join(doubt.words for several in doubts for doubt in several)


@pytest.mark.truth
def test_a_reversed_scale_a_jump_and_a_constant_column_are_told_and_ordinary_data_are_not():
    rng = np.random.default_rng(1)
    pre = rng.integers(24, 36, 30)
    post = pre - rng.integers(4, 16, 30)
    good = course(pre, post)
    assert words(plausibility.levels(good, 0), plausibility.changes(good, "pre", "lower_is_better", 5)) == ""
    reversed_ = words(plausibility.changes(good, "pre", "higher_is_better", 5))
    assert "gets worse in 30 and better in 0 of 30 people" in reversed_
    far = post.copy()
    far[6] += 55
    (jump,) = plausibility.changes(course(pre, far), "pre", "lower_is_better", 5)
    assert jump.people == ("07",)
    assert "more than 5 robust standard deviations" in jump.words
    assert "is 3 in all 30 people at post" in words(plausibility.levels(course(pre, [3] * 30), 0))
    assert "is the same at pre and at post in all 30" in words(
        plausibility.changes(course(pre, pre), "pre", "lower_is_better", 5)
    )
    (negative,) = plausibility.levels(course([-1, 2, 3], [1, 2, 3]), None)
    assert negative.people == ("01",)


@pytest.mark.truth
def test_scales_that_go_against_each_other_are_told():
    rng = np.random.default_rng(2)
    base, gain = rng.normal(30, 4, 25), rng.normal(10, 4, 25)
    courses = {"A": course(base, base - gain), "B": course(base, base + gain + rng.normal(0, 1, 25))}
    same = dict.fromkeys(courses, "lower_is_better")
    ((one, other, r, n),) = plausibility.opposed(courses, same, "pre", "post")
    assert (one, other, n) == ("A", "B", 25)
    assert r < -0.9
    right = same | {"B": "higher_is_better"}
    assert not list(plausibility.opposed(courses, right, "pre", "post"))


@pytest.mark.calibration
def test_scores_without_any_effect_are_seldom_called_reversed():
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(300):
        pre = rng.normal(30, 5, 24)
        told += "gets worse" in words(
            plausibility.changes(course(pre, pre + rng.normal(0, 4, 24)), "pre", "lower_is_better", 5)
        )
    assert told <= stats.binom.ppf(0.9995, 300, plausibility.WORSE_P)


def test_notes_name_people_and_change_nothing(tmp_path):
    rows = [(30, 20), (31, 22), (29, 18), (30, 19), (28, 19), (12, 58)]
    cohort, _ = trial(tmp_path, rows)
    (note,) = [n for n in cohort.notes if "robust standard deviations" in n]
    assert note.endswith(": sub-06")
    assert cell(cohort, "06", "post", "MADRS") == "58"
