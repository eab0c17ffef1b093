"""The tables of docs/explanation/rates.md, made from rates.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LIBERAL, CONSERVATIVE = 0.07, 0.035
"""Rates above and below which a cell is marked."""

RATIOS = (0.5, 1, 2, 3)
SHAPES = (False, True)
MISSING = "–"

GROUPS = {
    "labels": (
        "two_sample",
        "group_by_time interaction",
        "parallel_arms adjusted",
        "crossover treatment",
        "two_sample, 12 % of values missing",
        "two_sample, three groups",
        "parallel_arms adjusted, three arms",
        "treatment_by_outcome interaction",
        "within groupByWithin",
        "formula, F over three groups",
        "regression",
    ),
    "outcomes": (
        "moderator moderation",
        "moderator moderation, one variance",
        "moderator prognosis",
        "moderator prognosis, one variance",
    ),
    "flips": ("one_sample", "paired", "within", "crossover treatmentFlips", "group_by_time time"),
}
"""Designs of each table."""

Results = Mapping[str, Any]


def mark(false: int, sets: int) -> str:
    """A rate in percent: bold when liberal, italic when conservative."""
    rate, text = false / sets, f"{100 * false / sets:.1f}"
    if rate > LIBERAL:
        return f"**{text}**"
    return f"*{text}*" if rate < CONSERVATIVE else text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rates(results: Results, designs: Sequence[str]) -> str:
    """Rates by design and sizes (rows), shape and ratio (columns)."""
    cells = {
        (c["design"], tuple(c["sizes"]), c["skewed"], c["ratio"]): mark(c["false"], c["sets"])
        for c in results["cells"].values()
    }
    known = dict.fromkeys((design, sizes) for design, sizes, _, _ in cells)
    ratios = [r for r in RATIOS if any(key[0] in designs and key[3] == r for key in cells)]
    head = ["design", "people", *(f"{r:g}" for r in ratios), *(f"skewed, {r:g}" for r in ratios)]
    rows = [
        [design, ", ".join(map(str, sizes))]
        + [cells.get((design, sizes, skewed, r), MISSING) for skewed in SHAPES for r in ratios]
        for wanted in designs
        for design, sizes in known
        if design == wanted
    ]
    return table(head, rows)


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def compared(results: Results, prefix: str, first: str) -> str:
    """False positives and planted features found, of each analysis of the same trials."""
    entries = {k.partition("|")[2]: e for k, e in results["rivals"].items() if k.startswith(f"{prefix}|")}
    names = list(next(iter(entries.values()))["analyses"])
    rows = []
    for label, entry in entries.items():
        row = [label.replace("+", ", ")]
        for name in names:
            false, found = entry["analyses"][name]
            row.append(mark(false, entry["sets"]))
            planted = entry["planted"] * entry["sets"]
            row.append(percent(found / planted) if planted else MISSING)
        rows.append(row)
    head = [first, *(f"{name}: {what}" for name in names for what in ("false", "found"))]
    return table(head, rows)


def size(results: Results) -> str:
    """How much was simulated."""
    sets = sorted({entry["sets"] for part in ("cells", "rivals") for entry in results[part].values()})
    shown = f"{sets[0]:,}" if len(sets) == 1 else f"{sets[0]:,} to {sets[-1]:,}"
    s = results["settings"]
    return (
        f"{len(results['cells'])} cells, {shown} simulated trials each, {s['features']} features, "
        f"{s['rearrangements']} rearrangements, family-wise error {100 * s['alpha']:g} %."
    )


def tables(results: Results) -> dict[str, str]:
    """Everything that stands between marks of the page."""
    return {
        "size": size(results),
        **{name: rates(results, designs) for name, designs in GROUPS.items()},
        "scans": compared(results, "scans", "question"),
        "baseline": compared(results, "baseline", "correlation"),
        "crossover": compared(results, "crossover", "people by sequence"),
    }


def filled(page: str, results: Results) -> str:
    """The page with its tables made anew."""
    for name, text in tables(results).items():
        pattern = rf"(<!-- {name} -->\n)(.*?)(<!-- end -->)"
        if not re.search(pattern, page, flags=re.DOTALL):
            raise ValueError(f"the page has no place for {name}")
        page = re.sub(pattern, lambda m, t=text: f"{m[1]}\n{t}\n\n{m[3]}", page, flags=re.DOTALL)
    return page
