"""What the opening of the report says of clinical analyses, beside group models or without any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from conn.config.model import Config
from conn.report import page
from conn.report.contract import Outputs
from conn.report.words import capital, listed, spelled

NOUNS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "associations": ("association", "associations"),
        "mediation": ("mediation analysis", "mediation analyses"),
        "prediction": ("prediction", "predictions"),
        "reliability": ("analysis of reliability", "analyses of reliability"),
    }
)
"""One and several analyses of each section of the configuration."""


def has_analyses(config: Config) -> bool:
    """Whether any clinical analysis was asked for."""
    return any(getattr(config, section) for section in NOUNS)


def kicker(config: Config) -> str:
    """What kinds of analyses there are, for the line below the title."""
    n_models, n_analyses = len(config.models), sum(len(getattr(config, section)) for section in NOUNS)
    parts = [f"{spelled(n_models)} group model{'s' if n_models > 1 else ''}"] if n_models else []
    parts += [f"{spelled(n_analyses)} clinical analys{'e' if n_analyses > 1 else 'i'}s"] if n_analyses else []
    return capital(listed(parts)) if parts else "First level only"


def asked(config: Config) -> str:
    """The clinical analyses by kind with their names; empty when there are none."""
    parts = []
    for section, (one, several) in NOUNS.items():
        names = list(getattr(config, section))
        if names:
            parts.append(f"{spelled(len(names))} {one if len(names) == 1 else several} ({listed(names)})")
    return listed(parts)


def sentences(outputs: Outputs) -> str:
    """What clinical analyses there are and which of them were planned; empty when there are none."""
    config = outputs.config
    if not has_analyses(config):
        return ""
    tested = [getattr(config, section) for section in NOUNS if section != "reliability"]
    confirmatory = [name for own in tested for name, one in own.items() if one.confirmatory]
    planned = f"; {listed(confirmatory)} {'is' if len(confirmatory) == 1 else 'are'} declared confirmatory"
    n = sum(len(getattr(config, section)) for section in NOUNS)
    made = "was made" if n == 1 else "were made"
    text = f"{capital(asked(config))} {made}{planned if confirmatory else ''}."
    if config.models:
        return f" From connectivity to the clinic: {text[0].lower()}{text[1:]}"
    return f"No group model was configured; connectivity is looked at together with scores. {text}"


def findings(blocks: Iterable[page.Block]) -> list[page.Finding]:
    """Clinical analyses for the summary, as group contrasts have them."""
    return [
        page.Finding(one.anchor, one.title, one.sentences[0], one.status, one.planned, one.headline)
        for one in blocks
        if one.headline
    ]
