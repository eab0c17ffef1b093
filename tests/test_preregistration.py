"""conn lock: what it writes, when it refuses, and what every output says of it afterwards."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import conn
from conn import lock, paths, preregistration
from conn.cli import main
from conn.locks import hold
from conn.preregistration import with_results
from conn.study import open_study
from simulated import SETTINGS, World, once, planned

STUDY = """
datasets: {trial: {bids_dir: data, time_points: {labels: {pre: [pre], post: [post]}}}}
denoise: {strategy: %s}
models:
  change: {design: paired, before: pre, after: post, contrasts: {change: {confirmatory: %s}}}
  baseline: {design: paired, before: post, after: pre}
"""
DAYS = ("2026-03-01T09:30:00", "2026-04-02T10:00:00", "2026-05-03T11:00:00")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration without data, and a calendar that goes on by itself."""
    days = iter(datetime.fromisoformat(day).replace(tzinfo=UTC) for day in DAYS)
    monkeypatch.setattr(preregistration, "now", lambda: next(days))
    return configure(tmp_path / "my.study.yaml")


def configure(path: Path, strategy: str = "simple", confirmatory: str = "true") -> Path:
    path.write_text(STUDY % (strategy, confirmatory))
    return path


@pytest.fixture
def call(config: Path, capsys: pytest.CaptureFixture[str]):
    """Run `conn lock` on the configuration: exit code, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["lock", str(config), *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def results(config: Path, model: str) -> Path:
    """A group result of a model."""
    path = config.parent / "results" / paths.test_result(model, "edges")
    path.parent.mkdir(parents=True)
    path.touch()
    return path


# Writing ----------------------------------------------------------------------------------------------


def test_a_lock_is_a_file_beside_the_configuration_and_says_its_sum(config: Path, call):
    code, out, err = call()
    path = config.with_name("my.study.lock.json")
    found = lock.read(path)
    assert (code, err) == (0, "")
    assert found.last.date == "2026-03-01T09:30:00Z"
    assert found.last.version == conn.__version__
    assert "change, change: confirmatory, locked 2026-03-01" in out
    assert "baseline, change: exploratory" in out
    assert f"SHA-256 {found.last.sha256}" in out
    assert "designs cannot be compiled yet" in out
    assert sorted(p.name for p in config.parent.iterdir()) == [path.name, config.name]


def test_a_second_lock_without_a_change_writes_nothing(config: Path, call):
    call()
    before = config.with_suffix(".lock.json").read_bytes()
    config.write_text(f"# a comment\n{config.read_text()}")
    for arguments in ((), ("--amend", "no reason at all")):
        code, out, _ = call(*arguments)
        assert code == 0
        assert "the plan is as it was locked on 2026-03-01; nothing was written" in out
    assert config.with_suffix(".lock.json").read_bytes() == before


def test_a_changed_plan_is_refused_with_what_changed_until_a_reason_is_given(config: Path, call):
    call()
    before = config.with_suffix(".lock.json").read_bytes()
    configure(config, strategy="24P")
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "1 setting is not as locked on 2026-03-01, and nothing was written" in err
    assert "denoise.strategy: simple -> 24P (change, baseline)" in err
    assert config.with_suffix(".lock.json").read_bytes() == before
    code, out, _ = call("--amend", " the scanner changed ")
    assert code == 0
    assert "change, change: confirmatory, locked 2026-04-02" in out
    first, second = lock.read(config.with_suffix(".lock.json")).entries
    assert (first.reason, second.reason) == (None, "the scanner changed")
    assert first.models["change"].settings["denoise.strategy"] == "simple"


def test_showing_prints_history_and_differences_and_writes_nothing(config: Path, call):
    assert "none; conn lock writes one" in call("--show")[1]
    assert not config.with_suffix(".lock.json").exists()
    call()
    configure(config, strategy="24P")
    call("--amend", "the scanner changed")
    configure(config, strategy="24P", confirmatory="false")
    before = config.with_suffix(".lock.json").read_bytes()
    code, out, _ = call("--show")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("2026-03-01T09:30:00Z locked (conn ")
    assert lines[1].startswith("2026-04-02T10:00:00Z amended: the scanner changed (conn ")
    assert "  denoise.strategy: simple -> 24P (change, baseline)" in lines
    assert lines[-1] == "  models.change.contrasts.change.confirmatory: true -> false (change)"
    assert config.with_suffix(".lock.json").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, ("--amend", "because"), "there is no lock to amend"),
        ("datasets: {trial: {bids_dir: data}}\n", (), "models is empty, so there is no plan to lock"),
    ],
)
def test_what_cannot_be_locked_or_amended_is_refused(
    config: Path, call, text: str | None, arguments: tuple[str, ...], message: str
):
    if text is not None:
        config.write_text(text)
    code, _, err = call(*arguments)
    assert code == 2
    assert message in err
    assert not config.with_suffix(".lock.json").exists()


def test_an_amendment_needs_words(config: Path, call):
    call()
    configure(config, strategy="24P")
    code, _, err = call("--amend", "  ")
    assert code == 2
    assert "the reason is empty" in err


def test_a_damaged_lock_stops_lock_show_and_status_with_its_name(
    config: Path, call, capsys: pytest.CaptureFixture[str]
):
    call()
    path = config.with_suffix(".lock.json")
    path.write_text(path.read_text()[:-100])
    for arguments in ((), ("--show",), ("--amend", "why")):
        code, out, err = call(*arguments)
        assert (code, out) == (3, "")
        assert f"{path}: not a lock file" in err


# Results that were there ------------------------------------------------------------------------------


def test_a_model_that_has_results_is_locked_late_and_the_others_in_time(config: Path, call):
    results(config, "change")
    _, out, _ = call()
    entry = lock.read(config.with_suffix(".lock.json")).last
    assert entry.results_of == ("change",)
    assert "Locked after results existed, which all outputs will say: change." in out
    assert "change, change: confirmatory, locked after results existed" in out
    assert (entry.models["change"].after_results, entry.models["baseline"].after_results) == (True, False)
    assert "Locked after results existed" in call("--show")[1]


def test_results_of_models_that_are_not_planned_are_named(config: Path, call):
    results(config, "explored")
    _, out, _ = call()
    assert "Group results that were there already, of other models or analyses: explored." in out
    assert "change, change: confirmatory, locked 2026-03-01" in out


@pytest.mark.parametrize("locked_first", [True, False])
def test_a_new_name_does_not_make_a_plan_that_was_seen_a_plan_in_time(config: Path, call, locked_first: bool):
    if locked_first:
        call()
    results(config, "change")
    (config.parent / "results" / paths.CONFIG).write_text(config.read_text())
    config.write_text(config.read_text().replace("\n  change: {", "\n  change2: {covariates: [mean_fd], "))
    _, out, _ = call(*(("--amend", "a better name") if locked_first else ()))
    assert "all outputs will say: change2 (the question of change)." in out
    assert "change2, change: confirmatory, locked after results of change existed" in out
    assert open_study(config).lock_states["baseline"].startswith("locked 2026")


def test_an_amendment_after_results_is_late_for_what_it_changes_alone(config: Path, call):
    call()
    results(config, "change")
    results(config, "baseline")
    config.write_text(config.read_text().replace("baseline: {", "baseline: {edges: none, "))
    call("--amend", "edges were no outcome")
    found = open_study(config).lock_states
    assert found == {"change": "locked 2026-03-01", "baseline": "locked after results existed"}


@pytest.mark.parametrize(
    ("file", "models"),
    [
        (paths.test_result("a", "seed-vmPFC"), ["a"]),
        (paths.correct_receipt("b"), ["b"]),
        (paths.edges("c"), ["c"]),
        (paths.group_map("d", "vmPFC", "change", "t"), ["d"]),
        (paths.analysis("association", "mood", ".tsv"), ["associations.mood"]),
        (paths.analysis_map("mediation", "g", "vmPFC", "ab"), ["mediation.g"]),
        (paths.analysis("prediction", "h_model"), ["prediction.h"]),
        (paths.analysis("reliability", "i"), []),
        (paths.design_json("e"), []),
        (paths.design_tsv("f"), []),
        (paths.COHORT, []),
    ],
)
def test_any_group_result_counts_and_a_design_does_not(tmp_path: Path, file: Path, models: list[str]):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert with_results(tmp_path) == models


def test_nothing_is_locked_while_a_run_is_at_work(config: Path, call):
    out = config.parent / "results"
    out.mkdir()
    held = hold(out)
    assert held is not None
    code, _, err = call()
    held.release()
    assert code == 5
    assert "a run is at work" in err
    assert not config.with_suffix(".lock.json").exists()
    assert call()[0] == 0


# What outputs say -------------------------------------------------------------------------------------

CONFIRMATORY = {"prepost": {**SETTINGS["models"]["prepost"], "contrasts": {"change": {"confirmatory": True}}}}
MODELS = {**SETTINGS["models"], **CONFIRMATORY}
MOOD = {
    "before": "pre", "after": "post", "scales": ["MADRS.change"], "edges": [["insulaL", "precuneusL"]],
    "resamples": 0, "confirmatory": True,
}  # fmt: skip


@pytest.fixture(name="planned_trial", scope="module")
def fixture_planned_trial(finished: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The simulated trial, locked before any result of a group and then run. Not to be changed."""

    def make(folder: Path) -> None:
        made = finished.copy(folder)
        # What is left are the first level's results, which nobody locks.
        for place in (paths.GROUP, paths.CACHE / "test", paths.CACHE / "correct"):
            shutil.rmtree(made.out / place)
        (made.out / paths.CONFIG).unlink()
        config = made.configure(models=MODELS, associations={"mood": MOOD})
        locked = made.conn("lock", config)
        (folder / "said").write_text(locked.stdout + locked.stderr)
        assert locked.returncode == 0, locked.stderr
        ran = made.conn("run", config, "--cores", "2")
        assert ran.returncode == 0, ran.stderr

    return World(once(tmp_path_factory, "planned", make))


