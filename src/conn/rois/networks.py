"""Named networks: sets of regions and the edges between them that were declared before looking at data."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from conn.rois import data

TITLES = {
    "thalamoCorticoPAG": "thalamus, cortex and periaqueductal grey",
    "descendingModulation": "descending modulation of pain",
    "cingulateTargets": "subregions of the anterior cingulate and their targets",
    "amygdalaTargets": "subdivisions of the amygdala and their targets",
    "plasticity": "hippocampus and prefrontal cortex",
}


def names() -> tuple[str, ...]:
    """Names of all networks."""
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


def _sided(a: str, b: str) -> Iterator[tuple[str, str]]:
    sides_a, sides_b = _labels(a), _labels(b)
    for side, label in sides_a.items():
        for other, partner in sides_b.items():
            if side == other or "M" in {side, other}:
                yield label, partner


def _labels(name: str) -> dict[str, str]:
    """Labels of a name by side."""
    known = data.table()
    rows = known[known["name"] == name]
    return dict(zip(rows["side"], rows["label"], strict=True))


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
