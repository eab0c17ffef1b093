"""`conn lock`: write down a plan before results exist, amend it with a reason, show what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import conn
from conn import lock, not_done, paths
from conn.analysis_words import analysis_words
from conn.config.load import load
from conn.errors import ConfigError, ConnError, ResourceError
from conn.lock import Change, Entry
from conn.locks import hold
from conn.plan import ANALYSES, plans_of
from conn.preflight import designs
from conn.study import Study

PLACE_IT = (
    "Commit this file. Put the SHA-256 where nobody can change it later, such as a registration at OSF."
)


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def lock_plan(study: Study, reason: str | None = None) -> str:
    """Lock the plan of a study, or amend a lock.

    Parameters
    ----------
    study
        The study.
    reason
        Of an amendment; None to lock for the first time.

    Returns
    -------
    str
        What was done, for a terminal.

    Raises
    ------
    ConfigError
        There is nothing to lock or to amend; or the plan changed and no reason was given.
    InputError
        The lock file is damaged.
    ResourceError
        A run is at work in the output folder.
    """
    last = study.lock.last
    _refuse_empty(study, reason)
    if last is not None:
        changes = lock.compare(last, study.plans)
        if not changes:
            return _unchanged(study, last)
        if reason is None:
            raise ConfigError(_refusal(study, last, changes))
    with _alone(study):
        entry = _write(study, reason)
    return "\n".join(_said(study, entry))


def _refuse_empty(study: Study, reason: str | None) -> None:
    if not study.plans:
        raise ConfigError(
            f"{study.config_path.name}: models is empty, so there is no plan to lock; nor is there anything "
            f"under {', '.join(ANALYSES)}"
        )
    if reason is not None and study.lock.last is None:
        raise ConfigError(f"{study.lock.name}: there is no lock to amend; say conn lock without --amend")
    if reason is not None and not reason.strip():
        raise ConfigError("--amend: the reason is empty; say why the plan changes")


def _write(study: Study, reason: str | None) -> Entry:
    entry = lock.next_entry(
        study.lock,
        study.plans,
        date=now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=conn.__version__,
        results_of=with_results(study.out),
        words=words(study),
        reason=None if reason is None else reason.strip(),
        earlier=settings_of_results(study.out),
    )
    lock.write(study.lock_file, [*study.lock.entries, entry])
    return entry


@contextmanager
def _alone(study: Study) -> Iterator[None]:
    """While nobody computes results that the entry could not know of."""
    if not study.out.is_dir():
        yield
        return
    held = hold(study.out)
    if held is None:
        raise ResourceError(f"{study.config.out}: a run is at work in this folder; wait until it ends")
    try:
        yield
    finally:
        held.release()


def with_results(out: Path) -> list[str]:
    """Models and analyses with any result in the output folder, whether or not they are still configured."""
    tests = {path.parent.name for path in out.glob(paths.test_result("*", "*").as_posix())}
    corrected = {path.stem for path in out.glob(paths.correct_receipt("*").as_posix())}
    files = [path for path in out.glob(f"{paths.model_folder('*')}/*") if path.is_file()]
    tables = {path.parent.name for path in files if not path.stem.endswith("_design")}
    return [*sorted(tests | corrected | tables), *_analyses_with_results(out)]


def settings_of_results(out: Path) -> dict[str, Mapping[str, Any]]:
    """Settings of the models and analyses of the configuration that the last results came with.

    It tells what was asked of models that were never locked, and have another name by now. Nothing without
    a configuration that can be read: a folder of results may be older than this version.
    """
    try:
        config = load(out / paths.CONFIG)
    except (ConnError, OSError):
        return {}
    return {name: plan.settings for name, plan in plans_of(config, lambda _: "").items()}


def _analyses_with_results(out: Path) -> list[str]:
    """Analyses are named as in a lock; maps and the model of a prediction belong to the name before them."""
    found = set()
    for section in ANALYSES:
        for path in out.glob(paths.analysis(paths.analysis_folder(section), "*", "").as_posix()):
            name = path.name.partition(".")[0].partition("_")[0]
            if path.is_file() and not_done.reason(out, paths.analysis_folder(section), name) is None:
                found.add(f"{section}.{name}")
    return sorted(found)


def words(study: Study) -> dict[str, dict[str, str]]:
    """What each contrast and each analysis estimates.

    Without those of contrasts as long as the data are not there to compile designs from.
    """
    told = {name: {lock.WHOLE: text} for name, text in analysis_words(study.config).items()}
    try:
        compiled = designs(study)
    except ConnError:
        return told
    return told | {name: {c.name: c.words for c in design.contrasts} for name, design in compiled.items()}


# Words ----------------------------------------------------------------------------------------------


def _unchanged(study: Study, last: Entry) -> str:
    head = f"{study.lock.name}: the plan is as it was locked on {lock.day(last.date)}; nothing was written."
    return "\n".join([head, *statuses(study)])


def _refusal(study: Study, last: Entry, changes: tuple[Change, ...]) -> str:
    n = len(changes)
    return "\n".join(
        [
            f"{study.lock.name}: {n} {'setting is' if n == 1 else 'settings are'} not as locked on "
            f"{lock.day(last.date)}, and nothing was written:",
            *map(change_words, changes),
            'Undo them, or say why: conn lock CONFIG --amend "reason". The history is kept.',
        ]
    )


def _said(study: Study, entry: Entry) -> Iterator[str]:
    done = "locked" if entry.reason is None else "amended"
    yield f"{done}: {study.lock_file.name}, {entry.date}"
    yield from map(change_words, entry.changes)
    yield from results_words(entry)
    states = {name: lock.state_of(entry, name, plan) for name, plan in study.plans.items()}
    yield from _statuses(study, states)
    if not all(c["words"] for model in entry.models.values() for c in model.contrasts.values()):
        yield "The words of contrasts are not in it: designs cannot be compiled yet (conn check says why)."
    yield f"SHA-256 {entry.sha256}"
    yield PLACE_IT


def change_words(change: Change) -> str:
    """A change as one line."""
    if change.key.startswith(lock.CONTENT):
        table = change.key.removeprefix(lock.CONTENT)
        return f"  table {table} holds other data: {change.old} -> {change.new} ({', '.join(change.models)})"
    return f"  {change.key}: {change.old} -> {change.new} ({', '.join(change.models)})"


def results_words(entry: Entry) -> list[str]:
    """That results were there when an entry was written; empty when there were none."""
    now_locked = {name: model for name, model in entry.models.items() if model.date == entry.date}
    late = {name: model.seen_as for name, model in now_locked.items() if model.after_results}
    found = []
    if late:
        shown = [f"{name} (the question of {other})" if other else name for name, other in late.items()]
        found.append(f"Locked after results existed, which all outputs will say: {', '.join(shown)}.")
    others = [name for name in entry.results_of if name not in late]
    if others:
        found.append(
            f"Group results that were there already, of other models or analyses: {', '.join(others)}."
        )
    return found


def statuses(study: Study) -> list[str]:
    """The status of every contrast, one a line."""
    return list(_statuses(study, study.lock_states))


def _statuses(study: Study, states: Mapping[str, str]) -> Iterator[str]:
    for name, plan in study.plans.items():
        for contrast, confirmatory in plan.contrasts.items():
            yield f"{lock.title(name, contrast)}: {lock.label(states[name], confirmatory=confirmatory)}"


def state_lines(study: Study) -> list[str]:
    """Lock, statuses and later changes, for `conn check`."""
    last = study.lock.last
    if last is None:
        return ["none; conn lock writes one, before there are results", *statuses(study)]
    changes = lock.compare(last, study.plans)
    head = f"{study.lock.name}, {lock.day(last.date)}, SHA-256 {last.sha256}"
    return [head, *statuses(study), *_since(changes), *_new_options(study, last)]


def summary(study: Study) -> list[str]:
    """The lock in one line, for `conn status`; nothing without a lock."""
    last = study.lock.last
    if last is None:
        return []
    n = len(lock.compare(last, study.plans))
    since = (
        f"{n} {'change' if n == 1 else 'changes'} since (conn lock --show)" if n else "nothing changed since"
    )
    return [f"plan: locked on {lock.day(last.date)}, {since}"]


def _since(changes: tuple[Change, ...]) -> list[str]:
    return ["changed since:", *map(change_words, changes)] if changes else ["nothing changed since"]


def _new_options(study: Study, last: Entry) -> list[str]:
    found, tables = lock.unknown_options(last, study.plans), lock.unlocked_tables(last, study.plans)
    lines = [f"options that the lock does not know, at their defaults: {', '.join(found)}"] if found else []
    if tables:
        lines.append(
            f"tables that were not there yet, so that their content is not locked: {', '.join(tables)}"
        )
    return lines


def show(study: Study) -> str:
    """History of the lock, and its state."""
    lines = []
    for entry in study.lock.entries:
        why = "locked" if entry.reason is None else f"amended: {entry.reason}"
        lines.append(f"{entry.date} {why} (conn {entry.version}, SHA-256 {entry.sha256})")
        lines += [*map(change_words, entry.changes), *(f"  {text}" for text in results_words(entry))]
    return "\n".join([*lines, *state_lines(study)])
