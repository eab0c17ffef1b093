"""The clinical cohort: tables, scores, outcomes, references."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conn.cohort import (
    Cohort,
    build_cohort,
    did_you_mean,
    percent_change,
    read_clinical,
    remitted,
    resolve,
    responded,
)
from conn.config.model import Clinical, ClinicalTable, Remission, Response, Scale, Variable
from conn.errors import ConfigError, InputError
from conn.tables import format_tsv, read_tsv, write_tsv

PRE_POST = {"pre": ("pre",), "post": ("post",)}
BDI = Scale(columns={"pre": "BDI_pre", "post": "BDI_post"}, minimum=0, maximum=63)


def write(path: Path, *rows: str) -> Path:
    """A table whose cells are separated by blanks here and by tabs in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row.split(" ")) + "\n" for row in rows), encoding="utf-8")
    return path


def run_table(rows: Sequence[tuple[str, str, str]], dataset: str = "trial", **cells: str) -> pd.DataFrame:
    """Included runs of (subject, session, time point)."""
    records = [
        {
            "run": f"run{subject}{session}x{i:06x}",
            "dataset": dataset,
            "subject": subject,
            "session": session,
            "time_point": point,
            "frames_kept": "100",
            "df": "40",
            "mean_fd": "0.2",
            "included": "true",
        }
        | cells
        for i, (subject, session, point) in enumerate(rows)
    ]
    names = ["run", "dataset", "subject", "session", "time_point", "frames_kept", "df", "mean_fd", "included"]
    return pd.DataFrame(records, columns=pd.Index(names), dtype=str)


def both(subjects: str) -> pd.DataFrame:
    return run_table([(s, p, p) for s in subjects.split() for p in ("pre", "post")])


def cell(cohort: Cohort, subject: str, point: str, column: str) -> str:
    table = cohort.table
    rows = table[(table["subject"] == subject) & (table["time_point"] == point)]
    assert len(rows) == 1
    return str(rows.iloc[0][column])


def make(
    folder: Path, clinical: Clinical, runs: pd.DataFrame, subjects: Sequence[str] | None = None
) -> Cohort:
    found = sorted(set(runs["subject"])) if subjects is None else subjects
    return build_cohort(
        clinical, {"trial": read_clinical(folder, clinical, found)}, runs, {"trial": PRE_POST}
    )


# Reading --------------------------------------------------------------------------------------------


