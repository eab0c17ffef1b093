"""Several runs of one time point: what models take of them, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conn import paths
from conn.combination import Unused, choose
from conn.config.load import to_yaml
from conn.config.model import Clinical, CombineRuns, Connectivity, Inference, Paired, TwoSample, Variable
from conn.design import Design, compile_model, describe, load_design, save_design
from conn.errors import InputError
from conn.report.methods import combined
from conn.status import why
from conn.study import open_study
from conn.tables import read_tsv, write_tsv

PEOPLE = ("01", "02", "03", "04", "05", "06")
DF = {"1": 32, "2": 52, "10": 52}
FD = {"1": 0.1, "2": 0.2, "10": 0.3}
MODEL = Paired(design="paired", before="pre", after="post", sensitivity="none")


def key(person: str, point: str, number: str) -> str:
    return f"s{person}{point}{number}"


def tables(numbers: tuple[str, ...] = ("2", "1")) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Everybody has one run at post; sub-01 and sub-02 have several at pre, listed as `numbers`."""
    cohort, runs = [], []
    for i, person in enumerate(PEOPLE):
        for point in ("pre", "post"):
            found = numbers if point == "pre" and person in {"01", "02"} else ("1",)
            keys = [key(person, point, n) for n in found]
            cohort.append(["d", person, point, ";".join(keys), len(keys), 0.15 + i / 100, "A" if i else "B"])
            runs += [
                [k, "d", person, point, point, n, DF[n], FD[n] + i / 100, 90, f"{k}.nii.gz", "true"]
                for k, n in zip(keys, found, strict=True)
            ]
    columns = ["dataset", "subject", "time_point", "runs", "n_runs", "mean_fd", "site"]
    names = ["run", "dataset", "subject", "session", "time_point", "run_entity", "df", "mean_fd"]
    names += ["frames_kept", "path", "included"]
    return pd.DataFrame(cohort, columns=columns), pd.DataFrame(runs, columns=names)


def compiled(policy: CombineRuns, numbers: tuple[str, ...] = ("2", "1"), **options: Any) -> Design:
    model = MODEL.model_copy(update=options)
    return compile_model("m", model, Clinical(), *tables(numbers), Inference(permutations=99), policy)


def said(design: Design) -> list[str]:
    """Notes on runs: sign flips have one of their own, whatever the runs."""
    return [note for note in design.notes if "sign flips" not in note]


def weights(design: Design, person: str) -> dict[str, float]:
    (contrast,) = design.contrasts
    return contrast.run_weights[[subject for _, subject in contrast.subjects].index(person)]


# The three policies -----------------------------------------------------------------------------------


@pytest.mark.truth
def test_weighted_runs_count_by_their_degrees_of_freedom_minus_two():
    design = compiled("weighted")
    assert weights(design, "01") == pytest.approx(
        {"s01pre1": -30 / 80, "s01pre2": -50 / 80, "s01post1": 1.0}, rel=1e-15
    )
    assert weights(design, "03") == {"s03pre1": -1.0, "s03post1": 1.0}
    assert design.unused == ()


@pytest.mark.truth
def test_no_other_weights_make_the_mean_z_more_precise():
    error = {run: 1 / (DF[n] - 2) for run, n in (("s01pre1", "1"), ("s01pre2", "2"))}
    ours = {run: -w for run, w in weights(compiled("weighted"), "01").items() if run in error}

    def variance(share: float) -> float:
        return share**2 * error["s01pre1"] + (1 - share) ** 2 * error["s01pre2"]

    assert all(variance(ours["s01pre1"]) <= variance(share) + 1e-15 for share in np.linspace(0, 1, 101))


@pytest.mark.parametrize(
    ("policy", "numbers", "used"),
    [
        ("first", ("2", "1"), "1"),
        ("first", ("10", "2"), "2"),
        ("most_df", ("1", "2"), "2"),
        ("most_df", ("10", "2", "1"), "2"),
        ("most_df", ("1", "10"), "10"),
    ],
)
def test_one_run_stands_for_the_time_point(policy: CombineRuns, numbers: tuple[str, ...], used: str):
    design = compiled(policy, numbers)
    for person in ("01", "02"):
        assert weights(design, person) == {key(person, "pre", used): -1.0, key(person, "post", "1"): 1.0}
    left = [n for n in numbers if n != used]
    assert [one.run for one in design.unused] == [key(p, "pre", n) for p in ("01", "02") for n in left]
    assert {one.used for one in design.unused} == {key(p, "pre", used) for p in ("01", "02")}


def test_the_session_comes_before_the_run_entity():
    cohort, runs = tables()
    runs.loc[runs["run"] == "s01pre2", "session"] = "a"
    assert weights(compile_model("m", MODEL, Clinical(), cohort, runs, Inference(), "first"), "01") == {
        "s01pre2": -1.0,
        "s01post1": 1.0,
    }


def test_a_run_without_run_entity_is_the_first():
    cohort, runs = tables()
    runs.loc[runs["run"] == "s01pre2", "run_entity"] = "n/a"
    design = compile_model("m", MODEL, Clinical(), cohort, runs, Inference(), "first")
    assert "s01pre2" in weights(design, "01")