def rerun(world: World, config: Path) -> dict[str, int]:
    seen = world.conn("run", config, "-n", "--cores", "1")
    assert seen.returncode == 0, seen.stderr
    return planned(seen.stdout)


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def statuses(path: Path, contrast: str = "change") -> set[str]:
    """What a table of results says of a contrast; `changeFD` repeats it with motion, and never decides."""
    rows = table(path)
    return set(rows.loc[rows["contrast"] == contrast, "status"])


@pytest.mark.workflow
@pytest.mark.xdist_group("planned")
class TestOutputs:
    def test_the_lock_holds_the_words_of_contrasts_once_designs_can_be_compiled(self, planned_trial: World):
        entry = lock.read(planned_trial.study / "study.lock.json").last
        found = entry.models["prepost"].contrasts["change"]
        assert found == {
            "confirmatory": True,
            "words": "mean change of connectivity, post minus pre",
        }
        assert entry.results_of == ()
        assert "cannot be compiled" not in (planned_trial.folder / "said").read_text()

    def test_every_table_of_results_says_the_status(self, planned_trial: World):
        day = lock.day(lock.read(planned_trial.study / "study.lock.json").last.date)
        group = planned_trial.out / "group"
        status = {f"confirmatory, locked {day}"}
        assert statuses(group / "prepost" / "model-prepost_edges.tsv") == status
        assert statuses(group / "prepost" / "model-prepost_edges.tsv", "changeFD") == {"exploratory"}
        assert list(table(group / "prepost" / "model-prepost_clusters.tsv").columns)[-1] == "status"
        assert set(table(planned_trial.out / "association" / "mood.tsv")["status"]) == status
        families = json.loads((group / "prepost" / "model-prepost_families.json").read_text())
        assert {one["status"] for one in families if one["contrast"] == "change"} == status
        assert set(table(group / "armbytime" / "model-armbytime_edges.tsv")["status"]) == {"exploratory"}

    @pytest.mark.slow
    def test_an_analysis_that_is_renamed_leaves_nothing_and_says_whom_it_lacks(
        self, planned_trial: World, tmp_path: Path
    ):
        world = planned_trial.copy(tmp_path / "renamed")
        people = world.data / "participants.tsv"
        rows = table(people)
        rows.loc[0, "MADRS_ses-post"] = "n/a"
        rows.to_csv(people, sep="\t", index=False)
        config = world.configure(models={}, associations={"again": MOOD})
        ran = world.conn("run", config, "--cores", "1")
        assert ran.returncode == 0, ran.stderr
        assert {path.name for path in (world.out / "association").iterdir()} == {"again.json", "again.tsv"}
        assert not (world.out / "group").exists() or not any((world.out / "group").iterdir())
        (lost,) = table(world.out / "exclusions.tsv").to_dict("records")
        assert lost["subject"] == rows.loc[0, "participant_id"].removeprefix("sub-")
        assert (lost["stage"], lost["reason"]) == ("association", "not_in_analysis")
        assert lost["value"].startswith("again: MADRS")
        html = (world.out / "report.html").read_text(encoding="utf-8")
        assert "One association (again) was made" in html and "associations.mood" not in html
        assert rerun(world, config) == {}

    def test_report_methods_and_record_say_it_too(self, planned_trial: World):
        entry = lock.read(planned_trial.study / "study.lock.json").last
        words = f"confirmatory, locked {lock.day(entry.date)}"
        html = (planned_trial.out / "report.html").read_text(encoding="utf-8")
        methods = (planned_trial.out / "methods.md").read_text(encoding="utf-8")
        assert html.count(f'<span class="badge planned">{words}</span>') == 5
        assert f"Clinical analyses: associations.mood ({words})." in html
        assert entry.sha256 in html
        assert f"({words})" in methods and entry.sha256 in methods
        assert "lock.json" in (planned_trial.out / ".bidsignore").read_text().splitlines()
        record = json.loads((planned_trial.out / "lock.json").read_text())
        assert record["file"] == "study.lock.json"
        assert record["models"]["prepost"]["state"] == f"locked {lock.day(entry.date)}"

    def test_check_and_status_say_it_too(self, planned_trial: World, capsys: pytest.CaptureFixture[str]):
        day = lock.day(lock.read(planned_trial.study / "study.lock.json").last.date)
        config = str(planned_trial.study / "study.yaml")
        assert main(["check", config]) == 0
        said = capsys.readouterr().out
        assert f"prepost, change: confirmatory, locked {day}\n" in said
        assert f"associations.mood: confirmatory, locked {day}\n" in said
        assert "ASSOCIATION mood\nDoes the change of connectivity (post minus pre) go with MADRS" in said
        assert "all, n = 6: 1 scale by 1 edge, one family; " in said
        assert "nothing changed since" in said
        assert main(["status", config]) == 0
        assert f"plan: locked on {day}, nothing changed since" in capsys.readouterr().out

    def test_a_lock_that_changes_runs_what_prints_it_and_nothing_else(
        self, planned_trial: World, tmp_path: Path
    ):
        world = planned_trial.copy(tmp_path / "world")
        config = world.study / "study.yaml"
        path = world.study / "study.lock.json"
        path.unlink()
        printing = ("association", "correct", "confounding", "settings", "lock", "report", "all")
        expected = dict.fromkeys(printing, 1)
        assert rerun(world, config) == expected
        locked = world.conn("lock", config)
        assert "prepost, change: confirmatory, locked after results existed" in locked.stdout
        assert rerun(world, config) == expected
        ran = world.conn("run", config, "--cores", "1")
        assert ran.returncode == 0, ran.stderr
        edges = world.out / "group" / "prepost" / "model-prepost_edges.tsv"
        assert statuses(edges) == {"confirmatory, locked after results existed"}
        assert rerun(world, config) == {}
        path.write_text(path.read_text()[:300])
        for stopped in (world.conn("run", config), world.conn("check", config)):
            assert stopped.returncode == 3
            assert "study.lock.json: not a lock file" in stopped.stderr

    def test_a_lock_of_exploratory_models_leaves_their_tables_alone(self, finished: World, tmp_path: Path):
        world = finished.copy(tmp_path / "world")
        config = world.study / "study.yaml"
        assert world.conn("lock", config).returncode == 0
        assert rerun(world, config) == {"lock": 1, "report": 1, "all": 1}

    @pytest.mark.slow
    def test_a_change_after_locking_is_said_in_tables_and_report(self, planned_trial: World, tmp_path: Path):
        world = planned_trial.copy(tmp_path / "world")
        models: dict[str, Any] = {**CONFIRMATORY}
        models["prepost"] = {**models["prepost"], "seeds": "none"}
        config = world.configure(models=models)
        ran = world.conn("run", config, "--cores", "1")
        assert ran.returncode == 0, ran.stderr
        edges = world.out / "group" / "prepost" / "model-prepost_edges.tsv"
        assert statuses(edges) == {"confirmatory, changed after locking"}
        html = (world.out / "report.html").read_text(encoding="utf-8")
        assert "models.prepost.seeds" in html and "models.armbytime" in html
        assert "badge planned" not in html


