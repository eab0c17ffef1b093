"""Whom clinical analyses leave out stands in exclusions.tsv, and results of those taken out are gone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from clinic_contract import CLINICAL, REGIONS, edit, write
from conn import paths
from conn.config.association import Association
from conn.config.mediation import Mediation
from conn.config.model import Inference, Paired
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.exclusions import ANALYSES, Exclusion
from conn.files import read_json, write_json
from conn.index import Index
from conn.stages import predictors
from conn.stages.association import association
from conn.stages.exclusions import gather
from conn.stages.features import scans
from conn.stages.left_out import KINDS, Analyses, Replicated, from_record, left_out, to_record
from conn.stages.mediation import Mediators, Resources, mediate
from conn.stages.needs import Needs, gaps_of
from conn.stages.prediction import chosen_people, prediction
from conn.stages.reliability import reliability
from conn.tables import read_tsv

EDGES = (("sgACCL", "insulaL"), ("sgACCL", "PAG"))
CHANGE = Association(
    before="pre", after="post", scales=("MADRS.change", "SHAPS.change"), edges=EDGES, resamples=0
)
EACH = CHANGE.model_copy(update={"people": "each", "subset": {"site": ("x",)}})
CARRIED = Mediation(
    arm="arm", levels=("drug", "placebo"), before="pre", after="post", randomised=True, outcome="MADRS",
    edges=EDGES, bootstrap=1000, covariates=("age",),
)  # fmt: skip
SEVERITY = Prediction(
    at="pre", outcome="MADRS.post", folds=3, inner_folds=2, repeats=1, permutations=200, penalties=(1.0,),
    learning_curve=(), edges=EDGES, subset={"arm": ("drug",)},
)  # fmt: skip
STABLE = Reliability(before="pre", after="post", stable={"arm": ("placebo",)}, edges=EDGES)
NEEDS = Needs(sets={"-".join(pair): pair for pair in EDGES})
EVERYTHING = Analyses(
    CLINICAL,
    "weighted",
    {"mood": CHANGE, "each": EACH},
    {"carried": CARRIED},
    {"severity": SEVERITY},
    {"stable": STABLE},
    {"severity": NEEDS},
)


def no_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of studies without a replication."""
    raise AssertionError


