"""A changed setting or module runs again exactly what depends on it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conn import digests, images
from simulated import (
    SETTINGS,
    SUBJECTS,
    World,
    planned,
    replace,
)

RULES = Path(__file__).parents[1] / "workflow" / "rules"
STAGES = ("project", "measure", "collect", "cohort", "design", "test", "correct", "exclusions")
FIRST_LEVEL = {"project", "measure"}
TESTS = {"test_seed", "test_edges"}


# Digests ----------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `conn` of one's own: stage → core → leaf, with a data file."""
    folder = tmp_path / "conn"
    (folder / "tables").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "stage.py": '"""Stage."""\nfrom conn import core\ndef run():\n    """Do."""\n    return core.one()\n',
        "core.py": "from conn.tables import leaf\n\ndef one():\n    return leaf.two() - 1\n",
        "tables/__init__.py": "",
        "tables/leaf.py": "def two():\n    return 2\n",
        "tables/registry.tsv": "label\tx\n",
        "apart.py": "def three():\n    return 3\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(
        digests,
        "_file",
        lambda module: next(
            (
                path
                for path in (
                    tmp_path.joinpath(*module.split(".")).with_suffix(".py"),
                    tmp_path.joinpath(*module.split("."), "__init__.py"),
                )
                if path.is_file()
            ),
            None,
        ),
    )
    return folder


def digest_of_stage(script: Path | None = None) -> str:
    for cached in (digests._tree, digests._imports, digests._digest, digests.code):
        cached.cache_clear()
    return digests.code("conn.stage", script)


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    for cached in (digests._tree, digests._imports, digests._digest, digests.code):
        cached.cache_clear()


def test_a_closure_holds_what_is_imported_directly_and_indirectly(package: Path):
    assert digest_of_stage()
    assert digests.closure("conn.stage") == ("conn.core", "conn.stage", "conn.tables", "conn.tables.leaf")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stage.py", '"""Stage."""', '"""Another text."""'),
        ("stage.py", '"""Do."""\n', '"""Do."""\n    # why\n'),
        ("core.py", "def one", "\n\n# a comment\ndef one"),
        ("tables/leaf.py", "    return 2", "    return (2)"),
        ("apart.py", "return 3", "return 4"),
    ],
)
def test_words_and_modules_that_are_not_called_change_nothing(package: Path, name: str, old: str, new: str):
    before = digest_of_stage()
    text = (package / name).read_text()
    assert old in text
    (package / name).write_text(text.replace(old, new))
    assert digest_of_stage() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stage.py", "core.one()", "core.one() + 1"),
        ("core.py", "- 1", "- 2"),
        ("tables/leaf.py", "return 2", "return 3"),
        ("tables/leaf.py", "return 2", "'''a docstring, and a value gone'''"),
        ("tables/registry.tsv", "x", "y"),
        ("tables/__init__.py", "", "version = 2\n"),
    ],
)
def test_code_and_data_on_the_way_change_the_digest(package: Path, name: str, old: str, new: str):
    before = digest_of_stage()
    (package / name).write_text((package / name).read_text().replace(old, new, 1))
    assert digest_of_stage() != before


def test_a_new_data_file_and_the_calling_script_count(package: Path, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text("run(1)\n")
    before = digest_of_stage(script)
    assert before != digest_of_stage()
    script.write_text("# said otherwise\nrun(1)\n")
    assert digest_of_stage(script) == before
    script.write_text("run(2)\n")
    assert digest_of_stage(script) != before
    script.write_text("run(1)\n")
    (package / "tables" / "page.html.j2").write_text("<p>")
    assert digest_of_stage(script) != before


def test_relative_imports_are_followed(package: Path):
    before = digest_of_stage()
    (package / "stage.py").write_text("from . import core\nfrom .tables import leaf\n")
    assert digest_of_stage() != before
    assert "conn.tables.leaf" in digests.closure("conn.stage")


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_depends_on_the_workflow_or_the_command_line(stage: str):
    outside = {
        "conn.cli",
        "conn.runner",
        "conn.study",
        "conn.check",
        "conn.status",
        "conn.jobs",
        "conn.locks",
    }
    assert not outside & set(digests.closure(f"conn.stages.{stage}"))


@pytest.mark.parametrize(
    ("stage", "stays_away_from"),
    [
        ("project", {"conn.rois", "conn.correlation", "conn.inference", "conn.cohort", "conn.design"}),
        ("measure", {"conn.projection", "conn.confounds", "conn.inference", "conn.cohort", "conn.design"}),
        ("cohort", {"conn.images", "conn.projection", "conn.inference", "conn.design"}),
        ("design", {"conn.images", "conn.projection", "conn.inference", "conn.permutation"}),
        ("test", {"conn.projection", "conn.confounds", "conn.clusters"}),
    ],
)
def test_a_stage_does_not_call_what_belongs_to_others(stage: str, stays_away_from: set[str]):
    assert not stays_away_from & set(digests.closure(f"conn.stages.{stage}"))


def test_every_rule_that_computes_says_what_it_calls():
    rules = re.findall(
        r"^rule (\w+):\n((?:(?!^rule ).*\n?)*)",
        "\n".join(path.read_text() for path in sorted(RULES.glob("*.smk"))),
        re.MULTILINE,
    )
    calling = {name: body for name, body in rules if "script:" in body}
    assert {"project", "measure", "cohort", "design", "test_seed", "correct", "report"} <= set(calling)
    for name, body in calling.items():
        script = re.search(r'"\.\./scripts/(\w+)\.py"', body)
        assert script is not None
        assert (RULES.parent / "scripts" / f"{script[1]}.py").is_file()
        assert name == "settings" or re.search(rf'code=calls\("[\w.]+", "{script[1]}"\)', body), name


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


# What runs again --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settled(finished: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The finished study, moved as a whole to another place."""
    return finished.copy(tmp_path_factory.mktemp("settled"))


