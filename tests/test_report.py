"""The report, built from an output folder that is written here with the tables of the contract."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import conn
from conn import paths
from conn.clusters import COLUMNS
from conn.config.load import dump
from conn.config.model import Config
from conn.design import DesignContrast, Family, compile_model, save_design
from conn.errors import InputError
from conn.files import write_json, write_text
from conn.lock import Lock, Plan, next_entry, record
from conn.report import build_report
from conn.report.contract import RUN_COLUMNS
from conn.report.regions import edge
from conn.tables import read_tsv, write_tsv

SPACE = "MNI152NLin2009cAsym"
ROIS = (
    "sgACCL", "sgACCR", "pgACCL", "dACCR", "amygdalaLBL", "amygdalaLBR", "PAG", "insulaL", "insulaR",
    "vmPFC", "RVM",
)  # fmt: skip
NOT_ASKED_FOR = (
    "df_num", "p_tail", "g_av", "g_av_ci_low", "g_av_ci_high", "slope_difference", "p_slope_difference",
    "p_closed", "p_equivalence", "score", "p_score",
)  # fmt: skip
"""Columns of the edge table that are n/a here."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class World:
    """How the written output folder looks."""

    n: int = 12
    rois: tuple[str, ...] = ROIS
    seeds: tuple[str, ...] = ("sgACCL", "PAG")
    models: tuple[str, ...] = ("change", "arms", "slope")
    shape: tuple[int, int, int] = (22, 27, 23)
    voxel: float = 8.0
    maps: bool = True
    empty_maps: bool = False
    included: bool = True
    label: str = "{:02d}"
    permutations: int = 199
    report: dict[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] = ("ketamine", "placebo")
    points: tuple[str, ...] = ("pre", "post")
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Models beside those of `MODELS`."""
    categories: tuple[str, ...] = ()
    """More categories of people, with the levels `first` and `second`."""
    motion: bool = False
    """Motion differs between scans."""
    joint: bool = False
    scale: str = "t"
    strata: tuple[str, ...] = ()
    lacking: str | None = None
    """A seed that the first person does not have."""


MODELS: dict[str, dict[str, Any]] = {
    "change": {
        "design": "paired",
        "before": "pre",
        "after": "post",
        "contrasts": {"change": {"confirmatory": True}},
    },
    "arms": {
        "design": "group_by_time",
        "before": "pre",
        "after": "post",
        "group": "arm",
        "levels": [],
        "contrasts": {"interaction": {}, "time": {}},
    },
    "slope": {"design": "regression", "before": "pre", "after": "post", "predictor": "MADRS.percent_change"},
    "baseline": {"design": "two_sample", "at": "pre", "group": "arm", "levels": []},
}


def configuration(world: World) -> Config:
    models = {name: dict((MODELS | world.settings)[name]) for name in world.models}
    for model in models.values():
        model["strata"] = list(world.strata)
        if model.get("levels") == []:
            model["levels"] = list(world.arms)
    return Config.model_validate_json(
        json.dumps(
            {
                "seed": 3,
                "datasets": {"trial": {"bids_dir": "/home/somebody/secret place/bids", "subjects": []}},
                "clinical": {
                    "baseline": "pre",
                    "endpoint": "post",
                    "scales": {"MADRS": {"columns": {"pre": "MADRS_pre", "post": "MADRS_post"}}},
                    "response": {"scale": "MADRS", "percent": 50},
                    "variables": {
                        "arm": {"column": "arm", "kind": "category"},
                        "age": {"column": "age"},
                        "sex": {"column": "sex", "kind": "category"},
                        **{name: {"column": name, "kind": "category"} for name in world.categories},
                    },
                },
                "models": models,
                "inference": {"permutations": world.permutations, "joint_families": world.joint},
                "report": world.report,
            }
        )
    )


class Maker:
    """Writes the output folder of a small trial."""

    def __init__(self, out: Path, world: World) -> None:
        self.out, self.world = out, world
        self.random = np.random.default_rng(5)
        self.subjects = [world.label.format(i + 1) for i in range(world.n)]
        self.arm = [world.arms[i % len(world.arms)] for i in range(world.n)]
        upper = np.triu_indices(len(world.rois), 1)
        self.pairs = [(world.rois[a], world.rois[b]) for a, b in zip(*upper, strict=True)]
        base = 0.25 + 0.25 * self.random.standard_normal(len(self.pairs))
        person = self.random.standard_normal((world.n, len(self.pairs))) * 0.12
        noise = self.random.standard_normal((len(world.points), world.n, len(self.pairs))) * 0.10
        self.z = base + person + noise
        ketamine = np.array([a == world.arms[0] for a in self.arm])
        self.z[1, :, 1] += 0.30
        self.z[1, ketamine, 4] -= 0.45
        self.madrs = np.round(
            np.stack([30 + 3 * noise[0, :, 2] * 10, 18 - 9 * ketamine + noise[1, :, 2] * 40])
        )

    def key(self, i: int, t: int) -> str:
        return f"sub{self.subjects[i]}ses{self.world.points[t]}taskrestx{i * 2 + t:06x}"

    def source(self, i: int, t: int) -> dict[str, str]:
        return {"sub": self.subjects[i], "ses": self.world.points[t], "task": "rest", "space": SPACE}

    def write(self) -> None:
        self.tables()
        if self.world.included:
            for i in range(self.world.n):
                for t in range(len(self.world.points)):
                    self.run(i, t)
            for name in self.world.models:
                self.model(name)

    def tables(self) -> None:
        w, runs, cohort = self.world, [], []
        lost: list[dict[str, Any]] = []
        for i, subject in enumerate(self.subjects):
            for t, point in enumerate(w.points):
                kept, last = w.included, min(t, 1)
                df = int(44 + self.random.integers(-9, 9))
                runs.append(
                    {
                        "run": self.key(i, t), "dataset": "trial", "subject": subject, "session": point,
                        "time_point": point, "task": "rest", "space": SPACE,
                        "path": f"sub-{subject}/ses-{point}/func/sub-{subject}_ses-{point}_task-rest"
                        f"_space-{SPACE}_desc-preproc_bold.nii.gz",
                        "volumes": 150, "tr": 2.0, "frames_kept": 150, "seconds_kept": 300.0 - 4 * t - i,
                        "df": df if kept else 12, "mean_fd": float(0.1 + 0.05 * self.random.random()),
                        "included": kept, "reason": None if kept else "too_few_df",
                    }
                )  # fmt: skip
                change = self.madrs[last, i] - self.madrs[0, i]
                cohort.append(
                    {
                        "dataset": "trial", "subject": subject, "time_point": point,
                        "runs": self.key(i, t) if kept else None, "n_runs": int(kept), "df": df,
                        "mean_fd": 0.12 + w.motion * (((7 * i + 3 * t) % 11) / 100 + 0.02 * t),
                        **dict.fromkeys(w.categories, ("first", "second")[i // 2 % 2]),
                        "arm": self.arm[i], "age": 30 + i, "sex": "fm"[i // 2 % 2],
                        "MADRS": self.madrs[last, i],
                        "MADRS_change": change, "MADRS_percent_change": 100 * change / self.madrs[0, i],
                        "response": ("non" if self.madrs[1, i] > self.madrs[0, i] / 2 else "") + "responder",
                    }
                )  # fmt: skip
                where = {"dataset": "trial", "subject": subject, "session": point, "run": self.key(i, t)}
                if not kept:
                    found = {
                        "stage": "project",
                        "reason": "too_few_df",
                        "value": "12",
                        "limit": "denoise.min_df 25",
                    }
                    lost.append(where | found)
                elif "RVM" in w.rois:
                    found = {
                        "stage": "measure",
                        "reason": "low_coverage",
                        "value": "0",
                        "limit": "0.5",
                        "roi": "RVM",
                    }
                    lost.append(where | found)
        if w.lacking is not None:
            lost.append(
                {"dataset": "trial", "subject": self.subjects[0], "session": "pre", "run": self.key(0, 0),
                 "roi": w.lacking, "stage": "measure", "reason": "low_coverage", "value": "0 of 23 voxels",
                 "limit": "rois.min_coverage 0.5"}
            )  # fmt: skip
        lost.append(
            {
                "dataset": "trial", "subject": "<script>alert(1)</script>", "stage": "index",
                "reason": "bad_input",
                "value": "/home/somebody/secret place/bids/sub-01/func/a.nii.gz: truncated", "limit": None,
            }
        )  # fmt: skip
        columns = ["dataset", "subject", "session", "run", "roi", "stage", "reason", "value", "limit"]
        config = dump(configuration(w), self.out, self.out.resolve())
        write_text(self.out / paths.CONFIG, config)
        write_json(self.out / "dataset_description.json", {"DatasetLinks": {"trial": "derivatives"}})
        write_tsv(self.out / paths.RUNS, pd.DataFrame(runs).reindex(columns=RUN_COLUMNS).astype(object))
        write_tsv(self.out / paths.COHORT, pd.DataFrame(cohort))
        write_tsv(self.out / paths.EXCLUSIONS, pd.DataFrame(lost).reindex(columns=columns).astype(object))

    def run(self, i: int, t: int) -> None:
        w = self.world
        r = pd.DataFrame(1.0, index=pd.Index(w.rois), columns=pd.Index(w.rois))
        for (a, b), z in zip(self.pairs, self.z[t, i], strict=True):
            value = float("nan") if "RVM" in (a, b) else float(np.tanh(z))
            r.loc[a, b] = r.loc[b, a] = value
        r = r.reset_index(names="roi")
        write_tsv(self.out / paths.relmat(self.source(i, t)), r)
        share = [0.0 if roi == "RVM" else 1 - 0.3 * self.random.random() for roi in w.rois]
        write_tsv(
            self.out / paths.coverage(self.source(i, t)),
            pd.DataFrame({"roi": w.rois, "voxels": 20, "coverage": share, "flag": None}),
        )
        if w.maps and not w.models:
            for seed in w.seeds:
                self.image(paths.seed_map(self.source(i, t), seed), self.field() * 0.3)

    def field(self) -> np.ndarray:
        """A smooth random map inside an ellipsoid, NaN outside."""
        from scipy.ndimage import gaussian_filter

        data = gaussian_filter(self.random.standard_normal(self.world.shape), 12 / self.world.voxel)
        data /= data.std()
        grid = np.stack(np.meshgrid(*(np.linspace(-1.2, 1.2, s) for s in self.world.shape), indexing="ij"))
        data[(grid**2).sum(axis=0) > 1] = np.nan
        return data

    def image(self, path: Path, data: np.ndarray) -> None:
        affine = np.diag([self.world.voxel] * 3 + [1.0])
        affine[:3, 3] = [-88, -125, -72]
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(data.astype(np.float32), affine).to_filename(target)

    def model(self, name: str) -> None:
        """Design, edges, maps and families as stages design and correct write them."""
        w, config = self.world, configuration(self.world)
        cohort, runs = read_tsv(self.out / paths.COHORT), read_tsv(self.out / paths.RUNS)
        compiled = compile_model(name, config.models[name], config.clinical, cohort, runs, config.inference)
        gone = ("trial", "<script>alert(1)</script>", "no scan at post")
        contrasts = tuple(replace(c, dropped=(*c.dropped, gone)) for c in compiled.contrasts)
        made = replace(compiled, contrasts=contrasts, notes=("a note on the design",))
        save_design(self.out / paths.model_folder(name), made)
        tables, clusters, families = [], [], []
        for c in contrasts:
            tables.append(self.edges(c))
            found, voxels = self.maps(name, c.name) if w.maps and not c.sensitivity else ([], 0)
            clusters += found
            sizes = {"edges": len(tables[-1]), "maps": voxels}
            families += [self.family(c, f, sizes) for f in made.families if f.contrast == c.name]
        write_tsv(self.out / paths.edges(name), pd.concat(tables, ignore_index=True))
        write_json(self.out / paths.families(name), families)
        if w.maps:
            columns = pd.Index([*COLUMNS, "p_holm"])
            write_tsv(self.out / paths.clusters(name), pd.DataFrame(clusters, columns=columns))

    def complete(self, contrast: DesignContrast) -> bool:
        """All sign flips were made; rearrangements of labels are never all made here."""
        return contrast.exchange == "flips" and 2**contrast.n <= self.world.permutations

    def family(self, contrast: DesignContrast, family: Family, sizes: dict[str, int]) -> dict[str, Any]:
        complete = self.complete(contrast)
        return {
            "name": family.name, "contrast": contrast.name, "tests": sum(sizes[k] for k in family.kinds),
            "permutations": 2**contrast.n if complete else self.world.permutations + 1,
            "complete": complete, "exact": not contrast.has_nuisance, "smallest_p": 0.005,
            "critical": 4.8, "scale": self.world.scale, "statistic": self.world.scale, "alpha": 0.05,
            "skewness": 0.3,
        }  # fmt: skip

    def value(self, run: str) -> np.ndarray:
        """Fisher z of all pairs in a run."""
        at = [(t, i) for t in range(len(self.z)) for i in range(self.world.n) if self.key(i, t) == run]
        return np.asarray(self.z[at[0]])

    def edges(self, contrast: DesignContrast) -> pd.DataFrame:
        keep = [j for j, pair in enumerate(self.pairs) if "RVM" not in pair]
        rows = [sum(w * self.value(run) for run, w in weights.items()) for weights in contrast.run_weights]
        Y, X, c, n = np.stack(rows)[:, keep], contrast.matrix, contrast.contrast, contrast.n
        estimate, se, t = self.fit(Y, X, c)
        df = n - X.shape[1]
        maxima = [np.abs(t).max()]
        for _ in range(self.world.permutations):
            order = self.random.permutation(n)
            Z = Y * self.random.choice([-1, 1], (n, 1)) if contrast.exchange == "flips" else Y[order]
            maxima.append(np.abs(self.fit(Z, X, c)[2]).max())
        p_fwe = np.array([(np.array(maxima) >= abs(v) - 1e-9).mean() for v in t])
        critical, single = np.quantile(maxima, 0.95), stats.t.ppf(0.975, df)
        p = 2 * stats.t.sf(np.abs(t), df)
        family = f"{contrast.name}.{'all' if self.world.joint else 'edges'}"
        return pd.DataFrame(
            {
                "roi_a": [self.pairs[j][0] for j in keep], "roi_b": [self.pairs[j][1] for j in keep],
                "contrast": contrast.name, "family": family, "n": n, "estimate": estimate, "se": se,
                "df": float(df), "stat": t, "p": p, "p_fwe": p_fwe, "p_fdr": stats.false_discovery_control(p),
                "ci_low": estimate - single * se, "ci_high": estimate + single * se,
                "ci_sim_low": estimate - critical * se, "ci_sim_high": estimate + critical * se,
                "g": t / np.sqrt(n), "g_type": "g_z", "g_ci_low": t / np.sqrt(n) - 0.4,
                "g_ci_high": t / np.sqrt(n) + 0.4, "p_holm": np.minimum(1, 2 * p_fwe),
                **dict.fromkeys(NOT_ASKED_FOR, np.nan),
            }
        )  # fmt: skip

    @staticmethod
    def fit(Y: np.ndarray, X: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        beta, *_ = np.linalg.lstsq(X, Y, rcond=None)
        variance = ((Y - X @ beta) ** 2).sum(axis=0) / (len(Y) - X.shape[1])
        se = np.sqrt(variance * (c @ np.linalg.inv(X.T @ X) @ c))
        return c @ beta, se, c @ beta / se

    def maps(self, model: str, label: str) -> tuple[list[dict[str, Any]], int]:
        rows, voxels = [], 0
        for number, seed in enumerate(self.world.seeds):
            t = self.field() * 1.3
            if self.world.empty_maps or seed == self.world.lacking:
                t[:] = np.nan
            elif number == 0 and label in {"change", "interaction"}:
                grid = np.stack(np.meshgrid(*map(np.arange, self.world.shape), indexing="ij"))
                centre = np.array([(36 + 88), (18 + 125), (2 + 72)])[:, None, None, None] / self.world.voxel
                t += 6.5 * np.exp(-((grid - centre) ** 2).sum(axis=0) * self.world.voxel**2 / (2 * 10**2))
                rows.append(
                    {
                        "seed": seed, "contrast": label,
                        "family": f"{label}.{'all' if self.world.joint else 'maps'}", "cluster": 1,
                        "peak_x": 36, "peak_y": 18, "peak_z": 2, "voxels": 31, "volume_mm3": 15872,
                        "peak_stat": 6.9,
                        "p_fwe": 0.005, "label": "3 mm from insulaR", "p_holm": 0.01,
                    }
                )  # fmt: skip
            p = np.where(np.isfinite(t), np.where(np.abs(t) > 4.8, 0.01, 0.6), np.nan)
            self.image(paths.group_map(model, seed, label, "t"), t)
            self.image(paths.group_map(model, seed, label, "pfwe"), p)
            voxels += int(np.isfinite(p).sum())
        return rows, voxels


def make(out: Path, world: World) -> Config:
    Maker(out, world).write()
    return configuration(world)


# -------------------------------------------------------------------------------------------- reading a page


class Page(HTMLParser):
    """Tags, ids, images and tables of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.bold: list[list[bool]] = []
        self.headings: list[str] = []
        self._cell: list[str] | None = None
        self._heading: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
            self.bold.append([])
        if tag == "tr":
            self.tables[-1].append([])
            self.bold[-1].append(dict(attrs).get("class") == "strong")
        if tag in {"td", "th"}:
            self._cell = []
        if tag in {"h1", "h2"}:
            self._heading = []

    def handle_data(self, data: str) -> None:
        for part in (self._cell, self._heading):
            if part is not None:
                part.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"} and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell))
            self._cell = None
        if tag in {"h1", "h2"} and self._heading is not None:
            self.headings.append("".join(self._heading))
            self._heading = None

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]

    def table(self, *heads: str) -> tuple[list[list[str]], list[bool]]:
        """Rows below a header that begins with these titles, and which are bold."""
        for rows, bold in zip(self.tables, self.bold, strict=True):
            if tuple(rows[0][: len(heads)]) == heads:
                return rows[1:], bold[1:]
        raise AssertionError(f"no table with {heads}")