def trial(tmp_path: Path) -> Path:
    """A trial in which people lack a scan, a score, an arm, a site and a covariate."""
    write(tmp_path, n=40, volumes=60)
    write_json(tmp_path / paths.COHORT_NOTES, {"exclusions": [], "notes": []})

    def lose(table):
        def rows(subject, point):
            return (table["subject"] == subject) & (table["time_point"] == point)

        table.loc[rows("03", "post"), ["runs", "n_runs"]] = ["n/a", "0"]
        table.loc[rows("05", "pre"), ["runs", "n_runs"]] = ["n/a", "0"]
        table.loc[rows("04", "post"), ["MADRS", "MADRS_change"]] = "n/a"
        table.loc[table["subject"] == "08", "arm"] = "n/a"
        table.loc[table["subject"] == "09", "site"] = "n/a"
        table.loc[table["subject"] == "10", "age"] = "n/a"

    edit(tmp_path, lose)
    return tmp_path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return trial(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trial with all analyses done."""
    out = trial(tmp_path_factory.mktemp("finished"))
    run(out)
    return out


def run(out: Path) -> None:
    """The analyses themselves."""
    for name, one in EVERYTHING.association.items():
        association(out, name, one, CLINICAL, EDGES, {}, combine_runs="weighted", permutations=99, seed=0)
    mediate(
        out, "carried", CARRIED, CLINICAL, Inference(permutations=99),
        Mediators(EDGES), Resources(out), seed=0,
    )  # fmt: skip
    reliability(out, "stable", STABLE, CLINICAL, EDGES, {}, combine_runs="weighted")
    prediction(
        out, "severity", SEVERITY, CLINICAL, "weighted", {"": EDGES}, seed=0, alpha=0.05
    )  # fmt: skip


def told(record: dict) -> set[tuple[str, str]]:
    """Subject and reason of whom a summary leaves out, without those whom it does not ask for."""
    listed = record.get("left_out") or record.get("excluded") or ()
    lost = record.get("lost") or [(one["dataset"], one["subject"], one["reason"]) for one in listed]
    return {(s, why.replace("_", " ")) for _, s, why in lost if why != "not_in_subset"}


def rows_of(out: Path, kind: str, name: str) -> set[tuple[str, str]]:
    table = read_tsv(out / paths.EXCLUSIONS)
    table = table[table["stage"] == kind]
    assert set(table["reason"]) <= {"not_in_analysis"}
    found = [(s, *value.split(": ", 1)) for s, value in zip(table["subject"], table["value"], strict=True)]
    return {(subject, why) for subject, own, why in found if own == name}


def test_everybody_whom_an_analysis_leaves_out_has_a_row_with_its_own_reason(finished: Path):
    out = finished
    gather(out, Index((), (), ()), [], EVERYTHING)
    for kind, names in EVERYTHING.names.items():
        for name in names:
            expected = told(read_json(out / paths.analysis(kind, name)))
            assert expected, "everybody is in it, so that nothing is tested"
            assert rows_of(out, kind, name) == expected


def test_reasons_are_those_of_each_analysis(out: Path):
    gather(out, Index((), (), ()), [], EVERYTHING)
    no_post, no_pre = "no included run at post", "no included run at pre"
    assert rows_of(out, "association", "mood") == {
        ("03", no_post), ("05", no_pre), ("04", "MADRS.change missing"),
    }  # fmt: skip
    assert rows_of(out, "association", "each") == {
        ("05", no_pre), ("09", "site missing"), ("04", "MADRS.change missing, so not with MADRS.change"),
    }  # fmt: skip
    assert rows_of(out, "mediation", "carried") == {
        ("03", no_post), ("05", no_pre), ("04", "MADRS.post is missing"), ("08", "arm is missing"),
        ("10", "age is missing"),
    }  # fmt: skip
    assert rows_of(out, "prediction", "severity") == {("04", "no outcome"), ("08", "subset unknown")}
    assert rows_of(out, "reliability", "stable") == {
        ("05", no_pre), ("03", f"{no_post}, so halves of pre alone"), ("08", "arm missing"),
    }  # fmt: skip


def test_who_has_a_scan_without_any_feature_is_not_in_a_prediction(out: Path):
    gaps = gaps_of([Exclusion("trial", "06", run="p06pre", roi="sgACCL"), Exclusion("trial", "12")])
    rows = left_out(EVERYTHING, lambda key: scans(out, key, "weighted"), gaps, no_tables)
    assert [(row.subject, row.value) for row in rows if row.stage == "prediction"] == [
        ("04", "severity: no outcome"), ("06", "severity: no features"), ("08", "severity: subset unknown"),
    ]  # fmt: skip
    run_06 = read_tsv(out / "p06pre_stat-pearsoncorrelation_relmat.tsv")
    run_06.loc[run_06["roi"] == "sgACCL", list(REGIONS)] = "n/a"
    run_06["sgACCL"] = "n/a"
    run_06.to_csv(out / "p06pre_stat-pearsoncorrelation_relmat.tsv", sep="\t", index=False)
    own = scans(out, "prediction.severity", "weighted")
    outcome = predictors.outcome_of(own, SEVERITY, CLINICAL, "prediction.severity")
    known = predictors.known(own, SEVERITY, CLINICAL, {"": EDGES}, "prediction.severity")
    chosen = chosen_people(own, "severity", SEVERITY, CLINICAL, outcome, known)
    assert ("trial", "06", "no_features") in chosen.excluded


def test_people_of_a_third_class_are_not_asked_for(out: Path):
    edit(out, lambda table: table.__setitem__("site", ["xyz"[int(one) % 3] for one in table["subject"]]))
    asked = Prediction(at="pre", outcome="site", event="x", against="y", edges=EDGES, permutations=200)
    only = Analyses(CLINICAL, prediction={"where": asked}, features={"where": NEEDS})
    found = list(left_out(only, lambda key: scans(out, key, "weighted"), {}, no_tables))
    table = read_tsv(out / paths.COHORT)
    third = set(table.loc[(table["time_point"] == "pre") & (table["site"] == "z"), "subject"])
    assert third
    assert third.isdisjoint({row.subject for row in found})


def test_features_are_lacking_where_one_of_their_parts_is(out: Path):
    own = scans(out, "x", "weighted")
    people = [("trial", "00"), ("trial", "01"), ("trial", "03")]
    gaps = {
        "p00pre": frozenset({"PAG"}),
        "p01post": frozenset({"partial correlation"}),
        "p03pre": frozenset({"PAG"}),
    }
    needs = Needs(("sgACCL", "insulaL", "PAG"), {"network N": ("sgACCL", "NAcL"), "map of PAG": ("PAG",)})
    assert needs.names == ("sgACCL-insulaL", "sgACCL-PAG", "insulaL-PAG", "network N", "map of PAG")
    gone = needs.lacking(own, people, ["pre", "post"], gaps)
    assert gone.tolist() == [[False, True, True, False, True], [False] * 5, [False, True, True, False, True]]
    partial = Needs(needs.every, needs.sets, partial=True)
    assert partial.lacking(own, people, ["pre", "post"], gaps)[1].all()


def test_an_analysis_that_cannot_be_made_keeps_nobody_from_the_table(out: Path):
    nobody = SEVERITY.model_copy(update={"subset": {"arm": ("nothing",)}})
    both = Analyses(CLINICAL, "weighted", {"mood": CHANGE}, {}, {"none": nobody}, {}, {"none": NEEDS})
    gather(out, Index((), (), ()), [], both)
    assert set(read_tsv(out / paths.EXCLUSIONS)["stage"]) == {"association"}


def test_analyses_are_written_down_and_read_back():
    asked = Replication(model="change", trials=("a", "b"))
    twice = Replicated(
        asked, Paired(design="paired", before="pre", after="post"), Inference(permutations=500), ("a", "b")
    )
    everything = replace(EVERYTHING, replication={"twice": twice})
    assert from_record(json.loads(json.dumps(to_record(everything)))) == everything
    assert (*KINDS, "replication") == ANALYSES


def test_results_of_analyses_that_were_taken_out_are_removed_and_nothing_else(finished: Path, tmp_path: Path):
    out = Path(shutil.copytree(finished, tmp_path / "copy"))
    own = {path.relative_to(out) for kind in KINDS for path in (out / kind).iterdir()}
    maps = out / "mediation" / "carried_seed-PAG_stat-ab_statmap.nii.gz"
    maps.write_bytes(b"")
    users = {
        out / "association" / "mood.xlsx": "a table of the user's",
        out / "association" / "notes.json": json.dumps({"name": "mine", "lost": []}),
        out / "mediation" / "damaged.json": "{",
        out / "prediction" / "list.json": "[]",
        out / "prediction" / "plain.json": json.dumps({"name": "plain"}),
    }
    for path, text in users.items():
        path.write_text(text)
    gather(out, Index((), (), ()), [], EVERYTHING)
    assert maps.exists()
    assert {path.relative_to(out) for kind in KINDS for path in (out / kind).iterdir()} >= own
    kept = Analyses(CLINICAL, association={"each": EACH})
    gather(out, Index((), (), ()), [], kept)
    left = {path for kind in KINDS for path in (out / kind).glob("*")}
    assert left == {*users, *(out / paths.analysis("association", "each", end) for end in (".json", ".tsv"))}
    assert {path: path.read_text() for path in users} == users
    assert not (out / "reliability").exists()
    assert set(read_tsv(out / paths.EXCLUSIONS)["stage"]) == {"association"}
