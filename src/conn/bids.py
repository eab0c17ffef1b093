"""BIDS file names, taken apart and put together; sidecars by inheritance."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from conn.errors import InputError
from conn.files import read_json
from conn.tables import MISSING

ENTITY_ORDER = (
    "sub", "ses", "sample", "task", "acq", "ce", "trc", "rec", "dir", "run", "mod", "echo", "flip", "inv",
    "mt", "part", "proc", "hemi", "space", "split", "recording", "chunk", "cohort", "res", "den", "from",
    "to", "mode", "label", "desc",
)  # fmt: skip
"""Order of the entities of BIDS and fMRIPrep in a file name."""

OWN_ORDER = ("model", "seed", "seg", "roi", "contrast", "stat")
"""Entities that our outputs add; they follow all others."""

DERIVATIVE_ENTITIES = frozenset({"space", "cohort", "res", "den", "desc"})
"""Entities that tell derivatives of one acquisition apart; the acquisition itself does not have them."""

_NAME = re.compile(
    r"(?P<entities>(?:[a-z]+-[A-Za-z0-9+]+_)*)(?P<suffix>[A-Za-z0-9]+)(?P<extension>(?:\.[A-Za-z0-9]+)+)"
)
_VALUE = re.compile(r"[A-Za-z0-9+]+")
_KEY = re.compile(r"[a-z]+")
_PLACE = {
    key: place for place, key in enumerate((*ENTITY_ORDER[:-2], "", *ENTITY_ORDER[-2:], *OWN_ORDER)) if key
}
_UNKNOWN = len(ENTITY_ORDER) - 2


@dataclass(frozen=True)
class BidsName:
    """A file name in its parts.

    `entities` keeps the order of the name, `extension` starts with its dot (``.nii.gz``,
    ``.dtseries.nii``).
    """

    entities: Mapping[str, str]
    suffix: str
    extension: str


def parse(name: str) -> BidsName | None:
    """Take a file name apart.

    Parameters
    ----------
    name
        Name of a file, without folders.

    Returns
    -------
    BidsName or None
        None when the name is not BIDS: ``._`` files of macOS, hidden files, no extension, an entity
        twice, anything that is not ``key-value``.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    pairs = [pair.partition("-") for pair in match["entities"].split("_")[:-1]]
    entities = {key: value for key, _, value in pairs}
    if len(entities) != len(pairs):
        return None
    return BidsName(entities, match["suffix"], match["extension"])


def build(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """Put a file name together, entities in the order of BIDS and ours last.

    Parameters
    ----------
    entities
        Values by key. Keys unknown to `ENTITY_ORDER` and `OWN_ORDER` stand before ``label`` and ``desc``
        in the order given.
    suffix, extension
        As in `BidsName`; the suffix may be empty.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A key or a value that cannot stand in a BIDS name.
    """
    wrong = [f"{k}-{v}" for k, v in entities.items() if not (_KEY.fullmatch(k) and _VALUE.fullmatch(v))]
    if wrong:
        raise ValueError(f"{wrong[0]!r} cannot stand in a BIDS file name: letters and digits only")
    ordered = sorted(entities, key=lambda key: _PLACE.get(key, _UNKNOWN))
    return (
        "_".join([*(f"{key}-{entities[key]}" for key in ordered), *([suffix] if suffix else [])]) + extension
    )


def bare_label(text: str, entity: str = "sub") -> str:
    """A label without its prefix: ``sub-01`` and ``01`` are ``01``; leading zeros are part of a label."""
    return text.strip().removeprefix(f"{entity}-")


def alphanumeric(text: str) -> str:
    """The letters and digits (ASCII) of a text, as a BIDS label needs."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


def acquisition(entities: Mapping[str, str]) -> dict[str, str]:
    """Entities of the acquisition that a derivative was made from: without space, resolution, desc …"""
    return {key: value for key, value in entities.items() if key not in DERIVATIVE_ENTITIES}


def sidecar(bold: Path, roots: Sequence[Path]) -> dict[str, Any]:
    """Metadata of a BOLD image by BIDS inheritance.

    In each root the files that apply have the same suffix, no entity that the image lacks or has with
    another value, and stand in the image's folder or above it. The nearer folder and the longer name win,
    and the data set that the image lies in wins over others.

    Parameters
    ----------
    bold
        The image, normally a derivative.
    roots
        Other data sets to ask: the one that the image was made from, where the acquisition is looked up,
        without space and resolution. The image's own folder may be among them.

    Returns
    -------
    dict
        Empty when no sidecar applies.

    Raises
    ------
    InputError
        The image has no BIDS name, or a sidecar is not a JSON object.
    """
    name = parse(bold.name)
    if name is None or "sub" not in name.entities:
        raise InputError(f"{bold.name}: not a BIDS name, so its sidecar cannot be found")
    own = _root_of(bold, name)
    others = [root for root in roots if root.resolve() != own.resolve()]
    merged: dict[str, Any] = {}
    for path in _sidecars(own, name.entities, name.suffix):
        merged = {**_json_object(path), **merged}
    for root in others:
        for path in _sidecars(root, acquisition(name.entities), name.suffix):
            merged = {**_json_object(path), **merged}
    return merged


def producers(derivatives: Path) -> tuple[tuple[str, str], ...]:
    """Name and version of the software that made derivatives, from `dataset_description.json`."""
    path = derivatives / "dataset_description.json"
    if not path.is_file():
        return ()
    description = _json_object(path)
    made_by = description.get("GeneratedBy") or description.get("PipelineDescription") or ()
    entries = [made_by] if isinstance(made_by, dict) else made_by
    return tuple(
        (str(e.get("Name", MISSING)), str(e.get("Version", MISSING))) for e in entries if isinstance(e, dict)
    )


def _root_of(image: Path, name: BidsName) -> Path:
    """Folder of the data set that an image lies in: above its subject's folder."""
    depth = len(Path(func_folder(name.entities)).parts)
    return image.parents[depth] if len(image.parents) > depth else image.parent


def _sidecars(root: Path, entities: Mapping[str, str], suffix: str) -> list[Path]:
    """Sidecars of one root that apply, the most specific first."""
    folder = root / func_folder(entities)
    found = []
    for place in (folder, *folder.parents):
        found += _applicable(place, entities, suffix)
        if place == root:
            break
    return found


def _applicable(folder: Path, entities: Mapping[str, str], suffix: str) -> list[Path]:
    try:
        changed = folder.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return []
    fitting = [
        (-len(name.entities), file)
        for file, name in _described(str(folder), changed)
        if name.suffix == suffix and name.entities.items() <= entities.items() and (folder / file).is_file()
    ]
    return [folder / file for _, file in sorted(fitting)]


@lru_cache(maxsize=4096)
def _described(folder: str, changed: int) -> tuple[tuple[str, BidsName], ...]:
    """JSON files with a BIDS name in a folder that last changed then; the root of a large study is asked
    for every run, and lists every subject.
    """
    files = [entry.name for entry in scan(folder) if entry.name.endswith(".json")]
    named = [(file, parse(file)) for file in files]
    return tuple((file, name) for file, name in named if name is not None)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: a JSON object is needed, found {type(data).__name__}")
    return data


def func_folder(entities: Mapping[str, str]) -> str:
    """Folder of functional files relative to its data set, as in ``sub-01/ses-pre/func``."""
    session = f"ses-{entities['ses']}/" if "ses" in entities else ""
    return f"sub-{entities['sub']}/{session}func"


def scan(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Entries of a folder; none when it is not there."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