def test_motion_as_a_covariate_is_that_of_the_run_that_is_used():
    cohort, _ = choose(*tables(), "first")
    row = cohort[(cohort["subject"] == "02") & (cohort["time_point"] == "pre")].iloc[0]
    assert (row["runs"], row["n_runs"], float(row["mean_fd"])) == ("s02pre1", "1", 0.11)
    assert cohort.loc[cohort["subject"] == "05", "mean_fd"].astype(float).tolist() == [0.19, 0.19]
    model = TwoSample(design="two_sample", at="pre", group="site", levels=("A", "B"))
    people, runs = tables()
    people["site"] = ["A", "A", "B", "B"] * 3
    clinical = Clinical(variables={"site": Variable(column="site", kind="category")})
    found = {}
    for policy in ("weighted", "first", "most_df"):
        asked = model.model_copy(update={"covariates": ("mean_fd",)})
        (contrast,) = compile_model("m", asked, clinical, people, runs, Inference(), policy).contrasts
        found[policy] = contrast.matrix[:, contrast.columns.index("mean_fd")]
    assert np.ptp(found["first"] - found["weighted"]) > 0.01
    assert np.ptp(found["first"] - found["most_df"]) > 0.09


def test_weighted_leaves_the_cohort_as_it_is():
    cohort, runs = tables()
    same, unused = choose(cohort, runs, "weighted")
    columns = ["subject", "time_point", "runs"]
    pd.testing.assert_frame_equal(same[columns], cohort[columns])
    assert unused == ()


def test_a_run_that_nobody_knows_is_an_error():
    cohort, runs = tables()
    with pytest.raises(InputError, match="run s01pre2 of the cohort is absent"):
        choose(cohort, runs[runs["run"] != "s01pre2"], "first")


# What is said -----------------------------------------------------------------------------------------


def test_runs_that_are_not_used_are_counted_and_whose_they_are_is_said():
    (note,) = said(compiled("first"))
    assert note == (
        "connectivity.combine_runs first takes one run of each time point: 2 included runs are not used, "
        "of sub-01, sub-02; conn why names them"
    )
    assert f"Note: {note}." in describe(compiled("first"))


def test_unequal_numbers_of_runs_between_time_points_give_a_note():
    note, difference = said(compiled("weighted"))
    assert difference.startswith("|Δk|")
    assert note.startswith("2 of 6 subjects have unequal numbers of runs at pre and post (2 and 1 in 2)")
    assert said(compiled("weighted", ("1",))) == []


def test_runs_outside_the_model_are_not_its_business():
    cohort, runs = tables()
    cohort["site"] = ["A" if person in {"01", "02"} else "B" for person in cohort["subject"]]
    clinical = Clinical(variables={"site": Variable(column="site", kind="category")})
    model = MODEL.model_copy(update={"subset": {"site": ("B",)}})
    design = compile_model("m", model, clinical, cohort, runs, Inference(permutations=4999), "first")
    assert design.unused == ()
    assert not any("combine_runs" in note for note in design.notes)


def test_the_design_file_names_policy_and_runs(tmp_path: Path):
    design = compiled("most_df")
    save_design(tmp_path, design)
    again = load_design(tmp_path, "m")
    assert again.combine_runs == "most_df"
    assert again.unused == design.unused
    assert again.unused[0] == Unused("d", "01", "pre", "s01pre1", "s01pre2")


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("weighted", None),
        (
            "most_df",
            "not used in models: s01pre1.nii.gz: connectivity.combine_runs most_df takes s01pre2.nii.gz "
            "for pre",
        ),
    ],
)
def test_why_names_the_run_and_the_one_that_stands_for_it(tmp_path: Path, policy: str, line: str | None):
    func = tmp_path / "data" / "derivatives" / "fmriprep" / "sub-01" / "func"
    func.mkdir(parents=True)
    for ending in ("desc-preproc_bold.nii.gz", "desc-brain_mask.nii.gz"):
        (func / f"sub-01_task-rest_space-MNI152NLin2009cAsym_{ending}").touch()
    (func / "sub-01_task-rest_desc-confounds_timeseries.tsv").touch()
    settings = {"datasets": {"d": {"bids_dir": "data"}}, "connectivity": {"combine_runs": policy}}
    (tmp_path / "study.yaml").write_text(to_yaml(settings))
    study = open_study(tmp_path / "study.yaml")
    cohort, runs = tables()
    write_tsv(study.out / paths.COHORT, cohort)
    write_tsv(study.out / paths.RUNS, runs)
    assert read_tsv(study.out / paths.RUNS)["run"].tolist() == runs["run"].tolist()
    said = why(study, "sub-01").splitlines()
    assert sum(text.startswith("included: ") for text in said) == 3
    assert [text for text in said if text.startswith("not used")] == ([] if line is None else [line])
    assert not any("not used" in text for text in why(study, "sub-03").splitlines())
    assert [text for text in why(study, "s01pre1").splitlines() if "not used" in text] == (
        [] if line is None else [line]
    )


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("weighted", "averaged in z, weighted by their degrees of freedom minus 2."),
        (
            "first",
            "took the first (by session and run entity), at all time points alike; 2 included runs were",
        ),
        ("most_df", "took the one with the most degrees of freedom (the first of equal ones), at all"),
    ],
)
def test_the_methods_text_says_what_became_of_several_runs(policy: str, words: str):
    cohort, runs = tables()
    config = SimpleNamespace(connectivity=SimpleNamespace(combine_runs=policy))
    assert words in combined(SimpleNamespace(config=config, cohort=cohort, runs=runs))
    cohort, runs = tables(("1",))
    assert combined(SimpleNamespace(config=config, cohort=cohort, runs=runs)) == ""


def test_weighted_is_the_default():
    assert Connectivity().combine_runs == "weighted"
