"""What the report says and shows of every design, from tables that the engine filled with real tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import inference, paths
from conn.config.model import Config
from conn.design import DesignContrast, Family
from conn.permutation import permutation_set
from conn.report import build_report
from conn.tables import write_tsv
from test_report import Maker, Page, World, configuration, read, without_images

NETWORKS = {"salience": range(0, 9), "limbic": range(4, 12)}
ARMS = ("ketamine", "midazolam", "placebo")

DESIGNS: dict[str, dict[str, Any]] = {
    "mean": {"design": "one_sample", "at": "pre"},
    "groups": {
        "design": "two_sample",
        "at": "post",
        "group": "arm",
        "levels": list(ARMS),
        "contrasts": {"difference": {}, "differenceKetamineVsPlacebo": {}},
    },
    "courses": {
        "design": "group_by_time",
        "before": "pre",
        "after": "post",
        "group": "arm",
        "levels": list(ARMS),
        "contrasts": {"interaction": {"confirmatory": True}, "interactionKetamineVsPlacebo": {}},
    },
    "arms": {
        "design": "parallel_arms",
        "before": "pre",
        "after": "post",
        "arm": "arm",
        "levels": ["ketamine", "placebo"],
        "randomised": True,
    },
    "order": {
        "design": "crossover",
        "treatment": "post",
        "control": "pre",
        "sequence": "order",
        "levels": ["first", "second"],
        "contrasts": {
            "treatment": {"confirmatory": True},
            "treatmentFlips": {},
            "carryover": {},
            "period": {},
        },
    },
    "visits": {"design": "within", "points": ["pre", "post", "late"]},
    "cells": {
        "design": "treatment_by_outcome",
        "before": "pre",
        "after": "post",
        "arm": "arm",
        "arm_levels": ["ketamine", "placebo"],
        "outcome": "order",
        "outcome_levels": ["first", "second"],
    },
    "written": {
        "design": "formula",
        "before": "pre",
        "after": "post",
        "formula": "age + sex + order",
        "tests": {"age": {"age": 1}, "any": ["age", "sex=m"]},
    },
}


def world(model: str, **options: Any) -> World:
    """A trial with one model of some design."""
    three = model in {"groups", "courses"}
    settings = {
        "n": 18 if three else 16,
        "models": (model,),
        "settings": DESIGNS,
        "maps": False,
        "arms": ARMS if three else ("ketamine", "placebo"),
        "points": ("pre", "post", "late") if model == "visits" else ("pre", "post"),
        "categories": ("order",),
        "motion": True,
    }
    return World(**(settings | options))


class Tester(Maker):
    """Edges and networks are tested by the engine; every further column can be asked for."""

    networks: tuple[str, ...] = ()
    further: bool = False

    def write(self) -> None:
        super().write()
        for name in self.world.models:
            self.network_tables(name)

    def pairs_kept(self) -> list[int]:
        return [j for j, pair in enumerate(self.pairs) if "RVM" not in pair]

    def data(self, contrast: DesignContrast, weights: Any) -> np.ndarray:
        rows = [sum(w * self.value(run) for run, w in row.items()) for row in weights]
        return np.stack(rows)[:, self.pairs_kept()]

    def test(self, contrast: DesignContrast, pick: Any) -> tuple[Any, Any]:
        """Result and family of some values, which `pick` makes of those of all edges."""
        values = [self.data(contrast, w) for w in (contrast.run_weights, *contrast.more_weights)]
        picked = [pick(v) for v in values]
        own = pick(self.data(contrast, contrast.covariate_weights)) if contrast.covariate_weights else None
        rearranged = permutation_set(
            contrast.n,
            contrast.exchange,
            strata=contrast.strata,
            matrix_effect=contrast.tested,
            n_permutations=self.world.permutations,
            seed=3,
            has_nuisance=contrast.has_nuisance,
        )
        result = inference.test(
            np.stack(picked) if len(picked) > 1 else picked[0],
            contrast.matrix,
            contrast.contrast,
            rearranged,
            contrast.variance_groups,
            covariate=own,
            cells=contrast.cells,
        )
        return result, inference.correct([result])

    def edges(self, contrast: DesignContrast) -> pd.DataFrame:
        result, family = self.test(contrast, lambda v: v)
        table = pd.DataFrame(
            {
                "roi_a": [self.pairs[j][0] for j in self.pairs_kept()],
                "roi_b": [self.pairs[j][1] for j in self.pairs_kept()],
                **self.columns(contrast, result, family),
                "p_fdr": result.p,
            }
        )
        table["family"] = f"{contrast.name}.edges"
        n = len(table)
        table["p_closed"] = table["p_fwe"] if self.networks else np.nan
        table["p_equivalence"] = np.linspace(0.01, 0.9, n) if self.further else np.nan
        table["score"] = np.linspace(9, 1, n) if self.further else np.nan
        table["p_score"] = np.linspace(0.005, 1, n) if self.further else np.nan
        table["p_tail"] = table["p_fwe"] / 3 if self.further else np.nan
        return table

    def columns(self, contrast: DesignContrast, result: Any, family: Any) -> dict[str, Any]:
        is_f, corrected = contrast.statistic == "F", family.results[0]
        size = np.nan if is_f else result.stat / np.sqrt(contrast.n)
        return {
            "contrast": contrast.name,
            "n": contrast.n,
            "estimate": result.effect,
            "se": result.se,
            "df": result.df,
            "df_num": float(result.rank) if is_f else np.nan,
            "stat": result.stat,
            "p": result.p,
            "p_fwe": corrected.p_fwe,
            "ci_low": corrected.ci_low,
            "ci_high": corrected.ci_high,
            "ci_sim_low": corrected.ci_sim_low,
            "ci_sim_high": corrected.ci_sim_high,
            "g": size,
            "g_type": "n/a" if is_f else "g_z",
            "g_ci_low": size,
            "g_ci_high": size,
            "p_holm": np.nan if contrast.sensitivity else np.minimum(1, 2 * corrected.p_fwe),
        }

    def family(self, contrast: DesignContrast, family: Family, sizes: dict[str, int]) -> dict[str, Any]:
        _, made = self.test(contrast, lambda v: v)
        entry = super().family(contrast, family, sizes)
        scale = {"scale": made.scale, "statistic": contrast.statistic, "critical": float(made.critical)}
        return entry | scale | {"permutations": made.n_permutations, "smallest_p": made.smallest_p}

    def network_tables(self, model: str) -> None:
        if not self.networks:
            return
        from conn.design import load_design

        tables = []
        for contrast in load_design(self.out / paths.model_folder(model), model).contrasts:
            chosen = [list(NETWORKS[name]) for name in self.networks]
            result, family = self.test(
                contrast, lambda v, chosen=chosen: np.stack([v[:, c].mean(axis=1) for c in chosen], axis=1)
            )
            columns = self.columns(contrast, result, family)
            extra = {
                "n_edges": [len(c) for c in chosen],
                "family": f"{contrast.name}.networks",
                "p_tail": None,
            }
            tables.append(pd.DataFrame({"network": list(self.networks), **columns, **extra}))
        write_tsv(self.out / paths.networks(model), pd.concat(tables, ignore_index=True))


def make(out: Path, about: World, networks: tuple[str, ...] = (), further: bool = False) -> Config:
    tester = Tester(out, about)
    tester.networks, tester.further = networks, further
    tester.write()
    return configuration(about)


def report(out: Path, about: World, **options: Any) -> tuple[str, Page, str]:
    """The page without pictures, its tables, and the methods text."""
    build_report(out, make(out, about, **options))
    html, page = read(out)
    return without_images(html), page, (out / paths.METHODS).read_text(encoding="utf-8")
