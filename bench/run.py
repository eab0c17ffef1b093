"""`make bench`: what is measured, ours and the peers in one run; a table, and `bench/latest.json`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from processes import Sample, TaskError, measure
from records import Goal, Line, Skipped, as_json, schedule, table
from sizes import FULL, QUICK, TINY, Size

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """A function to measure, its options, and how often."""

    name: str
    options: dict[str, Any]
    repeats: int


LONGEST = 200.0
"""Seconds above which a peer is not measured again, so that all of this ends in 20 minutes."""


def interleaved(**tasks: Task) -> dict[str, list[Sample]]:
    """Samples of several tasks, measured in turns. What fails or takes very long is not tried again."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    failed: set[str] = set()
    for label in schedule({label: task.repeats for label, task in tasks.items()}):
        if label in failed:
            continue
        if label != "ours" and samples[label] and samples[label][-1].seconds > LONGEST:
            say(f"  {label}: not measured again, since once took {samples[label][-1].seconds:.0f} s")
            continue
        try:
            sample = measure(tasks[label].name, **tasks[label].options)
        except TaskError as error:
            if label == "ours":
                raise
            failed.add(label)
            say(f"  {label}: {error}")
            continue
        samples[label].append(sample)
        say(f"  {label}: {sample.seconds:.2f} s, {sample.peak_mb:.0f} MB")
    return samples


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def seconds(samples: list[Sample]) -> tuple[float, ...]:
    return tuple(sample.seconds for sample in samples)


def peaks(samples: list[Sample]) -> tuple[float, ...]:
    return tuple(sample.peak_mb for sample in samples)


def highest(samples: list[Sample]) -> float | None:
    return max(peaks(samples), default=None)


def collected(samples: list[Sample], key: str) -> tuple[float, ...]:
    return tuple(sample.values[key] for sample in samples if key in sample.values)


# ------------------------------------------------------------------------------------------------ lines


def first_level(folder: str, size: Size) -> Iterator[Line]:
    """Run to maps without and with smoothing, and new seeds, beside nilearn and bare decompression."""
    made = _simulated(folder, size.shape, size.mask_voxels, size.volumes)
    say(f"a run of {size.volumes} volumes, {made.values['megabytes']:.0f} MB")
    plain = _maps(folder, size, 0, bare=Task("first_level:decompress", {"folder": folder}, size.ours))
    ours, nilearn = plain["ours"], plain["nilearn"]
    name = "run to maps, int16"
    yield Line(name, "s", Goal("peer/ours", ">=", 40), seconds(ours), seconds(nilearn), highest(ours))
    yield Line(
        f"{name}: against bare decompression",
        "s",
        Goal("ours/peer", "<=", 2.2),
        seconds(ours),
        seconds(plain["bare"]),
        highest(ours),
    )
    yield Line(f"{name}: memory", "MB", Goal("ours", "<=", 600), peaks(ours), peaks(nilearn), highest(ours))
    yield _new_seeds(folder, size, nilearn)
    smooth = _maps(folder, size, 6)
    ours, nilearn = smooth["ours"], smooth["nilearn"]
    yield Line(
        "run to maps, 6 mm", "s", Goal("peer/ours", ">=", 25), seconds(ours), seconds(nilearn), highest(ours)
    )


def first_level_more(folder: str, size: Size) -> Iterator[Line]:
    """Memory of a long run, and agreement with nilearn."""
    made = _simulated(folder, size.shape, size.mask_voxels, size.long_volumes, quick=True)
    say(f"a run of {size.long_volumes} volumes, {made.values['megabytes']:.0f} MB")
    samples = interleaved(
        ours=Task("first_level:ours", {"folder": folder, "fwhm_mm": 0}, size.peer),
        bare=Task("first_level:decompress", {"folder": folder}, size.peer),
    )
    ours = samples["ours"]
    say(f"  degrees of freedom kept: {ours[0].values['df']}")
    name = f"{size.long_volumes} volumes"
    yield Line(f"{name}: memory", "MB", Goal("ours", "<=", 1500), peaks(ours), (), highest(ours))
    yield Line(
        f"{name}: against bare decompression",
        "s",
        Goal("ours/peer", "<=", 2.2),
        seconds(ours),
        seconds(samples["bare"]),
        highest(ours),
    )
    _simulated(folder, *size.compared, quick=True)
    measure("first_level:nilearn_in_float64", folder=folder, fwhm_mm=0)
    yield _agreement(folder, 0, "agreement with nilearn in float64, its operator, int16", 1e-6)
    measure("first_level:nilearn_in_float64", folder=folder, fwhm_mm=6)
    yield _agreement(folder, 6, "agreement with nilearn in float64, its operator, int16, 6 mm", 1e-6)
    _simulated(folder, *size.compared, quick=True, dtype="float32")
    measure("first_level:nilearn", folder=folder, fwhm_mm=0, compare=True)
    yield _agreement(folder, 0, "agreement with nilearn, its operator, float32", 2e-5)


