"""Clinical analyses that could not be done: named with their reason where their results would stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from conn import not_done, paths
from conn.files import read_json
from conn.report import page
from conn.report.context import Context
from conn.report.contract import Outputs
from conn.report.words import capital

SECTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "association": ("associations", "association"),
        "mediation": ("mediation", "mediation analysis"),
        "prediction": ("prediction", "prediction"),
        "reliability": ("reliability", "analysis of reliability"),
        "replication": ("replication", "replication"),
    }
)
"""Folder of the results to section of the configuration, and what one analysis is called."""

_KEY = re.compile(r"^(?:associations|mediation|prediction|reliability|replication)\.\w+(?:\.\w+)?: ")


def done(outputs: Outputs, kind: str) -> list[str]:
    """Analyses of a kind that have results."""
    return not_done.done(outputs.out, kind, _asked_for(outputs, kind))


def blocks(context: Context, kind: str) -> Iterator[page.Block]:
    """A block for each analysis of a kind that could not be done."""
    for name, reason in _undone(context.outputs, kind):
        record = read_json(context.outputs.out / paths.analysis(kind, name))
        yield page.Block(
            f"{kind}-{name}",
            f"Not done: {SECTIONS[kind][1]} {name}",
            (f"Nothing was estimated or tested. {context.names.text(_sentence(reason))}",),
            status=str(record.get("status") or ""),
        )


def problems(outputs: Outputs) -> Iterator[str]:
    """Sentences for the summary."""
    for kind, (_, noun) in SECTIONS.items():
        for name, reason in _undone(outputs, kind):
            yield f"The {noun} {name} could not be done. {_sentence(reason)}"


def _undone(outputs: Outputs, kind: str) -> Iterator[tuple[str, str]]:
    for name in _asked_for(outputs, kind):
        why = not_done.reason(outputs.out, kind, name)
        if why is not None:
            yield name, why


def _asked_for(outputs: Outputs, kind: str) -> list[str]:
    return list(getattr(outputs.config, SECTIONS[kind][0]))


def _sentence(reason: str) -> str:
    """A reason without the key of the configuration that it begins with: the analysis is named already."""
    text = _KEY.sub("", reason)
    return f"{capital(text.rstrip('.'))}."
