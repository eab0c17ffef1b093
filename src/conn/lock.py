"""The lock of a plan: a file beside the configuration that says what was planned, when, and what changed.

The file is a list of entries. Each holds the settings that decide every model (`conn.plan`), its own SHA-256
and that of the entry before it, so that an entry that is edited later no longer fits. It proves nothing
against somebody who writes the whole file anew: for that, its last SHA-256 belongs into a registration or a
public history. (`conn.locks` is something else: it keeps two runs out of one output folder.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conn.errors import InputError
from conn.files import read_json, write_json
from conn.seen import Settings, seen_as

FORMAT = 1
ABOUT = (
    "The plan of the analysis, locked by `conn lock`. Do not edit: each entry holds its own SHA-256 and that "
    "of the entry before it. Commit this file, and put the last sha256 into your registration."
)
NOT_THERE = "not there"
PLANNED, NOT_PLANNED = "planned", "not in the plan"

CONTENT = "clinical.content."
"""Begins the keys of what clinical tables hold; they are in a plan as soon as the tables are there."""

WHOLE = "analysis"
"""Stands for the one contrast of a clinical analysis, which is confirmatory as a whole or not."""

NOT_LOCKED = "not locked"
CHANGED = "changed after locking"
CONFIRMATORY, EXPLORATORY = "confirmatory, ", "exploratory"
LATE = "locked after results existed"
IN_TIME = re.compile(r"locked \d{4}-\d\d-\d\d")
"""The state of a model that was locked before it had results."""


@dataclass(frozen=True)
class Plan:
    """What decides a model, or a clinical analysis.

    Attributes
    ----------
    settings
        Dotted key → JSON value. Neither data nor places nor anything about execution.
    defaults
        Keys whose value is the default of this version of the software.
    contrasts
        Contrast → whether it is marked confirmatory; an analysis has `WHOLE` alone.
    """

    settings: Mapping[str, Any]
    defaults: frozenset[str]
    contrasts: Mapping[str, bool]

    @property
    def sha256(self) -> str:
        """SHA-256 of the settings as canonical JSON."""
        return sha256_of(self.settings)


@dataclass(frozen=True)
class Change:
    """One setting that is not as it was locked; `old` and `new` as they would be written.

    Attributes
    ----------
    key, old, new
        What, from what, to what; ``not there`` where one side has no such key.
    models
        Models and analyses that it concerns.
    """

    key: str
    old: str
    new: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class LockedModel:
    """A model or an analysis as an entry of the lock holds it.

    Attributes
    ----------
    date
        When it was locked in this form, which may be earlier than its entry; UTC, ISO 8601.
    after_results
        Whether it had group results then, under its own name or another.
    contrasts
        Contrast → ``confirmatory`` (bool) and ``words`` (text, or None when no design could be compiled).
    settings
        See `Plan`.
    seen_as
        The other name under which there were results of the same question, see `conn.seen`; or empty.
    """

    date: str
    after_results: bool
    contrasts: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    seen_as: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 of the settings as canonical JSON."""
        return sha256_of(self.settings)


@dataclass(frozen=True)
class Entry:
    """The plan as it was locked or amended.

    Attributes
    ----------
    date
        UTC, ISO 8601.
    version
        Of the software.
    reason
        Of an amendment; None for the first entry.
    results_of
        Models and analyses that had results in the output folder, those of earlier configurations
        included.
    changes
        Against the entry before.
    models
        Every model of the configuration, and every clinical analysis under its section and name, as in
        ``mediation.carried``.
    previous
        SHA-256 of the entry before; None for the first.
    """

    date: str
    version: str
    reason: str | None
    results_of: tuple[str, ...]
    changes: tuple[Change, ...]
    models: Mapping[str, LockedModel]
    previous: str | None

    @property
    def data(self) -> dict[str, Any]:
        """The entry as JSON-ready values, without its own SHA-256."""
        return {
            "date": self.date,
            "version": self.version,
            "reason": self.reason,
            "results_of": list(self.results_of),
            "changes": [change_data(change) for change in self.changes],
            "models": {name: _model_data(model) for name, model in self.models.items()},
            "previous": self.previous,
        }

    @property
    def sha256(self) -> str:
        """SHA-256 of everything in the entry as canonical JSON."""
        return sha256_of(self.data)