def _simulated(
    folder: str, shape: tuple[int, int, int], mask_voxels: int, volumes: int, **options: Any
) -> Sample:
    for file in Path(folder).iterdir():
        file.unlink()
    made = {"folder": folder, "shape": shape, "mask_voxels": mask_voxels, "volumes": volumes}
    return measure("data:run", **made, **options)


def _maps(folder: str, size: Size, fwhm_mm: float, **more: Task) -> dict[str, list[Sample]]:
    options = {"folder": folder, "fwhm_mm": fwhm_mm}
    samples = interleaved(
        ours=Task("first_level:ours", {**options, "keep": fwhm_mm == 0}, size.ours),
        nilearn=Task("first_level:nilearn", options, size.peer),
        **more,
    )
    say(f"  degrees of freedom kept: {samples['ours'][0].values['df']}")
    parts = [sample.values["parts"] for sample in samples["ours"]]
    for part in parts[0]:
        say(f"  {part}: {median(one[part] for one in parts):.3f} s")
    return samples


def _agreement(folder: str, fwhm_mm: float, name: str, limit: float) -> Line:
    goal = Goal("ours", "<=", limit)
    try:
        sample = measure("first_level:ours", folder=folder, fwhm_mm=fwhm_mm, nilearn_operator=True)
    except TaskError as error:
        say(f"  {error}")
        return Line(name, "|Δr|", goal, ())
    say(f"  with nilearn's operator: {sample.seconds:.2f} s, {sample.values['df']} directions")
    return Line(name, "|Δr|", goal, (sample.values["difference"],), (), sample.peak_mb)


def _new_seeds(folder: str, size: Size, nilearn: list[Sample]) -> Line:
    """Twelve other seeds from kept coefficients; nilearn keeps nothing and starts from the file again."""
    ours = interleaved(ours=Task("first_level:new_seeds", {"folder": folder}, size.ours))["ours"]
    goal = Goal("peer/ours", ">=", 1000)
    return Line("new seeds on kept Y", "s", goal, seconds(ours), seconds(nilearn), highest(ours))


def permutation(folder: str, size: Size) -> Iterator[Line]:
    """One permutation of the largest |t| over a map; nilearn in the faster of its ways to use two cores."""
    measure("data:group", folder=folder, rows=size.rows, features=size.features)
    options = {"folder": folder, "permutations": size.peer_permutations}
    samples = interleaved(
        ours=Task("group:ours", {"folder": folder, "permutations": size.permutations}, size.ours),
        default=Task("group:nilearn", {**options, "n_jobs": 1}, size.peer),
        two_jobs=Task("group:nilearn", {**options, "n_jobs": 2}, size.peer),
    )
    ours = collected(samples["ours"], "milliseconds")
    peers = {label: collected(samples[label], "milliseconds") for label in ("default", "two_jobs")}
    for label, found in peers.items():
        say(f"  nilearn, {label}: {', '.join(f'{one:.1f}' for one in found) or 'n/a'} ms")
    say(f"  share of the GEMM peak: {median(collected(samples['ours'], 'gemm_share')):.0%}")
    difference = collected(samples["default"], "difference")
    if difference:
        say(f"  largest difference of the observed t from nilearn's: {max(difference):.1g}")
    yield Line(
        "max-t permutation, shared design",
        "ms",
        Goal("peer/ours", ">=", 20),
        ours,
        min(filter(None, peers.values()), key=median, default=()),
        highest(samples["ours"]),
    )


def statistics(folder: str, size: Size) -> Iterator[Line]:
    """One permutation of what costs more than t of a design that all voxels share, as a ratio to less."""
    measure("data:group", folder=folder, rows=size.rows, features=size.features)
    options = {"folder": folder, "permutations": size.permutations}
    variants = {
        "t": {},
        "v": {"groups": True},
        "F": {"rank": 2},
        "robust slope": {"robust": True},
        "G, three groups": {"groups": True, "rank": 2, "arms": 3},
        "v, four groups": {"groups": True, "arms": 4},
        "t, gaps": {"gaps": 0.02},
        "v, gaps": {"gaps": 0.02, "groups": True},
        "t, covariate of each voxel": {"baseline": True},
        "v, covariate of each voxel": {"baseline": True, "groups": True},
    }
    tasks = {name: Task("group:variant", {**options, **more}, size.ours) for name, more in variants.items()}
    samples = interleaved(**tasks)
    pairs = (("t, covariate of each voxel", "t"), ("v, covariate of each voxel", "v"), ("F", "t"))
    slow = (("v", "t", 8), ("robust slope", "t", 8), ("G, three groups", "v", 6), ("v, four groups", "v", 8))
    slow += (("t, gaps", "v", 16), ("v, gaps", "v", 24))
    for name, other, limit in [*((*pair, 4) for pair in pairs), *slow]:
        ours, less = (collected(samples[one], "milliseconds") for one in (name, other))
        goal = Goal("ours/peer", "<=", limit)
        yield Line(f"permutation of {name}: against {other}", "ms", goal, ours, less, highest(samples[name]))


