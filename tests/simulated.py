"""A small simulated trial and what the workflow makes of it, made once for all tests and all workers.

A *world* is a folder with `data` (a BIDS data set with derivatives), a study folder beside it, and a copy of
the source tree: tests never depend on what is edited meanwhile, and may change their own world. The study
folder has a name that shells and patterns would stumble over.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from conn.config.load import to_yaml
from conn.simulate import DEMO_ROIS, CohortSpec, PlantedEdge, TruthModel, simulate_cohort

ROOT = Path(__file__).parents[1]
STUDY = 'it\'s a "study" {run}; touch PWNED'
REGIONS = ("sgACCL", "sgACCR", "insulaL", "insulaR", "vmPFC", "precuneusL", "precuneusR")
SUBJECTS = tuple(f"{n:02d}" for n in range(1, 7))
PLANTED = PlantedEdge(
    "insulaL", "precuneusL", 0.4, {"drug": -0.9, "placebo": -0.9}, person_sd=0.02, change_sd=0.02
)
SPHERE = {"center": [0.0, 0.0, 0.0], "radius_mm": 4.0, "space": "MNI152"}
WHOLE = {"labels", "models", "scales", "variables"}
SCRIPT = "<script>alert(1)</script>"

SETTINGS: dict[str, Any] = {
    "out": "results",
    "seed": 1,
    "datasets": {
        "trial": {"bids_dir": "../data", "time_points": {"labels": {"pre": ["pre"], "post": ["post"]}}}
    },
    "clinical": {
        "baseline": "pre",
        "endpoint": "post",
        "scales": {"MADRS": {"columns": {"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}}},
        "response": {"scale": "MADRS", "percent": 50},
        "variables": {"arm": {"column": "arm", "kind": "category"}},
    },
    "rois": {"use": ["sgACC", "insula", "vmPFC", "precuneus"]},
    "denoise": {"strategy": "simple", "low_pass": None},
    "connectivity": {"seeds": ["vmPFC"], "fwhm_mm": 8},
    "models": {
        "prepost": {"design": "paired", "before": "pre", "after": "post"},
        "armbytime": {
            "design": "group_by_time",
            "before": "pre",
            "after": "post",
            "group": "arm",
            "levels": ["drug", "placebo"],
            "seeds": "none",
        },
    },
    "inference": {"permutations": 199},
    "report": {"truth": "../data/truth.json"},
}


@dataclass(frozen=True)
class World:
    """A folder with data, study and source tree."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def derivatives(self) -> Path:
        return self.data / "derivatives" / "fmriprep"

    @property
    def study(self) -> Path:
        return self.folder / STUDY

    @property
    def out(self) -> Path:
        return self.study / "results"

    @property
    def clone(self) -> Path:
        return self.folder / "source tree"

    def configure(self, name: str = "study.yaml", **changes: Any) -> Path:
        """Write a configuration: the settings above with changes."""
        self.study.mkdir(exist_ok=True)
        path = self.study / name
        path.write_text(to_yaml(merged(SETTINGS, changes)), encoding="utf-8")
        return path

    def start(
        self, command: Sequence[str | Path], cwd: Path | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a module of Python, or a script, with conn from the world's source tree."""
        script = Path(command[0]).suffix == ".py"
        return subprocess.Popen(
            [sys.executable, *([] if script else ["-m"]), *map(str, command)],
            cwd=cwd or self.folder,
            env=environment(self.clone / "src"),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def call(
        self, command: Sequence[str | Path], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; see `start`."""
        process = self.start(command, cwd)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def conn(self, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line of conn."""
        return self.call(["conn.cli", *arguments], cwd)

    def copy(self, folder: Path) -> World:
        """The same world elsewhere; images are shared until they are replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        other = World(folder)
        shutil.copytree(self.data, other.data, copy_function=os.link)
        shutil.copytree(self.clone, other.clone)
        if self.study.is_dir():
            shutil.copytree(self.study, other.study)
        return other

    def func(self, subject: str, session: str, ending: str) -> Path:
        """A file of a run's derivatives, by the end of its name."""
        (found,) = (self.derivatives / f"sub-{subject}" / f"ses-{session}" / "func").glob(f"*{ending}")
        return found


def environment(*packages: Path) -> dict[str, str]:
    """Environment of a child process: packages first, nobody's Snakemake profile, one thread."""
    kept = {k: v for k, v in os.environ.items() if k not in {"SNAKEMAKE_PROFILE", "PYTHONPATH"}}
    path = os.pathsep.join(map(str, packages))
    return {**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes, section by section; what the user names is replaced as a whole."""
    result = dict(settings)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping) and key not in WHOLE:
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def replace(path: Path, content: bytes | str) -> None:
    """Give a file new content without touching the worlds that share the old one."""
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def planned(text: str) -> dict[str, int]:
    """Jobs by rule, from what a dry run prints; empty when there is nothing to do."""
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total +\d+", text, re.MULTILINE | re.DOTALL)
    if table is None:
        assert "Nothing to be done" in text, text
        return {}
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}


def snapshot(folder: Path, leave_out: Sequence[str] = (".snakemake", "logs")) -> dict[str, bytes]:
    """Every file below a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in leave_out
    }


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once, by whichever worker comes first."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def _make_pristine(folder: Path) -> None:
    world = World(folder)
    spheres = tuple(sphere for sphere in DEMO_ROIS if sphere[0] in REGIONS)
    spec = CohortSpec(
        spheres,
        (PLANTED,),
        n_subjects=len(SUBJECTS),
        volumes=110,
        voxel_mm=6.0,
        seed=4,
        models=(TruthModel("prepost", "change"),),
    )
    simulate_cohort(world.data, spec, workers=1)
    world.clone.mkdir()
    shutil.copytree(ROOT / "src", world.clone / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, world.clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, world.clone / name)


@pytest.fixture(name="pristine", scope="session")
def fixture_pristine(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Data and source tree, nothing computed. Not to be changed."""
    return World(once(tmp_path_factory, "pristine", _make_pristine))


@pytest.fixture(name="world")
def fixture_world(pristine: World, tmp_path: Path) -> World:
    """A world of one's own, nothing computed."""
    return pristine.copy(tmp_path / "world")


@pytest.fixture(name="finished", scope="session")
def fixture_finished(pristine: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The study, run from scratch by `conn run` on two processors. Not to be changed."""

    def make(folder: Path) -> None:
        made = pristine.copy(folder)
        ran = made.conn("run", made.configure(), "--cores", "2")
        (folder / "said").write_text(ran.stdout + ran.stderr)
        assert ran.returncode == 0, ran.stderr

    return World(once(tmp_path_factory, "finished", make))


def make_faulty(world: World) -> None:
    """Every fault that one scan or person can have; three people are left without any."""
    image = world.func("01", "pre", "desc-preproc_bold.nii.gz")
    replace(image, image.read_bytes()[: image.stat().st_size // 2])
    confounds = world.func("01", "post", "desc-confounds_timeseries.tsv")
    replace(confounds, "".join(confounds.read_text().splitlines(keepends=True)[:-5]))
    confounds = world.func("02", "pre", "desc-confounds_timeseries.tsv")
    replace(confounds, confounds.read_text().replace("white_matter\t", "whitematter\t", 1))
    _shorten(world, "02", "post", 50)
    people = (world.data / "participants.tsv").read_text().splitlines(keepends=True)
    head, rows = people[0], [row for row in people[1:] if not row.startswith("sub-03")]
    hostile = [row.replace("placebo", SCRIPT) if row.startswith("sub-04") else row for row in rows]
    absent = "sub-99" + rows[0][len("sub-01") :]
    replace(world.data / "participants.tsv", "".join([head, *hostile, absent]))


def _shorten(world: World, subject: str, session: str, volumes: int) -> None:
    image = world.func(subject, session, "desc-preproc_bold.nii.gz")
    shorter = image.with_name(f"short_{image.name}")
    nib.save(nib.load(image).slicer[..., :volumes], shorter)
    shorter.replace(image)
    confounds = world.func(subject, session, "desc-confounds_timeseries.tsv")
    replace(confounds, "".join(confounds.read_text().splitlines(keepends=True)[: volumes + 1]))


@pytest.fixture(name="faulty", scope="session")
def fixture_faulty(pristine: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The study with all faults, run by Snakemake from the root of the source tree. Not to be changed."""

    def make(folder: Path) -> None:
        made = pristine.copy(folder)
        make_faulty(made)
        models = {"prepost": {**SETTINGS["models"]["prepost"], "seeds": "none"}}
        config = made.configure(models=models)
        ran = made.call(["snakemake", "--configfile", config, "--cores", "2"], made.clone)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return World(once(tmp_path_factory, "faulty", make))
