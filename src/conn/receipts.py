"""Receipts: the one declared output of a per-run job, written last and atomically."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from conn.errors import InputError
from conn.exclusions import Exclusion
from conn.files import digest, read_json, write_json


@dataclass(frozen=True)
class Receipt:
    """What a stage made of one run.

    Attributes
    ----------
    run
        Key of the run.
    stage
        ``project`` or ``measure``.
    included
        False: the run is left out, `reason` says why, and no data file was written.
    numbers
        What later stages and tables need: volumes, tr, df, mean_fd …
    exclusions
        Rows for `exclusions.tsv`.
    files
        Path relative to the output folder → SHA-256.
    """

    run: str
    stage: str
    included: bool
    reason: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write as JSON; numbers stand at the top level."""
        data = {
            "run": self.run,
            "stage": self.stage,
            "included": self.included,
            "reason": self.reason,
            **self.numbers,
            "exclusions": [asdict(e) for e in self.exclusions],
            "files": dict(self.files),
        }
        write_json(path, data)


def read(path: Path) -> Receipt:
    """Read a receipt.

    Raises
    ------
    InputError
        The file is not a receipt.
    """
    data = read_json(path)
    try:
        known = {key: data.pop(key) for key in ("run", "stage", "included", "reason")}
        exclusions = tuple(Exclusion(**e) for e in data.pop("exclusions"))
        return Receipt(**known, exclusions=exclusions, files=data.pop("files"), numbers=data)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a receipt ({error}); delete it and run again") from None


def digests(out: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, by their path relative to `out`."""
    return {path.as_posix(): digest(out / path) for path in sorted(files)}