def read(out: Path) -> tuple[str, Page]:
    html = (out / paths.REPORT).read_text(encoding="utf-8")
    return html, Page(html)


def without_images(html: str) -> str:
    return re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", html)


def as_number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace("<", ""))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated trial with three models, its report built."""
    out = tmp_path_factory.mktemp("trial")
    world = World(report={"truth": "truth.json"})
    config = make(out, world)
    planted = {"roi_a": "pgACCL", "roi_b": "sgACCL", "contrast": "change", "model": "change", "delta_z": 0.3}
    write_json(out / "truth.json", {"description": "Planted by hand.", "edges": [planted]})
    build_report(out, config)
    return out


@pytest.fixture(scope="module")
def first_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study without models, its report built."""
    out = tmp_path_factory.mktemp("first")
    build_report(out, make(out, World(n=3, models=())))
    return out


# -------------------------------------------------------------------------------------------------- the page


def test_sections_stand_in_the_order_that_a_reviewer_reads(trial: Path) -> None:
    _, page = read(trial)
    assert page.headings[1:] == [
        "What was left out", "Cohort", "Data quality", "Regions", "Plan", "Design", "Results", "Settings",
        "Methods", "What this cannot tell you", "Software",
    ]  # fmt: skip


def test_the_page_loads_nothing_and_runs_nothing(trial: Path) -> None:
    html, page = read(trial)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    sources = [
        a[key] or "" for _, a in page.tags for key in ("src", "srcset", "poster", "background") if key in a
    ]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not [key for _, a in page.tags for key in a if key.startswith("on")]
    assert "url(" not in html and "@import" not in html


