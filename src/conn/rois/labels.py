"""Tables of atlases: ids and names, bound to each other once and for all.

What goes wrong elsewhere is that names are matched to labels by their order. Here a name without an id is
refused.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from conn.errors import ConfigError, InputError
from conn.rois.data import nearest_names
from conn.tables import read_text

IDS = ("index", "id", "value", "label_id", "labelid", "idx", "intensity", "number")
"""Headers of the column of ids, most telling first; `label` and `roi` too, where the cells are numbers."""

NAMES = (
    "name",
    "label_name",
    "region",
    "regions",
    "structure",
    "labelname",
    "label",
    "roi",
    "roiname",
    "area",
)
"""Headers of the column of names."""

MOST_SHOWN = 10


def read_labels(path: Path) -> dict[int, str]:
    """Read the table of an atlas.

    Parameters
    ----------
    path
        TSV or CSV with a header that names a column of ids and one of names; a lookup table of FreeSurfer or
        ITK-SNAP (`id name r g b a`, or `id r g b a … "name"`); an XML of FSL; or JSON (`{"1": "name"}`). Of
        an XML, ids are its indices, which count the volumes of a probability image from 0.

    Returns
    -------
    dict of int to str
        Background (0, where it is called so or has no name) is left out.

    Raises
    ------
    InputError
        Not there, not understood, names without ids, or no bijection of ids and names.
    """
    text = read_text(path)
    if path.suffix == ".xml":
        rows = _xml(text, path)
    elif path.suffix == ".json":
        rows = _json(text, path)
    else:
        rows = _lines(text, path)
    return _bijection(rows, path)


Rows = list[tuple[str, str]]


def _xml(text: str, path: Path) -> Rows:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path}: holds a DOCTYPE or entities, which are not read; remove them")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not XML that can be read ({error})") from None
    return [(one.get("index", ""), (one.text or "").strip()) for one in root.iter("label")]


def _json(text: str, path: Path) -> Rows:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON that can be read ({error})") from None
    if isinstance(found, list):
        raise InputError(_by_order(path))
    if not isinstance(found, dict):
        raise InputError(f'{path}: an object of ids and names is needed, as in {{"1": "name"}}')
    return [(str(key), str(value)) for key, value in found.items()]


def _lines(text: str, path: Path) -> Rows:
    lines = [line.rstrip(" \r") for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise InputError(f"{path}: the table is empty")
    for delimiter in ("\t", ",", ";"):
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
        columns = _columns(rows)
        if columns is not None:
            short = [number for number, row in enumerate(rows, start=1) if len(row) <= max(columns)]
            if short:
                raise InputError(f"{path}: row {short[0]} has too few cells for id and name")
            return [(row[columns[0]], row[columns[1]]) for row in rows[1:]]
    return _lookup_table(lines, path)


def _columns(rows: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """Places of ids and names by the header; None when it names no two such columns."""
    header = [re.sub(r"[^a-z_]", "", cell.lower()) for cell in rows[0]]
    numbers = [i for i in range(len(header)) if len(rows) > 1 and len(rows[1]) > i and _whole(rows[1][i])]
    ids = [header.index(name) for name in (*IDS, "label", "roi") if name in header]
    ids = [i for i in ids if i in numbers]
    names = [header.index(name) for name in NAMES if name in header]
    names = [i for i in names if not ids or i != ids[0]]
    return (ids[0], names[0]) if ids and names else None


def _lookup_table(lines: Sequence[str], path: Path) -> Rows:
    """`id name r g b a` of FreeSurfer, `id r g b a v m "name"` of ITK-SNAP, or just `id name`."""
    rows = []
    for line in lines:
        quoted = re.fullmatch(r'\s*(-?\d+)\s+[\d.\s]+"(.*)"', line)
        plain = re.fullmatch(r"\s*(-?\d+)[\s,;]+(.*?\D.*?)(?:[\s,;]+\d+){3,4}\s*", line)
        bare = re.fullmatch(r"\s*(-?\d+)[\s,;]+(\S.*)", line)
        found = quoted or plain or bare
        if found is None:
            raise InputError(_by_order(path, line))
        rows.append((found[1], found[2].strip()))
    return rows


def _by_order(path: Path, line: str = "") -> str:
    shown = f" ({line.strip()[:40]!r})" if line else ""
    return (
        f"{path}: names without ids{shown}. Names bound by their order end up on the wrong region when "
        "an atlas has a gap; add a header and a column of ids (index<TAB>name)"
    )


def _whole(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.0+)?", text) is not None


def _bijection(rows: Rows, path: Path) -> dict[int, str]:
    """Ids and names that are each there once."""
    found: dict[int, str] = {}
    owner: dict[str, int] = {}
    for written, name in rows:
        if not _whole(written):
            raise InputError(f"{path}: the id {written!r} of {name!r} is no whole number")
        value = int(float(written))
        if value == 0 and (
            not name or name.lower() in {"background", "unknown", "clear label", "n/a", "???"}
        ):
            continue
        if not name:
            raise InputError(f"{path}: the id {value} has no name")
        if value in found:
            raise InputError(f"{path}: the id {value} is there twice, as {found[value]!r} and {name!r}")
        if name in owner:
            raise InputError(
                f"{path}: the name {name!r} is there twice, with the ids {owner[name]} and {value}; "
                "names must tell regions apart, so change one of them"
            )
        found[value], owner[name] = name, value
    if not found:
        raise InputError(f"{path}: no id with a name was found")
    return _without_ids(found)


def _without_ids(found: dict[int, str]) -> dict[int, str]:
    """Names without their own id at the end, where every one of them carries it (`ACC_sub_L_151`)."""
    endings = {value: re.fullmatch(rf"(.*?)[\s_-]+0*{value}", name) for value, name in found.items()}
    if len(found) > 1 and all(endings.values()):
        stripped = {value: ending[1] for value, ending in endings.items() if ending is not None}
        if len(set(stripped.values())) == len(found):
            return stripped
    return found


def alphanumeric(name: str) -> str:
    """A name as a label in file names: letters and digits, each further word with a capital.

    ``LH_Vis_1`` becomes ``LHVis1``, ``Amygdala (left), LB`` becomes ``AmygdalaLeftLB``.
    """
    words = re.findall(r"[A-Za-z0-9]+", name)
    label = "".join([words[0], *(word[0].upper() + word[1:] for word in words[1:])]) if words else ""
    return f"region{label}" if not label or label[0].isdigit() else label


def bind(labels: Mapping[int, str], wanted: Sequence[str | int] | str) -> dict[str, int]:
    """Labels for regions of an atlas, bound to their ids.

    Parameters
    ----------
    labels
        Id → name, from `read_labels`.
    wanted
        ``all``, or names, alphanumeric names, or ids.

    Returns
    -------
    dict of str to int
        Alphanumeric label → id, in the order asked for; by id for ``all``.

    Raises
    ------
    ConfigError
        A name or an id that the table does not have; the nearest are offered. Two names that become one
        label.
    """
    chosen = sorted(labels) if isinstance(wanted, str) else [_id_of(labels, one) for one in wanted]
    bound: dict[str, int] = {}
    for value in chosen:
        label = alphanumeric(labels[value])
        if bound.get(label, value) != value:
            raise ConfigError(
                f"regions: {labels[bound[label]]!r} and {labels[value]!r} both become {label}; name "
                f"them yourself (regions: {{first: {bound[label]}, second: {value}}})"
            )
        bound[label] = value
    return bound


def _id_of(labels: Mapping[int, str], wanted: str | int) -> int:
    if isinstance(wanted, int):
        if wanted not in labels:
            raise ConfigError(f"regions: the table has no id {wanted}; it has {shown(sorted(labels))}")
        return wanted
    exact = [value for value, name in labels.items() if name == wanted]
    loose = [value for value, name in labels.items() if alphanumeric(name) == wanted]
    found = exact or loose
    if len(found) != 1:
        hint = nearest_names(wanted, sorted(labels.values())[:400])
        problem = "no name" if not found else f"{len(found)} names like"
        raise ConfigError(f"regions: the table has {problem} {wanted!r}; {hint}")
    return found[0]


def shown(values: Iterable[object]) -> str:
    """The first values of a long list."""
    everything = list(map(str, values))
    more = len(everything) - MOST_SHOWN
    return ", ".join(everything[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
