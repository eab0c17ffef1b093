"""The installed wheel runs the workflow, far from any source tree."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from simulated import (
    World,
    environment,
    once,
    planned,
)

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def site(pristine: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of the source tree was installed; its dependencies come from outside."""

    def make(folder: Path) -> None:
        tree = pristine.copy(folder / "world").clone
        build = ["build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(tree)]
        install = ["pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(folder / "site")]
        for command in (build, [*install, "--find-links", str(folder / "dist"), "trialconn"]):
            done = subprocess.run(
                [sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=folder
            )
            assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "wheel", make)


def run(site: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conn.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(site / "site"),
    )


def test_the_wheel_holds_code_data_and_workflow_and_nothing_else(site: Path):
    (wheel,) = (site / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "conn/_workflow/Snakefile",
        "conn/_workflow/rules/common.smk",
        "conn/_workflow/scripts/project.py",
        "conn/rois/registry.tsv",
        "conn/report/templates/report.html.j2",
    ):
        assert name in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"conn", "trialconn"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_a_study_runs_from_the_installed_wheel_and_then_rests(site: Path, world: World):
    config = world.configure(
        datasets={"trial": {"subjects": ["02"], "time_points": {"labels": {"pre": ["pre"]}}}},
        clinical={"endpoint": "pre", "scales": {}, "response": None},
        models={},
        report={"truth": None},
    )
    ran = run(site, world.study, "run", config.name, "--cores", "2")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "report: results/report.html\n"
    assert "sub-02" in (world.out / "report.html").read_text(encoding="utf-8")
    record = (world.out / "logs" / "snakemake.log").read_text()
    assert str(world.clone) not in record
    assert planned(run(site, world.study, "run", config.name, "-n").stdout) == {}
    # The source tree holds the same code: it finds the state of the wheel and has nothing to do.
    assert planned(world.conn("run", config, "-n").stdout) == {}


@pytest.mark.slow
def test_the_wheel_and_the_source_tree_have_the_same_targets(site: Path, world: World):
    config = world.configure()
    there = run(site, world.folder, "run", config, "-n")
    assert planned(there.stdout) == planned(world.conn("run", config, "-n").stdout)
    assert planned(there.stdout)["project"] == 12
