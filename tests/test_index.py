"""The index: what is there, what is left out, and what is said about it."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from conn.config.model import Config
from conn.errors import ConfigError, InputError
from conn.index import Index, Run, build_index, dataset_roots, run_from_record, run_to_record

SPACE = "MNI152NLin2009cAsym"


def grow(root: Path, paths: Iterable[str]) -> None:
    """A tree of empty files."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def derived(prefix: str, space: str = f"space-{SPACE}_res-2", confounds: str = "timeseries") -> list[str]:
    """Files that fMRIPrep writes for a run, such as ``sub-01/ses-pre/func/sub-01_ses-pre_task-rest``."""
    return [
        f"{prefix}_{space}_desc-preproc_bold.nii.gz",
        f"{prefix}_{space}_desc-preproc_bold.json",
        f"{prefix}_{space}_desc-brain_mask.nii.gz",
        f"{prefix}_{space}_boldref.nii.gz",
        f"{prefix}_desc-confounds_{confounds}.tsv",
        f"{prefix}_desc-confounds_{confounds}.json",
    ]


def prefix(subject: str, session: str | None = None, rest: str = "task-rest") -> str:
    if session is None:
        return f"sub-{subject}/func/sub-{subject}_{rest}"
    return f"sub-{subject}/ses-{session}/func/sub-{subject}_ses-{session}_{rest}"


def trial(root: Path, subjects: str = "01 02", sessions: str = "pre post") -> Path:
    """A small trial in `root`/raw, with derivatives in their usual place."""
    raw = root / "raw"
    runs = [prefix(s, t) for s in subjects.split() for t in sessions.split()]
    grow(raw, [f"{run}_bold.nii.gz" for run in runs])
    grow(raw / "derivatives/fmriprep", [file for run in runs for file in derived(run)])
    table(raw / "participants.tsv", "participant_id", *(f"sub-{s}" for s in subjects.split()))
    made_by(raw / "derivatives/fmriprep", "fMRIPrep", "24.1.1")
    return raw


def made_by(folder: Path, name: str, version: str) -> None:
    described = {"Name": "x", "BIDSVersion": "1.8.0", "GeneratedBy": [{"Name": name, "Version": version}]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps(described))


