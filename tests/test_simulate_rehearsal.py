"""Dress rehearsals have the runs, names and tables of the real data set."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conn.confounds import read_confounds, select
from conn.errors import ConfigError, InputError
from conn.projection import retained_basis
from conn.simulate import ColumnEffect, PlantedEdge, rehearse
from conn.simulate.rehearsal import _real_runs, listed_paths
from conn.simulate.rehearsal_effects import plan_for, shifts

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


# ------------------------------------------------------------------------- effects tied to columns of tables


def _tables(folder: Path, tables: dict[str, str]) -> Path:
    paths = [f"sub-{i}/ses-{s}/func/sub-{i}_ses-{s}_task-rest_bold.nii.gz" for i in (1, 2, 3) for s in "ab"]
    skeleton = _skeleton(folder, paths, {"RepetitionTime": 2.0})
    for name, text in tables.items():
        (skeleton / name).parent.mkdir(exist_ok=True)
        (skeleton / name).write_text(text.replace(" ", "\t"))
    return skeleton


WIDE = {
    "participants.tsv": (
        "participant_id group BDI_a BDI_b\nsub-1 cbt 20 8\nsub-2 none 18 16\nsub-3 cbt 22 n/a\n"
    )
}
LONG = WIDE | {
    "phenotype/scores.tsv": (
        "participant_id session_id MADRS\nsub-1 ses-a 30\nsub-1 ses-b 20\n"
        "sub-2 ses-a 28\nsub-2 ses-b 26\nsub-3 ses-a 25\n"
    )
}
SCANS = [(i, s) for i in "123" for s in "ab"]
EDGE = PlantedEdge("insulaL", "precuneus")


def test_a_level_and_a_change_of_score_shift_the_scans_of_whom_they_concern(tmp_path: Path) -> None:
    skeleton = _tables(tmp_path / "real", WIDE)
    level = ColumnEffect("insulaL", "precuneus", "group", level="cbt", delta_z=-0.4, sessions=("b",))
    shift, records = shifts(skeleton, SCANS, [EDGE], [level])
    np.testing.assert_allclose(shift[:, 0], [0, -0.4, 0, 0, 0, -0.4])
    assert records[0]["scans"] == 2
    change = ColumnEffect("insulaL", "precuneus", "BDI_b", slope=0.1, minus="BDI_a", sessions=("b",))
    shift, records = shifts(skeleton, SCANS, [EDGE], [change])
    np.testing.assert_allclose(shift[:, 0], [0, -0.5, 0, 0.5, 0, 0], atol=1e-12)
    assert (records[0]["scans"], records[0]["column_mean"]) == (2, -7.0)
    both, _ = shifts(skeleton, SCANS, [EDGE], [level, change])
    np.testing.assert_allclose(both[:, 0], [0, -0.9, 0, 0.5, 0, -0.4], atol=1e-12)


def test_a_table_with_sessions_gives_each_scan_its_own_row_and_where_says_for_whom(tmp_path: Path) -> None:
    skeleton = _tables(tmp_path / "real", LONG)
    score = ColumnEffect("precuneus", "insulaL", "MADRS", slope=0.1, table="phenotype/scores.tsv")
    shift, _ = shifts(skeleton, SCANS, [EDGE], [score])
    np.testing.assert_allclose(shift[:, 0], 0.1 * (np.array([30, 20, 28, 26, 25, 25.8]) - 25.8), atol=1e-12)
    change = replace(score, sessions=("b",), minus_session="a")
    shift, _ = shifts(skeleton, SCANS, [EDGE], [change])
    np.testing.assert_allclose(shift[:, 0], [0, -0.4, 0, 0.4, 0, 0], atol=1e-12)
    shift, records = shifts(skeleton, SCANS, [EDGE], [replace(score, where={"group": "cbt"})])
    np.testing.assert_allclose(shift[:, 0], [0.5, -0.5, 0, 0, 0, 0], atol=1e-12)
    assert records[0]["where"] == {"group": "cbt"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "BDI"}, "no column 'BDI'; there are participant_id, group"),
        ({"column": "group"}, "has 'cbt', which is no number; give level"),
        ({"sessions": ("c",)}, "no scan is concerned by the effect of column 'BDI_a'"),
        ({"table": "scores.tsv"}, "the table is not there"),
    ],
)
def test_columns_that_cannot_be_followed_are_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    skeleton = _tables(tmp_path / "real", WIDE)
    effect = ColumnEffect("insulaL", "precuneus", "BDI_a", slope=0.1)
    with pytest.raises(InputError, match=message):
        shifts(skeleton, SCANS, [EDGE], [replace(effect, **change)])


def test_effects_without_meaning_or_out_of_reach_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give level and delta_z, or slope, and not both"):
        ColumnEffect("insulaL", "precuneus", "group")
    with pytest.raises(ConfigError, match="not both"):
        ColumnEffect("insulaL", "precuneus", "group", level="cbt", slope=0.1)
    effect = ColumnEffect("PAG", "precuneus", "BDI_a", slope=0.1)
    with pytest.raises(ConfigError, match="PAG-precuneus is no planted edge"):
        shifts(_tables(tmp_path / "real", WIDE), SCANS, [EDGE], [effect])
    rois = (("insulaL", (-36.0, 18.0, 2.0), 7.0), ("precuneus", (0.0, -68.0, 42.0), 7.0))
    far = ColumnEffect("insulaL", "precuneus", "group", level="cbt", delta_z=-1.4)
    with pytest.raises(ConfigError, match="z would reach"):
        rehearse(
            tmp_path / "out",
            tmp_path / "real",
            voxel_mm=6.0,
            volumes=60,
            rois=rois,
            edges=[EDGE],
            effects=[far],
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.truth
def test_images_show_the_effect_of_a_column(tmp_path: Path) -> None:
    skeleton = _tables(tmp_path / "real", WIDE)
    rois = (("insulaL", (-36.0, 18.0, 2.0), 7.0), ("precuneus", (0.0, -68.0, 42.0), 7.0))
    edge = replace(EDGE, baseline_z=0.5, person_sd=0.0, change_sd=0.0)
    level = ColumnEffect("insulaL", "precuneus", "group", level="cbt", delta_z=-1.1, sessions=("b",))
    shapes = {
        "voxel_mm": 6.0,
        "volumes": 200,
        "rois": rois,
        "edges": [edge],
        "effects": [level],
        "workers": 1,
    }
    rehearse(tmp_path / "out", skeleton, **shapes)
    folder = tmp_path / "out" / "derivatives" / "fmriprep"
    found = {}
    for path in _made(tmp_path / "out", "desc-preproc_bold.nii.gz"):
        series = _series(folder / path, rois)
        table = read_confounds(folder / path.replace(path[path.index("_space-") :], CONFOUNDS))
        basis = retained_basis(select(table, "simple").regressors, np.zeros(200, dtype=bool), 2.0, 0.008, 0.1)
        found[path[4], path.split("ses-")[1][0]] = np.arctanh(np.corrcoef((series @ basis) @ basis.T)[0, 1])
    treated = [found[key] for key in (("1", "b"), ("3", "b"))]
    others = [found[key] for key in found if key not in (("1", "b"), ("3", "b"))]
    assert np.mean(treated) == pytest.approx(-0.6, abs=0.35)
    assert np.mean(others) == pytest.approx(0.5, abs=0.3)
    record = json.loads((tmp_path / "out" / "truth.json").read_text())
    assert record["edges"] == []
    assert record["planted"]["edges"][0]["baseline_z"] == 0.5
    stated = record["planted"]["edges"][0]["scans"]
    assert {(subject, session) for subject in stated for session in stated[subject]} == set(found)
    assert {key for key in found if stated[key[0]][key[1]] == -0.6} == {("1", "b"), ("3", "b")}
    assert sum(z == 0.5 for one in stated.values() for z in one.values()) == len(found) - 2
    assert record["planted"]["columns"][0] | {"scans": 2, "level": "cbt"} == record["planted"]["columns"][0]


def _series(image: Path, rois: tuple[tuple[str, tuple[float, float, float], float], ...]) -> np.ndarray:
    loaded = nib.load(image)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in loaded.shape[:3]), indexing="ij"), axis=-1)
    mm = grid @ loaded.affine[:3, :3].T + loaded.affine[:3, 3]
    data = np.asarray(loaded.dataobj)
    return np.stack([data[((mm - np.array(c)) ** 2).sum(-1) <= r**2].mean(axis=0) for _, c, r in rois])


@pytest.mark.parametrize(
    ("name", "scans"), [("ds003007", (8, 25)), ("ds005917", (33, 49)), ("ds000208", (56, 18, 19))]
)
def test_what_is_planned_for_a_known_data_set_meets_its_real_tables(
    shared_data: Path, name: str, scans: tuple[int, ...]
) -> None:
    skeleton = shared_data / "openneuro" / name
    plan = plan_for(skeleton)
    real = [run.scan_of for run in _real_runs(skeleton, "rest")]
    shift, records = shifts(skeleton, real, plan.edges, plan.effects)
    assert tuple(record["scans"] for record in records) == scans
    assert 0.2 < np.abs(shift).max() < 1.0


def test_a_rehearsal_of_a_known_data_set_can_be_planted(shared_data: Path, tmp_path: Path) -> None:
    skeleton = shared_data / "openneuro" / "ds000208"
    plan = plan_for(skeleton)
    rehearse(
        tmp_path,
        skeleton,
        subjects=["21"],
        volumes=30,
        voxel_mm=5.0,
        edges=plan.edges,
        effects=plan.effects,
        workers=1,
    )
    record = json.loads((tmp_path / "truth.json").read_text())
    assert [effect["column"] for effect in record["planted"]["columns"]][:2] == ["type", "Response"]


def test_there_is_no_plan_for_an_unknown_data_set(tmp_path: Path) -> None:
    skeleton = _tables(tmp_path / "real", WIDE)
    with pytest.raises(InputError, match="is none of ds003007, ds005917, ds000208"):
        plan_for(skeleton)