@dataclass(frozen=True)
class Lock:
    """A lock file; without entries when nothing was locked.

    Attributes
    ----------
    name
        Of the file.
    entries
        From the first to the last.
    """

    name: str
    entries: tuple[Entry, ...] = field(default=())

    @property
    def last(self) -> Entry | None:
        """The entry that holds."""
        return self.entries[-1] if self.entries else None


def canonical(data: Any) -> str:
    """JSON with sorted keys and no blanks, so that equal settings are equal texts."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def sha256_of(data: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(data).encode("utf-8")).hexdigest()


# States ---------------------------------------------------------------------------------------------


def state_of(entry: Entry | None, name: str, plan: Plan) -> str:
    """What the lock says of a model.

    Parameters
    ----------
    entry
        Last entry of the lock, or None without one.
    name
        The model.
    plan
        Its plan now.

    Returns
    -------
    str
        ``not locked``, ``changed after locking``, ``locked after results existed`` (of another name: ``locked
        after results of NAME existed``), or ``locked`` and a date.
    """
    locked = None if entry is None else entry.models.get(name)
    if locked is None:
        return NOT_LOCKED
    if any(_differences(locked.settings, plan)):
        return CHANGED
    if locked.seen_as:
        return LATE.replace("results", f"results of {locked.seen_as}")
    return LATE if locked.after_results else f"locked {day(locked.date)}"


def label(state: str, *, confirmatory: bool) -> str:
    """Status of a contrast, as it stands in tables and in the report.

    Parameters
    ----------
    state
        Of its model, see `state_of`.
    confirmatory
        Whether it is marked so.
    """
    return f"{CONFIRMATORY}{state}" if confirmatory else EXPLORATORY


def in_time(state: str) -> bool:
    """Whether a model was locked before it had results, and is as it was locked."""
    return IN_TIME.fullmatch(state) is not None


def is_planned(status: str) -> bool:
    """Whether a status (see `label`) says confirmatory, and locked in time."""
    return status.startswith(CONFIRMATORY) and in_time(status.removeprefix(CONFIRMATORY))


def day(date: str) -> str:
    """The day of a date with time."""
    return date[:10]


# Changes --------------------------------------------------------------------------------------------


def compare(entry: Entry, plans: Mapping[str, Plan]) -> tuple[Change, ...]:
    """What is not as it was locked.

    An option that a later version of the software brought is no change as long as it has its default.

    Parameters
    ----------
    entry
        Of the lock.
    plans
        Model → its plan now.

    Returns
    -------
    tuple of Change
        A setting that several models share stands once.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in dict.fromkeys([*plans, *entry.models]):
        for change in _model_changes(entry, name, plans):
            found.setdefault(change, []).append(name)
    return tuple(Change(*change, tuple(models)) for change, models in found.items())


def _model_changes(entry: Entry, name: str, plans: Mapping[str, Plan]) -> Iterator[tuple[str, str, str]]:
    if name not in plans:
        yield _place(name), PLANNED, NOT_PLANNED
    elif name not in entry.models:
        yield _place(name), NOT_PLANNED, PLANNED
    else:
        yield from _differences(entry.models[name].settings, plans[name])


def is_analysis(name: str) -> bool:
    """Whether a name of a lock is that of a clinical analysis, as in ``mediation.carried``."""
    return "." in name


def _place(name: str) -> str:
    """Where a model or an analysis stands in the configuration."""
    return name if is_analysis(name) else f"models.{name}"


def title(name: str, contrast: str) -> str:
    """Model and contrast, or an analysis, which has one alone."""
    return name if is_analysis(name) else f"{name}, {contrast}"


