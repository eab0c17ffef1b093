"""Dress rehearsals have the runs, names and tables of the real data set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conn.confounds import read_confounds, select
from conn.errors import InputError
from conn.projection import retained_basis
from conn.simulate import PlantedEdge, rehearse
from conn.simulate.rehearsal import listed_paths

CONFOUNDS = "_desc-confounds_timeseries.tsv"
COARSE = {"voxel_mm": 6.0, "volumes": 24, "workers": 2}


@pytest.fixture(scope="module")
def skeletons(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    data: Path = request.getfixturevalue("shared_data")
    return data / "openneuro" / "ds003007", data / "fmriprep" / "ds003007-fmriprep"


@pytest.fixture(scope="module")
def depression(skeletons: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ds003007")
    rehearse(out, *skeletons, **COARSE)
    return out


def _made(out: Path, ending: str) -> list[str]:
    folder = out / "derivatives" / "fmriprep"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob(f"*{ending}"))


def test_the_runs_are_exactly_those_of_the_listing_under_the_names_of_the_real_derivatives(
    depression: Path, skeletons: tuple[Path, Path]
) -> None:
    raw = [path for path in listed_paths(skeletons[0]) if path.endswith("_bold.nii.gz")]
    real = set(listed_paths(skeletons[1]))
    images = _made(depression, "desc-preproc_bold.nii.gz")
    assert len(images) == len(raw) == 58
    assert {path.split("_space-")[0] for path in images} == {
        path.removesuffix("_bold.nii.gz") for path in raw
    }
    assert set(images) <= real
    assert set(_made(depression, "_mask.nii.gz")) <= real
    assert set(_made(depression, "confounds_timeseries.tsv")) <= real
    assert "_res-2_" in images[0]


def test_tables_and_sidecars_are_copied_byte_for_byte_and_texts_are_not(
    depression: Path, skeletons: tuple[Path, Path]
) -> None:
    for name in ("participants.tsv", "participants.json", "task-rest_bold.json", "dataset_description.json"):
        assert (depression / name).read_bytes() == (skeletons[0] / name).read_bytes()
    assert b"\r\n" in (depression / "participants.tsv").read_bytes()
    assert (depression / "README").read_bytes() != (skeletons[0] / "README").read_bytes()
    assert not (depression / "CHANGES").exists()


def test_the_repetition_time_is_the_real_one_and_the_description_is_honest(depression: Path) -> None:
    folder = depression / "derivatives" / "fmriprep"
    image = nib.load(folder / _made(depression, "desc-preproc_bold.nii.gz")[0])
    assert image.header.get_zooms()[3] == 2.5
    assert image.shape[3] == 24
    description = json.loads((folder / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Name"] == "conn simulate"
    assert "simulated" in description["GeneratedBy"][0]["Description"]
    assert "simulated" in (depression / "README").read_text()


def test_a_run_made_alone_has_the_same_bytes(
    depression: Path, skeletons: tuple[Path, Path], tmp_path: Path
) -> None:
    made = rehearse(tmp_path, *skeletons, runs=["sub-11_ses-pre_task-rest"], **COARSE)
    assert made.runs == ("sub-11_ses-pre_task-rest",)
    (image,) = _made(tmp_path, "desc-preproc_bold.nii.gz")
    relative = Path("derivatives") / "fmriprep" / image
    assert (tmp_path / relative).read_bytes() == (depression / relative).read_bytes()


def test_faults_are_planted_where_asked(skeletons: tuple[Path, Path], tmp_path: Path) -> None:
    cut, bare = "sub-01_ses-pre_task-rest", "sub-01_ses-post_task-rest"
    rehearse(tmp_path, *skeletons, subjects=["sub-01"], truncated=[cut], without_confounds=[bare], **COARSE)
    assert [Path(path).name for path in _made(tmp_path, "timeseries.tsv")] == [
        f"{cut}_desc-confounds_timeseries.tsv"
    ]
    folder = tmp_path / "derivatives" / "fmriprep"
    post, pre = (nib.load(folder / path) for path in _made(tmp_path, "desc-preproc_bold.nii.gz"))
    assert np.isfinite(post.get_fdata()).all()
    with pytest.raises(EOFError):
        pre.get_fdata()


def test_volumes_come_from_the_readme_of_a_known_set_and_runs_number_250(
    shared_data: Path, tmp_path: Path
) -> None:
    skeleton = shared_data / "openneuro" / "ds005917"
    made = rehearse(tmp_path, skeleton, voxel_mm=6.0, subjects=["MOA101"], workers=2)
    assert (made.volumes, made.tr) == (192, 2.5)
    assert made.runs[:2] == ("sub-MOA101_ses-b0_task-rest_run-01", "sub-MOA101_ses-b0_task-rest_run-02")
    assert len(made.runs) == 6
    names = [Path(path).name for path in _made(tmp_path, "desc-preproc_bold.nii.gz")]
    assert names[0] == (
        "sub-MOA101_ses-b0_task-rest_run-01_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    )
    assert (tmp_path / "phenotype" / "phenotype.tsv").is_file()


def test_derivatives_of_level_minimal_are_named_as_such(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="level minimal"):
        rehearse(
            tmp_path,
            shared_data / "openneuro" / "ds003007",
            shared_data / "fmriprep" / "ds003037-fmriprep",
            **COARSE,
        )
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- skeletons made by the tests


def _skeleton(folder: Path, paths: list[str], sidecar: dict[str, object]) -> Path:
    folder.mkdir()
    with gzip.open(folder / "FILES.txt.gz", "wt") as stream:
        stream.write("\n".join(paths) + "\n")
    (folder / "task-rest_bold.json").write_text(json.dumps(sidecar))
    return folder


def test_unknown_runs_tasks_lengths_and_repetition_times_are_named(tmp_path: Path) -> None:
    paths = ["sub-07/func/sub-07_task-rest_bold.nii.gz", "sub-07/anat/sub-07_T1w.nii.gz"]
    skeleton = _skeleton(tmp_path / "real", paths, {"TaskName": "rest"})
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"tasks there: rest"):
        rehearse(out, skeleton, task="nback")
    with pytest.raises(InputError, match=r"no run 'sub-08_task-rest'"):
        rehearse(out, skeleton, runs=["sub-08_task-rest"])
    with pytest.raises(InputError, match=r"subject '08' has no BOLD"):
        rehearse(out, skeleton, subjects=["08"])
    with pytest.raises(InputError, match=r"how many volumes"):
        rehearse(out, skeleton)
    with pytest.raises(InputError, match=r"no RepetitionTime"):
        rehearse(out, skeleton, volumes=20)
    with pytest.raises(InputError, match=r"needs the list of all paths"):
        rehearse(out, tmp_path)
    assert not out.exists()


@pytest.mark.truth
def test_an_effect_is_planted_in_a_session_when_asked(tmp_path: Path) -> None:
    paths = [
        f"sub-{i:02d}/ses-{s}/func/sub-{i:02d}_ses-{s}_task-rest_bold.nii.gz" for i in (1, 2) for s in "ab"
    ]
    skeleton = _skeleton(tmp_path / "real", paths, {"RepetitionTime": 2.0})
    rois = (("insulaL", (-36.0, 18.0, 2.0), 7.0), ("precuneus", (0.0, -68.0, 42.0), 7.0))
    edge = PlantedEdge(
        "insulaL", "precuneus", baseline_z=-0.6, delta_z={"b": 1.2}, person_sd=0.0, change_sd=0.0
    )
    rehearse(tmp_path / "out", skeleton, volumes=300, voxel_mm=6.0, rois=rois, edges=[edge], workers=2)
    folder = tmp_path / "out" / "derivatives" / "fmriprep"
    for path in _made(tmp_path / "out", "desc-preproc_bold.nii.gz"):
        image = nib.load(folder / path)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape[:3]), indexing="ij"), axis=-1)
        mm = grid @ image.affine[:3, :3].T + image.affine[:3, 3]
        data = np.asarray(image.dataobj)
        series = np.stack([data[((mm - np.array(c)) ** 2).sum(-1) <= 49].mean(axis=0) for _, c, _ in rois])
        table = read_confounds(folder / path.replace(path[path.index("_space-") :], CONFOUNDS))
        for strategy in ("simple", "compcor", "compcor6+gsr"):
            regressors = select(table, strategy).regressors
            basis = retained_basis(regressors, np.zeros(300, dtype=bool), 2.0, 0.008, 0.1)
            r = np.corrcoef((series @ basis) @ basis.T)[0, 1]
            assert r == pytest.approx(np.tanh(0.6 if "ses-b" in path else -0.6), abs=0.3), strategy