def test_ids_match_with_and_without_prefix_and_keep_leading_zeros(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id age", "sub-01 30", "007 41")
    clinical = Clinical(variables={"age": Variable(column="age")})
    data = read_clinical(tmp_path, clinical, ["sub-007", "01"])
    assert data.subjects == ("007", "01")
    assert data.variables["age"] == {"01": 30.0, "007": 41.0}


def test_lost_leading_zeros_are_an_exclusion_that_shows_the_near_label(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id age", "1 30")
    cohort = make(tmp_path, Clinical(), both("01"))
    assert [(e.subject, e.stage, e.reason, e.value) for e in cohort.exclusions] == [
        ("01", "cohort", "not_in_table", "the table has 1")
    ]
    assert set(cohort.table["subject"]) == {"1"}


def test_duplicate_participants_are_an_error_with_rows_and_ids(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id age", "sub-01 30", "sub-02 31", "01 30")
    with pytest.raises(InputError, match=r"participants\.tsv: rows 2 and 4 are both sub-01\. Keep one row"):
        read_clinical(tmp_path, Clinical(), ["01"])


def test_duplicate_sessions_are_an_error_only_when_the_session_is_known(tmp_path: Path) -> None:
    table = ClinicalTable(path="phenotype/scores.tsv")
    clinical = Clinical(tables=(table,), scales={"BDI": Scale(column="BDI")})
    path = tmp_path / "phenotype" / "scores.tsv"
    write(path, "participant_id session_id BDI", "sub-01 ses-pre 9", "01 n/a 7", "01 n/a 8", "01 post 3")
    data = read_clinical(tmp_path, clinical, ["01"])
    assert data.long["BDI"] == {("01", "pre"): 9.0, ("01", "post"): 3.0}
    assert [(e.reason, e.value) for e in data.exclusions] == [
        ("no_session", "phenotype/scores.tsv row 3"),
        ("no_session", "phenotype/scores.tsv row 4"),
    ]
    write(path, "participant_id session_id BDI", "sub-01 ses-pre 9", "01 pre 7")
    with pytest.raises(
        InputError, match=r"rows 2 and 3 are both sub-01 ses-pre\. Keep one row per participant and"
    ):
        read_clinical(tmp_path, clinical, ["01"])


@pytest.mark.parametrize("label", ["n/a", "sub-", "999"])
def test_a_row_without_participant_is_an_error(tmp_path: Path, label: str) -> None:
    write(tmp_path / "participants.tsv", "participant_id age", "sub-01 30", f"{label} 31")
    clinical = Clinical(missing_codes=("999",))
    with pytest.raises(InputError, match=r"row 3, column 'participant_id'.*names no participant"):
        read_clinical(tmp_path, clinical, ["01"])


@pytest.mark.parametrize("text", ["NA", "nan", "inf", "1_0", "12,5", "ten", "-", "1e999"])
def test_what_is_no_number_in_a_scale_is_an_error_with_file_row_column_and_value(
    tmp_path: Path, text: str
) -> None:
    write(
        tmp_path / "participants.tsv", "participant_id BDI_pre BDI_post", "sub-01 9 n/a", f"sub-02 {text} 3"
    )
    pattern = (
        rf"participants\.tsv: row 3, column 'BDI_pre': {re.escape(repr(text))} of sub-02 is not a number"
    )
    with pytest.raises(InputError, match=pattern):
        read_clinical(tmp_path, Clinical(scales={"BDI": BDI}), ["01"])


def test_an_empty_cell_is_not_missing_unless_configured(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id age sex", "sub-01  f")
    with pytest.raises(InputError, match=r"'' of sub-01 is not a number\. Write n/a"):
        read_clinical(tmp_path, Clinical(variables={"age": Variable(column="age")}), [])
    clinical = Clinical(missing_codes=("",), variables={"age": Variable(column="age")})
    assert read_clinical(tmp_path, clinical, []).variables["age"] == {}
    write(tmp_path / "participants.tsv", "participant_id age sex", "sub-01 3 ")
    with pytest.raises(InputError, match="row 2, column 'sex': empty for sub-01"):
        read_clinical(tmp_path, Clinical(variables={"sex": Variable(column="sex", kind="category")}), [])


def test_only_na_and_configured_codes_are_missing(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id age site", "01 -9 NA", "02 n/a n/a", "03 4.5e1 B")
    variables = {"age": Variable(column="age"), "site": Variable(column="site", kind="category")}
    data = read_clinical(tmp_path, Clinical(missing_codes=("-9",), variables=variables), [])
    assert data.variables == {"age": {"03": 45.0}, "site": {"01": "NA", "03": "B"}}


@pytest.mark.parametrize(("value", "limit"), [("64", "above the maximum 63"), ("-1", "below the minimum 0")])
def test_a_score_outside_the_scale_is_an_error(tmp_path: Path, value: str, limit: str) -> None:
    write(tmp_path / "participants.tsv", "participant_id BDI_pre BDI_post", f"01 9 {value}")
    with pytest.raises(
        InputError, match=f"row 2, column 'BDI_post': sub-01 has {value}, {limit} of the scale"
    ):
        read_clinical(tmp_path, Clinical(scales={"BDI": BDI}), [])


def test_levels_are_renamed_and_unknown_ones_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id sex", "01 m", "02 f", "03 n/a")
    sex = Variable(column="sex", kind="category", levels={"m": "male", "f": "female"})
    data = read_clinical(tmp_path, Clinical(variables={"sex": sex}), [])
    assert data.variables["sex"] == {"01": "male", "02": "female"}
    strict = Variable(column="sex", kind="category", levels={"M": "male", "F": "female"})
    with pytest.raises(InputError, match=r"row 2, column 'sex': 'm' of sub-01 is none of the levels M, F"):
        read_clinical(tmp_path, Clinical(variables={"sex": strict}), [])
    with pytest.raises(ConfigError, match=r"clinical\.variables\.sex: levels are for kind: category"):
        read_clinical(tmp_path, Clinical(variables={"sex": Variable(column="sex", levels={"1": "m"})}), [])


def test_a_column_that_is_not_there_names_key_files_and_close_matches(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id MADRS_ses-pre age", "01 30 40")
    madrs = Clinical(scales={"MADRS": Scale(columns={"pre": "MADRS_pre"})})
    pattern = (
        r"clinical\.scales\.MADRS\.columns\.pre: there is no column 'MADRS_pre' in participants\.tsv\. "
        r"Did you mean 'MADRS_ses-pre'\?"
    )
    with pytest.raises(ConfigError, match=pattern):
        read_clinical(tmp_path, madrs, [])
    with pytest.raises(
        ConfigError, match=r"clinical\.variables\.age\.column: there is no column 'Age' .*Did you mean 'age'"
    ):
        read_clinical(tmp_path, Clinical(variables={"age": Variable(column="Age")}), [])
    with pytest.raises(ConfigError, match=r"column 'age' is in participants\.tsv, which is a wide table"):
        read_clinical(tmp_path, Clinical(scales={"A": Scale(column="age")}), [])
    with pytest.raises(
        ConfigError, match=r"no column 'participant' \(id_column\).*Did you mean 'participant_id'"
    ):
        read_clinical(tmp_path, Clinical(tables=(ClinicalTable(id_column="participant"),)), [])


def test_a_missing_table_matters_only_when_something_is_asked_of_it(tmp_path: Path) -> None:
    data = read_clinical(tmp_path, Clinical(), ["01"])
    assert data.listed == ("01",)
    assert "participants.tsv is not there" in data.notes[0]
    with pytest.raises(InputError, match=r"participants\.tsv: the table is not there"):
        read_clinical(tmp_path, Clinical(variables={"age": Variable(column="age")}), ["01"])


def test_tables_of_one_subject_each_need_no_participant_column(tmp_path: Path) -> None:
    for subject, score in (("01", 7), ("02", 8)):
        path = tmp_path / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
        write(path, "session_id BDI", f"ses-pre {score}", "ses-post n/a")
    table = ClinicalTable(path="sub-{subject}/sub-{subject}_sessions.tsv")
    clinical = Clinical(tables=(table,), scales={"BDI": Scale(column="BDI")})
    data = read_clinical(tmp_path, clinical, ["01", "02", "03"])
    assert data.long["BDI"] == {("01", "pre"): 7.0, ("02", "pre"): 8.0}
    assert data.listed == ("01", "02")
    write(tmp_path / "sub-02" / "sub-02_sessions.tsv", "participant_id session_id BDI", "sub-01 ses-pre 3")
    with pytest.raises(InputError, match="row 2 is about sub-01, the file about sub-02"):
        read_clinical(tmp_path, clinical, ["01", "02"])


def test_a_number_of_a_long_table_may_vary_but_a_category_may_not(tmp_path: Path) -> None:
    write(
        tmp_path / "scores.tsv", "participant_id session_id dose arm age", "01 pre 0 A 30", "01 post 9 B 30"
    )
    tables = (ClinicalTable(path="scores.tsv"),)
    numbers = {"dose": Variable(column="dose"), "age": Variable(column="age")}
    clinical = Clinical(tables=tables, variables=numbers)
    cohort = make(tmp_path, clinical, both("01"))
    assert cohort.table["dose"].tolist() == ["0", "9"]
    assert cohort.table["age"].tolist() == ["30", "30"]
    dose = resolve("dose", clinical, cohort.table, before="pre", after="post")
    assert (dose.by_person, dose.time_varying) == ({("trial", "01"): 9.0}, True)
    arm = Clinical(tables=tables, variables={"arm": Variable(column="arm", kind="category")})
    with pytest.raises(InputError, match="'arm' of sub-01 is A, B in different sessions"):
        read_clinical(tmp_path, arm, [])


# Outcomes -------------------------------------------------------------------------------------------


def test_response_is_exact_at_the_limit() -> None:
    assert responded(30, 15, 50, "lower_is_better") is True
    assert responded(30, 15.1, 50, "lower_is_better") is False
    assert responded(100, 71, 29, "lower_is_better") is True
    assert responded(20, 30, 50, "higher_is_better") is True
    assert responded(20, 30, 50, "lower_is_better") is False
    assert responded(0, 3, 50, "lower_is_better") is None
    assert responded(math.nan, 3, 50, "lower_is_better") is None
    assert responded(9, math.nan, 50, "lower_is_better") is None


@given(st.integers(1, 99), st.integers(1, 60))
def test_a_whole_percentage_of_baseline_is_always_a_response(percent: int, baseline: int) -> None:
    end = baseline - percent * baseline / 100
    assert responded(baseline, end, percent, "lower_is_better") is True
    assert responded(baseline, end + 1e-3, percent, "lower_is_better") is False


def test_remission_and_percent_change_follow_their_definitions() -> None:
    assert remitted(10, 10, "lower_is_better") is True
    assert remitted(10, 10, "higher_is_better") is True
    assert remitted(9.9, 10, "higher_is_better") is False
    assert remitted(math.nan, 10, "lower_is_better") is None
    assert percent_change(40, 30) == -25
    assert math.isnan(percent_change(0, 30))


def test_did_you_mean_ignores_case_and_is_silent_when_nothing_is_near() -> None:
    assert did_you_mean("madrs", ["MADRS", "BDI"]) == " Did you mean 'MADRS'?"
    assert did_you_mean("xyz", ["MADRS"]) == ""


# Building -------------------------------------------------------------------------------------------


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    write(
        tmp_path / "participants.tsv",
        "participant_id arm age BDI_pre BDI_post",
        "sub-01 drug 30 20 10",
        "sub-02 drug 31 20 11",
        "sub-03 placebo 32 0 4",
        "sub-04 placebo n/a 18 n/a",
        "sub-09 placebo 60 n/a 2",
    )
    return tmp_path


RULES = Clinical(
    baseline="pre",
    endpoint="post",
    scales={"BDI": BDI},
    response=Response(scale="BDI", percent=50),
    remission=Remission(scale="BDI", threshold=10),
    variables={"arm": Variable(column="arm", kind="category"), "age": Variable(column="age")},
)


def test_the_cohort_has_the_columns_of_the_contract_and_a_row_per_subject_and_time_point(trial: Path) -> None:
    cohort = make(trial, RULES, both("01 02 03 04"))
    assert cohort.table.columns.tolist() == [
        "dataset",
        "subject",
        "time_point",
        "runs",
        "n_runs",
        "df",
        "mean_fd",
        "arm",
        "age",
        "BDI",
        "BDI_change",
        "BDI_percent_change",
        "response",
        "remission",
    ]
    rows = list(zip(cohort.table["subject"], cohort.table["time_point"], strict=True))
    assert rows == [(s, p) for s in ("01", "02", "03", "04", "09") for p in ("pre", "post")]


def test_scores_change_and_outcomes_are_as_by_hand(trial: Path) -> None:
    cohort = make(trial, RULES, both("01 02 03 04"))
    columns = ["BDI", "BDI_change", "BDI_percent_change", "response", "remission"]
    post = cohort.table[cohort.table["time_point"] == "post"].set_index("subject")[columns]
    assert post.loc["01"].tolist() == ["10", "-10", "-50", "responder", "remitted"]
    assert post.loc["02"].tolist() == ["11", "-9", "-45", "nonresponder", "not_remitted"]
    assert post.loc["03"].tolist() == ["4", "4", "n/a", "n/a", "remitted"]
    assert post.loc["04"].tolist() == ["n/a", "n/a", "n/a", "n/a", "n/a"]
    assert post.loc["09"].tolist() == ["2", "n/a", "n/a", "n/a", "remitted"]
    assert cell(cohort, "01", "pre", "BDI_change") == "0"
    assert cell(cohort, "01", "pre", "response") == "responder"
    note = "response is n/a for 3 of 5 subjects (scores of BDI: at pre 4, at post 4; 1 with a baseline"
    assert any(text.startswith(note) for text in cohort.notes)
    assert any(text.startswith("remission is n/a for 1 of 5 subjects") for text in cohort.notes)


def test_people_of_the_table_without_scans_stay_with_runs_na_and_are_named(trial: Path) -> None:
    runs = both("01 02 03 04")
    runs.loc[(runs["subject"] == "02") & (runs["time_point"] == "post"), "included"] = "false"
    cohort = make(trial, RULES, runs)
    for subject, point in (("02", "post"), ("09", "pre")):
        got = [cell(cohort, subject, point, c) for c in ("runs", "n_runs", "df", "mean_fd")]
        assert got == ["n/a", "0", "n/a", "n/a"]
    assert cell(cohort, "02", "pre", "n_runs") == "1"
    assert any(
        "1 of 5 subjects are in the clinical tables but not in the data set: sub-09" in n
        for n in cohort.notes
    )


def test_people_of_the_folder_without_table_row_are_excluded_with_a_reason(trial: Path) -> None:
    cohort = make(trial, RULES, both("01 02 03"), ["01", "02", "03", "77"])
    assert [(e.dataset, e.subject, e.reason) for e in cohort.exclusions] == [("trial", "77", "not_in_table")]
    assert "77" not in set(cohort.table["subject"])


def test_chosen_subjects_are_the_only_ones(trial: Path) -> None:
    data = {"trial": read_clinical(trial, RULES, ["01", "02", "77"])}
    cohort = build_cohort(RULES, data, both("01 02"), {"trial": PRE_POST}, only={"trial": ("sub-01",)})
    assert set(cohort.table["subject"]) == {"01"}
    assert cohort.exclusions == ()


def test_several_runs_of_a_time_point_share_a_row(trial: Path) -> None:
    runs = run_table([("01", "pre", "pre"), ("01", "pre", "pre"), ("01", "post", "post")])
    runs["frames_kept"], runs["df"], runs["mean_fd"] = (
        ["100", "300", "50"],
        ["40", "90", "20"],
        ["0.1", "0.3", "n/a"],
    )
    cohort = make(trial, RULES, runs)
    assert cell(cohort, "01", "pre", "runs") == "run01prex000000;run01prex000001"
    assert cell(cohort, "01", "pre", "df") == "130"
    assert float(cell(cohort, "01", "pre", "mean_fd")) == pytest.approx((100 * 0.1 + 300 * 0.3) / 400)
    assert cell(cohort, "01", "post", "mean_fd") == "n/a"


def test_sessions_of_a_long_table_map_by_runs_else_by_labels_and_share_a_time_point_as_mean(
    tmp_path: Path,
) -> None:
    write(
        tmp_path / "scores.tsv",
        "participant_id session_id BDI",
        *("01 ses-a 20", "01 ses-b1 10", "01 ses-b2 14", "02 ses-a 30", "02 ses-b1 6", "02 ses-c 99"),
    )
    clinical = Clinical(tables=(ClinicalTable(path="scores.tsv"),), scales={"BDI": Scale(column="BDI")})
    data = {"trial": read_clinical(tmp_path, clinical, ["01", "02"])}
    labels = {"trial": {"pre": ("ses-a",), "post": ("b1", "b2")}}
    cohort = build_cohort(clinical, data, run_table([("01", "a", "pre")]), labels)
    assert cohort.table["BDI"].tolist() == ["20", "12", "30", "6"]
    assert any("BDI is the mean over the sessions of a time point for sub-01" in n for n in cohort.notes)
    swapped = run_table([("02", "a", "post"), ("02", "b1", "pre")])
    cohort = build_cohort(clinical, data, swapped, labels)
    assert cohort.table["BDI"].tolist() == ["20", "12", "6", "30"]


def test_a_session_with_two_time_points_cannot_carry_one_score(tmp_path: Path) -> None:
    write(tmp_path / "scores.tsv", "participant_id session_id BDI", "01 x 20")
    clinical = Clinical(tables=(ClinicalTable(path="scores.tsv"),), scales={"BDI": Scale(column="BDI")})
    data = {"trial": read_clinical(tmp_path, clinical, ["01"])}
    runs = run_table([("01", "x", "pre"), ("01", "x", "post")])
    with pytest.raises(ConfigError, match=r"clinical\.scales\.BDI: ses-x of sub-01 .* time points post, pre"):
        build_cohort(clinical, data, runs, {"trial": {"pre": ("1",), "post": ("2",)}})
    with pytest.raises(ConfigError, match=r"clinical\.scales\.BDI: none of its sessions \(x\)"):
        build_cohort(clinical, data, both("01"), {"trial": PRE_POST})


def test_without_labels_the_time_points_are_those_of_the_runs_baseline_first(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id", "01")
    clinical = Clinical(baseline="pre", endpoint="d2")
    data = {"trial": read_clinical(tmp_path, clinical, ["01"])}
    runs = run_table([("01", p, p) for p in ("d10", "post", "d2", "pre")])
    cohort = build_cohort(clinical, data, runs, {})
    assert cohort.table["time_point"].tolist() == ["pre", "d2", "d10", "post"]


def test_a_trial_without_time_points_still_lists_its_people(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id", "01", "02")
    data = {"trial": read_clinical(tmp_path, Clinical(), ["01", "02"])}
    cohort = build_cohort(Clinical(), data, run_table([("01", "n/a", "n/a")]), {})
    assert cohort.table["time_point"].tolist() == ["n/a", "n/a"]
    assert cohort.table["n_runs"].tolist() == ["1", "0"]


def test_a_later_endpoint_without_scans_still_decides_about_response(tmp_path: Path) -> None:
    write(tmp_path / "participants.tsv", "participant_id a b", "01 20 5", "02 20 19")
    clinical = Clinical(
        baseline="pre",
        endpoint="week12",
        scales={"BDI": Scale(columns={"pre": "a", "week12": "b"})},
        response=Response(scale="BDI"),
    )
    data = {"trial": read_clinical(tmp_path, clinical, ["01", "02"])}
    runs = run_table([("01", "pre", "pre"), ("02", "pre", "pre")])
    cohort = build_cohort(clinical, data, runs, {"trial": {"pre": ("pre",)}})
    assert cell(cohort, "01", "pre", "response") == "responder"
    assert cell(cohort, "02", "week12", "runs") == "n/a"
    assert "trial: time point week12 has no included run" in cohort.notes


def test_a_rule_that_gives_na_for_everybody_is_an_error_with_counts(tmp_path: Path) -> None:
    write(
        tmp_path / "participants.tsv",
        "participant_id BDI_pre BDI_post",
        "01 20 n/a",
        "02 n/a 4",
        "03 n/a n/a",
    )
    clinical = Clinical(
        baseline="pre", endpoint="post", scales={"BDI": BDI}, response=Response(scale="BDI", percent=50)
    )
    pattern = r"clinical\.response: the rule gives n/a for all 3 subjects: .*BDI exist at pre 1, at post 1"
    with pytest.raises(ConfigError, match=pattern):
        make(tmp_path, clinical, both("01 02 03"))
    write(tmp_path / "participants.tsv", "participant_id BDI_pre BDI_post", "01 20 n/a")
    clinical = Clinical(endpoint="post", scales={"BDI": BDI}, remission=Remission(scale="BDI", threshold=3))
    with pytest.raises(ConfigError, match=r"clinical\.remission: the rule gives n/a for all 1 subjects"):
        make(tmp_path, clinical, both("01"))


def test_baseline_and_endpoint_must_be_time_points(trial: Path) -> None:
    clinical = Clinical(baseline="pre", endpoint="pots")
    with pytest.raises(
        ConfigError, match=r"clinical\.endpoint: 'pots' is none of .*pre, post\. Did you mean 'post'"
    ):
        make(trial, clinical, both("01"))


def test_names_that_would_meet_in_the_cohort_table_are_refused(trial: Path) -> None:
    clinical = Clinical(variables={"runs": Variable(column="age")})
    with pytest.raises(ConfigError, match=r"the name 'runs' would be a column of cohort\.tsv twice"):
        make(trial, clinical, both("01"))


def test_two_data_sets_stand_one_after_the_other(trial: Path, tmp_path: Path) -> None:
    data = {name: read_clinical(trial, RULES, ["01"]) for name in ("b", "a")}
    runs = pd.concat([run_table([("01", "pre", "pre")], name, run=f"{name}x1") for name in ("a", "b")])
    cohort = build_cohort(RULES, data, runs, dict.fromkeys(data, PRE_POST))
    assert cohort.table["dataset"].drop_duplicates().tolist() == ["b", "a"]
    rows = cohort.table[(cohort.table["subject"] == "01") & (cohort.table["time_point"] == "pre")]
    assert dict(zip(rows["dataset"], rows["runs"], strict=True)) == {"a": "ax1", "b": "bx1"}


def test_the_cohort_survives_the_way_through_a_file(trial: Path) -> None:
    table = make(trial, RULES, both("01 02 03 04")).table
    write_tsv(trial / "cohort.tsv", table)
    pd.testing.assert_frame_equal(read_tsv(trial / "cohort.tsv"), table)


@given(st.permutations(range(8)))
def test_the_order_of_runs_changes_nothing(order: list[int]) -> None:
    clinical = Clinical()
    runs = both("01 02 03 04")
    data = {"trial": read_clinical(Path("nowhere"), clinical, ["01", "02", "03", "04"])}
    first = build_cohort(clinical, data, runs, {})
    other = build_cohort(clinical, data, runs.iloc[order], {})
    assert format_tsv(first.table) == format_tsv(other.table)


# References -----------------------------------------------------------------------------------------


@pytest.fixture
def table(trial: Path) -> pd.DataFrame:
    runs = both("01 02 03 04")
    runs["mean_fd"] = [str(0.1 * i) for i in range(1, 9)]
    return make(trial, RULES, runs).table


def test_references_mean_what_the_configuration_says(table: pd.DataFrame) -> None:
    def values(reference: str, **when: str | bool) -> dict[str, float | str]:
        column = resolve(reference, RULES, table, **when)
        return {subject: value for (_, subject), value in column.by_person.items()}

    assert values("age") == {"01": 30.0, "02": 31.0, "03": 32.0, "09": 60.0}
    assert values("arm")["03"] == "placebo"
    assert values("BDI.pre") == {"01": 20.0, "02": 20.0, "03": 0.0, "04": 18.0}
    assert values("BDI.change") == values("BDI.change.post") == {"01": -10.0, "02": -9.0, "03": 4.0}
    assert values("BDI.percent_change") == {"01": -50.0, "02": -45.0}
    assert set(values("BDI.change.pre").values()) == {0.0}
    assert values("response") == {"01": "responder", "02": "nonresponder"}
    assert values("remission")["03"] == "remitted"
    assert set(values("dataset").values()) == {"trial"}
    assert values("mean_fd", at="post")["01"] == pytest.approx(0.2)
    assert values("mean_fd", before="pre", after="post")["02"] == pytest.approx(0.1)
    assert values("mean_fd", before="pre", after="post", mean=True)["02"] == pytest.approx(0.35)
    assert "09" not in values("mean_fd", at="pre")


def test_references_know_their_kind_and_whether_they_vary(table: pd.DataFrame) -> None:
    found = {
        r: resolve(r, RULES, table, at="pre") for r in ("age", "arm", "response", "mean_fd", "BDI.change")
    }
    assert {r: c.kind for r, c in found.items()} == {
        "age": "number",
        "arm": "category",
        "response": "category",
        "mean_fd": "number",
        "BDI.change": "number",
    }
    assert [r for r, c in found.items() if c.time_varying] == ["mean_fd"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("agee", r"models\.m\.covariates: 'agee' is unknown\. Did you mean 'age'"),
        ("BDI.pots", r"'BDI\.pots' is unknown\. Did you mean 'BDI\.post'"),
        ("BDI", r"'BDI' is unknown"),
        ("BDI.change.pots", "is unknown"),
        ("HDRS.change", r"'HDRS\.change' is unknown\. Did you mean 'BDI\.change'"),
    ],
)
def test_unknown_references_are_errors_with_suggestions(
    table: pd.DataFrame, reference: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(reference, RULES, table, at="pre", key="models.m.covariates")


def test_references_that_need_a_setting_say_which(table: pd.DataFrame) -> None:
    bare = Clinical(scales={"BDI": BDI})
    with pytest.raises(ConfigError, match=r"'response' needs the rule clinical\.response"):
        resolve("response", bare, table)
    with pytest.raises(ConfigError, match=r"needs clinical\.baseline"):
        resolve("BDI.change", bare, table)
    with pytest.raises(ConfigError, match=r"needs a time point, or clinical\.endpoint"):
        resolve("BDI.change", Clinical(scales={"BDI": BDI}, baseline="pre"), table)
    with pytest.raises(InputError, match=r"cohort\.tsv has no column 'age'; make the cohort again"):
        resolve("age", RULES, table.drop(columns="age"))
    with pytest.raises(ConfigError, match="varies over time and needs a time point"):
        resolve("mean_fd", RULES, table)


# Real tables ----------------------------------------------------------------------------------------


def listed_runs(folder: Path, dataset: str) -> pd.DataFrame:
    """One included run per image of the data set's path list; every session is its own time point."""
    text = gzip.decompress((folder / "FILES.txt.gz").read_bytes()).decode()
    names = re.findall(r"sub-([A-Za-z0-9]+)_(?:ses-([A-Za-z0-9]+)_)?\S*_bold\.nii\.gz", text)
    return run_table([(subject, session or "n/a", session or "n/a") for subject, session in names], dataset)


DS003007 = Clinical(
    baseline="pre",
    endpoint="post",
    scales={
        "BDI": Scale(columns={"pre": "BDI_ses-pre", "post": "BDI_ses-post"}, minimum=0, maximum=63),
        "MADRS": Scale(columns={"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}),
    },
    response=Response(scale="BDI"),
    variables={
        "arm": Variable(
            column="group",
            kind="category",
            levels={"depr_no_treatment": "none", "depr_cbt": "cbt", "depr_nfb": "nfb"},
        ),
        "sex": Variable(column="gender", kind="category", levels={"m": "male", "f": "female"}),
        "age": Variable(column="age"),
    },
)


def real_cohort(shared: Path, dataset: str, clinical: Clinical, labels: dict[str, tuple[str, ...]]) -> Cohort:
    folder = shared / "openneuro" / dataset
    runs = listed_runs(folder, dataset)
    data = {dataset: read_clinical(folder, clinical, sorted(set(runs["subject"])))}
    return build_cohort(clinical, data, runs, {dataset: labels})


def test_ds003007_has_three_arms_and_few_pairs(shared_data: Path) -> None:
    cohort = real_cohort(shared_data, "ds003007", DS003007, PRE_POST)
    post = cohort.table[cohort.table["time_point"] == "post"]
    assert len(cohort.table) == 58
    assert post["arm"].value_counts().to_dict() == {"none": 15, "cbt": 8, "nfb": 6}
    assert (post["BDI_change"] != "n/a").sum() == 25
    assert (post["MADRS_change"] != "n/a").sum() == 9
    assert set(post["sex"]) == {"male", "female"}
    assert set(cohort.table["n_runs"]) == {"1"}
    assert cohort.exclusions == ()
    # sub-01: BDI 14, 10; sub-23: BDI 24, 6; sub-14: 2, 0
    assert post.set_index("subject")["response"].loc[["01", "23", "14", "17"]].tolist() == [
        "nonresponder",
        "responder",
        "responder",
        "n/a",
    ]


def test_ds003007_with_the_levels_of_its_json_is_refused(shared_data: Path) -> None:
    sex = Variable(column="gender", kind="category", levels={"M": "male", "F": "female"})
    clinical = Clinical(variables={"sex": sex})
    with pytest.raises(InputError, match=r"row 2, column 'gender': 'f' of sub-01 is none of the levels M, F"):
        real_cohort(shared_data, "ds003007", clinical, PRE_POST)


DS005917 = Clinical(
    tables=(ClinicalTable(), ClinicalTable(path="phenotype/phenotype.tsv")),
    baseline="p2",
    endpoint="d2",
    scales={"MADRS": Scale(column="MADRS_Total", minimum=0, maximum=60)},
    variables={
        "diagnosis": Variable(column="group", kind="category"),
        "first": Variable(column="infusion_1", kind="category"),
        "age": Variable(column="age"),
    },
)


def test_ds005917_long_phenotype_gives_the_pairs_of_drug_and_placebo(shared_data: Path) -> None:
    labels = {name: (name,) for name in ("b0", "d2", "d10", "p2", "p10")}
    cohort = real_cohort(shared_data, "ds005917", DS005917, labels)
    table = cohort.table
    assert len(table) == 58 * 5
    assert table["time_point"].head(5).tolist() == list(labels)
    people = table.drop_duplicates("subject")
    assert people["diagnosis"].value_counts().to_dict() == {"MDD": 33, "HC": 22, "BP": 3}
    counts = table[table["runs"] != "n/a"].groupby("subject")["time_point"].agg(tuple)
    assert (counts.map(len) == 5).sum() == 36
    assert sum(c == ("b0",) for c in counts) == 6
    assert table["n_runs"].astype(int).sum() == 250
    (dropped,) = cohort.exclusions
    assert (dropped.subject, dropped.reason) == ("MOA323", "no_session")
    assert dropped.value == "phenotype/phenotype.tsv row 227"
    # independent count of pairs, straight from the file
    lines = (shared_data / "openneuro/ds005917/phenotype/phenotype.tsv").read_text().splitlines()[1:]
    cells = [line.split("\t") for line in lines]
    have = {(c[0], c[1]) for c in cells if c[2] != "n/a"}
    pairs = sum((s, "ses-d2") in have and (s, "ses-p2") in have for s in {c[0] for c in cells})
    change = table[(table["time_point"] == "d2") & (table["MADRS_change"] != "n/a")]
    assert len(change) == pairs > 30
    assert cell(cohort, "MOA101", "d2", "MADRS_change") == "-9"


def test_ds000208_reads_without_sessions_and_with_odd_column_names(shared_data: Path) -> None:
    clinical = Clinical(
        variables={
            "drug": Variable(column="Drug", kind="category"),
            "study": Variable(column="study", kind="category"),
            "relief": Variable(column="% Analsesia VAS"),  # codespell:ignore
            "responder": Variable(column="Response", kind="category", levels={"0": "no", "1": "yes"}),
        }
    )
    cohort = real_cohort(shared_data, "ds000208", clinical, {})
    second = cohort.table[cohort.table["study"] == "2"]
    assert second["drug"].value_counts().to_dict() == {"placebo": 20, "duloxetine": 19}
    yes = second[second["responder"] == "yes"]["drug"].value_counts().to_dict()
    assert yes == {"placebo": 10, "duloxetine": 8}
    assert cohort.table["relief"].eq("n/a").sum() == len(cohort.table) - 56
