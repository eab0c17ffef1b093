"""Figures of a prediction: ROC or predictions, calibration, learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from conn.report import style

HEIGHT = 3.3
_LEFT, _BOTTOM, _TOP, _GAP = 0.62, 0.55, 0.4, 0.75


def panels(record: Mapping[str, Any], observed: np.ndarray, predicted: np.ndarray) -> Figure:
    """Two or three panels side by side.

    Parameters
    ----------
    record
        What `conn.clinic.prediction.summary.summary` made.
    observed, predicted
        ndarrays of shape (n,): of each person, predictions averaged over repeats.
    """
    number = 3 if record["learning_curve"] else 2
    figure = style.new_figure(style.WIDTH, HEIGHT)
    width = (style.WIDTH - _LEFT - 0.15 - (number - 1) * _GAP) / number
    height = HEIGHT - _BOTTOM - _TOP
    axes = [style.inches(figure, _LEFT + i * (width + _GAP), _BOTTOM, width, height) for i in range(number)]
    if record["roc"] is None:
        _people(axes[0], record, observed, predicted)
    else:
        _roc(axes[0], record)
    _calibration(axes[1], record)
    if record["learning_curve"]:
        _learning(axes[2], record)
    return figure


def _roc(axes: Axes, record: Mapping[str, Any]) -> None:
    line = record["roc"]
    x = np.asarray(line["false_positive"])
    axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="chance")
    axes.fill_between(x, line["low"], line["high"], color=style.PALETTE[5], alpha=0.35, linewidth=0)
    axes.plot(x, line["mean"], color=style.PALETTE[0], linewidth=1.8, label="people not seen")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.01),
        xlabel="False positives (share)",
        ylabel="True positives (share)",
        title="ROC, mean of folds",
    )
    axes.legend(loc="best")


def _people(axes: Axes, record: Mapping[str, Any], observed: np.ndarray, predicted: np.ndarray) -> None:
    axes.plot(predicted, observed, "o", color=style.PALETTE[0], alpha=0.65, markersize=4, markeredgewidth=0)
    _diagonal(axes, predicted)
    axes.set(xlabel="Predicted, by models that", ylabel=f"Observed {record['outcome']}", title="People")
    axes.set_xlabel("Predicted, by models that\nhad not seen the person")


def _diagonal(axes: Axes, values: np.ndarray) -> None:
    """Where predictions would be right."""
    ends = [float(np.min(values)), float(np.max(values))]
    axes.plot(ends, ends, color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="perfect")


def _calibration(axes: Axes, record: Mapping[str, Any]) -> None:
    bins = record["calibration"]
    predicted, observed = np.asarray(bins["predicted"]), np.asarray(bins["observed"])
    classes = record["n_event"] is not None
    if classes:
        axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="perfect")
        axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    else:
        _diagonal(axes, np.concatenate([predicted, observed]))
    sizes = 14 + 60 * np.asarray(bins["n"]) / max(bins["n"])
    axes.plot(predicted, observed, color=style.PALETTE[1], linewidth=1)
    axes.scatter(predicted, observed, s=sizes, color=style.PALETTE[1], zorder=3, label="groups of equal size")
    axes.set_title("Calibration")
    axes.set_xlabel("Mean predicted probability" if classes else "Mean prediction")
    axes.set_ylabel(f"Share {record['event']}" if classes else f"Mean {record['outcome']}")
    axes.legend(loc="best")


def _learning(axes: Axes, record: Mapping[str, Any]) -> None:
    points = record["learning_curve"]
    n = [point["n"] for point in points]
    score, sd = (np.array([point[key] for point in points]) for key in ("score", "sd"))
    name = {"auc": "AUC", "r2": "R²"}[record["tested_score"]]
    axes.axhline(
        0.5 if name == "AUC" else 0.0, color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="chance"
    )
    axes.errorbar(
        n, score, yerr=sd, color=style.PALETTE[2], marker="s", markersize=5, linewidth=1.4, capsize=2.5,
        label="mean and SD of repeats",
    )  # fmt: skip
    axes.margins(x=0.12, y=0.25)
    axes.set(title="Learning curve", xlabel="People trained on", ylabel=f"{name} in people not seen")
    # The line of chance may run where there is room.
    axes.legend(loc="best", frameon=True, facecolor="white", edgecolor="none", framealpha=1)
