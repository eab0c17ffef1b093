"""What people and places are called in the report: pseudonyms when asked, never an absolute path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

Person = tuple[str, str]
"""Data set and subject label (without ``sub-``)."""

_POSIX_PATH = re.compile(r"(?<![\w./\-:\\])/(?:[^\s/,;:'\"()<>|]+/)+[^\s/,;:'\"()<>|]*")
_WINDOWS_PATH = re.compile(r"(?<!\w)[A-Za-z]:\\[^\s,;'\"()<>|]+")


def bare(subject: str) -> str:
    """A subject label without ``sub-``."""
    return subject.removeprefix("sub-")


@dataclass(frozen=True)
class Names:
    """How the report calls people, and how it cleans text that it did not write.

    Attributes
    ----------
    people
        Shown name of each person.
    anonymise
        Whether labels are replaced.
    roots
        Folders of this study as text; they are cut out of any text.
    pattern
        Finds labels in text, when labels are replaced.
    """

    people: dict[Person, str]
    anonymise: bool = False
    roots: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    replacement: dict[str, str] = field(default_factory=dict)

    def person(self, dataset: str, subject: str) -> str:
        """The shown name of a person; ``n/a`` stays."""
        if subject in {"n/a", ""}:
            return "n/a"
        known = self.people.get((dataset, bare(subject)))
        if known is not None:
            return known
        return "participant" if self.anonymise else f"sub-{bare(subject)}"

    def text(self, text: str) -> str:
        """Text without absolute paths and, when asked, without subject labels."""
        for root in self.roots:
            text = text.replace(root + "/", "").replace(root, "…")
        text = _POSIX_PATH.sub(lambda m: "…/" + PurePosixPath(m.group()).name, text)
        text = _WINDOWS_PATH.sub(lambda m: "…/" + PureWindowsPath(m.group()).name, text)
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda m: self.replacement[(m["label"] or m["bare"]).lower()], text)

    def tree(self, data: Any, key: str = "") -> Any:
        """Settings with every text cleaned; lists of subject labels are counted, not shown."""
        if isinstance(data, dict):
            return {self.text(str(k)): self.tree(v, str(k)) for k, v in data.items()}
        if isinstance(data, list | tuple):
            if key == "subjects" and self.anonymise and data:
                return [f"{len(data)} labels, not shown"]
            return [self.tree(v) for v in data]
        return self.text(data) if isinstance(data, str) else data


def make_names(people: Iterable[Person], anonymise: bool, seed: int, roots: Iterable[str] = ()) -> Names:
    """Names of everybody who occurs in the output.

    Parameters
    ----------
    people
        Data set and subject of everybody.
    anonymise
        Replace labels by numbers. The numbers follow a random order, drawn from `seed`, so that they do
        not repeat the order of the labels.
    seed
        The seed of the study.
    roots
        Folders to cut out of any text.
    """
    everybody = sorted(
        {(dataset, bare(subject)) for dataset, subject in people if subject not in {"n/a", ""}}
    )
    tidy = tuple(sorted({r.rstrip("/") for r in roots if len(r) > 1}, key=len, reverse=True))
    if not anonymise:
        several = len({dataset for dataset, _ in everybody}) > 1
        shown = {(d, s): f"{d} sub-{s}" if several else f"sub-{s}" for d, s in everybody}
        return Names(shown, roots=tidy)
    order = np.random.default_rng(seed).permutation(len(everybody))
    width = max(2, len(str(len(everybody))))
    shown = {person: f"P{rank + 1:0{width}d}" for person, rank in zip(everybody, order, strict=True)}
    replacement: dict[str, str] = {}
    for (_, subject), name in shown.items():
        replacement[subject.lower()] = name if subject.lower() not in replacement else "participant"
    return Names(shown, True, tidy, _label_pattern(replacement), replacement)


def _label_pattern(labels: Iterable[str]) -> re.Pattern[str] | None:
    """Finds ``sub-07``, run keys that begin with ``sub07``, and labels that cannot be a common word.

    A bare ``07`` in a text may be anything; a bare label is replaced only when it mixes letters and digits.
    """
    ordered = sorted(labels, key=len, reverse=True)
    if not ordered:
        return None
    every = "|".join(map(re.escape, ordered))
    rules = [rf"(?<![A-Za-z0-9])sub-?(?P<label>{every})(?:[a-z][A-Za-z0-9]*x[0-9a-f]{{6}})?(?![A-Za-z0-9])"]
    telling = [x for x in ordered if len(x) > 3 and re.search("[a-z]", x) and re.search("[0-9]", x)]
    bare_labels = "|".join(map(re.escape, telling)) or "(?!)"
    rules.append(rf"(?<![A-Za-z0-9])(?P<bare>{bare_labels})(?![A-Za-z0-9])")
    return re.compile("|".join(rules), re.IGNORECASE)