def test_every_link_of_the_contents_leads_somewhere(trial: Path) -> None:
    _, page = read(trial)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    targets = [
        (a["href"] or "")[1:] for tag, a in page.tags if tag == "a" and (a["href"] or "").startswith("#")
    ]
    assert targets and set(targets) <= set(ids)
    assert len(ids) == len(set(ids))


def test_every_figure_is_a_file_twice_and_stands_in_the_page(trial: Path) -> None:
    html, page = read(trial)
    svg = sorted(p.stem for p in (trial / paths.FIGURES).glob("*.svg"))
    png = sorted(p.stem for p in (trial / paths.FIGURES).glob("*.png"))
    assert svg == png and len(svg) == len(page.images()) > 15
    for name in svg:
        files = [(trial / paths.FIGURES / f"{name}.{suffix}").read_bytes() for suffix in ("svg", "png")]
        assert files[0].lstrip().startswith(b"<?xml") and files[1].startswith(b"\x89PNG")
        assert any(base64.b64encode(data).decode() in html for data in files), name


def test_every_image_says_what_it_shows(trial: Path) -> None:
    _, page = read(trial)
    assert all(len(image["alt"] or "") > 30 for image in page.images())


def test_the_files_named_in_the_answer_are_the_files_written(tmp_path: Path) -> None:
    made = build_report(tmp_path, make(tmp_path, World(n=3, models=(), maps=False)))
    assert made.report.is_file() and made.methods.is_file()
    assert sorted(made.figures) == sorted((tmp_path / paths.FIGURES).iterdir())


