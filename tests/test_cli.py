"""The command line: what it prints, and the exit code of each kind of failure."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import conn
from conn import errors
from conn.cli import main

COLUMNS = ["name", "label", "side", "kind", "x", "y", "z", "radius_mm", "space", "source", "status"]


@pytest.fixture
def call(capsys):
    """Run a command line; its exit code, output and errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def stopped(capsys, *arguments: str) -> tuple[int, str]:
    """Exit code and message of a command line that argparse ends."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out + said.err


def test_the_version_is_that_of_the_package(capsys):
    assert stopped(capsys, "--version") == (0, f"conn {conn.__version__}\n")


def test_the_command_is_installed_under_its_name():
    script = Path(sys.executable).with_name("conn")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"conn {conn.__version__}\n"


def test_help_names_every_command(capsys):
    code, text = stopped(capsys, "--help")
    assert code == 0
    for command in ("run", "check", "lock", "status", "why", "init", "simulate", "rois", "scales"):
        assert f"\n    {command} " in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "x.yaml", "--cores", "0"],
        ["run", "x.yaml", "--until", "lunch"],
        ["rois", "eat"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_usage(capsys, arguments):
    code, text = stopped(capsys, *arguments)
    assert code == 2
    assert text.startswith("usage: conn")


@pytest.mark.parametrize(
    "arguments", [["run", "x.yaml"], ["check", "x.yaml"], ["status", "x.yaml"], ["why", "x.yaml", "sub-01"]]
)
def test_a_configuration_that_is_not_there_ends_with_2_and_one_line(call, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == (2, "", "x.yaml: there is no such configuration file\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "check", "lock", "status"])
def test_a_misspelt_key_ends_with_2_and_nothing_is_written(call, tmp_path, command):
    config = tmp_path / "conn.yaml"
    config.write_text("datasets: {main: {bids_dir: raw, tusk: rest}}\n")
    code, out, err = call(command, config)
    assert (code, out) == (2, "")
    assert err == f"{config}: line 1: datasets.main.tusk: unknown key; did you mean 'task'?\n"
    assert list(tmp_path.iterdir()) == [config]


def test_a_data_set_that_is_not_there_ends_with_2_and_names_the_key(call, tmp_path):
    (tmp_path / "conn.yaml").write_text("datasets: {main: {bids_dir: raw}}\n")
    code, _, err = call("check", tmp_path / "conn.yaml")
    assert code == 2
    assert "datasets.main.bids_dir: there is no folder 'raw'" in err


def test_derivatives_without_images_end_with_3(call, tmp_path):
    (tmp_path / "conn.yaml").write_text("datasets: {main: {bids_dir: raw}}\n")
    func = tmp_path / "raw/derivatives/fmriprep/sub-01/func"
    func.mkdir(parents=True)
    (func / "sub-01_task-rest_desc-hmc_boldref.nii.gz").touch()
    code, _, err = call("check", tmp_path / "conn.yaml")
    assert code == 3
    assert "--level full" in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.ConfigError("key x = 3"), 2, "key x = 3\n"),
        (errors.DesignError("columns a and b"), 2, "columns a and b\n"),
        (errors.InputError("a.nii.gz: truncated"), 3, "a.nii.gz: truncated\n"),
        (errors.TooLittleDataError("nobody is left"), 4, "nobody is left\n"),
        (errors.ResourceError("no memory"), 5, "no memory\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.tsv"),
            5,
            "No space left on device: out.tsv\n",
        ),
        (KeyError("x"), 70, "a bug of conn, please report it: KeyError: 'x'\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_kind_of_failure_has_its_own_exit_code(call, monkeypatch, error, code, words):
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr("conn.init.write_configuration", fail)
    got, out, err = call("init", "somewhere")
    assert (got, out) == (code, "")
    assert err.endswith(words)
    assert ("Traceback" in err) == (code == 70)


def test_rois_list_tsv_has_exactly_the_columns_of_the_contract(call):
    code, out, err = call("rois", "list", "--tsv")
    assert (code, err) == (0, "")
    table = pd.read_csv(io.StringIO(out), sep="\t", dtype=str, keep_default_na=False)
    assert list(table.columns) == COLUMNS
    assert out.endswith("\n")
    assert not out.endswith("\n\n")
    assert (table["label"] == "PAG").sum() == 5
    box = table[table["label"] == "RVM"].iloc[0]
    assert (box["kind"], box["radius_mm"], box["z"]) == ("box", "n/a", "-40")


def test_rois_list_for_people_holds_the_same_rows(call):
    rows = call("rois", "list")[1].splitlines()
    assert rows[0].split() == COLUMNS
    assert len(rows) == len(call("rois", "list", "--tsv")[1].splitlines())


def test_output_into_a_closed_pipe_is_no_failure():
    script = Path(sys.executable).with_name("conn")
    with subprocess.Popen(
        [script, "rois", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_init_writes_a_file_once(call, tmp_path):
    func = tmp_path / "trial/sub-01/func"
    func.mkdir(parents=True)
    (func / "sub-01_task-rest_bold.nii.gz").touch()
    output = tmp_path / "conn.yaml"
    code, out, _ = call("init", tmp_path / "trial", "-o", output)
    assert code == 0
    assert f"next: read it, then conn check {output}" in out
    code, out, err = call("init", tmp_path / "trial", "-o", output)
    assert (code, out) == (2, "")
    assert "the file is there already" in err


def test_simulate_refuses_a_folder_that_is_not_empty(call, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    code, _, err = call("simulate", tmp_path)
    assert code == 2
    assert "the folder is not empty" in err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_simulate_like_a_folder_without_a_listing_ends_with_3(call, tmp_path):
    (tmp_path / "like").mkdir()
    code, _, err = call("simulate", tmp_path / "out", "--like", tmp_path / "like")
    assert code == 3
    assert "FILES.txt.gz: not there" in err


def test_simulate_passes_its_options_on(call, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("conn.simulate.command.simulate_cohort", lambda *a, **k: seen.append((a, k)))
    options = ["--subjects", "5", "--volumes", "60", "--voxel-mm", "4", "--seed", "9", "--workers", "2"]
    code, out, _ = call("simulate", tmp_path / "out", *options)
    ((folder, spec), named) = seen[0]
    assert (code, folder, named) == (0, tmp_path / "out", {"workers": 2})
    assert (spec.n_subjects, spec.volumes, spec.voxel_mm, spec.seed) == (5, 60, 4.0, 9)
    assert "5 simulated people" in out


def test_simulate_takes_a_scenario_by_its_name(call, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("conn.simulate.command.simulate_cohort", lambda out, spec, **k: seen.append(spec))
    assert call("simulate", tmp_path / "demo")[0] == 0
    code, out, _ = call("simulate", tmp_path / "motion", "--scenario", "motion", "--seed", "3")
    assert (code, "60 simulated people" in out) == (0, True)
    assert (seen[0].n_subjects, seen[0].restless) == (24, None)
    assert (seen[1].restless.arm, seen[1].seed) == ("drug", 3)
    code, _, err = call("simulate", tmp_path / "other", "--scenario", "pain")
    assert code == 2
    assert "scenario 'pain' is none of demo, mediation" in err


def test_simulate_plants_only_in_data_sets_that_it_knows(call, tmp_path):
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "dataset_description.json").write_text('{"DatasetDOI": "10.1/mine"}')
    code, _, err = call("simulate", tmp_path / "out", "--like", tmp_path / "like", "--plant")
    assert code == 3
    assert "'10.1/mine' is none of ds003007" in err
    code, _, err = call("simulate", tmp_path / "out", "--plant")
    assert code == 2
    assert "--plant needs --like" in err
    code, _, err = call("simulate", tmp_path / "out", "--like", tmp_path / "like", "--scenario", "motion")
    assert code == 2
    assert "--scenario" in err
