"""From connectivity to the clinic: the blocks of all clinical analyses, in the order they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conn.report import (
    association_section,
    association_words,
    mediation_section,
    mediation_words,
    page,
    prediction_section,
    prediction_words,
    reliability_section,
    replication_section,
    replication_words,
    responders_section,
)
from conn.report.context import Context
from conn.report.contract import Outputs

TITLE = "From connectivity to the clinic"

PARTS: tuple[Callable[[Context], Iterable[page.Block]], ...] = (
    responders_section.blocks,
    association_section.blocks,
    mediation_section.blocks,
    prediction_section.blocks,
    reliability_section.blocks,
    replication_section.blocks,
)
"""Each gives the blocks of one kind of analysis."""

METHODS: tuple[tuple[str, Callable[[Outputs], Iterable[str]]], ...] = (
    ("Change and baseline", responders_section.methods),
    ("Associations", association_words.methods),
    ("Mediation", mediation_words.methods),
    ("Prediction", prediction_words.methods),
    ("Reliability", association_words.reliability_methods),
    ("Replication", replication_words.methods),
)
"""Titles and sentences of the methods text of each kind of analysis."""


def methods(outputs: Outputs) -> list[tuple[str, list[str]]]:
    """Title and sentences of each kind of analysis that was asked for."""
    found = [(title, list(sentences(outputs))) for title, sentences in METHODS]
    return [(title, sentences) for title, sentences in found if sentences]


def limits(outputs: Outputs) -> Iterable[str]:
    """What clinical analyses cannot tell."""
    for part in (
        association_words.limits,
        mediation_words.limits,
        prediction_words.limits,
        replication_words.limits,
    ):
        yield from part(outputs)


def blocks(context: Context) -> list[page.Block]:
    """Blocks of everything that was asked for."""
    return [block for part in PARTS for block in part(context)]