# ----------------------------------------------------------------------------------------------- the numbers


def test_numbers_of_the_edge_table_are_those_of_the_file(trial: Path) -> None:
    _, page = read(trial)
    rows, _ = page.table("Edge", "n", "Estimate")
    table = read_tsv(trial / paths.edges("change")).astype({"p_fwe": float, "estimate": float, "p": float})
    table["name"] = [edge(a, b) for a, b in zip(table["roi_a"], table["roi_b"], strict=True)]
    table = table.set_index("name")
    assert len(rows) == 12
    for cells in rows:
        row = table.loc[cells[0]]
        digits = len(cells[2].split(".")[1])
        assert as_number(cells[2]) == pytest.approx(row["estimate"], abs=0.5001 * 10**-digits)
        low, high = cells[3].split(" to ")
        assert as_number(low) == pytest.approx(float(row["ci_low"]), abs=0.5001 * 10**-digits)
        assert as_number(high) == pytest.approx(float(row["ci_high"]), abs=0.5001 * 10**-digits)
        for cell, name in zip(cells[7:], ("p", "p_fwe", "p_fdr", "p_holm"), strict=True):
            value = float(row[name])
            assert (
                value < 0.001
                if cell.startswith("<")
                else as_number(cell) == pytest.approx(value, abs=5.01e-4)
            )
    shown = [float(str(table.loc[cells[0], "p_fwe"])) for cells in rows]
    assert shown == sorted(shown) and shown[-1] <= table["p_fwe"].nsmallest(12).max()