PACKAGE = "tfce"
"""Of PyPI; not a dependency. docs/performance.md says how it is installed for these lines."""


def enhancement(folder: str, size: Size) -> Iterator[Line | Skipped]:
    """TFCE of one map, beside nilearn and the package in C, and of one permutation from end to end."""
    made = {"folder": folder, "shape": size.shape, "mask_voxels": size.mask_voxels, "rows": size.rows}
    measure("data:volumes", **made)
    own, peer = ({"folder": folder, "maps": count} for count in size.maps)
    tasks = {"nilearn": Task("enhanced:nilearn", peer, size.peer)}
    if find_spec(PACKAGE) is not None:
        tasks["package"] = Task("enhanced:package", own, size.ours)
    samples = interleaved(ours=Task("enhanced:ours", own, size.ours), **tasks)
    yield _enhanced("TFCE of a map", samples, "nilearn", 80)
    stepped = collected(samples["nilearn"], "difference")
    if stepped:
        say(f"  maxima of nilearn's 100 steps differ from the exact ones by up to {max(stepped):.1%}")
    yield from _against_package(samples)
    yield from _enhanced_permutation(folder, size)


def _enhanced(name: str, samples: dict[str, list[Sample]], peer: str, limit: float) -> Line:
    ours, theirs = (collected(samples[label], "milliseconds") for label in ("ours", peer))
    return Line(name, "ms", Goal("peer/ours", ">=", limit), ours, theirs, highest(samples["ours"]))


def _against_package(samples: dict[str, list[Sample]]) -> Iterator[Line | Skipped]:
    name, same = "TFCE of a map: against the C package", "TFCE of a map: agreement with the C package"
    if find_spec(PACKAGE) is None:
        reason = f"the package {PACKAGE} is not installed; docs/performance.md says how"
        yield from (Skipped(one, reason) for one in (name, same))
        return
    yield _enhanced(name, samples, "package", 1.3)
    yield Line(same, "|Δ|/max", Goal("ours", "<=", 1e-4), collected(samples["package"], "difference"))


def _enhanced_permutation(folder: str, size: Size) -> Iterator[Line]:
    own = {"folder": folder, "permutations": size.enhanced_permutations}
    peer = {"folder": folder, "permutations": size.peer_enhanced_permutations}
    samples = interleaved(
        ours=Task("enhanced:ours_permuted", own, size.ours),
        nilearn=Task("enhanced:nilearn_permuted", peer, size.peer),
    )
    yield _enhanced("permutation with TFCE", samples, "nilearn", 80)


def dry_run(folder: str, size: Size) -> Iterator[Line]:
    """A dry run of a large study, and of as many bare jobs."""
    measure("data:study", folder=folder, subjects=size.subjects)
    samples = interleaved(
        ours=Task("workflow:ours", {"folder": folder}, size.ours),
        bare=Task("workflow:bare", {"folder": folder}, size.peer),
    )
    ours = samples["ours"]
    yield Line(
        f"dry run, {size.subjects} subjects x 2 sessions",
        "s",
        Goal("ours", "<=", 5),
        seconds(ours),
        seconds(samples["bare"]),
        highest(ours),
    )


LINES: dict[str, Callable[[str, Size], Iterator[Line | Skipped]]] = {
    "first-level": first_level,
    "first-level-more": first_level_more,
    "permutation": permutation,
    "statistics": statistics,
    "enhancement": enhancement,
    "dry-run": dry_run,
}


# ------------------------------------------------------------------------------------------------ main


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    size = TINY if options.tiny else QUICK if options.quick else FULL
    start = perf_counter()
    machine = measure("machine:describe").values
    machine.pop("peak_mb")
    lines: list[Line] = []
    skipped: list[Skipped] = []
    for name in options.only or LINES:
        say(f"{name} …")
        with tempfile.TemporaryDirectory(prefix="bench") as folder:
            for one in LINES[name](folder, size):
                skipped.append(one) if isinstance(one, Skipped) else lines.append(one)
    for topic, words in machine.items():
        print(f"{topic}: {words}")
    if size is not FULL:
        print("the goals are for the full size; this run is smaller")
    print(f"{(perf_counter() - start) / 60:.1f} minutes; n is how often ours and the peer were measured\n")
    print(table(lines))
    for one in skipped:
        print(f"\nnot measured: {one.name}: {one.reason}")
    options.output.write_text(json.dumps(as_json(lines), indent=1) + "\n", encoding="utf-8")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="fewer volumes, permutations and repeats")
    sizes.add_argument("--tiny", action="store_true", help="only to see that everything runs")
    parser.add_argument("--only", action="append", choices=LINES, help="one part; may be repeated")
    parser.add_argument("--output", type=Path, default=HERE / "latest.json", help="where records go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
