"""BIDS names and sidecars."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conn.bids import ENTITY_ORDER, OWN_ORDER, acquisition, alphanumeric, bare_label, build, parse, sidecar
from conn.errors import InputError

VALUES = st.text("abcXYZ0123456789", min_size=1, max_size=6)


def test_a_name_is_taken_apart_in_its_own_order():
    name = parse("sub-01_ses-pre_task-rest_run-02_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz")
    assert name is not None
    assert list(name.entities) == ["sub", "ses", "task", "run", "space", "res", "desc"]
    assert name.entities["run"] == "02"
    assert (name.suffix, name.extension) == ("bold", ".nii.gz")


@pytest.mark.parametrize(
    ("file", "suffix", "extension"),
    [
        ("sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii", "bold", ".dtseries.nii"),
        ("sub-01_task-rest_hemi-L_space-fsaverage5_bold.func.gii", "bold", ".func.gii"),
        ("task-rest_bold.json", "bold", ".json"),
        ("T1w.json", "T1w", ".json"),
    ],
)
def test_long_extensions_and_short_names_are_understood(file, suffix, extension):
    name = parse(file)
    assert name is not None
    assert (name.suffix, name.extension) == (suffix, extension)


@pytest.mark.parametrize(
    "file",
    [
        "._sub-01_task-rest_bold.nii.gz",
        ".sub-01_task-rest_bold.nii.gz.4f2a.part",
        "sub-01_task-rest_bold",
        "sub-01_sub-02_task-rest_bold.nii.gz",
        "sub-01_task-rest_bold_space-MNI152NLin2009cAsym_preproc.nii.gz",
        "sub-01_task-rest bold.nii.gz",
        "sub-_task-rest_bold.nii.gz",
        "dataset_description.json",
        "sub-01_task-rest_bold.nii.gz\n",
    ],
)
def test_what_is_no_bids_name_is_none(file):
    assert parse(file) is None


def test_entities_are_written_in_the_order_of_bids_with_ours_last():
    entities = {"stat": "fisherz", "seed": "sgACC", "res": "2", "space": "X", "run": "1", "task": "rest"}
    entities |= {"sub": "01", "ses": "pre", "acq": "mb4"}
    assert (
        build(entities, "statmap", ".nii.gz")
        == "sub-01_ses-pre_task-rest_acq-mb4_run-1_space-X_res-2_seed-sgACC_stat-fisherz_statmap.nii.gz"
    )
    group = {"stat": "pfwe", "contrast": "change", "model": "paired", "seed": "sgACC"}
    assert (
        build(group, "statmap", ".nii.gz")
        == "model-paired_seed-sgACC_contrast-change_stat-pfwe_statmap.nii.gz"
    )
    series = {"sub": "01", "seg": "rois", "stat": "mean", "cohort": "1", "space": "X"}
    assert build(series, "timeseries", ".tsv") == "sub-01_space-X_cohort-1_seg-rois_stat-mean_timeseries.tsv"


def test_an_unknown_entity_is_carried_and_not_lost():
    assert (
        build({"desc": "preproc", "sub": "01", "zoo": "ape"}, "bold", ".nii")
        == "sub-01_zoo-ape_desc-preproc_bold.nii"
    )


@pytest.mark.parametrize(
    ("key", "value"), [("seed", "x; touch y"), ("sub", "../01"), ("a_b", "1"), ("ses", "")]
)
def test_what_cannot_stand_in_a_name_is_refused(key, value):
    with pytest.raises(ValueError, match="cannot stand in a BIDS file name"):
        build({key: value}, "bold", ".nii")


@given(st.dictionaries(st.sampled_from([*ENTITY_ORDER, *OWN_ORDER]), VALUES, min_size=1))
def test_taking_apart_undoes_putting_together(entities):
    name = parse(build(entities, "bold", ".nii.gz"))
    assert name is not None
    assert dict(name.entities) == entities


@pytest.mark.oracle
@pytest.mark.parametrize("dataset", ["ds003007", "ds000208", "ds003037"])
def test_every_functional_file_of_fmriprep_comes_back_under_its_own_name(shared_data: Path, dataset):
    """fMRIPrep's own order of entities is the oracle."""
    with gzip.open(shared_data / "fmriprep" / f"{dataset}-fmriprep" / "FILES.txt.gz", "rt") as stream:
        files = [line.strip().rpartition("/")[2] for line in stream if "/func/" in line]
    assert len(files) > 1000
    for file in files:
        name = parse(file)
        assert name is not None, file
        assert build(name.entities, name.suffix, name.extension) == file


