"""The plan: when it was locked, what was amended and why, what is not as it was locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import conn
from conn.lock import NOT_LOCKED, WHOLE, Change, label, read_change, title
from conn.plan import ANALYSES
from conn.report import page
from conn.report.contract import Outputs
from conn.report.people import Names
from conn.report.words import count, listed

AFTER = "after the last entry"
_SUBJECTS = ".subjects"


def sentences(outputs: Outputs) -> list[str]:
    """What the lock says, in sentences; empty when nothing was locked and nothing is called confirmatory."""
    entries = outputs.lock.get("entries", [])
    if not outputs.config.models and not _analyses(outputs):
        return []
    if not entries:
        return list(_without(outputs))
    return [
        *_history_words(entries),
        *_results_words(entries),
        *_since_words(outputs),
        *_dropped_words(outputs, entries),
        *_analysis_words(outputs),
    ]


def _without(outputs: Outputs) -> Iterator[str]:
    analyses = [name for name, confirmatory in _analyses(outputs).items() if confirmatory]
    if analyses or any(contrast.confirmatory for contrast in outputs.contrasts()):
        named = f" ({listed(analyses)})" if analyses else ""
        what = "a contrast or an analysis" if analyses else "a contrast"
        yield (
            f"The plan was not locked (conn lock): that {what}{named} is marked confirmatory is what the "
            "authors say, and nothing here shows that it was planned before results were seen."
        )


def _history_words(entries: list[dict[str, Any]]) -> Iterator[str]:
    first, last, amended = entries[0], entries[-1], entries[1:]
    yield f"The plan of the analysis was locked on {first['date']} with conn {first['version']}."
    if amended:
        times = "once" if len(amended) == 1 else f"{len(amended)} times"
        dates = listed([f"{one['date']} ({one['reason']})" for one in amended])
        yield f"It was amended {times}: {dates}."
    yield f"SHA-256 of the last entry: {last['sha256']}."
    if last["version"] != conn.__version__:
        yield f"Results were made with conn {conn.__version__}, the last entry with conn {last['version']}."


def _results_words(entries: list[dict[str, Any]]) -> Iterator[str]:
    late = [one for one in entries if one["results_of"]]
    if not late:
        yield "No group results were in the output folder at any of these dates."
    for one in late:
        yield f"On {one['date']} group results were there already, of {listed(one['results_of'])}."


def _since_words(outputs: Outputs) -> Iterator[str]:
    changes, options = outputs.lock["changes"], outputs.lock["new_options"]
    if not changes:
        yield "Nothing in the plan was changed since the last entry."
    else:
        keys = listed([change["key"] for change in changes])
        yield f"Changed since, without an amendment: {count(len(changes), 'setting')} ({keys})."
    if options:
        yield (
            f"The lock does not know {count(len(options), 'option')} of later versions that have their "
            f"defaults: {listed(options)}."
        )


def _dropped_words(outputs: Outputs, entries: list[dict[str, Any]]) -> Iterator[str]:
    """Confirmatory contrasts and analyses that were planned at any time and that nothing here tests."""
    tested = {(contrast.model, contrast.name) for contrast in outputs.contrasts()}
    tested |= {(name, WHOLE) for name in _analyses(outputs)}
    planned: dict[tuple[str, str], str | None] = {}
    for entry in entries:
        for model, locked in entry["models"].items():
            for name, contrast in locked["contrasts"].items():
                if contrast["confirmatory"]:
                    planned[model, name] = contrast["words"]
    dropped = {key: words for key, words in planned.items() if key not in tested}
    if dropped:
        named = [
            title(model, name) + (f" ({words})" if words else "") for (model, name), words in dropped.items()
        ]
        yield f"Planned as confirmatory and not tested here: {listed(named)}."


def _analyses(outputs: Outputs) -> dict[str, bool]:
    """Clinical analyses, named as in a lock, and whether each is marked confirmatory."""
    config = outputs.config
    return {
        f"{section}.{name}": asked.confirmatory
        for section in ANALYSES
        for name, asked in getattr(config, section).items()
    }


def _analysis_words(outputs: Outputs) -> Iterator[str]:
    """The status of each clinical analysis."""
    states = outputs.lock.get("models", {})
    told = [
        f"{name} ({label(states.get(name, {}).get('state', NOT_LOCKED), confirmatory=confirmatory)})"
        for name, confirmatory in _analyses(outputs).items()
    ]
    if told:
        yield f"Clinical analyses: {listed(told)}."


def history(outputs: Outputs, names: Names) -> page.Table | None:
    """One row per entry of the lock."""
    entries = outputs.lock.get("entries", [])
    if not entries:
        return None
    columns = ("Date", "What", "Models", "Results that existed", "Software", "SHA-256")
    rows = [[names.text(cell) for cell in _history_row(entry)] for entry in entries]
    return page.table(f"History of the plan ({outputs.lock['file']}).", columns, rows)


def _history_row(entry: Mapping[str, Any]) -> list[str]:
    return [
        entry["date"],
        "locked" if entry["reason"] is None else f"amended: {entry['reason']}",
        ", ".join(entry["models"]),
        ", ".join(entry["results_of"]) or "none",
        f"conn {entry['version']}",
        entry["sha256"],
    ]


def changes(outputs: Outputs, names: Names) -> page.Table | None:
    """One row per changed setting: those of amendments, then those that no amendment covers."""
    found = [(one["date"], read_change(c)) for one in outputs.lock.get("entries", []) for c in one["changes"]]
    found += [(AFTER, read_change(c)) for c in outputs.lock.get("changes", [])]
    if not found:
        return None
    rows = [(when, *_change_row(change, names)) for when, change in found]
    columns = ("When", "Setting", "Before", "After", "Models")
    return page.table("What was changed after the plan was first locked.", columns, rows)


def _change_row(change: Change, names: Names) -> tuple[str, str, str, str]:
    hidden = names.anonymise and change.key.endswith(_SUBJECTS)
    old, new = ("labels, not shown" if hidden else names.text(text) for text in (change.old, change.new))
    return change.key, old, new, ", ".join(change.models)