# Clinical tables --------------------------------------------------------------------------------------

ARMS = """
datasets: {trial: {bids_dir: data, time_points: {labels: {pre: [pre], post: [post]}}}}
clinical:
  variables: {arm: {column: group, kind: category}, age: {column: age}}
models:
  arms:
    design: group_by_time
    before: pre
    after: post
    group: arm
    levels: [drug, sham]
    contrasts: {interaction: {confirmatory: true}}
  change: {design: paired, before: pre, after: post}
"""
ROWS = ("participant_id\tgroup\tage", "sub-01\tdrug\t30", "sub-02\tsham\t41")


def with_table(config: Path, *rows: str) -> Path:
    config.write_text(ARMS)
    path = config.parent / "data" / "participants.tsv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_that_changed_after_the_lock_is_a_change_of_the_models_that_use_it(config: Path, call):
    table = with_table(config, *ROWS)
    call()
    table.write_text("\n".join(ROWS).replace("41", "99") + "\n")
    assert "nothing was written" in call()[1], "no model uses the age"
    table.write_text("\n".join([ROWS[0], ROWS[1], "sub-02\tdrug\t41"]) + "\n")
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "1 setting is not as locked" in err
    assert "table trial.participants.tsv holds other data: participant_id, group; sha256:" in err
    assert err.count("(arms)") == 1, "the paired model uses no column"
    assert "confirmatory, changed after locking" in call("--show")[1]
    assert call("--amend", "sub-02 was entered wrongly; corrected before unblinding")[0] == 0
    assert "the plan is as it was locked" in call()[1]


