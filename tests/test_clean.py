"""`conn clean` gives disk back, costs no result, and touches nothing that is not ours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from conn import paths
from conn.clean import clean, forget_lost
from conn.cli import main
from conn.config.load import to_yaml
from conn.errors import ConfigError, ResourceError
from conn.exclusions import Exclusion
from conn.files import write_json
from conn.locks import hold
from conn.receipts import Receipt
from conn.study import Study, open_study
from simulated import (
    SUBJECTS,
    World,
    planned,
    snapshot,
)

SPACE = "space-MNI152NLin2009cAsym"
FEWER = {"trial": {"subjects": ["01", "02"]}}
PRICE = "A new seed, radius, threshold or network will read the images again."


# Folders that nobody computed -------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two runs, each with a projection of 3 kB that is measured; images are empty files."""
    for subject in ("01", "02"):
        func = tmp_path / "data" / "derivatives" / "fmriprep" / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        for ending in (f"{SPACE}_desc-preproc_bold.nii.gz", f"{SPACE}_desc-brain_mask.nii.gz"):
            (func / f"sub-{subject}_task-rest_{ending}").touch()
        (func / f"sub-{subject}_task-rest_desc-confounds_timeseries.tsv").touch()
    one = configured(tmp_path)
    one.prepare()
    for key in one.runs:
        keep(one.out, key)
        write_json(one.out / paths.measure_receipt(key), {})
    return one


def configured(folder: Path, **dataset: object) -> Study:
    path = folder / "study.yaml"
    path.write_text(to_yaml({"datasets": {"trial": {"bids_dir": "data", **dataset}}}))
    return open_study(path)


def keep(out: Path, run: str, *, receipt: bool = True) -> Path:
    """What stage project leaves of a run."""
    folder = out / paths.project_folder(run)
    folder.mkdir(parents=True)
    for name in ("Y", "U", "voxels"):
        (folder / f"{name}.npy").write_bytes(bytes(1000))
    if receipt:
        files = {(paths.project_folder(run) / "Y.npy").as_posix(): "0" * 64}
        Receipt(run, "project", True, files=files).write(out / paths.project_receipt(run))
        (out / paths.projection_mark(run)).touch()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_arrays_and_their_mark_go_and_receipts_stay(study: Study):
    said = clean(study)
    assert "Removed the kept projections of 2 runs, 0.000 GB, from cache/project of results." in said
    assert PRICE in said
    for key in study.runs:
        assert names(study.out / paths.project_folder(key)) == {"receipt.json"}
    assert clean(study) == "Nothing to remove: there are no kept projections in cache/project of results."


def test_a_dry_run_says_the_same_and_removes_nothing(study: Study):
    before = snapshot(study.out)
    said = clean(study, dry_run=True)
    assert snapshot(study.out).keys() == {*before, ".conn.lock"}
    assert said == clean(study).replace("Removed", "Would remove")


def test_the_size_is_that_of_the_files(study: Study):
    big = study.out / paths.project_folder(next(iter(study.runs))) / "Y.npy"
    with big.open("wb") as stream:
        stream.truncate(1_234_000_000)
    assert "2 runs, 1.234 GB" in clean(study, dry_run=True)


def test_runs_that_are_not_measured_yet_are_named_as_lost_work(study: Study):
    first, second = study.runs
    assert "not measured" not in clean(study, dry_run=True)
    (study.out / paths.measure_receipt(first)).unlink()
    assert "1 run not measured yet: the next conn run reads" in clean(study, dry_run=True)
    Receipt(second, "project", True).write(study.out / paths.project_receipt(second))
    assert "2 runs not measured yet: the next conn run reads" in clean(study)