def _differences(old: Mapping[str, Any], plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Key, old and new value in words."""
    for key in sorted({*old, *plan.settings} - _new_defaults(old, plan)):
        before, after = (canonical(values[key]) if key in values else None for values in (old, plan.settings))
        if before != after:
            yield key, _shown(old, key), _shown(plan.settings, key)


def _new_defaults(old: Mapping[str, Any], plan: Plan) -> frozenset[str]:
    return plan.defaults - set(old)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return NOT_THERE
    value = settings[key]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def unknown_options(entry: Entry, plans: Mapping[str, Plan]) -> tuple[str, ...]:
    """Options that the lock does not know and that have their default: they came with a later version."""
    return tuple(key for key in _new_keys(entry, plans) if not key.startswith(CONTENT))


def unlocked_tables(entry: Entry, plans: Mapping[str, Plan]) -> tuple[str, ...]:
    """Data set and name of clinical tables whose content the lock does not hold: they came later."""
    new = _new_keys(entry, plans)
    return tuple(key.removeprefix(CONTENT) for key in new if key.startswith(CONTENT))


def _new_keys(entry: Entry, plans: Mapping[str, Plan]) -> tuple[str, ...]:
    """Keys that pass for defaults and that the lock does not know, of models that did not change."""
    known = {name: model.settings for name, model in entry.models.items() if name in plans}
    kept = {name: old for name, old in known.items() if not any(_differences(old, plans[name]))}
    return tuple(sorted({key for name, old in kept.items() for key in _new_defaults(old, plans[name])}))


# Entries --------------------------------------------------------------------------------------------


def next_entry(
    lock: Lock,
    plans: Mapping[str, Plan],
    *,
    date: str,
    version: str,
    results_of: Sequence[str] = (),
    words: Mapping[str, Mapping[str, str]] | None = None,
    reason: str | None = None,
    earlier: Mapping[str, Settings] | None = None,
) -> Entry:
    """The entry that locks or amends a plan. A model that did not change stays as it was locked.

    Parameters
    ----------
    lock
        All entries so far.
    plans
        Model → its plan.
    date
        UTC, ISO 8601.
    version
        Of the software.
    results_of
        Models that have group results.
    words
        Model → contrast → what it estimates, as far as designs could be compiled.
    reason
        Of an amendment.
    earlier
        Settings of models as they are known from the results themselves.
    """
    last = lock.last
    known = _known(lock, plans, earlier or {})
    models = {}
    for name, plan in plans.items():
        old = None if last is None else last.models.get(name)
        if old is not None and not any(_differences(old.settings, plan)):
            models[name] = old
        else:
            contrasts = _contrasts(plan, (words or {}).get(name, {}))
            late = name in results_of
            other = "" if late else seen_as(name, plan.settings, results_of, known)
            models[name] = LockedModel(date, late or bool(other), contrasts, plan.settings, other)
    return Entry(
        date=date,
        version=version,
        reason=reason,
        results_of=tuple(results_of),
        changes=() if last is None else compare(last, plans),
        models=models,
        previous=None if last is None else last.sha256,
    )


def _known(
    lock: Lock, plans: Mapping[str, Plan], earlier: Mapping[str, Settings]
) -> dict[str, list[Settings]]:
    """All settings that each model is known to have had."""
    found: dict[str, list[Settings]] = {}
    every = [{name: model.settings for name, model in entry.models.items()} for entry in lock.entries]
    for settings in (*every, {name: plan.settings for name, plan in plans.items()}, earlier):
        for name, own in settings.items():
            found.setdefault(name, []).append(own)
    return found


def _contrasts(plan: Plan, words: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {
        name: {"confirmatory": confirmatory, "words": words.get(name)}
        for name, confirmatory in plan.contrasts.items()
    }


# The file -------------------------------------------------------------------------------------------


def path_of(config: Path) -> Path:
    """The lock file of a configuration file."""
    return config.with_suffix(".lock.json")


def write(path: Path, entries: Sequence[Entry]) -> None:
    """Write a lock file, atomically."""
    data = [{**entry.data, "sha256": entry.sha256} for entry in entries]
    write_json(path, {"about": ABOUT, "format": FORMAT, "entries": data})


def read(path: Path) -> Lock:
    """Read a lock file and check that its entries are what was written.

    Parameters
    ----------
    path
        The file; it need not be there.

    Raises
    ------
    InputError
        The file is cut short, edited, or of a later format.
    """
    if not path.exists():
        return Lock(path.name)
    try:
        data = read_json(path)
        version = data["format"]
        entries = tuple(_read_entry(one) for one in data["entries"]) if version == FORMAT else ()
        sums = [one["sha256"] for one in data["entries"]]
        models = [{name: m["sha256"] for name, m in one["models"].items()} for one in data["entries"]]
        _check_sums(path, entries, sums, models)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"not a lock file ({error!r})") from None
    if version != FORMAT:
        raise InputError(f"{path}: format {version!r}, and this version reads {FORMAT}; take a newer conn")
    if not entries:
        raise _damaged(path, "it has no entry")
    return Lock(path.name, entries)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: {what}. Bring back the version that `conn lock` wrote, from your history or a copy; a lock "
        "that is made anew is dated anew"
    )


def _check_sums(
    path: Path, entries: Sequence[Entry], sums: Sequence[str], models: Sequence[Mapping[str, str]]
) -> None:
    previous = None
    for number, (entry, stated) in enumerate(zip(entries, sums, strict=False), start=1):
        where = f"entry {number} ({day(entry.date)})"
        if entry.previous != previous:
            raise _damaged(path, f"{where} does not follow the one before it; an entry is missing or edited")
        for name, model in entry.models.items():
            if model.sha256 != models[number - 1][name]:
                raise _damaged(path, f"{where}: the settings of {name} do not fit their SHA-256; edited")
        if entry.sha256 != stated:
            raise _damaged(path, f"{where} does not fit its SHA-256; it was edited")
        previous = stated


def _model_data(model: LockedModel) -> dict[str, Any]:
    return {
        "date": model.date,
        "after_results": model.after_results,
        "contrasts": {name: dict(contrast) for name, contrast in model.contrasts.items()},
        "settings": dict(model.settings),
        "sha256": model.sha256,
        **_another_name(model),
    }


def _another_name(model: LockedModel) -> dict[str, str]:
    """Left out where there is none, so that sums of entries of earlier versions hold."""
    return {"seen_as": model.seen_as} if model.seen_as else {}


def change_data(change: Change) -> dict[str, Any]:
    """A change as JSON-ready values."""
    return {"key": change.key, "old": change.old, "new": change.new, "models": list(change.models)}


def read_change(data: Mapping[str, Any]) -> Change:
    """What `change_data` made."""
    return Change(data["key"], data["old"], data["new"], tuple(data["models"]))


def _read_entry(data: Mapping[str, Any]) -> Entry:
    keys = ("date", "after_results", "contrasts", "settings")
    models = {
        name: LockedModel(**{key: one[key] for key in keys}, seen_as=one.get("seen_as", ""))
        for name, one in data["models"].items()
    }
    return Entry(
        date=data["date"],
        version=data["version"],
        reason=data["reason"],
        results_of=tuple(data["results_of"]),
        changes=tuple(map(read_change, data["changes"])),
        models=models,
        previous=data["previous"],
    )


# What goes into the results -------------------------------------------------------------------------


def record(lock: Lock, plans: Mapping[str, Plan]) -> dict[str, Any]:
    """The lock as the output folder holds it: its history, what changed since, and the state of each model.

    Settings are left out: they stand in the lock file and, resolved, in `config.yaml`. Dates are days.

    Parameters
    ----------
    lock
        The lock file.
    plans
        Model → its plan now.
    """
    last = lock.last
    return {
        "file": lock.name if lock.entries else None,
        "entries": [_record_entry(entry) for entry in lock.entries],
        "changes": [] if last is None else [change_data(change) for change in compare(last, plans)],
        "new_options": [] if last is None else list(unknown_options(last, plans)),
        "models": {
            name: {"state": state_of(last, name, plan), "sha256": plan.sha256} for name, plan in plans.items()
        },
    }


def _record_entry(entry: Entry) -> dict[str, Any]:
    models = {
        name: {
            "date": day(model.date),
            "after_results": model.after_results,
            "contrasts": {contrast: dict(one) for contrast, one in model.contrasts.items()},
            "sha256": model.sha256,
            **_another_name(model),
        }
        for name, model in entry.models.items()
    }
    kept = {key: value for key, value in entry.data.items() if key not in {"date", "models", "previous"}}
    return {**kept, "date": day(entry.date), "models": models, "sha256": entry.sha256}
