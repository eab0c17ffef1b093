"""What is written for users says what the program does."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import re
from dataclasses import fields
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest

from conn import cli, paths
from conn.bids import parse
from conn.clinic.coupling import Coupling
from conn.clusters import COLUMNS as CLUSTER_COLUMNS
from conn.cohort import FIRST_COLUMNS, build_cohort, read_clinical
from conn.config import Config, docs, load
from conn.config.checks import check
from conn.config.model import CONTRASTS
from conn.confounds import STRATEGIES
from conn.design import ROW_COLUMNS, compile_model
from conn.errors import ConfigError
from conn.exclusions import Exclusion
from conn.rois import networks, registry, sources
from conn.stages import audit, coverage
from conn.stages.association_table import COLUMNS as ASSOCIATION_COLUMNS
from conn.stages.collect import run_table
from conn.stages.confounding import ADJUSTMENT_COLUMNS, CONFOUNDING_COLUMNS
from conn.stages.reliability import COLUMNS as RELIABILITY_COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.yaml"))
PAGES = [*sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts), ROOT / "README.md"]
PAGES += [ROOT / "config" / "README.md", ROOT / "CONTRIBUTING.md"]
OPEN_DATA = ("ds003007", "ds005917", "ds000208")


def read(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def generator():
    spec = importlib.util.spec_from_file_location(
        "make_config_docs", ROOT / "scripts" / "make_config_docs.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What is generated ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(generator().generated()))
def test_generated_files_are_up_to_date(name):
    assert read(*name.split("/")) == generator().generated()[name], "run scripts/make_config_docs.py"


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    config = load(path)
    check(config, path)
    return config


def test_commented_configuration_holds_the_defaults_once_bids_dir_is_filled_in(tmp_path):
    text = docs.config_yaml().replace("bids_dir:\n", "bids_dir: data\n")
    assert loaded(tmp_path, text) == Config.model_validate_json(
        '{"datasets": {"study": {"bids_dir": "data"}}}'
    )


def test_commented_configuration_says_that_bids_dir_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"datasets\.study\.bids_dir"):
        loaded(tmp_path, docs.config_yaml())


def test_examples_in_the_commented_configuration_are_valid_without_their_hash(tmp_path):
    text = docs.config_yaml().replace("bids_dir:\n", "bids_dir: data\n")
    text = text.replace("baseline: null", "baseline: pre").replace("endpoint: null", "endpoint: post")
    config = loaded(tmp_path, re.sub(r"^( *)#(?! )", r"\1", text, flags=re.MULTILINE))
    assert {model.design for model in config.models.values()} == set(CONTRASTS)
    assert config.clinical.scales and config.clinical.variables and config.rois.custom
    assert config.clinical.response is not None and config.clinical.remission is not None


def keys(node, definitions) -> set[str]:
    """Every key that a configuration may have."""
    if isinstance(node, list):
        return {key for inner in node for key in keys(inner, definitions)}
    if not isinstance(node, dict):
        return set()
    own = set(node.get("properties", {}))
    return own | {key for inner in node.values() for key in keys(inner, definitions)}


def test_every_option_stands_in_the_commented_configuration_and_on_the_reference_page():
    schema = docs.schema()
    known = keys(schema, schema["$defs"])
    assert {"bids_dir", "percent", "confirmatory", "joint_families"} <= known
    commented, page = docs.config_yaml(), docs.reference_md()
    for key in sorted(known):
        assert re.search(rf"^[ #-]*{key}:", commented, re.MULTILINE), key
        assert f"| `{key}` |" in page, key


def test_every_option_has_prose_and_no_page_shows_a_python_type():
    page = docs.reference_md()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert all(len(row[-1].strip(" |")) > 3 for row in rows)
    assert not re.search(r"tuple\[|dict\[|NoneType|Annotated", page)


def test_schema_refuses_what_the_model_refuses():
    schema = json.loads(docs.schema_json())
    assert (
        schema["$schema"].startswith("https://json-schema.org/") and schema["title"] == "conn configuration"
    )
    assert schema["additionalProperties"] is False
    assert schema["properties"]["models"]["additionalProperties"] is False
    assert list(schema) == sorted(schema)


def commands(parser: argparse.ArgumentParser, before: str = ""):
    """Every command and command of a command, by its words."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                yield f"{before}{name}", one
                yield from commands(one, f"{before}{name} ")


def test_every_command_and_argument_is_on_the_page_of_commands():
    page = read("docs", "reference", "commands.md")
    for name, one in commands(cli.parser()):
        section = page.split(f"\n## conn {name}\n")[1].split("\n## ")[0]
        for action in one._actions:
            if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
                for word in action.option_strings or [action.dest.upper()]:
                    assert f"`{word}" in section, (name, word)


@pytest.mark.parametrize(
    ("value", "text"),
    [("007", "'007'"), ("no", "'no'"), ("pre", "pre"), ("24P", "'24P'"), (0.1, "0.1"), (None, "null")],
)
def test_values_that_yaml_would_misread_are_quoted(value, text):
    assert docs.yaml_value(value) == text


