"""What an association found in one set of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conn.clinic.arm_difference import ArmDifference
from conn.clinic.association import Association as Found
from conn.clinic.people import People
from conn.config.association import Association
from conn.config.model import Clinical

EVERYBODY = "all"
DIFFERENCE = "difference"


@dataclass(frozen=True, eq=False)
class Result:
    """What was found in one set of people, for edges or for networks.

    Attributes
    ----------
    kind
        ``edges`` or ``networks``.
    arm
        An arm, ``all``, or ``difference``.
    found
        One for all scales, or one for each.
    people
        Of each of `found`.
    """

    kind: Literal["edges", "networks"]
    arm: str
    found: tuple[Found | ArmDifference, ...]
    people: tuple[People, ...]

    @property
    def family(self) -> str:
        """Name of the family."""
        return f"{self.arm}-{self.kind}"

    def of(self, scale: int) -> tuple[Found | ArmDifference, People, int]:
        """Result and people of a scale, and its row there."""
        if len(self.found) == 1:
            return self.found[0], self.people[0], scale
        return self.found[scale], self.people[scale], 0


def baseline_of(reference: str, clinical: Clinical) -> str:
    """Baseline score of the scale of a reference."""
    return f"{reference.partition('.')[0]}.{clinical.baseline}"


def needed(asked: Association, clinical: Clinical, reference: str) -> list[str]:
    """Scores that a correlation with a scale needs."""
    return [reference, *([baseline_of(reference, clinical)] if asked.adjusted else [])]
