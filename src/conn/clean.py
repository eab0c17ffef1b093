"""`conn clean`: give back the disk of kept projections. Results never need them, only new questions do.

Arrays of stage project go, receipts stay: what is finished stays finished, and a run whose arrays are asked
for again is read again (`conn.paths.projection_mark` tells the workflow). Nothing is touched but files of our
own names, in folders of run keys, below `cache/project` of an output folder that conn made; links are
never followed.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conn import paths, receipts
from conn.errors import ConfigError, ConnError, ResourceError
from conn.locks import hold
from conn.stages.collect import load_index
from conn.study import INDEX, Study

KEY = re.compile(r"[A-Za-z0-9]+")
"""What a run key looks like: the name of a folder that may be ours."""

RECEIPT = paths.project_receipt("run").name
MARK = paths.projection_mark("run").name
PART = re.compile(r"\..+\.part")

PRICE = (
    "Results stay valid, and nothing has to be computed again for them. A new seed, radius, threshold or "
    "network will read the images again."
)


@dataclass(frozen=True)
class Removal:
    """What leaves the folder of one run.

    Attributes
    ----------
    folder
        ``cache/project/<run>``.
    files
        Regular files of ours in it, sorted.
    size
        What they take, in bytes.
    arrays
        Whether a projection is among them, and not only crumbs.
    """

    folder: Path
    files: tuple[Path, ...]
    size: int
    arrays: bool


def clean(study: Study, *, unused: bool = False, dry_run: bool = False) -> str:
    """Remove kept projections.

    Parameters
    ----------
    study
        From `conn.study.open_study`.
    unused
        Only what no run of the configuration can use: folders of runs that are not in its data any more,
        arrays without a receipt, temporary files.
    dry_run
        Only say what would go.

    Returns
    -------
    str
        How many runs, how much disk, and what follows.

    Raises
    ------
    ConfigError
        The output folder is not ours, its cache is a link, or the data are not there to tell what is unused.
    ResourceError
        A run is at work in the output folder.
    """
    written = study.config.out
    if not study.out.is_dir():
        return f"{written}: there is no such folder yet; nothing is kept"
    _check_ours(study)
    keys = _known_keys(study) if unused else None
    lock = hold(study.out)
    if lock is None or (not lock.sure and any((study.out / ".snakemake" / "locks").glob("*"))):
        raise ResourceError(f"{written}: a run is at work in this folder; wait until it ends")
    try:
        found, foreign = _look(study.out, keys)
        if not dry_run:
            for removal in found:
                _remove(removal)
        return "\n".join(_words(study, found, foreign, unused=unused, dry_run=dry_run))
    finally:
        lock.release()


def forget_lost(out: Path) -> None:
    """Take back the mark of projections whose arrays somebody removed by hand, so that they are made anew.

    Parameters
    ----------
    out
        Output folder, in which nobody is at work.
    """
    for mark in out.glob(paths.projection_mark("*").as_posix()):
        try:
            before = receipts.read(mark.with_name(RECEIPT))
            whole = all((out / name).is_file() for name in before.files)
        except (OSError, ValueError, ConnError):
            whole = False
        if not whole:
            mark.unlink(missing_ok=True)


# What is ours -----------------------------------------------------------------------------------------


def _check_ours(study: Study) -> None:
    out, written = study.out, study.config.out
    for folder in (paths.CACHE, paths.PROJECTIONS):
        if (out / folder).is_symlink():
            raise ConfigError(
                f"out: {folder.as_posix()} of {written!r} is a link to {(out / folder).readlink()}. "
                "conn clean follows no links; remove the folders of the runs there by hand."
            )
    study.refuse_foreign()
    try:
        load_index(out / INDEX)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"out: {written!r} holds no results of conn ({INDEX.as_posix()} is missing or of another kind); "
            "nothing is removed"
        ) from None


def _known_keys(study: Study) -> frozenset[str]:
    keys = frozenset(run.key for run in study.index.runs)
    if not keys:
        raise ConfigError(
            "--unused: the configuration finds no run at all, so that everything would count as unused. Are "
            "the data there? Without --unused everything is removed."
        )
    return keys


def _look(out: Path, keys: frozenset[str] | None) -> tuple[list[Removal], list[Path]]:
    """What goes, folder by folder, and what is none of our business.

    Parameters
    ----------
    out
        Output folder.
    keys
        Runs of the configuration when only unused files go, else None.
    """
    removals: list[Removal] = []
    foreign: list[Path] = []
    root = out / paths.PROJECTIONS
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_symlink() or not folder.is_dir() or not KEY.fullmatch(folder.name):
            foreign.append(folder)
            continue
        files, others = _contents(folder)
        foreign += others
        chosen = [path for path in files if _goes(path, files, keys)]
        if chosen or (keys is not None and folder.name not in keys and not others):
            arrays = any(path.suffix == ".npy" for path in chosen)
            removals.append(Removal(folder, tuple(chosen), sum(p.lstat().st_size for p in chosen), arrays))
    return removals, foreign


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that stage project writes, and everything else: other names, links, folders."""
    ours: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.iterdir()):
        named = path.suffix == ".npy" or path.name in (RECEIPT, MARK) or PART.fullmatch(path.name)
        (ours if named and stat.S_ISREG(path.lstat().st_mode) else others).append(path)
    return ours, others


def _goes(path: Path, beside: Sequence[Path], keys: frozenset[str] | None) -> bool:
    """Whether a file of ours leaves its folder. A run that was left out has a mark, and no arrays."""
    if PART.fullmatch(path.name):
        return True
    if keys is not None:
        unknown = path.parent.name not in keys
        return unknown or (path.name != RECEIPT and path.with_name(RECEIPT) not in beside)
    return path.name != RECEIPT and any(other.suffix == ".npy" for other in beside)


def _remove(removal: Removal) -> None:
    """The mark goes first: a half-cleaned folder then counts as cleaned."""
    for path in sorted(removal.files, key=lambda path: path.name != MARK):
        path.unlink(missing_ok=True)
    if not any(removal.folder.iterdir()):
        removal.folder.rmdir()


# Words ------------------------------------------------------------------------------------------------


def _words(
    study: Study, found: Sequence[Removal], foreign: Sequence[Path], *, unused: bool, dry_run: bool
) -> Iterator[str]:
    where = f"{paths.PROJECTIONS.as_posix()} of {study.config.out}"
    size = sum(removal.size for removal in found)
    kept = [removal for removal in found if removal.arrays]
    what = "unused files" if unused else "kept projections"
    if found:
        verb = "Would remove" if dry_run else "Removed"
        yield f"{verb} the {what} of {_runs(len(found))}, {size / 1e9:.3f} GB, from {where}."
    else:
        yield f"Nothing to remove: there are no {what} in {where}."
    if unused and found:
        yield "No run of the configuration can use them."
    elif kept:
        yield PRICE
        yield from _unmeasured(study.out, kept)
    for path in foreign:
        yield f"Left alone, not a file of conn: {path.relative_to(study.out).as_posix()}"


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _unmeasured(out: Path, kept: Sequence[Removal]) -> Iterator[str]:
    """An interrupted run: what was projected and not used yet is lost work."""
    waiting = sum(not _measured(out, removal.folder.name) for removal in kept)
    if waiting:
        yield f"{_runs(waiting)} not measured yet: the next conn run reads their images again."


def _measured(out: Path, run: str) -> bool:
    try:
        before = (out / paths.project_receipt(run)).stat().st_mtime_ns
        return (out / paths.measure_receipt(run)).stat().st_mtime_ns >= before
    except FileNotFoundError:
        return False
