"""Wrong inputs: each has its message and its exit class, or its row in exclusions.tsv, and others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conn import paths
from conn.cli import main
from conn.config.model import Clinical, Inference, Paired, TwoSample
from conn.errors import DesignError
from conn.files import write_json
from conn.index import Index
from conn.stages.design import design
from conn.stages.exclusions import gather
from conn.tables import read_tsv, write_tsv
from simulated import (
    REGIONS,
    SCRIPT,
    SETTINGS,
    World,
    replace,
)

pytestmark = pytest.mark.workflow

CONFIGURATION, INPUT, TOO_LITTLE, RESOURCES, BUG = 2, 3, 4, 5, 70


def table(path: Path) -> pd.DataFrame:
    return read_tsv(path)


# One bad subject does not stop the others -------------------------------------------------------------


def rows_of(world: World, subject: str) -> list[tuple[str, ...]]:
    rows = table(world.out / "exclusions.tsv")
    rows = rows[(rows["subject"] == subject) & (rows["stage"] != "design")]
    columns = ["session", "stage", "reason", "value", "limit"]
    return list(rows[columns].itertuples(index=False, name=None))


def test_a_truncated_image_is_a_row_that_names_the_file(faulty: World):
    (row,) = [r for r in rows_of(faulty, "01") if r[0] == "pre"]
    name = "sub-01_ses-pre_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    assert row[1:3] == ("project", "bad_input")
    assert row[3].startswith(f"{name}: ")
    assert "Fetch" in row[3]


def test_confounds_with_fewer_rows_are_a_row_with_both_numbers(faulty: World):
    (row,) = [r for r in rows_of(faulty, "01") if r[0] == "post"]
    assert row[1:3] == ("project", "bad_input")
    assert row[3].startswith("sub-01_ses-post_task-rest_desc-confounds_timeseries.tsv: 105 rows")
    assert "110 volumes" in row[3]


def test_a_missing_confound_column_is_a_row_with_the_column_and_what_could_run(faulty: World):
    (row,) = [r for r in rows_of(faulty, "02") if r[0] == "pre"]
    assert row[1:3] == ("project", "bad_input")
    assert "sub-02_ses-pre_task-rest_desc-confounds_timeseries.tsv" in row[3]
    assert "white_matter" in row[3]
    assert "compcor6" in row[3]


def test_too_little_data_is_a_row_per_floor_with_value_and_limit(faulty: World):
    rows = [r for r in rows_of(faulty, "02") if r[0] == "post"]
    found = {reason: (value, limit) for _, _, reason, value, limit in rows}
    assert found["too_few_seconds"] == ("100", "denoise.min_seconds 180")
    assert found["too_few_df"][1] == "denoise.min_df 25"
    assert 0 < int(found["too_few_df"][0]) < 25
    runs = table(faulty.out / "runs.tsv").set_index(["subject", "time_point"])
    assert tuple(runs.loc[("02", "post"), ["included", "reason"]]) == ("false", "too_few_seconds")
    assert runs.loc[("02", "post"), "df"] == found["too_few_df"][0]


def test_people_of_the_folder_or_the_table_alone_have_a_row(faulty: World):
    assert {r[2] for r in rows_of(faulty, "03")} == {"not_in_table"}
    assert {r[2] for r in rows_of(faulty, "99")} == {"no_run"}


def test_everybody_else_is_analysed_to_the_end(faulty: World):
    runs = table(faulty.out / "runs.tsv")
    good = {(s, p) for s in ("03", "04", "05", "06") for p in ("pre", "post")}
    included = runs[runs["included"] == "true"]
    assert set(zip(included["subject"], included["time_point"], strict=True)) == good
    matrix = table(faulty.out / "group" / "prepost" / "model-prepost_design.tsv")
    assert list(matrix["subject"]) == ["04", "05", "06"] * 2
    edges = table(faulty.out / "group" / "prepost" / "model-prepost_edges.tsv")
    assert list(dict.fromkeys(edges["contrast"])) == ["change", "changeFD"]
    edges = edges[edges["contrast"] == "change"]
    assert set(edges["n"]) == {"3"}
    assert len(edges) == len(REGIONS) * (len(REGIONS) - 1) // 2


def test_nothing_of_an_excluded_run_is_written(faulty: World):
    for subject, session in (("01", "pre"), ("01", "post"), ("02", "pre"), ("02", "post")):
        assert not list((faulty.out / f"sub-{subject}" / f"ses-{session}").rglob("*.*"))


def test_who_is_lost_to_a_model_has_a_row_that_says_why(faulty: World):
    rows = table(faulty.out / "exclusions.tsv")
    lost = rows[rows["stage"] == "design"].set_index("subject")["value"].to_dict()
    assert lost == dict.fromkeys(("01", "02", "99"), "prepost, change: no included run at pre and post")


def test_the_report_shows_the_rows_and_escapes_what_tables_say(faulty: World):
    page = (faulty.out / "report.html").read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for word in ("105 rows", "white_matter", "denoise.min_seconds 180"):
        assert word in page


# Nothing left -----------------------------------------------------------------------------------------


def test_when_everything_is_excluded_the_exit_code_is_4_and_the_reasons_are_counted(
    world: World, capsys: pytest.CaptureFixture[str]
):
    config = world.configure(
        datasets={"trial": {"subjects": ["05", "06"]}}, denoise={"min_df": 500}, models={}
    )
    ran = world.conn("run", config, "--cores", "2")
    sentence = "nothing is left to analyse: none of 4 runs is included (too_few_df 4)"
    assert ran.returncode == TOO_LITTLE
    assert sentence in ran.stderr
    assert set(table(world.out / "exclusions.tsv")["reason"]) == {"too_few_df"}
    assert not (world.out / "report.html").exists()
    assert main(["check", str(config)]) == TOO_LITTLE
    said = capsys.readouterr().err
    assert sentence in said
    assert "4 foreseen before the images are read: 4 too_few_df" in said


def test_when_no_run_can_be_tried_nothing_is_computed(world: World, capsys: pytest.CaptureFixture[str]):
    for mask in world.derivatives.rglob("*desc-brain_mask.nii.gz"):
        mask.unlink()
    config = world.configure()
    for command in (["check"], ["run", "--cores", "1"]):
        assert main([command[0], str(config), *command[1:]]) == TOO_LITTLE
        assert "none of 12 runs is included (no_mask 12)" in capsys.readouterr().err
    assert not world.out.exists()


# Wrong configurations, tables and designs -------------------------------------------------------------


def edit(path: Path, change: Callable[[str], str]) -> None:
    replace(path, change(path.read_text()))


def twice(text: str) -> str:
    return text + text.splitlines(keepends=True)[2]


def without_scores(text: str) -> str:
    rows = [line.split("\t") for line in text.splitlines()]
    return "".join("\t".join([*row[:-1], "n/a" if n else row[-1]]) + "\n" for n, row in enumerate(rows))


PREPOST = SETTINGS["models"]["prepost"]
ARMS = SETTINGS["models"]["armbytime"]

WRONG: dict[str, tuple[dict[str, Any], Callable[[World], None] | None, int, str]] = {
    "misspelt key": ({"denoisee": {}}, None, CONFIGURATION, "denoisee: unknown key; did you mean 'denoise'?"),
    "unknown region": (
        {"rois": {"use": ["sgACC", "insulla"]}},
        None,
        CONFIGURATION,
        "rois.use: unknown region 'insulla'; did you mean",
    ),
    "hostile label": (
        {
            "rois": {
                "custom": {"x; touch PWNED": {"center": [0.0, 0.0, 0.0], "radius_mm": 4.0, "space": "MNI152"}}
            }
        },
        None,
        CONFIGURATION,
        "letters and digits only",
    ),
    "mask that is not there": (
        {"rois": {"custom": {"mine": {"mask": "mine.nii.gz", "space": "MNI152"}}}},
        None,
        CONFIGURATION,
        "rois.custom.mine.mask: there is no file 'mine.nii.gz'",
    ),
    "results into the data": (
        {"out": "../data"},
        None,
        CONFIGURATION,
        "out: '../data' is datasets.trial.bids_dir",
    ),
    "folder that is not there": (
        {"datasets": {"trial": {"bids_dir": "../date"}}},
        None,
        CONFIGURATION,
        "datasets.trial.bids_dir: there is no folder '../date'",
    ),
    "time point nobody has": (
        {"datasets": {"trial": {"time_points": {"labels": {"pre": ["pre"], "post": ["week8"]}}}}},
        None,
        CONFIGURATION,
        "time_points.labels.post: no run has ses week8",
    ),
    "time point of a model nobody has": (
        {"models": {"prepost": {**PREPOST, "after": "week8"}}},
        None,
        CONFIGURATION,
        "models.prepost.after = 'week8': no such time point",
    ),
    "duplicate rows": (
        {},
        lambda w: edit(w.data / "participants.tsv", twice),
        INPUT,
        "rows 3 and 8 are both sub-02",
    ),
    "table that is not there": (
        {"clinical": {"tables": [{"path": "phenotype/scores.tsv"}]}},
        None,
        INPUT,
        "phenotype/scores.tsv: the table is not there",
    ),
    "column that is not there": (
        {"clinical": {"variables": {"arm": {"column": "ram", "kind": "category"}}}},
        None,
        CONFIGURATION,
        "clinical.variables.arm.column: there is no column 'ram'",
    ),
    "response on a scale that is all n/a": (
        {},
        lambda w: edit(w.data / "participants.tsv", without_scores),
        CONFIGURATION,
        "clinical.response: the rule gives n/a for all 6 subjects",
    ),
    "empty cell": (
        {"models": {"m": {**ARMS, "levels": ["drug", "sham"]}}},
        None,
        CONFIGURATION,
        "models.m.levels: no subject has arm = 'sham'; the levels are drug (3), placebo (3)",
    ),
    "cell that the subset empties": (
        {"models": {"m": {**ARMS, "subset": {"arm": ["drug"]}}}},
        None,
        CONFIGURATION,
        "models.m: the cell arm = 'placebo' is empty",
    ),
    "covariate that is the group": (
        {"models": {"m": {**ARMS, "covariates": ["arm"]}}},
        None,
        CONFIGURATION,
        "arm",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_said_before_anything_is_computed(
    world: World, name: str, capsys: pytest.CaptureFixture[str]
):
    changes, change, code, message = WRONG[name]
    if change is not None:
        change(world)
    config = world.configure(**changes)
    before = {path for path in world.folder.rglob("*") if "source tree" not in path.parts}
    for command in (["check"], ["run", "--cores", "1"], ["run", "--dry-run"]):
        assert main([command[0], str(config), *command[1:]]) == code
        said = capsys.readouterr()
        assert message in said.err
        assert "Traceback" not in said.err
    assert {path for path in world.folder.rglob("*") if "source tree" not in path.parts} == before


def test_an_unquoted_number_for_a_label_is_refused(world: World, capsys: pytest.CaptureFixture[str]):
    config = world.configure(datasets={"trial": {"subjects": ["05"]}})
    text = config.read_text()
    assert "'05'" in text
    config.write_text(text.replace("'05'", "007"))
    for command in ("check", "run"):
        assert main([command, str(config)]) == CONFIGURATION
        assert "datasets.trial.subjects[0]: 007 was read as a number; write it in quotes: '007'" in (
            capsys.readouterr().err
        )
    assert not world.out.exists()


def test_snakemake_says_the_same_without_a_traceback(world: World):
    config = world.configure(datasets={"trial": {"bids_dir": "../date"}})
    ran = world.call(["snakemake", "--configfile", config, "--cores", "1"], world.clone)
    assert ran.returncode != 0
    assert "datasets.trial.bids_dir: there is no folder '../date'" in ran.stderr + ran.stdout
    assert "study.py" not in ran.stderr + ran.stdout
    assert not world.out.exists()


def test_a_mistake_that_only_shows_in_a_job_has_its_exit_class_and_its_log(world: World):
    config = world.configure(
        datasets={"trial": {"subjects": ["05"], "time_points": {"labels": {"pre": ["pre"]}}}},
        clinical={"endpoint": "pre", "scales": {}, "response": None},
        rois={"custom": {"mine": {"mask": "mine.nii.gz", "space": "MNI152"}}},
        models={},
        report={"truth": None},
    )
    (world.study / "mine.nii.gz").write_bytes(b"no image at all")
    ran = world.conn("run", config, "--cores", "1")
    assert ran.returncode == INPUT
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: measure/sub05")
    assert "mine.nii.gz: ends in .gz but is not gzip data" in line
    log = line.split("(log: ")[1].rstrip(")")
    assert "mine.nii.gz" in (world.out / log).read_text()
    assert not list(world.out.glob("cache/measure/*.json"))
    said = world.conn("status", config)
    assert said.returncode == 1
    assert line in said.stdout


# A person is one row ----------------------------------------------------------------------------------


@pytest.fixture
def tables(finished: World, tmp_path: Path) -> Path:
    """The run table and the cohort of the finished study, to be spoilt."""
    for path in (paths.RUNS, paths.COHORT):
        shutil.copyfile(finished.out / path, tmp_path / path)
    return tmp_path


BETWEEN = TwoSample(design="two_sample", at="pre", group="arm", levels=("drug", "placebo"))


def test_both_sessions_of_a_person_cannot_be_rows_of_a_between_subject_test(tables: Path):
    clinical = Clinical.model_validate(SETTINGS["clinical"], strict=False)
    edit(tables / paths.COHORT, lambda text: text.replace("\tpost\t", "\tpre\t"))
    with pytest.raises(
        DesignError, match=r"sub-01 of trial has two rows at time point 'pre'.*not independent"
    ):
        design(tables, "m", BETWEEN, clinical, Inference())
    assert not (tables / "group").exists()


def test_two_sessions_under_one_label_are_one_row_that_combines_them(world: World):
    labels = {"scan": ["pre", "post"]}
    clinical = {"baseline": "scan", "endpoint": "scan", "scales": {}, "response": None}
    between = {"design": "two_sample", "at": "scan", "group": "arm", "levels": ["drug", "placebo"]}
    config = world.configure(
        datasets={"trial": {"time_points": {"labels": labels}}},
        clinical=clinical,
        models={"between": between},
        report={"truth": None},
    )
    said = world.conn("check", config)
    assert said.returncode == 0, said.stderr
    assert "6 subjects (drug 3, placebo 3)" in said.stdout
    assert "6 of 6 subjects and time points have several runs" in said.stdout


def test_people_outside_a_subset_are_no_exclusions_but_people_lost_from_it_are(tables: Path):
    clinical = Clinical.model_validate(SETTINGS["clinical"], strict=False)
    cohort = read_tsv(tables / paths.COHORT)
    drug = sorted(set(cohort.loc[cohort["arm"] == "drug", "subject"]))
    cohort.loc[cohort["subject"] == drug[0], "arm"] = "n/a"
    write_tsv(tables / paths.COHORT, cohort)
    write_json(tables / paths.COHORT_NOTES, {"exclusions": [], "notes": []})
    model = Paired(design="paired", before="pre", after="post", subset={"arm": ("drug", "both")})
    with pytest.raises(DesignError, match="2 subjects can be rows"):
        design(tables, "m", model, clinical, Inference())
    wider = Paired(design="paired", before="pre", after="post", subset={"arm": ("drug", "placebo")})
    design(tables, "m", wider, clinical, Inference())
    gather(tables, Index((), (), ()), ["m"])
    (row,) = table(tables / paths.EXCLUSIONS).to_dict("records")
    assert (row["subject"], row["stage"], row["reason"]) == (drug[0], "design", "not_in_model")
    assert row["value"] == "m, change: arm is missing"


def test_a_design_lists_everybody_and_says_whom_it_did_not_ask_for(tables: Path):
    clinical = Clinical.model_validate(SETTINGS["clinical"], strict=False)
    model = Paired(design="paired", before="pre", after="post", subset={"arm": ("drug",)})
    made = design(tables, "m", model, clinical, Inference())
    write_json(tables / paths.COHORT_NOTES, {"exclusions": [], "notes": []})
    gather(tables, Index((), (), ()), ["m"])
    assert len(made.contrasts[0].dropped) == 3
    assert table(tables / paths.EXCLUSIONS).empty
    listed = json.loads((tables / paths.design_json("m")).read_text())["contrasts"][0]["dropped"]
    assert [entry["asked_for"] for entry in listed] == [False] * 3


# Resources --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("OSError(28, 'No space left on device', 'Y.npy')", RESOURCES, "No space left on device: Y.npy"),
        ("MemoryError()", RESOURCES, "not enough memory"),
        ("ZeroDivisionError('oh')", BUG, "a bug of conn: ZeroDivisionError: oh"),
        ("InputError('x.tsv: is bad')", INPUT, "x.tsv: is bad"),
    ],
)
def test_a_job_that_fails_leaves_a_note_with_its_class(world: World, raised: str, code: int, words: str):
    script = world.folder / "fails.py"
    script.write_text(
        "from pathlib import Path\nfrom conn.errors import InputError\nfrom conn.jobs import job\n"
        f"with job(Path('logs/project/run1.log')):\n    raise {raised}\n"
    )
    world.study.mkdir()
    ran = world.call([script], world.study)
    assert ran.returncode == code
    note = json.loads((world.study / "logs" / "errors" / "project_run1.json").read_text())
    assert (note["exit_code"], note["job"]) == (code, "project/run1")
    assert words in note["message"]
    assert note["message"] in ran.stderr


def test_an_output_folder_that_cannot_be_made_is_a_matter_of_resources(
    world: World, capsys: pytest.CaptureFixture[str]
):
    config = world.configure(out="taken/results", report={"truth": None})
    (world.study / "taken").write_text("a file")
    assert main(["run", str(config)]) == RESOURCES
    assert "out: 'taken/results' cannot be written" in capsys.readouterr().err
