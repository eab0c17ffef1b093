"""Named networks: sets of regions and the edges between them that were declared before looking at data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from conn.rois import data

TITLES = {
    "thalamoCorticoPAG": "thalamus, cortex and periaqueductal grey",
    "descendingModulation": "descending modulation of pain",
    "cingulateTargets": "subregions of the anterior cingulate and their targets",
    "amygdalaTargets": "subdivisions of the amygdala and their targets",
    "plasticity": "hippocampus and prefrontal cortex",
}


Declared = Mapping[str, Sequence[Sequence[str | int]]]
"""Networks of one's own: name → pairs of regions, each with a sign or without."""


class Edge(NamedTuple):
    """An edge of a network: two labels, and whether it counts as it is (1) or turned round (-1)."""

    a: str
    b: str
    sign: int = 1


def names() -> tuple[str, ...]:
    """Names of all networks of the registry."""
    return tuple(dict.fromkeys(data.edges()["network"]))


def regions(network: str) -> tuple[str, ...]:
    """Names of the regions of a network, in the order of its edges; a name without side stands for both."""
    return tuple(dict.fromkeys(name for pair in _pairs(network) for name in pair))


def edges(network: str) -> tuple[tuple[str, str], ...]:
    """Edges of a network as pairs of labels.

    Two lateral regions are joined on the same side only: that is where their projections are, and where the
    studies behind the networks report. A midline region is joined with both sides.
    """
    return tuple(dict.fromkeys(pair for a, b in _pairs(network) for pair in _sided(a, b)))


def declared(name: str, own: Declared) -> tuple[Edge, ...]:
    """Edges of a network of one's own, or of the registry, where all have the sign 1.

    Parameters
    ----------
    name
        Of the network.
    own
        Networks of one's own. Names without side stand for both sides, and join as in `edges`; labels join
        as they are.
    """
    if name not in own:
        return tuple(Edge(a, b) for a, b in edges(name))
    found = [
        Edge(a, b, int(pair[2]) if len(pair) == 3 else 1)
        for pair in own[name]
        for a, b in _sided(str(pair[0]), str(pair[1]))
    ]
    return tuple(dict.fromkeys(found))


def _sided(a: str, b: str) -> Iterator[tuple[str, str]]:
    sides_a, sides_b = _labels(a), _labels(b)
    if len(sides_a) == len(sides_b) == 1:
        yield next(iter(sides_a.values())), next(iter(sides_b.values()))
        return
    for side, label in sides_a.items():
        for other, partner in sides_b.items():
            if side == other or "M" in {side, other}:
                yield label, partner


def _labels(name: str) -> dict[str, str]:
    """Labels of a name by side; a label, or a region of one's own, stands for itself."""
    known = data.table()
    rows = known[known["name"] == name]
    if rows.empty:
        rows = known[known["label"] == name]
    return dict(zip(rows["side"], rows["label"], strict=True)) or {"M": name}


def _pairs(network: str) -> list[tuple[str, str]]:
    table = data.edges()
    rows = table[table["network"] == network]
    return list(zip(rows["roi_a"], rows["roi_b"], strict=True))


def listing() -> pd.DataFrame:
    """All edges for people: `network roi_a roi_b source remark title`, between labels."""
    rows = []
    for row in data.edges().to_dict("records"):
        for a, b in _sided(row["roi_a"], row["roi_b"]):
            title = TITLES[row["network"]]
            rows.append((row["network"], a, b, row["source"], row["remark"], title))
    columns = ["network", "roi_a", "roi_b", "source", "remark", "title"]
    return pd.DataFrame(rows, columns=pd.Index(columns))