def test_edges_are_bold_exactly_when_significant(trial: Path) -> None:
    _, page = read(trial)
    rows, bold = page.table("Edge", "n", "Estimate")
    table = read_tsv(trial / paths.edges("change"))
    hits = {edge(r["roi_a"], r["roi_b"]) for r in table.to_dict("records") if float(r["p_fwe"]) <= 0.05}
    assert hits
    assert {cells[0] for cells, strong in zip(rows, bold, strict=True) if strong} == hits


def test_the_summary_gives_estimate_interval_and_p(trial: Path) -> None:
    html, _ = read(trial)
    summary = html[html.index('id="summary"') : html.index("<nav")]
    assert re.search(
        r"sgACCL – pgACCL \(estimate 0\.\d{3}, 95\xa0% CI 0\.\d{3} to 0\.\d{3}; p_fwe\xa0=\xa00\.00\d+",
        summary,
    )
    assert "mean change of connectivity, post minus pre; n = 12" in summary.lower()
    assert summary.index(">change<") < summary.index(">arms: interaction<")


@pytest.mark.truth
def test_truth_stands_beside_the_estimate_and_simulation_is_said_loudly(trial: Path) -> None:
    html, page = read(trial)
    assert html.index("SIMULATED DATA") < html.index('id="summary"')
    rows, _ = page.table("Model: contrast", "Edge", "Planted")
    table = read_tsv(trial / paths.edges("change"))
    row = table[(table["roi_a"] == "sgACCL") & (table["roi_b"] == "pgACCL")].iloc[0]
    (cells,) = rows
    assert cells[:3] == ["change", "pgACCL – sgACCL", "0.300"]
    assert as_number(cells[3]) == pytest.approx(float(row["estimate"]), abs=5e-4)
    holds = float(row["ci_low"]) <= 0.3 <= float(row["ci_high"])
    assert cells[5] == ("yes" if holds else "no")


@pytest.mark.truth
def test_edges_without_a_planted_effect_are_counted_as_such(trial: Path) -> None:
    html, _ = read(trial)
    table = read_tsv(trial / paths.edges("change"))
    table = table[(table["roi_a"] != "sgACCL") | (table["roi_b"] != "pgACCL")]
    hits = int((table["p_fwe"].astype(float) <= 0.05).sum())
    assert f"change: {hits} of {len(table)} edges without a planted effect" in html


def test_a_truth_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=3, models=(), maps=False, report={"truth": "gone.json"})))
    html, _ = read(tmp_path)
    assert "SIMULATED DATA" in html and "gone.json was not found" in html


def test_real_data_are_not_called_simulated(first_level: Path) -> None:
    html, _ = read(first_level)
    assert "simulated" not in html[html.index("<body>") :].lower()


def test_exclusions_are_counted_by_reason_before_they_are_listed(trial: Path) -> None:
    html, page = read(trial)
    rows, _ = page.table("Reason", "Stage")
    assert ["Region covered too little by the image", "measure", "region", "24", "12", "24", "RVM"] in rows
    assert html.index("by reason") < html.index("Every exclusion, row by row")


def test_the_cohort_table_counts_people_not_scans(trial: Path) -> None:
    _, page = read(trial)
    rows, _ = page.table("", "Everybody (n = 12)", "ketamine (n = 6)", "placebo (n = 6)")
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["People"] == ["12", "6", "6"]
    assert by_name["Age"][0] == "35.5 ± 3.6"
    responders = read_tsv(trial / paths.COHORT).query("time_point == 'pre' and response == 'responder'")
    assert by_name["Response: responder"][0] == str(len(responders))


def test_the_design_names_exchange_columns_and_who_is_missing(trial: Path) -> None:
    html, _ = read(trial)
    design = html[html.index('id="design"') : html.index('id="results"')]
    assert "Sign flips, one sign per subject" in design
    assert "Intercept, MADRS.percent change" in design or "intercept, MADRS.percent change" in design
    assert "no scan at post" in design
    assert "interaction.edges (45 tests)" in design


def test_methods_are_filled_from_what_ran(trial: Path) -> None:
    text = (trial / paths.METHODS).read_text(encoding="utf-8")
    for part in ("24 runs of 12 people", "24 motion terms", "doi:10.1371/journal.pcbi.1011942",
                 "doi:10.1016/j.neuroimage.2014.01.060", "nilearn 0.14", "smallest attainable p",
                 "199 random",
                 "Freedman-Lane"):  # fmt: skip
        assert part in text, part
    runs = read_tsv(trial / paths.RUNS)["df"].astype(float)
    assert f"median {runs.median():.0f}, range {runs.min():.0f} to {runs.max():.0f}" in text
    assert "\n  - interaction (exploratory)" in text


def test_methods_name_what_made_the_derivatives(tmp_path: Path) -> None:
    config = make(tmp_path, World(n=3, models=(), maps=False))
    folder = tmp_path / "elsewhere" / "fmriprep"
    made_by = {"GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.1"}]}
    write_json(folder / "dataset_description.json", made_by)
    write_json(tmp_path / "dataset_description.json", {"DatasetLinks": {"trial": "elsewhere/fmriprep"}})
    build_report(tmp_path, config)
    text = (tmp_path / paths.METHODS).read_text(encoding="utf-8")
    assert "fMRIPrep 23.2.1" in text and "10.1038/s41592-018-0235-4" in text


