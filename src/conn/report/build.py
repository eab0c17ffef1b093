"""The report: from the output folder to figures, `methods.md` and `report.html`."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

import conn
from conn import paths
from conn.config.load import to_yaml
from conn.config.model import Config
from conn.errors import ConnError
from conn.exclusions import ANALYSES, OF_MEASURES
from conn.files import write_text
from conn.report import (
    clinic_section,
    cohort_section,
    confounding_section,
    methods,
    opening,
    page,
    plan_section,
    quality_section,
    regions_section,
    results_section,
    truth_section,
    undone,
)
from conn.report.brain import TEMPLATE
from conn.report.context import Context
from conn.report.contract import ContrastResult, Outputs, read_outputs
from conn.report.people import Names, make_names
from conn.report.style import Picture
from conn.report.values import Connectivity
from conn.report.words import capital, count, listed, spelled
from conn.tables import MISSING


@dataclass(frozen=True)
class ReportFiles:
    """What `build_report` wrote.

    Attributes
    ----------
    report
        The page.
    methods
        The methods text.
    figures
        Every figure, as SVG and as PNG.
    """

    report: Path
    methods: Path
    figures: tuple[Path, ...]


def build_report(out: Path, config: Config) -> ReportFiles:
    """Write the report of a study.

    Only the output contract below `out` is read. Figures of an earlier report that this one does not have
    are removed.

    Parameters
    ----------
    out
        The output folder.
    config
        The configuration that it was made with.

    Returns
    -------
    ReportFiles

    Raises
    ------
    InputError
        `runs.tsv` is missing, or a table is damaged.
    """
    outputs = read_outputs(out, config)
    names = make_names(outputs.people(), config.report.anonymise, config.seed, _roots(out, outputs))
    context = Context(out / paths.FIGURES, outputs, names, Connectivity(outputs))
    environment = _environment()
    written = _environment(tidy=False).get_template("methods.md.j2").render(methods.context(outputs))
    text = names.text(re.sub(r"\n{3,}", "\n\n", written.strip()) + "\n")
    shown = _page(context, text)
    html = environment.get_template("report.html.j2").render(shown)
    _refuse_leaks(html, names)
    write_text(out / paths.METHODS, text)
    figures = _tidy(context.folder, _pictures(shown))
    write_text(out / paths.REPORT, html)
    return ReportFiles(out / paths.REPORT, out / paths.METHODS, figures)


def _roots(out: Path, outputs: Outputs) -> list[str]:
    """Absolute folders of this study, which no text may show."""
    datasets = outputs.settings["datasets"].values()
    named = [entry[key] for entry in datasets for key in ("derivatives", "bids_dir") if entry[key]]
    folders = [(out / folder).resolve() for folder in named]
    # A root such as /data is no secret, and would be cut out of the middle of other paths.
    long = [str(folder) for folder in folders if len(folder.parts) > 2]
    return [str(out.resolve()), str(out.resolve().parent), str(Path.home()), *long]


def _environment(tidy: bool = True) -> Environment:
    """Templates with every text escaped; `tidy` swallows the line ends of template tags."""
    environment = Environment(
        loader=PackageLoader("conn.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=tidy,
        lstrip_blocks=tidy,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["md"] = markdown_text
    return environment


def data_uri(picture: Picture) -> str:
    """A picture as text that stands in the page itself."""
    return f"data:{picture.media};base64,{base64.b64encode(picture.data).decode('ascii')}"


def markdown_text(text: str) -> Markup:
    """Text whose characters mean nothing to Markdown nor to HTML."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", plain))