def test_another_order_of_rows_and_a_new_column_are_no_change(config: Path, call):
    table = with_table(config, *ROWS)
    call()
    table.write_text("age\tgroup\tsite\tparticipant_id\n41\tsham\tA\tsub-02\n30\tdrug\tB\tsub-01\n")
    assert "the plan is as it was locked" in call()[1]


def test_a_table_that_comes_after_the_lock_is_no_change_and_is_named(config: Path, call):
    config.write_text(ARMS)
    call()
    with_table(config, *ROWS)
    code, out, _ = call("--show")
    assert code == 0
    assert "arms, interaction: confirmatory, locked 2026-03-01" in out
    assert (
        "tables that were not there yet, so that their content is not locked: trial.participants.tsv" in out
    )
    assert "options that the lock does not know" not in out


def test_a_table_that_is_gone_is_a_change(config: Path, call):
    table = with_table(config, *ROWS)
    call()
    table.unlink()
    assert "-> not there (arms)" in call()[2]


def test_tables_of_single_people_are_locked_together(config: Path, call):
    with_table(config, *ROWS).unlink()
    config.write_text(ARMS.replace("clinical:\n", 'clinical:\n  tables: [{path: "{subject}.tsv"}]\n'))
    for subject, group in (("01", "drug"), ("02", "sham")):
        (config.parent / "data" / f"{subject}.tsv").write_text(f"session_id\tgroup\npre\t{group}\n")
    call()
    (config.parent / "data" / "02.tsv").write_text("session_id\tgroup\npre\tdrug\n")
    assert "table trial.{subject}.tsv holds other data: session_id, group; sha256:" in call()[2]