def again(world: World, **changes: Any) -> dict[str, int]:
    """Jobs that a run would do after a change."""
    config = world.configure("changed.yaml", **changes)
    seen = world.conn("run", config, "-n", "--cores", "1")
    assert seen.returncode == 0, seen.stderr
    return planned(seen.stdout)


def change_module(world: World, name: str, change: Callable[[str], str]) -> Callable[[], None]:
    path = world.clone / name
    before = path.read_text()
    after = change(before)
    assert after != before
    replace(path, after)
    return lambda: replace(path, before)


def add_code(text: str) -> str:
    return text + "\n\nADDED = 1\n"


def add_words(text: str) -> str:
    head, _, rest = text.partition('"""\n')
    return f'{head}\n\nMore words.\n"""\n# and a comment\n{rest}\n# and another one\n'


@pytest.mark.workflow
@pytest.mark.xdist_group("settled")
class TestAfterAChange:
    def test_a_study_that_was_moved_as_a_whole_has_nothing_to_do(self, settled: World):
        assert again(settled) == {}

    def test_words_in_modules_and_scripts_run_nothing(self, settled: World):
        names = ("projection", "stages/measure", "inference", "cohort/table", "report/build")
        undo = [change_module(settled, f"src/conn/{name}.py", add_words) for name in names]
        script = settled.clone / "workflow" / "scripts" / "project.py"
        undo.append(change_module(settled, "workflow/scripts/project.py", lambda text: f"# why\n{text}"))
        assert script.stat().st_mtime > (settled.out / "report.html").stat().st_mtime
        assert again(settled) == {}
        for one in undo:
            one()

    @pytest.mark.parametrize(
        ("name", "first", "never"),
        [
            ("src/conn/inference.py", {"test_seed": 1, "test_edges": 2}, FIRST_LEVEL | {"cohort", "design"}),
            ("src/conn/clusters.py", {"correct": 2}, FIRST_LEVEL | TESTS | {"cohort", "design"}),
            slow("src/conn/cohort/table.py", {"cohort": 1}, FIRST_LEVEL | {"collect"}),
            slow("src/conn/correlation.py", {"measure": 12}, {"project"}),
            slow("src/conn/projection.py", {"project": 12}, set()),
            ("workflow/scripts/correct.py", {"correct": 2}, FIRST_LEVEL | TESTS),
            slow("src/conn/report/style.py", {"report": 1}, FIRST_LEVEL | TESTS | {"correct", "exclusions"}),
        ],
    )
    def test_code_runs_what_calls_it(self, settled: World, name: str, first: dict[str, int], never: set[str]):
        undo = change_module(settled, name, add_code)
        jobs = again(settled)
        undo()
        assert first.items() <= jobs.items()
        assert not never & set(jobs)
        assert jobs["report"] == 1

    @pytest.mark.parametrize(
        ("changes", "first", "never"),
        [
            (
                {"clinical": {"response": {"scale": "MADRS", "percent": 40}}},
                {"cohort": 1},
                FIRST_LEVEL | {"collect"},
            ),
            ({"connectivity": {"seeds": ["vmPFC", "sgACC"]}}, {"measure": 12, "test_seed": 3}, {"project"}),
            slow({"rois": {"min_coverage": 0.6}}, {"measure": 12}, {"project"}),
            (
                {"connectivity": {"combine_runs": "first"}},
                {"design": 2},
                FIRST_LEVEL | {"collect", "cohort"},
            ),
            ({"denoise": {"strategy": "24P"}}, {"project": 12, "measure": 12}, set()),
            slow({"connectivity": {"fwhm_mm": 6}}, {"project": 12, "measure": 12}, set()),
            slow({"connectivity": {"smooth_within_mask": True}}, {"project": 12, "measure": 12}, set()),
            slow({"connectivity": {"xdf": True}}, {"measure": 12}, {"project"}),
            (
                {"inference": {"permutations": 299}},
                {"test_seed": 1, "test_edges": 2},
                FIRST_LEVEL | {"collect", "cohort"},
            ),
            slow({"seed": 2}, {"test_seed": 1, "test_edges": 2}, FIRST_LEVEL | {"cohort", "design"}),
            slow({"report": {"title": "Other"}}, {"report": 1}, FIRST_LEVEL | TESTS | {"cohort", "correct"}),
        ],
    )
    def test_a_setting_runs_what_it_decides(
        self, settled: World, changes: dict[str, Any], first: dict[str, int], never: set[str]
    ):
        jobs = again(settled, **changes)
        assert first.items() <= jobs.items()
        assert not never & set(jobs)
        assert jobs["report"] == jobs["settings"] == 1

    def test_one_more_model_leaves_the_first_level_and_other_models_alone(self, settled: World):
        models = {**SETTINGS["models"], "more": {**SETTINGS["models"]["prepost"], "seeds": "none"}}
        jobs = again(settled, models=models)
        assert {jobs[rule] for rule in ("design", "test_edges", "correct")} == {1}
        assert not (FIRST_LEVEL | {"collect", "cohort", "test_seed"}) & set(jobs)

    def test_names_of_time_points_leave_the_first_level_alone(self, settled: World):
        labels = {"before": ["pre"], "after": ["post"]}
        columns = {"before": "MADRS_ses-pre", "after": "MADRS_ses-post"}
        prepost = {"design": "paired", "before": "before", "after": "after"}
        jobs = again(
            settled,
            datasets={"trial": {"time_points": {"labels": labels}}},
            clinical={"baseline": "before", "endpoint": "after", "scales": {"MADRS": {"columns": columns}}},
            models={"prepost": prepost},
        )
        assert {"collect", "cohort", "design"} <= set(jobs)
        assert not FIRST_LEVEL & set(jobs)

    def test_a_corrected_repetition_time_runs_its_scan_again(self, settled: World):
        sidecar = settled.func("03", "pre", "desc-preproc_bold.json")
        before = sidecar.read_text()
        assert '"RepetitionTime": 2.0' in before
        replace(sidecar, before.replace("2.0", "2.5"))
        jobs = again(settled)
        replace(sidecar, before)
        assert (jobs["project"], jobs["measure"]) == (1, 1)

    def test_a_new_image_or_table_runs_what_reads_it(self, settled: World):
        confounds = settled.func("04", "post", "desc-confounds_timeseries.tsv")
        table = settled.data / "participants.tsv"
        whole = table.read_text()
        replace(table, whole.replace("\tF\t", "\tM\t"))
        jobs = again(settled)
        assert jobs["cohort"] == 1
        assert jobs.get("project", 0) == 0
        replace(confounds, confounds.read_text().replace("0", "1", 50))
        assert again(settled)["project"] == 1

    @pytest.mark.slow
    def test_an_image_that_was_put_back_with_an_older_date_runs_again(self, settled: World):
        mask = settled.func("03", "pre", "desc-brain_mask.nii.gz")
        waiting = again(settled).get("project", 0)
        before = mask.stat()
        grid, values = images.read_volume(mask)
        values[: grid.shape[0] // 2] = 0
        images.write_map(mask, grid, values)
        os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns - 10**12))
        assert again(settled)["project"] == waiting + 1


@pytest.mark.slow
@pytest.mark.workflow
def test_another_mask_runs_the_measures_again(world: World):
    mask = world.study / "mine.nii.gz"
    config = world.configure(
        rois={"custom": {"mine": {"mask": "mine.nii.gz", "space": "MNI152"}}},
        datasets={"trial": {"subjects": [SUBJECTS[0]], "time_points": {"labels": {"pre": ["pre"]}}}},
        clinical={"endpoint": "pre", "scales": {}, "response": None},
        models={},
        report={"truth": None},
    )
    shutil.copyfile(world.func(SUBJECTS[0], "pre", "desc-brain_mask.nii.gz"), mask)
    ran = world.conn("run", config, "--cores", "1", "--until", "measure")
    assert ran.returncode == 0, ran.stderr
    assert planned(world.conn("run", config, "--until", "measure", "-n").stdout) == {}
    grid, values = images.read_volume(mask)
    values[: grid.shape[0] // 2] = 0
    images.write_map(mask, grid, values)
    jobs = planned(world.conn("run", config, "--until", "measure", "-n").stdout)
    assert jobs == {"measure": 1, "measure_all": 1}