def test_a_run_that_was_left_out_keeps_its_receipt_and_mark(study: Study):
    key = next(iter(study.runs))
    for path in (study.out / paths.project_folder(key)).glob("*.npy"):
        path.unlink()
    row = Exclusion("trial", "01", "n/a", key, "n/a", "project", "too_few_df", "3", "denoise.min_df 25")
    Receipt(key, "project", False, "too_few_df", exclusions=(row,)).write(
        study.out / paths.project_receipt(key)
    )
    assert "of 1 run," in clean(study)
    assert names(study.out / paths.project_folder(key)) == {"receipt.json", "kept"}


def test_unused_is_what_no_run_of_the_configuration_can_use(study: Study):
    wanted, other = study.runs
    gone, killed = keep(study.out, "sub99taskrestx000000"), study.out / paths.project_folder(other)
    (killed / "receipt.json").unlink()
    (killed / "kept").unlink()
    part = study.out / paths.project_folder(wanted) / ".Y.npy.abcd1234.part"
    part.touch()
    whole = names(part.parent) - {part.name}
    said = clean(study, unused=True)
    assert "Removed the unused files of 3 runs" in said
    assert PRICE not in said
    assert not gone.exists()
    assert not killed.exists()
    assert names(part.parent) == whole
    assert "Nothing to remove: there are no unused files" in clean(study, unused=True)


def test_unused_goes_by_the_configuration(study: Study):
    fewer = configured(study.root, subjects=["01"])
    (kept,) = fewer.runs
    clean(fewer, unused=True)
    assert names(study.out / paths.PROJECTIONS) == {kept}
    assert names(study.out / paths.project_folder(kept)) >= {"Y.npy", "receipt.json", "kept"}


def test_nothing_is_unused_while_the_data_are_away(study: Study):
    nobody = configured(study.root, subjects=["03"])
    before = snapshot(study.out)
    with pytest.raises(ConfigError):
        clean(nobody, unused=True)
    (study.root / "data").rename(study.root / "elsewhere")
    with pytest.raises(ConfigError):
        clean(configured(study.root), unused=True)
    assert snapshot(study.out) == before
    assert "of 2 runs" in clean(configured(study.root))


def test_it_never_works_beside_a_run(study: Study, capsys: pytest.CaptureFixture[str]):
    lock = hold(study.out)
    assert lock is not None
    before = snapshot(study.out)
    for options in ({}, {"unused": True}, {"dry_run": True}):
        with pytest.raises(ResourceError, match="a run is at work in this folder"):
            clean(study, **options)
    assert main(["clean", str(study.config_path)]) == 5
    assert snapshot(study.out) == before
    lock.release()
    assert main(["clean", str(study.config_path), "-n"]) == 0
    assert "Would remove" in capsys.readouterr().out


# What is not ours -------------------------------------------------------------------------------------


def test_a_folder_without_results_has_nothing_to_clean(study: Study):
    path = study.root / "new.yaml"
    path.write_text(to_yaml({"out": "new", "datasets": {"trial": {"bids_dir": "data"}}}))
    assert "there is no such folder yet" in clean(open_study(path))
    assert not (study.root / "new").exists()


@pytest.mark.parametrize("content", [None, "", "[]", '{"runs": []}'])
def test_a_folder_of_somebody_else_is_refused(study: Study, content: str | None):
    index = study.out / "cache" / "index.json"
    index.unlink()
    if content is not None:
        index.write_text(content)
    before = snapshot(study.out)
    with pytest.raises(ConfigError, match="'results' holds no results of conn"):
        clean(study)
    assert snapshot(study.out) == before


def test_results_of_another_program_are_refused(study: Study):
    write_json(study.out / "dataset_description.json", {"GeneratedBy": [{"Name": "xcp_d"}]})
    before = snapshot(study.out)
    with pytest.raises(ConfigError, match=r"another program \(xcp_d\)"):
        clean(study)
    assert snapshot(study.out) == before


