"""Stage collect: index and receipts become `runs.tsv` and the data set's description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import conn
from conn import paths, receipts
from conn.errors import InputError, TooLittleDataError
from conn.exclusions import Exclusion, to_table
from conn.files import read_json, write_json, write_text
from conn.index import Index, Run, run_from_record, run_to_record
from conn.receipts import Receipt
from conn.tables import MISSING, write_tsv

ENTITY_COLUMNS = {
    "task": "task",
    "acq": "acq",
    "run": "run_entity",
    "echo": "echo",
    "space": "space",
    "res": "res",
}
NUMBER_COLUMNS = ("volumes", "tr", "frames_kept", "seconds_kept", "df", "mean_fd")
SIGNAL_COLUMNS = ("dvars", "tsnr", "global_sd")
"""Numbers at the end of the table of runs; later versions add there."""
BIDSIGNORE = (
    "*_statmap.*\n*_relmat.*\n*_stat-coverage.tsv\ncache/\nlogs/\ngroup/\nfigures/\n*.html\nruns.tsv\n"
    + (
        "exclusions.tsv\nrois.tsv\nroi_*.tsv\ncohort.tsv\nconfig.yaml\nlock.json\nmethods.md\nassociation/\nmediation/\n"
        "prediction/\nreliability/\n.snakemake/\n"
    )
)


def index_to_record(index: Index) -> dict[str, Any]:
    """An index as JSON-ready values."""
    return {
        "runs": [run_to_record(run) for run in index.runs],
        "exclusions": [asdict(e) for e in index.exclusions],
        "notes": list(index.notes),
    }


def index_from_record(record: Mapping[str, Any]) -> Index:
    """The index that `index_to_record` wrote down."""
    return Index(
        tuple(run_from_record(r) for r in record["runs"]),
        tuple(Exclusion(**e) for e in record["exclusions"]),
        tuple(record["notes"]),
    )


def collect(out: Path, index: Index, links: Mapping[str, str]) -> None:
    """Write the table of runs, and the description of the output data set.

    Parameters
    ----------
    out
        Output folder, with the receipts of stage measure for every run that could be tried.
    index
        All runs found.
    links
        Name of each data set → its folder relative to `out`, for `DatasetLinks`.

    Raises
    ------
    InputError
        A file that a receipt lists has disappeared.
    TooLittleDataError
        No run is included. The reasons are then in `exclusions.tsv`.
    """
    usable = [run for run in index.runs if run.exclusion is None]
    measured = {run.key: receipts.read(out / paths.measure_receipt(run.key)) for run in usable}
    _check_files(out, measured)
    try:
        refuse_nothing(index.runs, measured)
    except TooLittleDataError:
        write_tsv(out / paths.EXCLUSIONS, to_table(first_level(out, index)))
        raise
    write_tsv(out / paths.RUNS, run_table(index.runs, measured))
    write_text(out / ".bidsignore", BIDSIGNORE)
    write_json(out / "dataset_description.json", _description(links))
    _sweep(out, measured)
    write_json(out / paths.COLLECTED, {key: dict(r.files) for key, r in sorted(measured.items())})


def _sweep(out: Path, measured: Mapping[str, Receipt]) -> None:
    """Remove our files of runs that are no longer in the study, so that nobody mistakes them for results.

    Their receipts go with them: who is asked for again is measured again.
    """
    for receipt in out.glob(paths.measure_receipt("*").as_posix()):
        if receipt.stem not in measured:
            receipt.unlink()
    kept = {name for receipt in measured.values() for name in receipt.files}
    for path in [*out.glob("sub-*/func/*"), *out.glob("sub-*/ses-*/func/*")]:
        if path.relative_to(out).as_posix() in kept or not paths.OWN_OUTPUT.fullmatch(path.name):
            continue
        path.unlink()
        for folder in path.relative_to(out).parents[:-1]:
            if any((out / folder).iterdir()):
                break
            (out / folder).rmdir()


def refuse_nothing(runs: Sequence[Run], measured: Mapping[str, Receipt]) -> None:
    """Raise when no run is included.

    Parameters
    ----------
    runs
        All runs found.
    measured
        Receipts of stage measure by run key.

    Raises
    ------
    TooLittleDataError
        With the number of runs by reason.
    """
    if any(receipt.included for receipt in measured.values()):
        return
    reasons = Counter(str(r.exclusion.reason if r.exclusion else measured[r.key].reason) for r in runs)
    counted = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    raise TooLittleDataError(
        f"nothing is left to analyse: none of {len(runs)} runs is included ({counted or 'none was found'}). "
        f"{paths.EXCLUSIONS} and `conn why sub-LABEL` give value and limit of each; `conn check` shows which "
        "strategies and floors (denoise) would keep them."
    )


def first_level(out: Path, index: Index) -> Iterator[Exclusion]:
    """Exclusions of index and receipts; receipts that are not there yet are passed over."""
    yield from index.exclusions
    for run in index.runs:
        if run.exclusion is not None:
            yield run.exclusion
            continue
        for path in (paths.project_receipt(run.key), paths.measure_receipt(run.key)):
            if (out / path).exists():
                yield from receipts.read(out / path).exclusions


def _check_files(out: Path, measured: Mapping[str, Receipt]) -> None:
    for key, receipt in measured.items():
        for name in receipt.files:
            if not (out / name).exists():
                raise InputError(
                    f"{name} is listed in {paths.measure_receipt(key).as_posix()} but is not there. "
                    "Delete that receipt and run again."
                )


def run_table(runs: Sequence[Run], measured: Mapping[str, Receipt]) -> pd.DataFrame:
    """One row per run found; see the output contract for its columns."""
    rows = []
    for run in runs:
        receipt = measured.get(run.key)
        numbers = receipt.numbers if receipt else {}
        reason = receipt.reason if receipt else (run.exclusion.reason if run.exclusion else None)
        rows.append(
            {
                "run": run.key,
                "dataset": run.dataset,
                "subject": run.subject,
                "session": run.session or MISSING,
                "time_point": run.time_point or MISSING,
                **{column: run.entities.get(e, MISSING) for e, column in ENTITY_COLUMNS.items()},
                "path": run.path or MISSING,
                **{name: numbers.get(name) for name in NUMBER_COLUMNS},
                "included": bool(receipt and receipt.included),
                "reason": reason or MISSING,
                **{name: numbers.get(name) for name in SIGNAL_COLUMNS},
            }
        )
    columns = ["run", "dataset", "subject", "session", "time_point", *ENTITY_COLUMNS.values(), "path"]
    return pd.DataFrame(
        rows,
        columns=pd.Index([*columns, *NUMBER_COLUMNS, "included", "reason", *SIGNAL_COLUMNS]),
        dtype=object,
    )


def _description(links: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Name": "Connectivity and treatment effects",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "conn", "Version": conn.__version__}],
        "DatasetLinks": dict(links),
    }


def load_index(path: Path) -> Index:
    """Read an index that the workflow wrote down."""
    return index_from_record(read_json(path))
