"""What is there: the runs of BIDS data sets and their fMRIPrep derivatives.

The index is made whenever the workflow is parsed, so it is one pass over folder listings: no image and no
confounds table is opened. A run is what exists on disk, never a product of labels.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conn.bids import (
    DERIVATIVE_ENTITIES,
    BidsName,
    acquisition,
    alphanumeric,
    bare_label,
    build,
    func_folder,
    parse,
    producers,
    scan,
    sidecar,
)
from conn.errors import ConfigError, InputError
from conn.exclusions import Exclusion
from conn.points import ALL
from conn.tables import MISSING, read_tsv

if TYPE_CHECKING:
    import pandas as pd

    from conn.config.model import Config, Dataset

__all__ = [
    "Index",
    "Run",
    "build_index",
    "dataset_roots",
    "run_from_record",
    "run_to_record",
    "sidecar",
]

STAGE = "index"
NATIVE = "native"
"""Value of `res` for files without a `res` entity, beside others that have one."""

_IMAGES = (".nii.gz", ".nii")
_CONFOUNDS = ("timeseries", "regressors")
_OF_ECHOES = frozenset({"echo", "part"})
_KNOWN_BAD = {
    ("fmriprep", "25.1.3"): (
        "BOLD images in template space can hold artefacts of resampling (nipreps/fmriprep#3508). "
        "Look at them, or preprocess with another version."
    ),
    ("fmriprep", "23.2.0"): (
        "brain masks in template space were resampled with their transforms in the wrong order "
        "(nipreps/fmriprep#3238). Preprocess with 23.2.1 or newer."
    ),
}
_FULL = (
    "Run fMRIPrep with `--level full --output-spaces {spaces}`; `--derivatives minimal=FOLDER` reuses what "
    "is there."
)


@dataclass(frozen=True)
class Run:
    """One functional run of one subject.

    `entities` are those of the derivative's name (space and res too, desc not). `exclusion` says why the
    run cannot even be tried.
    """

    key: str
    dataset: str
    subject: str
    session: str | None
    entities: dict[str, str]
    time_point: str | None
    bold: Path | None
    mask: Path | None
    confounds: Path | None
    exclusion: Exclusion | None

    @property
    def name(self) -> str:
        """Entities as text, as in ``sub-01_ses-pre_task-rest_space-MNI152NLin2009cAsym``."""
        return build(self.entities, "", "")

    @property
    def path(self) -> str | None:
        """The BOLD image relative to its derivatives, as in ``sub-01/ses-pre/func/…``."""
        if self.bold is None:
            return None
        folders = 4 if self.bold.parts[-3].startswith("ses-") else 3
        return "/".join(self.bold.parts[-folders:])


@dataclass(frozen=True)
class Index:
    """Runs found, what is left out already, and sentences for `conn check`."""

    runs: tuple[Run, ...]
    exclusions: tuple[Exclusion, ...]
    notes: tuple[str, ...]


def build_index(config: Config, root: Path) -> Index:
    """Find the runs of all data sets of a configuration.

    Parameters
    ----------
    config
        The configuration.
    root
        Folder of the configuration file; its paths are relative to it.

    Returns
    -------
    Index
        Runs in the order of data set, subject, session and name. Runs that cannot be used are there too,
        with their `exclusion`.

    Raises
    ------
    ConfigError
        A folder, task, space, resolution, filter, subject or time point that is not there; the message
        names the key and what is there instead.
    InputError
        Derivatives without preprocessed BOLD images (fMRIPrep's minimal level), damaged tables.
    """
    parts = [_index_dataset(name, dataset, root) for name, dataset in config.datasets.items()]
    return Index(
        tuple(run for part in parts for run in part.runs),
        tuple(exclusion for part in parts for exclusion in part.exclusions),
        tuple(note for part in parts for note in part.notes),
    )


def dataset_roots(dataset: Dataset, root: Path) -> tuple[Path, Path]:
    """Folders of a data set and of its derivatives, in this order; see `build_index` for `root`."""
    bids_dir = root / dataset.bids_dir
    if dataset.derivatives is None:
        return bids_dir, bids_dir / "derivatives" / "fmriprep"
    return bids_dir, root / dataset.derivatives


def run_to_record(run: Run) -> dict[str, Any]:
    """A run as JSON-ready values; paths become text."""
    record = {name: getattr(run, name) for name in Run.__dataclass_fields__}
    for name in ("bold", "mask", "confounds"):
        record[name] = None if record[name] is None else str(record[name])
    record["entities"] = dict(run.entities)
    record["exclusion"] = None if run.exclusion is None else asdict(run.exclusion)
    return record


def run_from_record(record: Mapping[str, Any]) -> Run:
    """The run that `run_to_record` wrote down."""
    values = dict(record)
    for name in ("bold", "mask", "confounds"):
        values[name] = None if values[name] is None else Path(values[name])
    values["entities"] = dict(values["entities"])
    values["exclusion"] = None if values["exclusion"] is None else Exclusion(**values["exclusion"])
    return Run(**values)


# --------------------------------------------------------------------------------------------- listing


@dataclass(frozen=True)
class _File:
    """A file of interest: its folder relative to the data set, its name, and the parts of the name."""

    folder: str
    file: str
    name: BidsName

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.file}"


_Identity = tuple[tuple[str, str], ...]


def _identity(entities: Mapping[str, str]) -> _Identity:
    """Entities as a key; the description of a file is not part of what it belongs to."""
    return tuple(sorted((key, value) for key, value in entities.items() if key != "desc"))


def _acquisition_id(entities: Mapping[str, str]) -> _Identity:
    """What a derivative shares with the image it was made from; echoes are combined, parts are picked."""
    return _identity({k: v for k, v in acquisition(entities).items() if k not in _OF_ECHOES})


@dataclass
class _Listing:
    """Files of one data set by kind."""

    bold: list[_File] = field(default_factory=list)
    masks: dict[_Identity, _File] = field(default_factory=dict)
    confounds: dict[_Identity, _File] = field(default_factory=dict)
    references: list[_File] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    old_names: int = 0


def _subject_folders(root: Path) -> list[str]:
    """Labels of the subjects that have a folder, sorted."""
    return sorted(e.name.removeprefix("sub-") for e in scan(root) if e.name.startswith("sub-") and e.is_dir())


def _func_folders(root: Path, subjects: frozenset[str]) -> Iterator[str]:
    """The `func` folders of all subjects, or of some, relative and sorted."""
    for label in _subject_folders(root):
        if subjects and label not in subjects:
            continue
        for name in sorted(entry.name for entry in scan(root / f"sub-{label}")):
            if name == "func":
                yield f"sub-{label}/func"
            elif name.startswith("ses-"):
                yield f"sub-{label}/{name}/func"


def _list_files(root: Path, subjects: frozenset[str], raw: bool) -> _Listing:
    """One pass over sub-*/[ses-*/]func."""
    listing = _Listing()
    for folder in _func_folders(root, subjects):
        for file in sorted(entry.name for entry in scan(f"{root}/{folder}")):
            if file.startswith("sub-") and _interesting(file, raw):
                _sort_in(listing, folder, file, raw)
    return listing


def _interesting(file: str, raw: bool) -> bool:
    """A cheap look at the end of a name: most files of derivatives are of no interest."""
    if raw:
        return file.endswith(("_bold.nii.gz", "_bold.nii"))
    return (
        file.endswith(("bold.nii.gz", "bold.nii", "boldref.nii.gz", "_preproc.nii.gz"))
        or "_desc-brain_mask.nii" in file
        or ("_desc-confounds_" in file and file.endswith(".tsv"))
    )


def _sort_in(listing: _Listing, folder: str, file: str, raw: bool) -> None:
    name = parse(file)
    if name is None:
        listing.old_names += file.endswith("_preproc.nii.gz")
        return
    if func_folder(name.entities) != folder:
        listing.strangers.append(f"{folder}/{file}")
        return
    found = _File(folder, file, name)
    desc = name.entities.get("desc")
    if name.suffix == "bold" and name.extension in _IMAGES and (raw or desc == "preproc"):
        listing.bold.append(found)
    elif name.suffix == "mask" and name.extension in _IMAGES:
        listing.masks[_identity(name.entities)] = found
    elif name.suffix in _CONFOUNDS and name.extension == ".tsv":
        # `timeseries` sorts after `regressors` and is the newer name: it wins.
        listing.confounds[_identity(name.entities)] = found
    elif name.suffix == "boldref":
        listing.references.append(found)


# --------------------------------------------------------------------------------------------- selection


@dataclass(frozen=True)
class _Source:
    """One data set of the configuration, and what is in its folders."""

    name: str
    dataset: Dataset
    bids_dir: Path
    derivatives: Path
    raw: _Listing
    done: _Listing

    @property
    def key(self) -> str:
        return f"datasets.{self.name}"

    @property
    def tasks(self) -> tuple[str, ...]:
        task = self.dataset.task
        return tuple(bare_label(t, "task") for t in ((task,) if isinstance(task, str) else task))

    @property
    def written(self) -> str:
        """The derivatives folder as the user wrote it."""
        if self.dataset.derivatives is None:
            return f"{self.dataset.bids_dir}/derivatives/fmriprep"
        return self.dataset.derivatives

    def exclude(self, reason: str, subject: str, run: Run | None = None, **found: str) -> Exclusion:
        session = MISSING if run is None or run.session is None else run.session
        key = MISSING if run is None else run.key
        return Exclusion(self.name, subject, session, key, stage=STAGE, reason=reason, **found)


def _index_dataset(name: str, dataset: Dataset, root: Path) -> Index:
    source = _open_source(name, dataset, root)
    images, resolution = _choose_images(source)
    runs = [_derived_run(source, file) for file in images.values()]
    runs += [
        _underived_run(source, entities, resolution)
        for identity, entities in _acquisitions(source).items()
        if identity not in images
    ]
    runs.sort(key=lambda run: (run.subject, run.session or "", run.name))
    values = _time_point_values(source, runs)
    labels = _time_point_labels(source, values)
    runs = [_at_time_point(source, run, values[run.key], labels) for run in runs]
    problems = {run.key: _problems(source, run) for run in runs}
    runs = [replace(run, exclusion=next(iter(problems[run.key]), None)) for run in runs]
    _require_confounds(source, runs)
    rows, table_notes = _compare_with_participants(source, runs)
    exclusions = (*(e for run in runs for e in problems[run.key]), *rows)
    return Index(tuple(runs), exclusions, (*_notes(source, runs, values), *table_notes))


def _open_source(name: str, dataset: Dataset, root: Path) -> _Source:
    bids_dir, derivatives = dataset_roots(dataset, root)
    subjects = frozenset(bare_label(subject) for subject in dataset.subjects)
    empty = _Source(name, dataset, bids_dir, derivatives, _Listing(), _Listing())
    _require_folders(empty)
    _require_subjects(empty, subjects)
    return replace(
        empty,
        raw=_list_files(bids_dir, subjects, raw=True),
        done=_list_files(derivatives, subjects, raw=False),
    )


def _require_folders(source: _Source) -> None:
    if not source.bids_dir.is_dir():
        raise ConfigError(
            f"{source.key}.bids_dir: there is no folder {source.dataset.bids_dir!r}. "
            "Paths are relative to the configuration file."
        )
    if not source.derivatives.is_dir():
        raise ConfigError(
            f"{source.key}.derivatives: there is no folder {source.written!r}. Paths are relative to the "
            "configuration file; left out, it is derivatives/fmriprep inside bids_dir."
        )
    if not _subject_folders(source.derivatives):
        inner = sorted(e.name for e in scan(source.derivatives) if e.is_dir() and _subject_folders(Path(e)))
        hint = f" Did you mean {source.written}/{inner[0]}?" if inner else ""
        raise ConfigError(f"{source.key}.derivatives: {source.written!r} holds no sub-* folder.{hint}")


def _require_subjects(source: _Source, subjects: frozenset[str]) -> None:
    folders = {*_subject_folders(source.bids_dir), *_subject_folders(source.derivatives)}
    unknown = sorted(subjects - folders - set(_participants(source)))
    if unknown:
        raise ConfigError(
            f"{source.key}.subjects: {_words(unknown)} {'is' if len(unknown) == 1 else 'are'} neither a "
            f"folder nor in participants.tsv. Labels are compared as written; there are: {_words(folders)}."
        )


def _words(values: Iterable[str], most: int = 12) -> str:
    ordered = sorted(values)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more if ordered else "none"


def _counted(files: Iterable[_File], entity: str) -> Counter[str]:
    return Counter(f.name.entities[entity] for f in files if entity in f.name.entities)


def _fits(source: _Source, entities: Mapping[str, str], ignore: frozenset[str] = frozenset()) -> bool:
    """Whether a file is of the wanted task and passes the filters."""
    if entities.get("task") not in source.tasks:
        return False
    return all(
        entities.get(key) in _allowed(key, value)
        for key, value in source.dataset.filters.items()
        if key not in ignore
    )


def _allowed(key: str, value: str | tuple[str, ...]) -> set[str]:
    return {bare_label(v, key) for v in ((value,) if isinstance(value, str) else value)}


def _choose_images(source: _Source) -> tuple[dict[_Identity, _File], str | None]:
    """Preprocessed images in the wanted space and resolution, by acquisition; and the resolution."""
    _require_tasks(source)
    images = [f for f in source.done.bold if f.name.entities.get("task") in source.tasks]
    if not images:
        raise InputError(_explain_no_images(source))
    fitting = [f for f in images if _fits(source, f.name.entities)]
    if not fitting:
        raise ConfigError(_explain_filters(source, images))
    in_space = [f for f in fitting if f.name.entities.get("space") == source.dataset.space]
    if not in_space:
        raise _space_error(source, fitting)
    resolution = _choose_resolution(source, in_space)
    chosen = [f for f in in_space if f.name.entities.get("res") == resolution]
    return _one_each(source, chosen), resolution


def _require_tasks(source: _Source) -> None:
    listing = source.done
    files = [*source.raw.bold, *listing.bold, *listing.references, *listing.confounds.values()]
    found = _counted(files, "task")
    missing = [task for task in source.tasks if task not in found]
    if missing and found:
        raise ConfigError(
            f"{source.key}.task: no functional image has task {missing[0]!r}; there are: {_words(found)}."
        )


def _explain_no_images(source: _Source) -> str:
    """Why there is no preprocessed BOLD image of the task in any space."""
    where = f"{source.key}: {source.written!r}"
    if source.done.old_names:
        return (
            f"{where} holds files in the naming of fMRIPrep 1.1 or older (_bold_space-…_preproc.nii.gz), "
            "whose confounds tables lack what is needed. Preprocess with fMRIPrep 20.2 or newer."
        )
    references = {
        _acquisition_id(f.name.entities)
        for f in source.done.references
        if f.name.entities.get("task") in source.tasks
    }
    advice = _FULL.format(spaces=_output_space(source))
    if references:
        return (
            f"{where} holds reference images and transforms of {len(references)} runs, but no preprocessed "
            f"BOLD images and {_how_many(len(source.done.confounds))} confounds tables: this is the "
            f"output of fMRIPrep's --level minimal (or --level resampling). {advice}"
        )
    return f"{where} holds no preprocessed BOLD images (*_desc-preproc_bold.nii.gz). {advice}"


def _how_many(count: int) -> str:
    return "no" if count == 0 else str(count)


def _output_space(source: _Source) -> str:
    resolution = source.dataset.res or "2"
    return f"{source.dataset.space}:res-{bare_label(resolution, 'res')}"


def _explain_filters(source: _Source, images: Sequence[_File]) -> str:
    for key, value in source.dataset.filters.items():
        found = _counted(images, key)
        if not _allowed(key, value) & set(found):
            return (
                f"{source.key}.filters.{key}: no image has {key}-{_words(_allowed(key, value))}; "
                f"values there: {_words(found)}."
            )
    return f"{source.key}.filters: each filter fits some images, but no image passes all of them."


def _space_error(source: _Source, images: Sequence[_File]) -> ConfigError | InputError:
    spaces = Counter(f.name.entities.get("space", "native") for f in images)
    found = ", ".join(f"{space} ({count} images)" for space, count in sorted(spaces.items()))
    message = (
        f"{source.key}.space: no preprocessed BOLD image in {source.dataset.space} in {source.written!r}; "
        f"spaces there: {found}."
    )
    if set(spaces) - {"native", "T1w", "T2w", "anat"}:
        return ConfigError(message)
    return InputError(f"{message} {_FULL.format(spaces=_output_space(source))}")


def _choose_resolution(source: _Source, images: Sequence[_File]) -> str | None:
    counts = Counter(f.name.entities.get("res") for f in images)
    wanted = source.dataset.res
    if wanted is None and len(counts) == 1:
        return next(iter(counts))
    if wanted is not None:
        label = bare_label(wanted, "res")
        if label in counts:
            return label
        if label == NATIVE and None in counts:
            return None
    choices = ", ".join(
        f"{NATIVE} (no res entity, {n} images)" if res is None else f"{res} ({n} images)"
        for res, n in sorted(counts.items(), key=lambda item: item[0] or "")
    )
    problem = "several resolutions" if wanted is None else f"no image has res-{bare_label(wanted, 'res')}"
    raise ConfigError(f"{source.key}.res: {problem} in {source.dataset.space}; choose one of: {choices}.")


def _one_each(source: _Source, images: Iterable[_File]) -> dict[_Identity, _File]:
    """Images by acquisition; two for one acquisition must be told apart by a filter."""
    chosen: dict[_Identity, _File] = {}
    for file in images:
        identity = _acquisition_id(file.name.entities)
        other = chosen.get(identity, file)
        if other.name.entities == file.name.entities:
            # Same name, `.nii` and `.nii.gz`: the compressed one sorts last and stays.
            chosen[identity] = file
            continue
        pairs = set(other.name.entities.items()) ^ set(file.name.entities.items())
        keys = sorted({key for key, _ in pairs})
        choices = _words(value for key, value in pairs if key == keys[0])
        raise ConfigError(
            f"{source.key}.filters: {other.path} and {file.path} are of one run and differ in "
            f"{_words(keys)}. Choose with filters; {keys[0]} has {choices}."
        )
    return chosen


def _acquisitions(source: _Source) -> dict[_Identity, dict[str, str]]:
    """Every run of the wanted tasks that left a trace: raw image, derivative in any space, reference."""
    found: dict[_Identity, dict[str, str]] = {}
    for file in (*source.raw.bold, *source.done.bold, *source.done.references):
        if _fits(source, file.name.entities, ignore=DERIVATIVE_ENTITIES):
            entities = acquisition(file.name.entities)
            kept = {key: value for key, value in entities.items() if key not in _OF_ECHOES}
            found.setdefault(_acquisition_id(entities), kept)
    return found


# --------------------------------------------------------------------------------------------- runs


def _run_key(dataset: str, entities: Mapping[str, str]) -> str:
    """Readable, and different for every run: letters and digits only, for it becomes a wildcard."""
    text = f"{dataset}/{build(entities, '', '')}"
    tail = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{alphanumeric(build(acquisition(entities), '', ''))}x{tail}"


def _without_desc(entities: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in entities.items() if key != "desc"}


def _make_run(source: _Source, entities: dict[str, str], **paths: Path | None) -> Run:
    files: dict[str, Path | None] = {"bold": None, "mask": None, "confounds": None, **paths}
    return Run(
        key=_run_key(source.name, entities),
        dataset=source.name,
        subject=entities["sub"],
        session=entities.get("ses"),
        entities=entities,
        time_point=None,
        bold=files["bold"],
        mask=files["mask"],
        confounds=files["confounds"],
        exclusion=None,
    )


def _derived_run(source: _Source, file: _File) -> Run:
    entities = _without_desc(file.name.entities)
    mask = source.done.masks.get(_identity(entities))
    confounds = source.done.confounds.get(_identity(acquisition(entities)))
    return _make_run(
        source,
        entities,
        bold=source.derivatives / file.path,
        mask=None if mask is None else source.derivatives / mask.path,
        confounds=None if confounds is None else source.derivatives / confounds.path,
    )


def _underived_run(source: _Source, entities: dict[str, str], resolution: str | None) -> Run:
    extra = {"space": source.dataset.space, **({} if resolution is None else {"res": resolution})}
    return _make_run(source, {**entities, **extra})


def _expected(run: Run, kind: str) -> str:
    """Where a file of a run should be, relative to its derivatives."""
    desc, suffix, extension = {
        "bold": ("preproc", "bold", ".nii.gz"),
        "mask": ("brain", "mask", ".nii.gz"),
        "confounds": ("confounds", "timeseries", ".tsv"),
    }[kind]
    entities = acquisition(run.entities) if kind == "confounds" else run.entities
    return f"{func_folder(run.entities)}/{build({**entities, 'desc': desc}, suffix, extension)}"


def _problems(source: _Source, run: Run) -> list[Exclusion]:
    """Why a run cannot be tried; the first reason is the run's own."""
    if run.exclusion is not None:
        return [run.exclusion]
    if run.bold is None:
        return [source.exclude("no_derivative", run.subject, run, value=_expected(run, "bold"))]
    found = [
        source.exclude(f"no_{kind}", run.subject, run, value=_expected(run, kind))
        for kind, path in (("mask", run.mask), ("confounds", run.confounds))
        if path is None
    ]
    absent = _unfetched(source, run)
    if absent:
        found.insert(0, source.exclude("not_fetched", run.subject, run, value="; ".join(absent)))
    return found


def _unfetched(source: _Source, run: Run) -> list[str]:
    """Files of a run that are only a promise of git-annex, relative to the derivatives."""
    paths = [path for path in (run.bold, run.mask, run.confounds) if path is not None]
    return [path.relative_to(source.derivatives).as_posix() for path in paths if not _is_fetched(path)]


def _is_fetched(path: Path) -> bool:
    """False for a link to nowhere and for the small pointer file of an unlocked annex."""
    try:
        size = path.stat().st_size
    except OSError:
        return False
    if not 0 < size < 1024:
        return True
    with path.open("rb") as stream:
        return not stream.read(15).startswith(b"/annex/objects/")


def _require_confounds(source: _Source, runs: Sequence[Run]) -> None:
    derived = [run for run in runs if run.bold is not None]
    if derived and not source.done.confounds:
        raise InputError(
            f"{source.key}: {len(derived)} preprocessed runs in {source.written!r}, but no confounds table "
            f"({_expected(derived[0], 'confounds')}). fMRIPrep leaves them out at --level minimal and "
            f"--level resampling. {_FULL.format(spaces=_output_space(source))}"
        )


# --------------------------------------------------------------------------------------------- time points


def _time_point_values(source: _Source, runs: Sequence[Run]) -> dict[str, str | None]:
    """What tells the time point of each run, by run key."""
    points = source.dataset.time_points
    if points.by == "column":
        return _column_values(source, runs)
    return {run.key: run.entities.get(points.by) for run in runs}


def _time_point_labels(source: _Source, values: Mapping[str, str | None]) -> dict[str | None, str]:
    """Label of each value that has one."""
    points = source.dataset.time_points
    key = f"{source.key}.time_points"
    found = Counter(value for value in values.values() if value is not None)
    if points.labels:
        mapping: dict[str | None, str] = {}
        for label, wanted in points.labels.items():
            accepted = [bare_label(value, points.by) for value in wanted]
            if not set(accepted) & set(found):
                raise ConfigError(
                    f"{key}.labels.{label}: no run has {points.column or points.by} {' or '.join(accepted)}; "
                    f"values there: {_words(f'{v} ({n} runs)' for v, n in found.items())}."
                )
            mapping |= dict.fromkeys(accepted, label)
        return mapping
    if not found:
        if points.by == "ses":
            return {None: ALL}
        raise ConfigError(f"{key}.by: no run has a value of {points.column or points.by!r}.")
    return _own_labels(key, points.by, found)


def _own_labels(key: str, by: str, found: Iterable[str]) -> dict[str | None, str]:
    """Each value its own label: letters and digits, the first a letter, as the rest of the file needs."""
    labels: dict[str | None, str] = {}
    prefix = "t" if by == "column" else by
    for value in sorted(found):
        label = alphanumeric(value)
        label = label if label[:1].isalpha() else f"{prefix}{label}"
        if label in labels.values():
            raise ConfigError(
                f"{key}.labels: {value!r} and another value both become {label!r}; name them with labels."
            )
        labels[value] = label
    return labels


def _at_time_point(source: _Source, run: Run, value: str | None, labels: Mapping[str | None, str]) -> Run:
    if value in labels:
        return replace(run, time_point=labels[value])
    by = source.dataset.time_points.by
    shown = MISSING if value is None else value if by == "column" else f"{by}-{value}"
    limit = ", ".join(str(known) for known in labels if known is not None)
    return replace(
        run, exclusion=source.exclude("no_time_point", run.subject, run, value=shown, limit=limit or MISSING)
    )


def _column_values(source: _Source, runs: Sequence[Run]) -> dict[str, str | None]:
    template = source.dataset.time_points.table or ""
    tables: dict[str, dict[_Identity, str] | None] = {}
    values: dict[str, str | None] = {}
    for run in runs:
        path = template.replace("{subject}", run.subject).replace("{session}", run.session or "")
        if path not in tables:
            tables[path] = _column_rows(source, path, run) if (source.bids_dir / path).is_file() else None
        rows = tables[path] or {}
        values[run.key] = next((rows[k] for k in _row_keys(run) if k in rows), None)
    if tables and all(rows is None for rows in tables.values()):
        raise ConfigError(
            f"{source.key}.time_points.table: {template!r} is not in bids_dir"
            f"{' for any subject' if '{' in template else ''}."
        )
    return {key: None if value == MISSING else value for key, value in values.items()}


def _row_keys(run: Run) -> tuple[_Identity, ...]:
    """Keys a run may have in a table: by file, by subject and session, by subject."""
    subject = ("subject", run.subject)
    session = () if run.session is None else (("session", run.session),)
    return _acquisition_id(run.entities), (subject, *session), (subject,)


def _column_rows(source: _Source, path: str, run: Run) -> dict[_Identity, str]:
    """Values of the time-point column by row key; `run` names the subject of a table without such column."""
    column = source.dataset.time_points.column or ""
    key = f"{source.key}.time_points"
    table = read_tsv(source.bids_dir / path)
    if column not in table.columns:
        raise ConfigError(f"{key}.column: {path} has no column {column!r}; it has: {_words(table.columns)}.")
    if not {"filename", "participant_id"} & set(table.columns) and "{subject}" not in (
        source.dataset.time_points.table or ""
    ):
        raise ConfigError(f"{key}.table: {path} has neither a participant_id nor a filename column.")
    rows: dict[_Identity, str] = {}
    for number, record in enumerate(table.to_dict("records"), start=2):
        row = _row_key({str(k): str(v) for k, v in record.items()}, run)
        if row is None:
            continue
        if row in rows:
            raise InputError(
                f"{path}: row {number} repeats {' '.join(v for _, v in row)}; one row each is needed."
            )
        rows[row] = str(record[column])
    return rows


def _row_key(record: Mapping[str, str], run: Run) -> _Identity | None:
    if "filename" in record:
        name = parse(record["filename"].rpartition("/")[2])
        return _acquisition_id(name.entities) if name is not None and name.suffix == "bold" else None
    subject = ("subject", bare_label(record.get("participant_id", run.subject)))
    if "session_id" in record:
        return subject, ("session", bare_label(record["session_id"], "ses"))
    return (subject,)


# --------------------------------------------------------------------------------------------- participants


def _participants(source: _Source) -> list[str]:
    """Labels in participants.tsv; empty when the table or its participant_id column is not there."""
    path = source.bids_dir / "participants.tsv"
    if not path.is_file():
        return []
    table: pd.DataFrame = read_tsv(path)
    if "participant_id" not in table.columns:
        return []
    return [bare_label(str(cell)) for cell in table["participant_id"] if cell not in ("", MISSING)]


def _compare_with_participants(source: _Source, runs: Sequence[Run]) -> tuple[list[Exclusion], list[str]]:
    """Rows for subjects that are only in the table or only in the folders, and the difference in words."""
    listed = set(_participants(source))
    if not listed:
        return [], [f"{source.name}: participants.tsv is not there, or has no participant_id."]
    chosen = {bare_label(subject) for subject in source.dataset.subjects}
    listed = listed & chosen if chosen else listed
    found = {run.subject for run in runs}
    idle, strange = sorted(listed - found), sorted(found - listed)
    rows = [source.exclude("no_run", subject) for subject in idle]
    notes = []
    if idle:
        notes.append(f"{source.name}: in participants.tsv but without a run: {_words(idle, 1000)}.")
    if strange:
        notes.append(
            f"{source.name}: with runs but not in participants.tsv: {_words(strange, 1000)}."
            f"{_look_alikes(idle, strange)}"
        )
    return rows, notes


def _look_alikes(idle: Iterable[str], strange: Iterable[str]) -> str:
    plain = {label.lstrip("0").lower(): label for label in idle}
    pairs = [(label, plain[k]) for label in strange if (k := label.lstrip("0").lower()) in plain]
    if not pairs:
        return ""
    shown = "; ".join(f"folder {folder!r}, table {row!r}" for folder, row in pairs)
    return f" Labels are compared as written, leading zeros included: {shown}."


# --------------------------------------------------------------------------------------------- notes


def _notes(source: _Source, runs: Sequence[Run], values: Mapping[str, str | None]) -> Iterator[str]:
    yield from _producer_notes(source)
    yield from _unfetched_notes(source, runs)
    strangers = (*source.raw.strangers, *source.done.strangers)
    if strangers:
        yield (
            f"{source.name}: not used, for name and folder disagree: {_words(strangers)}. "
            "Rename the files or move them."
        )
    names = {file.path for file in source.done.bold}
    twins = [
        run.path
        for run in runs
        if run.path is not None and run.path.removesuffix(".gz") in names - {run.path}
    ]
    if twins:
        yield (
            f"{source.name}: {len(twins)} images are there twice, as .nii and .nii.gz; the compressed ones "
            f"are used: {_words(twins)}."
        )
    per_point = Counter((r.subject, r.time_point) for r in runs if r.exclusion is None)
    several = sum(count > 1 for count in per_point.values())
    if several:
        yield (
            f"{source.name}: {several} of {len(per_point)} subjects and time points have several runs; "
            "connectivity.combine_runs says which of them models take."
        )
    yield from _zero_notes(source, values)


def _producer_notes(source: _Source) -> Iterator[str]:
    made_by = producers(source.derivatives)
    if not made_by:
        yield (
            f"{source.name}: the derivatives do not say what made them (dataset_description.json is missing, "
            "or has no GeneratedBy)."
        )
    for name, version in made_by:
        warning = _KNOWN_BAD.get((name.lower(), version))
        if warning:
            yield f"{source.name}: made by {name} {version}: {warning}"


def _unfetched_notes(source: _Source, runs: Sequence[Run]) -> Iterator[str]:
    lost = [run for run in runs if run.exclusion is not None and run.exclusion.reason == "not_fetched"]
    if not lost:
        return
    files = sorted({path for run in lost for path in _unfetched(source, run)})
    if len(files) > 6:
        files = sorted({_pattern(path) for path in files})
    yield (
        f"{source.name}: {len(lost)} runs are links to content that is not here (git-annex). In the folder "
        f"of {source.key}.derivatives: datalad get {' '.join(files)}"
    )


def _pattern(path: str) -> str:
    """A path with a star for subject, session and run."""
    folder, _, file = path.rpartition("/")
    folders = [f"{part[:4]}*" if part[:4] in ("sub-", "ses-") else part for part in folder.split("/")]
    pairs = [f"{part[:4]}*" if part[:4] in ("sub-", "ses-", "run-") else part for part in file.split("_")]
    return "/".join([*folders, "_".join(pairs)])


def _zero_notes(source: _Source, values: Mapping[str, str | None]) -> Iterator[str]:
    points = source.dataset.time_points
    written: dict[str, set[str]] = {}
    for value in values.values():
        if value is not None and value.isdigit():
            written.setdefault(value.lstrip("0"), set()).add(value)
    alike = [_words(spellings) for spellings in written.values() if len(spellings) > 1]
    if alike and not points.labels:
        yield (
            f"{source.name}: {points.column or points.by} has the values {'; '.join(sorted(alike))}, taken "
            f"as different. List them under one name in {source.key}.time_points.labels if they are the same."
        )