# Clinical analyses ------------------------------------------------------------------------------------

CLINIC = """
datasets: {trial: {bids_dir: data, time_points: {labels: {pre: [pre], post: [post]}}}}
clinical:
  scales: {MADRS: {columns: {pre: m1, post: m2}}}
  variables: {arm: {column: group, kind: category}}
mediation:
  carried:
    arm: arm
    levels: [drug, sham]
    before: pre
    after: post
    randomised: true
    outcome: MADRS
    confirmatory: true
prediction:
  severity: {at: pre, outcome: MADRS.post}
reliability:
  halves: {before: pre}
"""


def test_analyses_are_locked_without_any_model_and_say_what_they_test(config: Path, call):
    config.write_text(CLINIC)
    code, out, err = call()
    assert (code, err) == (0, "")
    assert "mediation.carried: confirmatory, locked 2026-03-01" in out
    assert "prediction.severity: exploratory" in out
    assert "reliability" not in out
    assert "cannot be compiled" not in out
    entry = lock.read(config.with_suffix(".lock.json")).last
    words = entry.models["mediation.carried"].contrasts[lock.WHOLE]["words"]
    assert words.startswith("Does connectivity carry the effect of drug against sham on MADRS?")


def test_results_of_an_analysis_that_were_there_make_its_lock_late(config: Path, call):
    config.write_text(CLINIC)
    out = config.parent / "results"
    for kind, name in (("mediation", "carried"), ("association", "old")):
        path = out / paths.analysis(kind, name)
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    said = call()[1]
    assert "Locked after results existed, which all outputs will say: mediation.carried." in said
    assert "of other models or analyses: associations.old." in said
    assert open_study(config).analysis_status("mediation", "carried") == (
        "confirmatory, locked after results existed"
    )


def test_a_changed_option_of_an_analysis_needs_an_amendment(config: Path, call):
    config.write_text(CLINIC)
    call()
    config.write_text(CLINIC.replace("randomised: true", "randomised: false"))
    code, _, err = call()
    assert code == 2
    assert "mediation.carried.randomised: true -> false (mediation.carried)" in err
    assert call("--amend", "arms were chosen by the physician")[0] == 0
    assert open_study(config).analysis_status("mediation", "carried") == "confirmatory, locked 2026-04-02"


def test_the_content_of_a_table_is_locked_for_the_analyses_that_use_it(config: Path, call):
    table = with_table(
        config, "participant_id\tgroup\tm1\tm2", "sub-01\tdrug\t30\t20", "sub-02\tsham\t31\t29"
    )
    config.write_text(CLINIC)
    call()
    table.write_text(table.read_text().replace("sham", "drug"))
    err = call()[2]
    assert "table trial.participants.tsv holds other data" in err
    assert "(mediation.carried)" in err, "the prediction does not use arms"