# ------------------------------------------------------------------------------------- names, paths, privacy


def test_names_from_participants_show_as_text(tmp_path: Path) -> None:
    world = World(
        n=6, models=("baseline",), maps=False, arms=("<img src=x onerror=alert(2)>", "$\\frac{a}{$")
    )
    build_report(tmp_path, make(tmp_path, world))
    html, page = read(tmp_path)
    assert "&lt;script&gt;alert(1)" in html and "&lt;img src=x" in html
    assert "script" not in {tag for tag, _ in page.tags}
    assert all((image["src"] or "").startswith("data:") for image in page.images())
    methods = (tmp_path / paths.METHODS).read_text(encoding="utf-8")
    assert "<img" not in methods
    for path in (tmp_path / paths.FIGURES).glob("*.svg"):
        assert "<img" not in path.read_text(encoding="utf-8")


def test_no_absolute_path_is_shown(trial: Path) -> None:
    html, _ = read(trial)
    text = without_images(html) + (trial / paths.METHODS).read_text(encoding="utf-8")
    for path in ("/home/", "secret place", str(trial), str(trial.parent)):
        assert path not in text, path
    assert "…/bids" in text or "bids" in text


def test_anonymise_replaces_labels_everywhere(tmp_path: Path) -> None:
    world = World(n=6, models=("change",), label="PT{:03d}K", report={"anonymise": True})
    config = make(tmp_path, world)
    build_report(tmp_path, config)
    html, _ = read(tmp_path)
    texts = [without_images(html), (tmp_path / paths.METHODS).read_text(encoding="utf-8")]
    texts += [p.read_text(encoding="utf-8") for p in (tmp_path / paths.FIGURES).glob("*.svg")]
    texts += [p.name for p in (tmp_path / paths.FIGURES).iterdir()]
    assert not [t for t in texts if re.search(r"PT\d{3}K", t, re.IGNORECASE)]
    assert "P01" in html and "P06" in html
    assert "<!-- P01 pre -->" in (tmp_path / paths.FIGURES / "quality_coverage.svg").read_text(
        encoding="utf-8"
    )


def test_pseudonyms_do_not_follow_the_order_of_labels(tmp_path: Path) -> None:
    from conn.report.people import make_names

    people = [("trial", f"{i:02d}") for i in range(1, 31)]
    names = make_names(people, True, seed=3)
    shown = [names.person(*p) for p in people]
    assert sorted(shown) == [f"P{i:02d}" for i in range(1, 31)]
    assert shown != sorted(shown)
    assert names.text("sub-07/func/sub-07_task-rest: damaged; sub07sesprex3fa9c1") == (
        f"{shown[6]}/func/{shown[6]}_task-rest: damaged; {shown[6]}"
    )
    assert names.text("0.07 of 07 voxels") == "0.07 of 07 voxels"


def test_without_anonymise_people_keep_their_labels(trial: Path) -> None:
    html, _ = read(trial)
    assert "sub-07 pre" in html


# ----------------------------------------------------------------------------------------------- odd studies


def test_a_study_without_models_shows_mean_maps_and_matrix(first_level: Path) -> None:
    html, _ = read(first_level)
    names = {p.stem for p in (first_level / paths.FIGURES).glob("*.svg")}
    regions = {name for name in names if name.startswith("regions_")}
    assert regions and not [name for name in regions if "change" in name], "one time point changes nothing"
    assert names - regions == {"quality_runs", "quality_coverage", "mean_matrix", "mean_seedmaps_1"}
    assert "nothing is tested" in html and 'id="design"' not in html


def test_a_study_of_edges_only_has_no_maps(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=6, models=("baseline",), maps=False)))
    names = {p.stem for p in (tmp_path / paths.FIGURES).glob("*.svg")}
    assert "model-baseline_contrast-difference_people" in names
    assert not [n for n in names if "maps" in n]
    html, _ = read(tmp_path)
    assert "smallest attainable p is 0.10: this test cannot reach 0.05" in html
    assert "Voxel" not in html[html.index('id="results"') : html.index('id="settings"')]


def test_a_study_in_which_everything_is_excluded_says_so(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=3, included=False)))
    html, page = read(tmp_path)
    assert "None of them could be analysed" in html
    rows, _ = page.table("Reason", "Stage")
    assert ["Too few degrees of freedom after cleaning", "project", "scan", "6", "3", "6", ""] in rows
    assert "There are no results of the models change, arms and slope." in html


def test_maps_without_a_valid_voxel_are_drawn_as_such(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=6, models=("change",), empty_maps=True)))
    svg = (tmp_path / paths.FIGURES / "model-change_contrast-change_maps_1.svg").read_text(encoding="utf-8")
    assert svg.count("no valid voxel") == 2
    html, _ = read(tmp_path)
    assert "There is no map of sgACCL (no valid voxel) and PAG (no valid voxel)" in html
    assert "No voxel" not in html


def test_nothing_is_written_when_the_run_table_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"runs\.tsv: the table is not there"):
        build_report(tmp_path, configuration(World()))
    assert not list(tmp_path.iterdir())