def test_labels_lose_their_prefix_and_nothing_else():
    assert bare_label("sub-007") == "007"
    assert bare_label(" 007 ") == "007"
    assert bare_label("ses-pre", "ses") == "pre"
    assert bare_label("subtle") == "subtle"
    assert alphanumeric("week 10+") == "week10"


def test_an_acquisition_has_no_entities_of_derivatives():
    entities = {"sub": "01", "task": "rest", "space": "X", "res": "2", "desc": "preproc", "run": "1"}
    assert acquisition(entities) == {"sub": "01", "task": "rest", "run": "1"}


def _write(path: Path, **data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def _derivatives(root: Path) -> Path:
    func = root / "derivatives/fmriprep/sub-01/ses-a/func"
    bold = func / "sub-01_ses-a_task-rest_space-X_res-2_desc-preproc_bold.nii.gz"
    bold.parent.mkdir(parents=True)
    bold.touch()
    return bold


@pytest.mark.parametrize("reverse", [False, True])
def test_the_sidecar_beside_the_image_wins_over_the_inherited_ones(tmp_path, reverse):
    bold = _derivatives(tmp_path)
    roots = [tmp_path / "derivatives/fmriprep", tmp_path]
    _write(tmp_path / "task-rest_bold.json", RepetitionTime=9, EchoTime=0.03, FlipAngle=90, TaskName="top")
    _write(tmp_path / "sub-01/sub-01_task-rest_bold.json", RepetitionTime=8, EchoTime=0.02, FlipAngle=80)
    _write(tmp_path / "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.json", RepetitionTime=7, EchoTime=0.01)
    _write(bold.with_name(bold.name.replace(".nii.gz", ".json")), RepetitionTime=2.5)
    merged = sidecar(bold, roots[::-1] if reverse else roots)
    assert merged == {"RepetitionTime": 2.5, "EchoTime": 0.01, "FlipAngle": 80, "TaskName": "top"}


def test_the_own_sidecar_is_found_however_the_roots_are_written(tmp_path, monkeypatch):
    bold = _derivatives(tmp_path / "raw")
    _write(tmp_path / "raw/task-rest_bold.json", RepetitionTime=9, EchoTime=0.03)
    _write(bold.with_name(bold.name.replace(".nii.gz", ".json")), RepetitionTime=2.5)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    merged = {"RepetitionTime": 2.5, "EchoTime": 0.03}
    assert sidecar(bold, [Path("../raw/derivatives/fmriprep"), Path("../raw")]) == merged
    assert sidecar(Path("..") / bold.relative_to(tmp_path), [tmp_path / "out/../raw"]) == merged
    assert sidecar(bold, []) == {"RepetitionTime": 2.5}


def test_sidecars_of_other_tasks_sessions_and_spaces_do_not_apply(tmp_path):
    bold = _derivatives(tmp_path)
    _write(tmp_path / "task-nback_bold.json", RepetitionTime=1)
    _write(tmp_path / "task-rest_events.json", RepetitionTime=2)
    _write(tmp_path / "sub-01/ses-b/func/sub-01_ses-b_task-rest_bold.json", RepetitionTime=3)
    _write(bold.with_name("sub-01_ses-a_task-rest_space-Y_desc-preproc_bold.json"), RepetitionTime=4)
    assert sidecar(bold, [tmp_path / "derivatives/fmriprep", tmp_path]) == {}


def test_a_link_to_nowhere_is_no_sidecar(tmp_path):
    bold = _derivatives(tmp_path)
    bold.with_name(bold.name.replace(".nii.gz", ".json")).symlink_to(tmp_path / "absent")
    assert sidecar(bold, [tmp_path]) == {}


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_sidecar_is_named(tmp_path, text):
    bold = _derivatives(tmp_path)
    (tmp_path / "task-rest_bold.json").write_text(text)
    with pytest.raises(InputError, match=r"task-rest_bold\.json"):
        sidecar(bold, [tmp_path])


def test_the_repetition_time_of_a_real_run_is_that_of_its_derivative(shared_data: Path):
    root = shared_data / "studyforrest"
    derivatives = root / "derivatives/quickants"
    bold = (
        derivatives
        / "sub-02/func/sub-02_task-oneback_run-1_space-MNI152NLin6Asym_res-3_desc-preproc_bold.nii.gz"
    )
    own = json.loads(bold.with_name(bold.name.replace(".nii.gz", ".json")).read_text())
    merged = sidecar(bold, [root, derivatives])
    assert merged["RepetitionTime"] == own["RepetitionTime"]
    raw = json.loads((root / "sub-02/func/sub-02_task-oneback_run-1_bold.json").read_text())
    assert merged["MagneticFieldStrength"] == raw["MagneticFieldStrength"]