# Examples -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_load_and_pass_the_checks(path):
    check(load(path), path)


def test_there_is_an_example_for_every_design_and_open_data_set():
    assert {*CONTRASTS, *OPEN_DATA, "studyforrest"} <= {path.stem for path in EXAMPLES}
    for design in CONTRASTS:
        config = load(ROOT / "config" / "examples" / f"{design}.yaml")
        assert {model.design for model in config.models.values()} == {design}


def yaml_blocks() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        blocks = re.findall(
            r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        found += [(f"{page.relative_to(ROOT)}-{n}", block) for n, block in enumerate(blocks, start=1)]
    return found


@pytest.mark.parametrize("block", [b for _, b in yaml_blocks()], ids=[name for name, _ in yaml_blocks()])
def test_yaml_in_the_documentation_loads_and_passes_the_checks(block, tmp_path):
    trial = "datasets: {trial: {bids_dir: data}}\n"
    loaded(tmp_path, block if re.search("^datasets:", block, re.MULTILINE) else trial + block)


def skeleton_runs(folder: Path, config: Config, name: str) -> pd.DataFrame:
    """A run table as if every functional image of a data set had been analysed."""
    dataset = config.datasets[name]
    label = {value: key for key, values in dataset.time_points.labels.items() for value in values}
    rng = np.random.default_rng(0)
    rows = []
    with gzip.open(folder / "FILES.txt.gz", "rt", encoding="utf-8") as listing:
        for line in listing:
            found = parse(PurePosixPath(line.strip()).name)
            if found is None or found.suffix != "bold" or not found.extension.startswith(".nii"):
                continue
            entities = found.entities
            session = entities.get("ses", "n/a")
            row = dict.fromkeys(run_table([], {}).columns, "n/a")
            row |= {"run": f"r{len(rows)}", "dataset": name, "subject": entities["sub"], "session": session}
            row |= {"time_point": label.get(session, "all"), "frames_kept": "100", "df": "60"}
            row |= {"mean_fd": f"{rng.uniform(0.05, 0.3):.6f}", "included": "true"}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", OPEN_DATA)
def test_examples_of_open_data_fit_the_real_tables(name, shared_data):
    folder = shared_data / "openneuro" / name
    config = load(ROOT / "config" / "examples" / f"{name}.yaml")
    runs = skeleton_runs(folder, config, name)
    points = {name: config.datasets[name].time_points.labels}
    data = {name: read_clinical(folder, config.clinical, sorted(set(runs["subject"])))}
    cohort = build_cohort(config.clinical, data, runs, points).table
    sizes = {}
    for model, settings in config.models.items():
        design = compile_model(model, settings, config.clinical, cohort, runs, config.inference)
        first = design.contrasts[0]
        sizes[model] = tuple(first.row_levels.count(level) for level in first.levels) or first.n
    # The numbers that the comments in the files and the documentation state.
    assert (
        sizes
        == {
            "ds003007": {
                "everybody": 29,
                "therapyByTime": (8, 15),
                "neurofeedbackByTime": (6, 15),
                "improvement": 25,
            },
            "ds005917": {"ketamine": (21, 22), "ketamineInDepression": (12, 12), "severity": 32},
            "ds000208": {
                "placeboResponders": (18, 19),
                "duloxetineResponders": (8, 11),
                "placeboRelief": 37,
                "patients": (56, 20),
                "whomItHelps": (19, 20),
            },
        }[name]
    )


# Pages ----------------------------------------------------------------------------------------------

ENTITIES = {"sub": "X", "ses": "Y"}
MATRICES = (paths.PEARSON, paths.PARTIAL, paths.XDF)
NAMES = [
    *(p.as_posix() for p in (paths.CONFIG, paths.RUNS, paths.EXCLUSIONS, paths.COHORT, paths.METHODS)),
    *(p.as_posix() for p in (paths.REPORT, paths.LOCK, paths.FIGURES, paths.CACHE, paths.LOGS)),
    paths.seed_map(ENTITIES, "R").name.removeprefix("sub-X_ses-Y"),
    paths.timeseries(ENTITIES).name.removeprefix("sub-X_ses-Y"),
    *(paths.relmat(ENTITIES, stat=s).name.removeprefix("sub-X_ses-Y") for s in MATRICES),
    paths.seed_map(ENTITIES, "RUnique").name.removeprefix("sub-X_ses-Y"),
    paths.coverage(ENTITIES).name.removeprefix("sub-X_ses-Y"),
    *(paths.group_map("M", "R", "C", stat).name for stat in ("effect", "t", "p", "pfwe", "g")),
    *(f(m).name for m in "M" for f in (paths.edges, paths.clusters, paths.design_tsv, paths.design_json)),
    *(f("M").name for f in (paths.confounding, paths.adjustment, paths.coupling)),
    *("dataset_description.json", ".bidsignore"),
    *(paths.analysis("mediation", "NAME", end).as_posix() for end in (".tsv", ".json")),
    *(paths.analysis_map("mediation", "NAME", "R", stat).name for stat in ("a", "ta", "p")),
    *("stat-tfce", "prediction/NAME.tsv", "prediction/NAME.json"),
]
EDGE_COLUMNS = [
    *("roi_a", "roi_b", "contrast", "family", "n", "estimate", "se", "df", "stat", "p", "p_fwe", "p_fdr"),
    *("ci_low", "ci_high", "ci_sim_low", "ci_sim_high", "g", "g_type", "g_ci_low", "g_ci_high", "p_holm"),
    "status",
]
COVERAGE_COLUMNS = ["roi", "voxels", "covered", "coverage", "volume_mm3", "tsnr", "flag"]


@pytest.mark.parametrize("name", NAMES)
def test_every_output_is_documented(name):
    assert name in read("docs", "reference", "outputs.md")


@pytest.mark.parametrize(
    ("title", "columns"),
    [
        ("`runs.tsv`", list(run_table([], {}).columns)),
        ("`exclusions.tsv`", [field.name for field in fields(Exclusion)]),
        ("`cohort.tsv`", [*FIRST_COLUMNS, "response", "remission"]),
        ("`model-M_edges.tsv`", EDGE_COLUMNS),
        ("`model-M_clusters.tsv`", [*CLUSTER_COLUMNS, "p_holm", "status"]),
        ("`model-M_design.tsv`", list(ROW_COLUMNS)),
        ("`association/NAME.tsv`", list(ASSOCIATION_COLUMNS)),
        (
            "`reliability/NAME.tsv`",
            [c for c in RELIABILITY_COLUMNS if not c.startswith("half_") or c.count("_") == 1],
        ),
        ("`model-M_confounding.tsv`", list(CONFOUNDING_COLUMNS)),
        ("`model-M_adjustment.tsv`", list(ADJUSTMENT_COLUMNS)),
        ("`model-M_coupling.tsv`", ["kind", "name", "roi_b", *(field.name for field in fields(Coupling))]),
        (
            "`…_seg-rois_stat-coverage.tsv`",
            ["roi", "voxels", "covered", "coverage", "volume_mm3", "tsnr", "flag"],
        ),
    ],
)
def test_every_column_of_a_table_is_documented(title, columns):
    section = read("docs", "reference", "outputs.md").split(f"\n### {title}\n")[1].split("\n### ")[0]
    assert [c for c in columns if f"`{c}`" not in section] == []


def test_every_strategy_is_explained():
    page = read("docs", "explanation", "cleaning.md")
    plain = [name for name in STRATEGIES if not name.endswith("+gsr")]
    assert [name for name in plain if f"| `{name}` |" not in page] == []
    for name in plain:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {len(STRATEGIES[name].columns)} |" in row, name


def test_every_design_and_contrast_is_explained():
    page = read("docs", "howto", "designs.md")
    for design, contrasts in CONTRASTS.items():
        section = page.split(f"\n## {design}\n")[1].split("\n## ")[0]
        assert [c for c in contrasts if f"`{c}`" not in section] == []


def test_every_region_and_network_is_on_the_page_of_regions():
    page = read("docs", "reference", "regions.md")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert listed == list(dict.fromkeys(registry.table()["name"]))
    assert re.findall(r"^### `(\w+)`", page, re.MULTILINE) == list(networks.names())


@pytest.mark.parametrize(
    ("title", "columns"),
    [
        ("rois.tsv", audit.ROIS),
        ("roi_change.tsv", audit.CHANGE),
        ("roi_pairs.tsv", audit.PAIRS),
        ("roi_labels.tsv", audit.LABELS),
        ("…_seg-rois_stat-coverage.tsv", coverage.COLUMNS),
    ],
)
def test_every_column_about_regions_is_explained_in_order(title, columns):
    section = read("docs", "reference", "outputs.md").split(f"\n### `{title}`\n")[1].split("\n## ")[0]
    section = section.split("\n### ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", " ".join(cells))) == columns


def test_every_fetcher_and_kind_of_region_is_on_the_pages():
    atlas = read("docs", "howto", "atlas.md")
    assert [name for name in sources.NILEARN if f"`{name}`" not in atlas] == []
    own = read("docs", "howto", "own-roi.md")
    kinds = ("center", "union", "mask", "probability", "peak")
    assert [kind for kind in kinds if f"{kind}:" not in own] == []


def test_links_between_pages_lead_to_pages():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_no_page_holds_a_path_of_some_machine():
    for page in [*PAGES, *EXAMPLES, ROOT / "CHANGELOG.md", ROOT / "CITATION.cff"]:
        assert not re.search(r"/(work|home|tmp|Users)/", page.read_text(encoding="utf-8")), page


def test_picture_of_the_report_is_small():
    picture = DOCS / "images" / "report.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.stat().st_size < 400_000