def table(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def index(root: Path, **dataset: Any) -> Index:
    return build_index(Config.model_validate({"datasets": {"main": {"bids_dir": "raw", **dataset}}}), root)


def by_time_point(found: Index) -> dict[str | None, int]:
    return dict(Counter(run.time_point for run in found.runs))


def reasons(found: Index) -> dict[str, int]:
    return dict(Counter(exclusion.reason for exclusion in found.exclusions))


def test_a_plain_trial_is_found_whole(tmp_path):
    raw = trial(tmp_path)
    found = index(tmp_path)
    assert [(r.subject, r.session, r.time_point) for r in found.runs] == [
        ("01", "post", "post"),
        ("01", "pre", "pre"),
        ("02", "post", "post"),
        ("02", "pre", "pre"),
    ]
    assert found.exclusions == ()
    assert found.notes == ()
    run = found.runs[1]
    assert run.name == f"sub-01_ses-pre_task-rest_space-{SPACE}_res-2"
    func = raw / "derivatives/fmriprep/sub-01/ses-pre/func"
    assert run.bold == func / f"{run.name}_desc-preproc_bold.nii.gz"
    assert run.mask == func / f"{run.name}_desc-brain_mask.nii.gz"
    assert run.confounds == func / "sub-01_ses-pre_task-rest_desc-confounds_timeseries.tsv"
    assert run.path == f"sub-01/ses-pre/func/{run.name}_desc-preproc_bold.nii.gz"


def test_keys_are_readable_and_different_and_fit_a_wildcard(tmp_path):
    trial(tmp_path)
    config = {"bids_dir": "raw"}
    twice = Config.model_validate({"datasets": {"one": config, "two": config}})
    keys = [run.key for run in build_index(twice, tmp_path).runs]
    assert len(set(keys)) == 8
    assert all(re.fullmatch(r"[A-Za-z0-9]+", key) for key in keys)
    assert re.fullmatch(r"sub01sespretaskrestx[0-9a-f]{6}", keys[1])
    assert keys == [run.key for run in build_index(twice, tmp_path).runs]


def test_a_run_survives_json(tmp_path):
    raw = trial(tmp_path)
    (raw / "derivatives/fmriprep" / f"{prefix('01', 'pre')}_desc-confounds_timeseries.tsv").unlink()
    for run in index(tmp_path).runs:
        again = run_from_record(json.loads(json.dumps(run_to_record(run))))
        assert again == run
        assert isinstance(again, Run)


def test_derivatives_may_stand_anywhere(tmp_path):
    trial(tmp_path)
    (tmp_path / "raw/derivatives/fmriprep").rename(tmp_path / "a folder's output")
    config = Config.model_validate(
        {"datasets": {"main": {"bids_dir": "raw", "derivatives": "a folder's output"}}}
    )
    assert len(build_index(config, tmp_path).runs) == 4
    roots = dataset_roots(config.datasets["main"], tmp_path)
    assert roots == (tmp_path / "raw", tmp_path / "a folder's output")


def test_old_names_of_confounds_are_found_and_new_ones_win(tmp_path):
    raw = trial(tmp_path, subjects="01", sessions="pre")
    done = raw / "derivatives/fmriprep"
    grow(done, [f"{prefix('01', 'pre')}_desc-confounds_regressors.tsv"])
    assert index(tmp_path).runs[0].confounds.name.endswith("_timeseries.tsv")
    (done / f"{prefix('01', 'pre')}_desc-confounds_timeseries.tsv").unlink()
    assert index(tmp_path).runs[0].confounds.name.endswith("_regressors.tsv")


def test_uncompressed_images_are_images_and_files_of_macos_are_not(tmp_path):
    raw = trial(tmp_path, subjects="01", sessions="pre")
    done = raw / "derivatives/fmriprep"
    name = f"{prefix('01', 'pre')}_space-{SPACE}_res-2_desc-preproc_bold.nii"
    (done / f"{name}.gz").rename(done / name)
    grow(done, ["sub-01/ses-pre/func/._" + Path(name).name, "._sub-01", "sub-01/._ses-pre"])
    found = index(tmp_path)
    assert [run.bold for run in found.runs] == [done / name]
    grow(done, [f"{name}.gz"])
    found = index(tmp_path)
    assert [run.bold for run in found.runs] == [done / f"{name}.gz"]
    assert f"there twice, as .nii and .nii.gz; the compressed ones are used: {name}.gz" in found.notes[0]


def test_other_tasks_and_spaces_are_left_alone(tmp_path):
    raw = trial(tmp_path)
    done = raw / "derivatives/fmriprep"
    grow(done, derived(prefix("01", "pre"), space="space-T1w"))
    grow(done, derived(prefix("01", "pre", "task-nback")))
    grow(done, [f"{prefix('01', 'pre')}_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz"])
    assert len(index(tmp_path).runs) == 4
    assert len(index(tmp_path, task=("rest", "nback")).runs) == 5


@pytest.mark.parametrize(
    ("dataset", "key", "words"),
    [
        ({"task": "rset"}, "datasets.main.task", "there are: rest"),
        ({"bids_dir": "rwa"}, "datasets.main.bids_dir", "'rwa'"),
        ({"derivatives": "raw/der/fmriprep"}, "datasets.main.derivatives", "'raw/der/fmriprep'"),
        ({"derivatives": "raw/derivatives"}, "main.derivatives", "Did you mean raw/derivatives/fmriprep"),
        ({"subjects": ("01", "1")}, "datasets.main.subjects", "1 is neither a folder"),
        ({"res": "1"}, "datasets.main.res", "2 (4 images)"),
        ({"filters": {"acq": "mb4"}}, "datasets.main.filters.acq", "values there: none"),
        ({"space": "MNI152NLin6Asym"}, "datasets.main.space", f"{SPACE} (4 images)"),
        ({"time_points": {"labels": {"pre": ("pre",), "end": ("pots",)}}}, "labels.end", "post (2 runs)"),
        ({"time_points": {"by": "acq"}}, "datasets.main.time_points.by", "'acq'"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named_with_what_is_there(tmp_path, dataset, key, words):
    trial(tmp_path)
    with pytest.raises(ConfigError) as error:
        index(tmp_path, **dataset)
    assert key in str(error.value)
    assert words in str(error.value)


def test_several_resolutions_need_a_choice(tmp_path):
    raw = trial(tmp_path)
    runs = [prefix(s, t) for s in ("01", "02") for t in ("pre", "post")]
    grow(raw / "derivatives/fmriprep", [f for r in runs for f in derived(r, f"space-{SPACE}")])
    with pytest.raises(ConfigError, match=r"datasets\.main\.res: several resolutions") as error:
        index(tmp_path)
    assert "native (no res entity, 4 images), 2 (4 images)" in str(error.value)
    assert {run.entities.get("res") for run in index(tmp_path, res="2").runs} == {"2"}
    assert {run.entities.get("res") for run in index(tmp_path, res="res-2").runs} == {"2"}
    native = index(tmp_path, res="native").runs
    assert {run.entities.get("res") for run in native} == {None}
    assert all("res-" not in run.mask.name for run in native)


def test_images_that_differ_in_something_else_need_a_filter(tmp_path):
    raw = trial(tmp_path, subjects="01", sessions="pre")
    for cohort in "12":
        grow(raw / "derivatives/fmriprep", derived(prefix("01", "pre"), f"space-MNIInfant_cohort-{cohort}"))
    with pytest.raises(ConfigError, match=r"datasets\.main\.filters.*differ in cohort.*1, 2"):
        index(tmp_path, space="MNIInfant")
    found = index(tmp_path, space="MNIInfant", filters={"cohort": "2"})
    assert [run.entities["cohort"] for run in found.runs] == ["2"]
    assert found.exclusions == ()


def test_only_subject_space_is_an_input_error_with_the_options_of_fmriprep(tmp_path):
    grow(tmp_path / "raw", [f"{prefix('01')}_bold.nii.gz"])
    grow(tmp_path / "raw/derivatives/fmriprep", derived(prefix("01"), "space-T1w"))
    with pytest.raises(InputError, match=r"T1w \(1 images\)") as error:
        index(tmp_path, res="1")
    assert f"--output-spaces {SPACE}:res-1" in str(error.value)


def test_filters_apply_to_raw_images_too(tmp_path):
    raw = tmp_path / "raw"
    for acq in ("mb1", "mb4", "mb8"):
        grow(raw, [f"{prefix('01', None, f'task-rest_acq-{acq}')}_bold.nii.gz"])
        if acq != "mb8":
            grow(raw / "derivatives/fmriprep", derived(prefix("01", None, f"task-rest_acq-{acq}")))
    found = index(tmp_path, filters={"acq": ("mb4", "mb8")})
    assert [(run.entities["acq"], run.bold is None) for run in found.runs] == [("mb4", False), ("mb8", True)]


def test_echoes_of_one_run_are_one_run(tmp_path):
    raw = tmp_path / "raw"
    for run in ("1", "2"):
        grow(
            raw,
            [f"{prefix('01', None, f'task-rest_run-{run}')}_echo-{e}_part-mag_bold.nii.gz" for e in "123"],
        )
    grow(raw / "derivatives/fmriprep", derived(prefix("01", None, "task-rest_run-1")))
    found = index(tmp_path)
    assert [run.entities["run"] for run in found.runs] == ["1", "2"]
    assert [e.reason for e in found.exclusions] == ["no_derivative"]
    assert found.exclusions[0].value == (
        f"sub-01/func/sub-01_task-rest_run-2_space-{SPACE}_res-2_desc-preproc_bold.nii.gz"
    )


@pytest.mark.parametrize(
    ("lost", "reason"),
    [("desc-brain_mask.nii.gz", "no_mask"), ("desc-confounds_timeseries.tsv", "no_confounds")],
)
def test_a_run_without_mask_or_confounds_is_excluded_and_others_go_on(tmp_path, lost, reason):
    raw = trial(tmp_path)
    place = f"_space-{SPACE}_res-2_{lost}" if "mask" in lost else f"_{lost}"
    (raw / "derivatives/fmriprep" / f"{prefix('02', 'pre')}{place}").unlink()
    found = index(tmp_path)
    (exclusion,) = found.exclusions
    assert (exclusion.reason, exclusion.subject, exclusion.session) == (reason, "02", "pre")
    assert exclusion.value == f"{prefix('02', 'pre')}{place}"
    (run,) = [run for run in found.runs if run.exclusion is not None]
    assert run.exclusion == exclusion
    assert exclusion.run == run.key
    assert run.time_point == "pre"


def test_a_raw_run_that_was_never_preprocessed_is_a_row(tmp_path):
    raw = trial(tmp_path)
    grow(raw, [f"{prefix('02', 'late')}_bold.nii.gz", f"{prefix('02', 'json')}_bold.json"])
    (raw / f"{prefix('02', 'link')}_bold.nii.gz").parent.mkdir(parents=True)
    (raw / f"{prefix('02', 'link')}_bold.nii.gz").symlink_to("../../.git/annex/objects/none")
    found = index(tmp_path)
    assert [(e.reason, e.session) for e in found.exclusions] == [
        ("no_derivative", "late"),
        ("no_derivative", "link"),
    ]
    assert sum(run.bold is None for run in found.runs) == 2
    assert len(found.runs) == 6


def test_a_subject_with_another_space_only_is_not_lost(tmp_path):
    raw = trial(tmp_path)
    grow(raw / "derivatives/fmriprep", derived(prefix("03", "pre"), "space-MNI152NLin6Asym"))
    grow(raw / "derivatives/fmriprep", [f"{prefix('04', 'pre')}_desc-hmc_boldref.nii.gz"])
    found = index(tmp_path)
    lost = {e.subject for e in found.exclusions if e.reason == "no_derivative"}
    assert lost == {"03", "04"}


def test_links_of_git_annex_to_nowhere_are_not_fetched(tmp_path):
    raw = trial(tmp_path)
    done = raw / "derivatives/fmriprep"
    bold = done / f"{prefix('01', 'pre')}_space-{SPACE}_res-2_desc-preproc_bold.nii.gz"
    bold.unlink()
    bold.symlink_to("../../../.git/annex/objects/xx/MD5E-s1.nii.gz")
    pointer = done / f"{prefix('02', 'pre')}_desc-confounds_timeseries.tsv"
    pointer.write_text("/annex/objects/MD5E-s123--0123.tsv\n")
    found = index(tmp_path)
    assert reasons(found) == {"not_fetched": 2}
    assert [e.value for e in found.exclusions] == [
        str(bold.relative_to(done)),
        str(pointer.relative_to(done)),
    ]
    (note,) = found.notes
    assert f"datalad get {bold.relative_to(done)} {pointer.relative_to(done)}" in note


def test_many_unfetched_files_make_a_short_command(tmp_path):
    raw = trial(tmp_path)
    done = raw / "derivatives/fmriprep"
    for image in done.rglob("*_res-2_desc-*.nii.gz"):
        image.unlink()
        image.symlink_to("../../../.git/annex/objects/none")
    found = index(tmp_path)
    assert reasons(found) == {"not_fetched": 4}
    command = found.notes[0].partition("datalad get ")[2].split()
    assert command == [
        f"sub-*/ses-*/func/sub-*_ses-*_task-rest_space-{SPACE}_res-2_desc-brain_mask.nii.gz",
        f"sub-*/ses-*/func/sub-*_ses-*_task-rest_space-{SPACE}_res-2_desc-preproc_bold.nii.gz",
    ]
    assert sum(len(list(done.glob(pattern))) for pattern in command) == 8


def test_links_to_files_that_are_there_are_files(tmp_path):
    raw = trial(tmp_path)
    (raw / "derivatives/fmriprep/sub-01").rename(tmp_path / "elsewhere")
    (raw / "derivatives/fmriprep/sub-01").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = index(tmp_path)
    assert len(found.runs) == 4
    assert found.exclusions == ()


def test_a_file_in_the_folder_of_another_subject_is_not_used(tmp_path):
    raw = trial(tmp_path)
    name = Path(derived(prefix("01", "late"))[0]).name
    grow(raw / "derivatives/fmriprep", [f"sub-02/ses-late/func/{name}"])
    found = index(tmp_path)
    assert len(found.runs) == 4
    assert "name and folder disagree" in found.notes[0]
    assert f"sub-02/ses-late/func/{name}" in found.notes[0]


# -- time points


def test_labels_collect_sessions_and_others_are_excluded_with_what_was_found(tmp_path):
    trial(tmp_path, sessions="b0 d2 d10 p2")
    labels = {"before": ("ses-b0",), "drug": ("d2", "d10")}
    found = index(tmp_path, time_points={"labels": labels})
    assert by_time_point(found) == {"before": 2, "drug": 4, None: 2}
    assert {(e.reason, e.value, e.limit) for e in found.exclusions} == {
        ("no_time_point", "ses-p2", "b0, d2, d10")
    }
    assert any("2 of 4 subjects and time points have several runs" in note for note in found.notes)


def test_without_sessions_there_is_one_time_point(tmp_path):
    grow(tmp_path / "raw/derivatives/fmriprep", derived(prefix("01")))
    assert by_time_point(index(tmp_path)) == {"all": 1}


def test_a_run_without_the_entity_has_no_time_point(tmp_path):
    grow(tmp_path / "raw/derivatives/fmriprep", [*derived(prefix("01")), *derived(prefix("02", "pre"))])
    found = index(tmp_path)
    assert by_time_point(found) == {None: 1, "pre": 1}
    assert found.runs[0].exclusion is not None
    assert found.runs[0].exclusion.value == "n/a"


@pytest.mark.parametrize("entity", ["task", "acq", "run", "dir", "rec"])
def test_any_entity_can_name_the_time_point(tmp_path, entity):
    tasks = ("restA", "restB") if entity == "task" else ("rest",)
    rest = (
        [f"task-{task}" for task in tasks] if entity == "task" else [f"task-rest_{entity}-{v}" for v in "12"]
    )
    grow(tmp_path / "raw/derivatives/fmriprep", [f for r in rest for f in derived(prefix("01", None, r))])
    found = index(tmp_path, task=tasks, time_points={"by": entity})
    expected = {"restA", "restB"} if entity == "task" else {f"{entity}1", f"{entity}2"}
    assert {run.time_point for run in found.runs} == expected
    values = {"restA": "a", "restB": "b"} if entity == "task" else {"1": "a", "2": "b"}
    labels = {label: (value,) for value, label in values.items()}
    found = index(tmp_path, task=tasks, time_points={"by": entity, "labels": labels})
    assert [run.time_point for run in found.runs] == ["a", "b"]


def test_run_1_and_run_01_stay_as_written(tmp_path):
    done = tmp_path / "raw/derivatives/fmriprep"
    grow(
        done, derived(prefix("01", None, "task-rest_run-1")) + derived(prefix("02", None, "task-rest_run-01"))
    )
    found = index(tmp_path, time_points={"by": "run"})
    assert [run.time_point for run in found.runs] == ["run1", "run01"]
    assert any("taken as different" in note for note in found.notes)
    found = index(tmp_path, time_points={"by": "run", "labels": {"first": ("1", "01")}})
    assert by_time_point(found) == {"first": 2}


COLUMN = {"by": "column", "table": "sub-{subject}/sub-{subject}_sessions.tsv", "column": "drug"}


def test_a_sessions_table_per_subject_names_the_time_point(tmp_path):
    raw = trial(tmp_path, sessions="1 2 3")
    table(
        raw / "sub-01/sub-01_sessions.tsv",
        "session_id\tdrug",
        "ses-1\tketamine",
        "ses-2\tplacebo",
        "ses-3\tn/a",
    )
    table(raw / "sub-02/sub-02_sessions.tsv", "session_id\tdrug", "ses-2\tketamine", "ses-1\tplacebo")
    found = index(tmp_path, time_points=COLUMN)
    assert [(r.subject, r.session, r.time_point) for r in found.runs] == [
        ("01", "1", "ketamine"), ("01", "2", "placebo"), ("01", "3", None),
        ("02", "1", "placebo"), ("02", "2", "ketamine"), ("02", "3", None),
    ]  # fmt: skip
    assert reasons(found) == {"no_time_point": 2}


def test_a_subject_without_the_table_loses_its_runs_and_others_go_on(tmp_path):
    raw = trial(tmp_path, sessions="1")
    table(raw / "sub-01/sub-01_sessions.tsv", "session_id\tdrug", "ses-1\tketamine")
    found = index(tmp_path, time_points=COLUMN)
    assert by_time_point(found) == {"ketamine": 1, None: 1}


def test_one_table_for_all_names_the_time_point(tmp_path):
    raw = trial(tmp_path, sessions="1 2")
    table(
        raw / "phenotype/order.tsv",
        "participant_id\tsession_id\tphase",
        "sub-01\tses-1\tweek 0", "01\t2\tweek 8", "sub-02\tses-1\tweek 8", "sub-02\tses-2\tweek 0",
    )  # fmt: skip
    points = {"by": "column", "table": "phenotype/order.tsv", "column": "phase"}
    assert [r.time_point for r in index(tmp_path, time_points=points).runs] == [
        "week0",
        "week8",
        "week8",
        "week0",
    ]
    points |= {"labels": {"pre": ("week 0",), "post": ("week 8",)}}
    assert [r.time_point for r in index(tmp_path, time_points=points).runs] == ["pre", "post", "post", "pre"]


def test_a_scans_table_names_the_time_point_by_file(tmp_path):
    raw = trial(tmp_path, subjects="01", sessions="1")
    grow(raw / "derivatives/fmriprep", derived(prefix("01", "1", "task-rest_run-2")))
    table(
        raw / "sub-01/ses-1/sub-01_ses-1_scans.tsv",
        "filename\tphase",
        "anat/sub-01_ses-1_T1w.nii.gz\tn/a",
        "func/sub-01_ses-1_task-rest_bold.nii.gz\tbefore",
        "func/sub-01_ses-1_task-rest_run-2_bold.nii.gz\tafter",
    )
    path = "sub-{subject}/ses-{session}/sub-{subject}_ses-{session}_scans.tsv"
    found = index(tmp_path, time_points={"by": "column", "table": path, "column": "phase"})
    assert {(r.entities.get("run"), r.time_point) for r in found.runs} == {(None, "before"), ("2", "after")}


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (None, ConfigError, r"time_points\.table: .* is not in bids_dir"),
        (("participant_id\tarm", "sub-01\ta"), ConfigError, r"time_points\.column: .* no column 'drug'"),
        (("name\tdrug", "sub-01\ta"), ConfigError, "neither a participant_id nor a filename"),
        (("participant_id\tdrug", "sub-01\ta", "01\tb"), InputError, "row 3 repeats 01"),
    ],
)
def test_a_table_that_cannot_name_time_points_is_refused(tmp_path, rows, error, words):
    raw = trial(tmp_path)
    if rows is not None:
        table(raw / "order.tsv", *rows)
    with pytest.raises(error, match=words):
        index(tmp_path, time_points={"by": "column", "table": "order.tsv", "column": "drug"})


# -- participants


def test_subjects_of_table_and_folders_are_compared_as_written(tmp_path):
    raw = trial(tmp_path, subjects="01 02 03")
    table(raw / "participants.tsv", "participant_id", "sub-01", "2", "04", "n/a")
    found = index(tmp_path)
    assert {(e.subject, e.reason, e.run) for e in found.exclusions} == {
        ("2", "no_run", "n/a"),
        ("04", "no_run", "n/a"),
    }
    assert all(run.exclusion is None for run in found.runs)
    notes = " ".join(found.notes)
    assert "with runs but not in participants.tsv: 02, 03." in notes
    assert "without a run: 04, 2." in notes
    assert "folder '02', table '2'" in notes


def test_only_the_chosen_subjects_are_looked_at(tmp_path):
    raw = trial(tmp_path, subjects="01 02 03")
    table(raw / "participants.tsv", "participant_id", "sub-01", "sub-02", "sub-03", "sub-04")
    found = index(tmp_path, subjects=("sub-02", "04"))
    assert {run.subject for run in found.runs} == {"02"}
    assert [(e.subject, e.reason) for e in found.exclusions] == [("04", "no_run")]


def test_a_data_set_without_participants_table_is_usable(tmp_path):
    raw = trial(tmp_path)
    (raw / "participants.tsv").unlink()
    found = index(tmp_path)
    assert len(found.runs) == 4
    assert "participants.tsv is not there" in found.notes[0]


# -- producers


@pytest.mark.parametrize(("version", "words"), [("25.1.3", "nipreps/fmriprep#3508"), ("23.2.0", "#3238")])
def test_a_version_known_to_be_bad_is_named(tmp_path, version, words):
    raw = trial(tmp_path)
    made_by(raw / "derivatives/fmriprep", "fMRIPrep", version)
    (note,) = index(tmp_path).notes
    assert f"fMRIPrep {version}" in note
    assert words in note


def test_nothing_that_is_printed_holds_a_path_of_this_machine(tmp_path):
    raw = trial(tmp_path)
    grow(raw, [f"{prefix('05', 'pre')}_bold.nii.gz"])
    bold = (
        raw / "derivatives/fmriprep" / f"{prefix('01', 'pre')}_space-{SPACE}_res-2_desc-preproc_bold.nii.gz"
    )
    bold.unlink()
    bold.symlink_to("nowhere")
    (raw / "derivatives/fmriprep/dataset_description.json").unlink()
    found = index(tmp_path, bids_dir=str(raw), derivatives=str(raw / "derivatives/fmriprep"))
    assert len(found.notes) == 3
    assert str(tmp_path) not in repr(found.exclusions) + repr(found.notes)


def test_confounds_missing_everywhere_is_an_error_about_levels(tmp_path):
    raw = trial(tmp_path)
    for file in (raw / "derivatives/fmriprep").rglob("*confounds*"):
        file.unlink()
    with pytest.raises(InputError, match=r"4 preprocessed runs.*no confounds table.*--level minimal"):
        index(tmp_path)


def test_images_in_the_naming_of_old_fmriprep_are_recognised(tmp_path):
    name = f"sub-01_task-rest_bold_space-{SPACE}_preproc.nii.gz"
    grow(tmp_path / "raw", [f"{prefix('01')}_bold.nii.gz", f"derivatives/fmriprep/sub-01/func/{name}"])
    with pytest.raises(InputError, match=r"fMRIPrep 1\.1 or older"):
        index(tmp_path)


# -- real layouts


def listed(shared_data: Path, name: str) -> list[str]:
    with gzip.open(shared_data / name / "FILES.txt.gz", "rt") as stream:
        return [path for line in stream if re.match(r"sub-[^/]+/(ses-[^/]+/)?func/", path := line.strip())]


@pytest.fixture
def real(shared_data: Path, tmp_path: Path):
    """Lay out a real data set as empty files, with its participants table."""

    def lay_out(dataset: str, derivatives: list[str] | None = None) -> Path:
        raw = tmp_path / "raw"
        grow(raw, listed(shared_data, f"openneuro/{dataset}"))
        participants = (shared_data / "openneuro" / dataset / "participants.tsv").read_bytes()
        (raw / "participants.tsv").write_bytes(participants)
        if derivatives is None:
            derivatives = listed(shared_data, f"fmriprep/{dataset}-fmriprep")
        grow(raw / "derivatives/fmriprep", derivatives)
        made_by(raw, "x", "1")
        made_by(raw / "derivatives/fmriprep", "fMRIPrep", "21.0.2")
        return tmp_path

    return lay_out


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("dataset", "time_points"),
    [("ds003007", {"pre": 29, "post": 29}), ("ds000208", {"all": 76}), ("ds002748", {"all": 72})],
)
def test_real_derivatives_are_indexed_as_ancpbids_does(real, dataset, time_points):
    import ancpbids

    root = real(dataset)
    found = index(root)
    assert by_time_point(found) == time_points
    assert found.exclusions == ()
    assert found.notes == ()
    layout = ancpbids.BIDSLayout(str(root / "raw"))
    image = {"space": SPACE, "extension": ".nii.gz", "return_type": "filename"}
    theirs = {
        "bold": layout.get(suffix="bold", desc="preproc", task="rest", **image),
        "mask": layout.get(suffix="mask", desc="brain", task="rest", **image),
        "confounds": layout.get(
            suffix="timeseries", desc="confounds", task="rest", extension=".tsv", return_type="filename"
        ),
    }
    for kind, files in theirs.items():
        assert sorted(str(getattr(run, kind)) for run in found.runs) == sorted(files), kind


@pytest.mark.oracle
def test_the_ketamine_crossover_is_told_apart_by_day(real, shared_data):
    """250 raw runs, of which only those of sub-MOA101 were preprocessed."""
    raw = listed(shared_data, "openneuro/ds005917")
    bold = [path for path in raw if path.endswith("_bold.nii.gz")]
    mine = [path for path in bold if path.startswith("sub-MOA101/")]
    done = [file for path in mine for file in derived(path.removesuffix("_bold.nii.gz"))]
    labels = {"before": ("b0",), "drug": ("d2",), "placebo": ("p2",)}
    found = index(real("ds005917", done), time_points={"labels": labels})
    days = Counter(path.split("/")[1].removeprefix("ses-") for path in bold)
    names = {"b0": "before", "d2": "drug", "p2": "placebo"}
    expected: Counter[str | None] = Counter()
    for day, count in days.items():
        expected[names.get(day)] += count
    assert sum(expected.values()) == len(found.runs) == 250
    assert by_time_point(found) == dict(expected)
    usable = [run for run in found.runs if run.exclusion is None]
    assert {run.subject for run in usable} == {"MOA101"}
    assert reasons(found) == {
        "no_time_point": expected[None],
        "no_derivative": 250 - expected[None] - len(usable),
    }


def test_minimal_derivatives_are_called_minimal(real, shared_data):
    root = real("ds003007", listed(shared_data, "fmriprep/ds003037-fmriprep"))
    with pytest.raises(InputError) as error:
        index(root)
    message = str(error.value)
    assert "152 runs" in message
    assert "--level minimal" in message
    assert "--level resampling" in message
    assert f"--level full --output-spaces {SPACE}:res-2" in message
    assert "--derivatives" in message


def test_the_real_run_is_found(shared_data):
    found = build_index(
        Config.model_validate(
            {
                "datasets": {
                    "forrest": {
                        "bids_dir": "studyforrest",
                        "derivatives": "studyforrest/derivatives/quickants",
                        "task": "oneback",
                        "space": "MNI152NLin6Asym",
                    }
                }
            }
        ),
        shared_data,
    )
    (run,) = found.runs
    assert run.exclusion is None
    assert run.entities["res"] == "3"
    assert run.bold is not None
    assert run.bold.is_file()