def test_figures_of_an_earlier_report_go(first_level: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("again")
    shutil.copytree(first_level, out, dirs_exist_ok=True)
    stale = out / paths.FIGURES / "model-old_people.svg"
    stale.write_text("<svg/>")
    build_report(out, configuration(World(n=3, models=())))
    assert not stale.exists()
    for path in (paths.REPORT, paths.METHODS, paths.FIGURES / "mean_seedmaps_1.png"):
        assert (out / path).read_bytes() == (first_level / path).read_bytes(), "two builds differ"


# ------------------------------------------------------------------------------- what was tested, and how


def words_of(out: Path) -> str:
    """The text of the page without tags, one blank between words."""
    html, _ = read(out)
    text = unescape(re.sub(r"<[^>]+>", " ", without_images(html)))
    return re.sub(r"[ \n]+", " ", text)


def test_captions_of_a_joint_family_give_its_size_and_scale(tmp_path: Path) -> None:
    world = World(n=6, models=("arms",), joint=True, scale="z", lacking="PAG", strata=("sex",))
    build_report(tmp_path, make(tmp_path, world))
    text = words_of(tmp_path)
    tests = json.loads((tmp_path / paths.families("arms")).read_text())[0]["tests"]
    over = f"largest |z| over {tests:,} tests: edges, and voxels of the maps of 1 seed"
    assert text.count(over) >= 4, "edges and maps of two contrasts"
    assert "Maps of t" in text and "Maps of z" not in text, "the files hold t, p_fwe comes from z"
    assert f"interaction.all ({tests:,} tests)" in text


def test_captions_of_separate_families_count_edges_and_voxels(trial: Path) -> None:
    text = words_of(trial)
    sizes = {f["name"]: f["tests"] for f in json.loads((trial / paths.families("change")).read_text())}
    assert f"largest |t| over {sizes['change.edges']} edges (" in text
    assert f"largest |t| over {sizes['change.maps']:,} voxels of the maps of 2 seeds (" in text


def test_seeds_without_a_map_are_named_with_who_lacks_them(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=6, models=("slope",), lacking="PAG")))
    text = words_of(tmp_path)
    assert "No voxel in the maps of 1 seed reaches" in text
    assert "There is no map of PAG (missing in sub-01)" in text
    svg = (tmp_path / paths.FIGURES / "model-slope_contrast-slope_maps_1.svg").read_text(encoding="utf-8")
    assert "no valid voxel" not in svg


def test_methods_quote_the_exchange_of_each_contrast(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=6, models=("change", "arms"), maps=False, strata=("sex",))))
    text = (tmp_path / paths.METHODS).read_text(encoding="utf-8")
    change, arms = (line for line in text.split("\n") if line.startswith(("  - change", "  - interaction")))
    assert "sign flips by way of residuals" in change and "exchange" not in change.replace("exchangeable", "")
    assert "exchange of group labels" in arms
    assert "exchanged within sex" not in text


def test_random_permutations_are_counted_without_the_observed_order(trial: Path) -> None:
    text = words_of(trial)
    assert "199 random sign flips and the observed order" in text
    assert "200 random" not in text
    assert "More permutations lower both." in text


def test_enumerated_permutations_are_called_all_and_cannot_be_more(tmp_path: Path) -> None:
    build_report(tmp_path, make(tmp_path, World(n=6, models=("change",), maps=False)))
    text = words_of(tmp_path)
    assert "all 64 sign flips" in text and "random sign flips" not in text
    assert "is at least 0.031. When a single edge has so small a p, its p_fdr is at least 1.0; it is" in text
    assert "More permutations" not in text


def test_scans_that_are_left_out_do_not_count_for_coverage(tmp_path: Path) -> None:
    world = World(n=3, models=(), maps=False)
    config = make(tmp_path, world)
    runs = read_tsv(tmp_path / paths.RUNS)
    runs.loc[0, ["included", "reason"]] = ["false", "too_few_df"]
    write_tsv(tmp_path / paths.RUNS, runs)
    build_report(tmp_path, config)
    assert "Coverage of 11 regions in 5 runs" in words_of(tmp_path)
    _, page = read(tmp_path)
    rows, _ = page.table("Reason", "Stage")
    assert ["Region covered too little by the image", "measure", "region", "5", "3", "5", "RVM"] in rows


# --------------------------------------------------------------------------------------------------- browser


def in_browser(page: Path, *arguments: str) -> str:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=8000"]  # fmt: skip
    done = subprocess.run(
        [*command, *arguments, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 600])
def test_nothing_is_wider_than_the_window(trial: Path, tmp_path: Path, width: int) -> None:
    html, _ = read(trial)
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    measure = """<script>addEventListener("load", () => {
      const broken = [...document.images].filter(i => !i.complete || i.naturalWidth === 0).length;
      document.body.innerHTML = `<p id=r>${document.documentElement.scrollWidth} ${innerWidth} ${broken}</p>`;
    })</script></body>"""
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", measure), encoding="utf-8")
    answer = in_browser(page, "--dump-dom", f"--window-size={width},1000")
    match = re.search(r'<p id="r">(\d+) (\d+) (\d+)</p>', answer)
    assert match is not None, answer[-300:]
    wide, window, broken = map(int, match.groups())
    assert wide <= window and broken == 0


@pytest.mark.browser
def test_the_page_shows_its_pictures_under_its_own_policy(trial: Path, tmp_path: Path) -> None:
    html, _ = read(trial)
    page = tmp_path / "page.html"
    rest = "#summary,#exclusions,#cohort,#design,#results,#settings,#methods,nav,.simulated{display:none}"
    page.write_text(html.replace("</style>", f"{rest}</style>"), encoding="utf-8")
    picture = tmp_path / "page.png"
    in_browser(page, f"--screenshot={picture}", "--window-size=1100,1500")
    from PIL import Image

    colours = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    saturation = colours.max(axis=1).astype(int) - colours.min(axis=1)
    assert (saturation > 60).mean() > 0.05, "the coverage map and the mean matrix are in colour"
    assert (colours.min(axis=1) > 240).mean() > 0.3