@pytest.mark.parametrize("linked", ["cache", "cache/project"])
def test_a_linked_cache_is_refused(study: Study, linked: str):
    elsewhere = study.root / "scratch"
    (study.out / linked).rename(elsewhere)
    (study.out / linked).symlink_to(elsewhere)
    before = snapshot(elsewhere)
    with pytest.raises(ConfigError, match=f"{linked} of 'results' is a link to .*scratch"):
        clean(study)
    assert snapshot(elsewhere) == before


def test_links_are_neither_followed_nor_removed(study: Study):
    first, second = study.runs
    precious = study.root / "precious"
    precious.mkdir()
    (precious / "Y.npy").write_bytes(b"mine")
    (precious / "receipt.json").write_text("{}")
    (study.out / paths.PROJECTIONS / "sub77").symlink_to(precious)
    array = study.out / paths.project_folder(first) / "Y.npy"
    array.unlink()
    array.symlink_to(precious / "Y.npy")
    said = [clean(study, unused=True), clean(study)]
    assert snapshot(precious) == {"Y.npy": b"mine", "receipt.json": b"{}"}
    for text in said:
        assert "Left alone, not a file of conn: cache/project/sub77" in text
        assert f"Left alone, not a file of conn: cache/project/{first}/Y.npy" in text
    assert array.is_symlink()
    assert names(study.out / paths.project_folder(second)) == {"receipt.json"}


def test_files_of_other_names_stay_and_are_named(study: Study):
    key = next(iter(study.runs))
    own = [f"{key}/notes.txt", f"{key}/deeper/Y.npy", "notes.txt", "my runs/Y.npy", ".hidden/Y.npy"]
    for name in own:
        path = study.out / paths.PROJECTIONS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    said = clean(study)
    for name in own:
        assert (study.out / paths.PROJECTIONS / name).read_text() == "mine"
    left = re.findall(r"^Left alone, not a file of conn: cache/project/(.+)$", said, re.MULTILINE)
    assert sorted(left) == sorted([f"{key}/notes.txt", f"{key}/deeper", "notes.txt", "my runs", ".hidden"])


# Arrays that somebody removed by hand -----------------------------------------------------------------


def test_the_mark_of_a_projection_that_lost_an_array_is_taken_back(study: Study):
    first, second = study.runs
    forget_lost(study.out)
    assert all((study.out / paths.projection_mark(key)).exists() for key in study.runs)
    (study.out / paths.project_folder(first) / "Y.npy").unlink()
    forget_lost(study.out)
    assert not (study.out / paths.projection_mark(first)).exists()
    assert (study.out / paths.project_receipt(first)).exists()
    (study.out / paths.project_receipt(second)).write_text("half a rec")
    forget_lost(study.out)
    assert not (study.out / paths.projection_mark(second)).exists()


# The workflow afterwards ------------------------------------------------------------------------------


def results(world: World) -> dict[str, bytes]:
    return snapshot(world.out, (".snakemake", "logs", "cache"))


def projections(world: World) -> list[Path]:
    return sorted(world.out.glob("cache/project/*/*.npy"))


