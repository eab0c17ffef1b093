"""What a benchmark says: samples, medians of ratios, a goal, and whether it was met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Quantity = Literal["ours", "peer/ours", "ours/peer"]


@dataclass(frozen=True)
class Goal:
    """A limit on our value, or on the median ratio to the peer."""

    quantity: Quantity
    relation: Literal[">=", "<="]
    limit: float

    def __str__(self) -> str:
        return f"{self.quantity} {self.relation} {self.limit:g}"

    def met(self, value: float | None) -> bool:
        """Whether a value reaches the goal; nothing measured does not."""
        if value is None:
            return False
        return value >= self.limit if self.relation == ">=" else value <= self.limit


@dataclass(frozen=True)
class Record:
    """One line of `bench/latest.json`. `ratio` is what the goal names: peer/ours, or ours/peer."""

    name: str
    ours: float | None
    peer: float | None
    unit: str
    ratio: float | None
    goal: str
    met: bool
    repeats: int
    peak_mb: float | None


@dataclass(frozen=True)
class Line:
    """Samples of one benchmark, ours and the peer's in the order of measurement."""

    name: str
    unit: str
    goal: Goal
    ours: tuple[float, ...]
    peer: tuple[float, ...] = ()
    peak_mb: float | None = None

    def record(self) -> Record:
        """Medians, the median of ratios, and the verdict."""
        ours = median(self.ours) if self.ours else None
        ratio = median(self.ratios()) if self.ratios() else None
        return Record(
            self.name,
            ours,
            median(self.peer) if self.peer else None,
            self.unit,
            ratio,
            str(self.goal),
            self.goal.met(ours if self.goal.quantity == "ours" else ratio),
            len(self.ours),
            self.peak_mb,
        )

    def ratios(self) -> list[float]:
        """Each of our samples against the peer's sample that was measured nearest to it."""
        if not self.peer:
            return []
        pairs = [
            (own, self.peer[_nearest(i, len(self.ours), len(self.peer))]) for i, own in enumerate(self.ours)
        ]
        inverse = self.goal.quantity == "ours/peer"
        return [own / other if inverse else other / own for own, other in pairs]


@dataclass(frozen=True)
class Skipped:
    """A line that was not measured, and why."""

    name: str
    reason: str


def _when(index: int, count: int) -> float:
    """When a sample is measured, as a share of the time of its line."""
    return (index + 0.5) / count


def _nearest(index: int, count: int, others: int) -> int:
    return min(range(others), key=lambda j: abs(_when(j, others) - _when(index, count)))


def schedule(repeats: Mapping[str, int]) -> list[str]:
    """Interleaved order of measurements, so that a slow quarter of an hour hits all alike."""
    slots = [(_when(i, count), name) for name, count in repeats.items() for i in range(count)]
    return [name for _, name in sorted(slots, key=lambda slot: slot[0])]


HEAD = ("", "ours", "spread", "peer", "spread", "unit", "ratio", "goal", "met", "n", "peak MB")


def table(lines: Sequence[Line]) -> str:
    """The lines as a table in Markdown."""
    rows = [HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    text = [_row(row, widths) for row in rows]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _row(cells: Iterable[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _cells(line: Line) -> tuple[str, ...]:
    record = line.record()
    return (
        record.name,
        _number(record.ours),
        _spread(line.ours),
        _number(record.peer),
        _spread(line.peer),
        record.unit,
        _number(record.ratio),
        record.goal,
        "yes" if record.met else "no",
        f"{len(line.ours)}/{len(line.peer)}",
        _number(record.peak_mb),
    )


def _number(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _spread(values: Sequence[float]) -> str:
    return f"{_number(min(values))}-{_number(max(values))}" if values else ""


def as_json(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The records as JSON-ready values."""
    return [asdict(line.record()) for line in lines]