def _page(context: Context, methods_text: str) -> dict[str, Any]:
    """Everything that the template shows."""
    outputs, names, config = context.outputs, context.names, context.outputs.config
    contrasts = outputs.contrasts()
    results = [results_section.result_block(context, c) for c in contrasts]
    quality = [
        quality_section.strips(context.folder, outputs),
        quality_section.coverage(context.folder, outputs, names),
        quality_section.mean_matrix(context.folder, context.data),
        quality_section.mean_matrix(context.folder, context.partial),
    ]
    clinic = clinic_section.blocks(context)
    other = confounding_section.blocks(context)
    truths = truth_section.blocks(context)
    return {
        "version": conn.__version__,
        "template": TEMPLATE,
        "css": Markup(_template_text("style.css")),
        "title": names.text(config.report.title),
        "kicker": _kicker(outputs),
        "simulated": outputs.simulated,
        "truth_description": names.text(str((outputs.truth or {}).get("description", ""))),
        "problems": [names.text(p) for p in (*outputs.problems, *undone.problems(outputs))],
        "lead": [names.text(sentence) for sentence in _lead(outputs)],
        "findings": [*(results_section.finding(context, c) for c in contrasts), *opening.findings(clinic)],
        "truth": truth_section.edge_table(context),
        "sections": _sections(outputs, clinic, other, truths),
        "truth_title": truth_section.TITLE,
        "truth_introduction": truth_section.INTRODUCTION,
        "truths": truths,
        "truths_unasked": truth_section.unasked(context),
        "other_title": confounding_section.TITLE,
        "other": other,
        "clinic_title": clinic_section.TITLE,
        "clinic": clinic,
        "exclusion_words": _exclusion_words(outputs),
        "exclusion_counts": cohort_section.exclusion_counts(outputs),
        "exclusion_rows": cohort_section.exclusion_rows(outputs, names),
        "cohort": cohort_section.cohort_tables(outputs),
        "quality_pictures": [p for p in quality if p],
        "quality_maps": quality_section.mean_seed_maps(context.folder, outputs) if not config.models else [],
        "runs": cohort_section.runs_table(outputs, names),
        "plan_words": [names.text(sentence) for sentence in plan_section.sentences(outputs)],
        "plan_history": plan_section.history(outputs, names),
        "plan_changes": plan_section.changes(outputs, names),
        "designs": [results_section.design_block(context, c) for c in contrasts],
        "results": results,
        "no_results": _no_results(outputs),
        "settings": to_yaml(names.tree(dict(outputs.settings))),
        "regions": regions_section.table(outputs),
        "region_warnings": regions_section.warnings(outputs),
        "region_pairs": regions_section.pairs(outputs),
        "region_pictures": regions_section.pictures(context.folder, outputs),
        "methods": Markup(MarkdownIt("commonmark", {"html": False}).render(methods_text)),
        "limits": methods.limits(outputs),
        "software": _software(),
    }


def _template_text(name: str) -> str:
    loader = PackageLoader("conn.report", "templates")
    return loader.get_source(Environment(autoescape=True), name)[0]


def _pictures(shown: dict[str, Any]) -> list[Picture]:
    """Every picture of the page."""
    found = [*shown["quality_pictures"], *shown["quality_maps"], *shown["region_pictures"]]
    found += [*(d.picture for d in shown["designs"])]
    for result in shown["results"]:
        found += [*result.pictures, result.people, *result.maps]
    found += [picture for block in shown["clinic"] for picture in block.pictures]
    return [p for p in found if p is not None]


def _tidy(folder: Path, pictures: Iterable[Picture]) -> tuple[Path, ...]:
    """Paths of the figures; those of an earlier report are removed: they may show what must be hidden now."""
    kept = tuple(folder / f"{p.name}.{suffix}" for p in pictures for suffix in ("svg", "png"))
    for path in folder.glob("*.*") if folder.is_dir() else ():
        if path.suffix in {".svg", ".png"} and path not in kept:
            path.unlink()
    return kept


def _refuse_leaks(html: str, names: Names) -> None:
    """Never write a page that promises pseudonyms and holds a label."""
    if names.pattern is None:
        return
    text = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", html)
    match = names.pattern.search(text)
    if match is not None:
        raise ConnError(
            f"report.anonymise is on, but the page would hold the subject label {match.group()!r} "
            f"(near {text[max(match.start() - 40, 0) : match.end() + 20]!r}); it was not written. Report "
            f"this as a bug."
        )


# ------------------------------------------------------------------------------------------------- words


def _kicker(outputs: Outputs) -> str:
    datasets = list(outputs.config.datasets)
    models = opening.kicker(outputs.config)
    return (
        f"Data set{'s' if len(datasets) > 1 else ''} {listed(datasets)} · {models} · conn {conn.__version__}"
    )


def _lead(outputs: Outputs) -> list[str]:
    """The first paragraph: what was analysed and tested."""
    runs, kept = outputs.runs, outputs.included
    points = [p for p in outputs.time_points if p != "all"]
    n_people, n_kept = methods.people(runs), methods.people(kept)
    text = f"{count(len(runs), 'scan')} of {count(n_people, 'person', 'people')}"
    text += f" at {listed(points)}" if points else ""
    text += " were found. " if len(runs) != 1 else " was found. "
    if kept.empty:
        return [text + "None of them could be analysed; the reasons stand below."]
    whole = len(kept) == len(runs)
    text += (
        "All of them are" if whole else f"{len(kept)} of them, of {count(n_kept, 'person', 'people')}, are"
    )
    text = text if len(runs) != 1 else text.replace("All of them are", "It is")
    return [f"{text} in the analysis. {_tested(outputs)}"]