@pytest.mark.workflow
def test_after_clean_nothing_is_computed_until_a_seed_asks_for_the_images(finished: World, tmp_path: Path):
    world = finished.copy(tmp_path / "world")
    config, before = world.study / "study.yaml", results(world)
    disk = sum(path.stat().st_size for path in projections(world))
    said = world.conn("clean", config)
    assert said.returncode == 0, said.stderr
    assert f"Removed the kept projections of {2 * len(SUBJECTS)} runs, {disk / 1e9:.3f} GB" in said.stdout
    assert projections(world) == []
    assert planned(world.conn("run", config, "-n").stdout) == {}
    for stage in ("project", "measure"):
        assert planned(world.conn("run", config, "-n", "--until", stage).stdout) == {}
    again = world.conn("run", config, "--cores", "2")
    assert again.returncode == 0, again.stderr
    assert "Nothing to be done" in (world.out / "logs" / "snakemake.log").read_text()
    assert results(world) == before

    status = world.conn("status", config)
    assert status.returncode == 0
    assert f"project  {2 * len(SUBJECTS)} of {2 * len(SUBJECTS)}" in status.stdout
    assert "failed" not in status.stdout
    assert world.conn("why", config, "01").stdout.startswith("included: ")

    strategy = world.configure("other.yaml", denoise={"strategy": "24P"})
    assert planned(world.conn("run", strategy, "-n").stdout)["project"] == 2 * len(SUBJECTS)
    other = world.configure(datasets=FEWER, connectivity={"seeds": ["vmPFC", "sgACC"]})
    seeds = world.conn("run", other, "--cores", "2", "--until", "measure")
    assert seeds.returncode == 0, seeds.stderr
    assert len(projections(world)) == len(projections(finished)) * 2 // len(SUBJECTS)
    after = results(world)
    assert sum("seed-sgACCL_stat-fisherz" in name for name in after) == 4
    first_level = [name for name in before if name.startswith(("sub-01", "sub-02"))]
    assert len(first_level) == 7 * 4
    assert [name for name in first_level if after[name] != before[name]] == []


@pytest.mark.slow
@pytest.mark.workflow
def test_a_projection_that_was_removed_by_hand_is_made_again_in_one_run(finished: World, tmp_path: Path):
    world = finished.copy(tmp_path / "world")
    before = projections(world)
    for path in before[::5]:
        path.unlink()
    config = world.study / "study.yaml"
    assert planned(world.conn("run", config, "-n").stdout) == {}
    other = world.configure(datasets=FEWER, connectivity={"seeds": ["sgACC"]}, models={})
    ran = world.conn("run", other, "--cores", "2", "--until", "measure")
    assert ran.returncode == 0, ran.stderr
    again = [path for path in before if re.match("sub0[12]", path.parent.name)]
    assert again
    assert all(path.exists() for path in again)


@pytest.mark.workflow
def test_a_job_that_failed_is_not_passed_over_by_the_next_run(finished: World, tmp_path: Path):
    world = finished.copy(tmp_path / "world")
    config = world.configure(datasets=FEWER, denoise={"strategy": "24P"}, models={})
    blocked = projections(world)[0]
    blocked.unlink()
    blocked.mkdir()
    failed = world.conn("run", config, "--cores", "2", "--until", "collect")
    assert failed.returncode == 5
    blocked.rmdir()
    jobs = planned(world.conn("run", config, "-n", "--until", "collect").stdout)
    assert jobs == {"project": 1, "measure": 1, "collect": 1, "audit": 1, "collect_all": 1}


@pytest.mark.slow
@pytest.mark.workflow
def test_people_who_were_taken_out_and_come_back_are_made_again(finished: World, tmp_path: Path):
    world = finished.copy(tmp_path / "world")
    before = results(world)
    gone = {"trial": {"subjects": [*SUBJECTS[:-1]]}}
    fewer = world.configure("fewer.yaml", datasets=gone, models={})
    assert world.conn("run", fewer, "--cores", "2", "--until", "collect").returncode == 0
    said = world.conn("clean", fewer, "--unused").stdout
    assert "Removed the unused files of 2 runs" in said
    assert len(projections(world)) == len(projections(finished)) * (len(SUBJECTS) - 1) // len(SUBJECTS)
    again = world.conn("run", world.study / "study.yaml", "--cores", "2", "--until", "collect")
    assert again.returncode == 0, again.stderr
    after = results(world)
    names = [name for name in before if name.startswith(f"sub-{SUBJECTS[-1]}")]
    assert len(names) == 7 * 2
    assert [name for name in [*names, "runs.tsv"] if after[name] != before[name]] == []


@pytest.mark.workflow
def test_coefficients_are_what_clean_takes_for_arrays(finished: World):
    assert {path.suffix for path in finished.out.glob("cache/project/*/*")} == {".npy", ".json", ""}
    assert all(np.load(path, allow_pickle=False).size for path in projections(finished)[:3])
