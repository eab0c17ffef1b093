"""What an association found in one set of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conn.clinic.arm_difference import ArmDifference
from conn.clinic.association import Association as Found
from conn.clinic.people import People
from conn.clinic.scales import Sourced, retest
from conn.config.association import Association
from conn.config.model import Clinical
from conn.errors import DesignError

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


def scale_reliability(asked: Association, clinical: Clinical, scale: str) -> Sourced | None:
    """Reliability of a scale with where it comes from, or None when it was not asked for.

    Raises
    ------
    DesignError
        The registry has none that can be taken without a choice.
    """
    share = asked.scale_reliability.get(scale)
    if share is None:
        return None
    if not isinstance(share, str):
        return Sourced(share, "given by the authors", "the configuration")
    kind = clinical.scales[scale].kind if scale in clinical.scales else None
    found = None if kind is None else retest(kind)
    if found is None:
        raise DesignError(
            f"scale_reliability.{scale}: the registry has no single checked value; give a number"
        )
    return found