# -------------------------------------------------------------------------------------------------- the plan


LOCKED = Plan({"seed": 3, "datasets.trial.subjects": ["PT001K"]}, frozenset(), {"change": True})
SMALL = World(n=6, models=("change",), maps=False, label="PT{:03d}K")


def lock_of(*plans: dict[str, Plan], results: tuple[str, ...] = ()) -> Lock:
    """A lock with an entry a month, from January 2026; `results` were there at the last of them."""
    found = Lock("my.lock.json")
    for month, plan in enumerate(plans, start=1):
        last = month == len(plans)
        entry = next_entry(
            found,
            plan,
            date=f"2026-{month:02d}-01T10:00:00Z",
            version="0.0.9",
            results_of=results if last else (),
            words={"gone": {"change": "what was planned"}},
            reason=f"reason of sub-PT002K {month}" if month > 1 else None,
        )
        found = replace(found, entries=(*found.entries, entry))
    return found


def report_with(out: Path, found: Lock, now: dict[str, Plan], world: World = SMALL) -> tuple[str, Page, str]:
    """Page and methods of a small study with this lock."""
    config = make(out, world)
    write_json(out / paths.LOCK, record(found, now))
    build_report(out, config)
    return *read(out), (out / paths.METHODS).read_text(encoding="utf-8")


def test_a_plan_that_was_kept_is_said_with_date_and_sum(tmp_path: Path) -> None:
    found = lock_of({"change": LOCKED})
    html, page, methods = report_with(tmp_path, found, {"change": LOCKED})
    assert html.count('<span class="badge planned">confirmatory, locked 2026-01-01</span>') == 3
    for text in (html, methods):
        assert "The plan of the analysis was locked on 2026-01-01 with conn 0.0.9." in text
        assert found.entries[0].sha256 in text
        assert "Nothing in the plan was changed since the last entry." in text
        assert "No group results were in the output folder" in text
    assert f"Results were made with conn {conn.__version__}, the last entry with conn 0.0.9." in html
    assert "change (confirmatory, locked 2026-01-01)" in methods.lower()
    rows, _ = page.table("Date", "What", "Models")
    assert [row[:5] for row in rows] == [["2026-01-01", "locked", "change", "none", "conn 0.0.9"]]
    assert "are the authors&#39; word" not in html


def test_amendments_and_later_changes_are_listed_with_key_before_and_after(tmp_path: Path) -> None:
    other = replace(LOCKED, settings={**LOCKED.settings, "seed": 4})
    now = replace(LOCKED, settings={**LOCKED.settings, "seed": 5})
    found = lock_of({"change": LOCKED, "gone": LOCKED}, {"change": other}, results=("change",))
    html, page, methods = report_with(tmp_path, found, {"change": now})
    rows, _ = page.table("When", "Setting", "Before", "After", "Models")
    assert rows == [
        ["2026-02-01", "seed", "3", "4", "change"],
        ["2026-02-01", "models.gone", "planned", "not in the plan", "gone"],
        ["after the last entry", "seed", "4", "5", "change"],
    ]
    assert '<span class="badge">confirmatory, changed after locking</span>' in html
    assert "badge planned" not in html
    for text in (html, methods):
        assert "Changed since, without an amendment: 1 setting (seed)." in text
        assert "On 2026-02-01 group results were there already, of change." in text
        assert "Planned as confirmatory and not tested here: gone, change (what was planned)." in text
        assert "It was amended once: 2026-02-01 (reason of sub-PT002K 2)." in text
    assert "are the authors&#39; word" in html


def test_a_plan_that_was_locked_too_late_says_so(tmp_path: Path) -> None:
    found = lock_of({"change": LOCKED}, results=("change",))
    html, _, methods = report_with(tmp_path, found, {"change": LOCKED})
    assert '<span class="badge">confirmatory, locked after results existed</span>' in html
    assert "(confirmatory, locked after results existed)" in methods


def test_without_a_lock_the_report_says_that_confirmatory_is_a_word(tmp_path: Path) -> None:
    html, page, methods = report_with(tmp_path, Lock("my.lock.json"), {"change": LOCKED})
    assert '<span class="badge">confirmatory, not locked</span>' in html
    assert "The plan was not locked (conn lock)" in html and "The plan was not locked (conn lock)" in methods
    assert "Plan" in page.headings


def test_without_a_lock_and_without_confirmatory_contrasts_there_is_no_section(tmp_path: Path) -> None:
    world = replace(SMALL, models=("baseline",))
    _, page, methods = report_with(tmp_path, Lock("my.lock.json"), {}, world)
    assert "Plan" not in page.headings
    assert "**Plan.**" not in methods


def test_an_anonymous_report_hides_labels_in_the_plan_too(tmp_path: Path) -> None:
    fewer = replace(LOCKED, settings={**LOCKED.settings, "datasets.trial.subjects": ["PT002K", "PT003K"]})
    world = replace(SMALL, report={"anonymise": True})
    found = lock_of({"change": LOCKED}, {"change": fewer})
    html, page, _ = report_with(tmp_path, found, {"change": fewer}, world)
    rows, _ = page.table("When", "Setting", "Before", "After")
    assert rows[0][1:4] == ["datasets.trial.subjects", "labels, not shown", "labels, not shown"]
    assert not re.search(r"PT\d\d\dK", without_images(html))


def test_a_damaged_record_of_the_lock_is_an_error_that_names_it(tmp_path: Path) -> None:
    config = make(tmp_path, SMALL)
    write_json(tmp_path / paths.LOCK, {"entries": []})
    with pytest.raises(InputError, match=r"lock\.json: not a record of the lock"):
        build_report(tmp_path, config)