def _tested(outputs: Outputs) -> str:
    config, contrasts = outputs.config, outputs.contrasts()
    clinical = opening.sentences(outputs)
    if not config.models:
        return clinical or (
            "No group model was configured, so nothing is tested: this report shows the quality of "
            "the data and the connectivity of single runs."
        )
    missing = [m.name for m in outputs.models if not m.contrasts]
    planned = [c for c in contrasts if c.confirmatory]
    text = (
        f"{capital(count_words(len(contrasts), 'contrast'))} of {count_words(len(outputs.models), 'model')} "
    )
    text += f"{'was' if len(contrasts) == 1 else 'were'} tested"
    text += (
        f", {spelled(len(planned)) if planned else 'none'} of them declared confirmatory{_locked(planned)}."
        if len(contrasts) > 1
        else "."
    )
    if missing:
        text += f" There are no results of {listed(missing)}."
    return text + clinical


def _locked(planned: list[ContrastResult]) -> str:
    """How many of the contrasts that are declared confirmatory were locked in time."""
    if not planned:
        return ""
    kept = sum(contrast.planned for contrast in planned)
    if kept == len(planned):
        return " and locked before there were results"
    return f" ({spelled(kept) if kept else 'none'} locked before there were results and unchanged since)"


def count_words(n: int, noun: str) -> str:
    """A number of things with small numbers spelled out."""
    return f"{spelled(n)} {noun if n == 1 else noun + 's'}"


def _exclusion_words(outputs: Outputs) -> str:
    lost = int((~outputs.runs["included"]).sum())
    gone = methods.people(outputs.runs) - methods.people(outputs.included)
    parts_lost = outputs.losses[outputs.losses["roi"] != MISSING]
    of_measures = parts_lost["reason"].isin(OF_MEASURES)
    regions, measures = (parts_lost.loc[which, "roi"].nunique() for which in (~of_measures, of_measures))
    total = count(len(outputs.runs), "scan")
    first = f"{capital(spelled(lost))} of {total} {_be(lost)} not in the analysis"
    if not lost:
        first = f"All {total} found are in the analysis"
        if len(outputs.runs) == 1:
            first = "The one scan found is in the analysis"
    elif lost == len(outputs.runs):
        first = f"None of {total} is in the analysis"
    parts = [first]
    if gone:
        parts.append(f"{spelled(gone)} {'person has' if gone == 1 else 'people have'} no scan left")
    if regions:
        parts.append(f"{count_words(regions, 'region')} {_be(regions)} missing in at least one scan")
    if measures:
        parts.append(f"{spelled(measures)} of the maps and matrices {_be(measures)} missing in some scan")
    return (
        listed(parts)
        + "."
        + (" Who is left out of a single contrast stands with its design." if outputs.contrasts() else "")
        + _out_of_analyses(outputs)
    )


def _out_of_analyses(outputs: Outputs) -> str:
    """How many people clinical analyses ask for and lack."""
    rows = outputs.exclusions[outputs.exclusions["stage"].isin(ANALYSES)]
    n = methods.people(rows)
    if not n:
        return ""
    who = f"{capital(spelled(n))} {'person is' if n == 1 else 'people are'}"
    return f" {who} asked for and missing in at least one clinical analysis, and listed with it."


def _be(n: int) -> str:
    return "is" if n == 1 else "are"


def _no_results(outputs: Outputs) -> str:
    if not outputs.config.models and opening.has_analyses(outputs.config):
        return (
            "No group model was configured. What clinical analyses found stands under "
            f"{clinic_section.TITLE}, mean connectivity under data quality."
        )
    if not outputs.config.models:
        return (
            "No group model was configured, so there is nothing to test. Mean connectivity stands "
            "under data quality."
        )
    return f"There are no results of the models {listed(list(outputs.config.models))}."


def _sections(
    outputs: Outputs,
    clinic: Sequence[page.Block],
    other: Sequence[page.Block],
    truths: Sequence[page.Block],
) -> list[page.Section]:
    below = methods.anchors
    made = [
        page.Section("exclusions", "What was left out"),
        page.Section("cohort", "Cohort"),
        page.Section("quality", "Data quality"),
        page.Section("regions", "Regions"),
    ]
    if plan_section.sentences(outputs):
        made.append(page.Section("plan", "Plan"))
    if outputs.contrasts():
        made.append(page.Section("design", "Design", below(outputs, "design")))
    if other:
        below_other = tuple((b.anchor, b.title) for b in other)
        made.append(page.Section("other", confounding_section.TITLE, below_other))
    return [
        *made,
        page.Section("results", "Results", below(outputs, "result")),
        *(
            [page.Section("clinic", clinic_section.TITLE, tuple((b.anchor, b.title) for b in clinic))]
            if clinic
            else []
        ),
        *(
            [page.Section("truth", truth_section.TITLE, tuple((b.anchor, b.title) for b in truths))]
            if truths
            else []
        ),
        page.Section("settings", "Settings"),
        page.Section("methods", "Methods"),
        page.Section("limits", "What this cannot tell you"),
        page.Section("software", "Software"),
    ]


def _software() -> page.Table:
    rows = [(s.name, s.version, s.licence) for s in methods.software()]
    return page.table("What computed these numbers.", ("Program", "Version", "Licence"), rows)
