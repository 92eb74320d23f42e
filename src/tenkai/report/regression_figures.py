"""A regressor as plotly figures: its curve or its predictions, residuals, effects, training."""

from __future__ import annotations

import numpy as np

from .palette import INK, LEARNED, QUIET, colour, faint
from .regression_findings import Curve, Effect, RegressionFindings, Rows
from .traces import DECADE, Figure, axis_of, between, curve, dots_at, framed, losses


def fitted(c: Curve, rows: Rows, target: int, x: str, y: str) -> Figure:
    """The function of one column with its interval, the rows and a line."""
    traces = []
    if c.lower is not None and c.upper is not None:
        traces.append(between(c.x, c.lower[:, target], c.upper[:, target], LEARNED))
    traces.append(dots_at(rows.x[:, 0], rows.y[:, target], faint(INK, 0.45), "did not train", 4))
    if c.line is not None:
        traces.append(curve(c.x, c.line[:, target], QUIET, "linear model", line={"dash": "dot"}))
    traces.append(curve(c.x, c.mean[:, target], LEARNED, "learned"))
    return framed(traces, axis_of(x), axis_of(y))


def against(rows: Rows, target: int, name: str) -> Figure:
    """Observed against predicted, with the intervals."""
    mean, half = rows.mean[:, target], rows.upper[:, target] - rows.mean[:, target]
    dots = dots_at(mean, rows.y[:, target], faint(LEARNED, 0.8), "", 5)
    bars = curve(mean, mean, LEARNED, mode="markers", marker={"size": 1, "color": LEARNED}) | {
        "error_y": {"type": "data", "array": half, "width": 0, "thickness": 1,
                    "color": faint(LEARNED, 0.25)},
        "hoverinfo": "skip",
    }  # fmt: skip
    ends = [float(min(mean.min(), rows.y[:, target].min()))]
    ends.append(float(max(mean.max(), rows.y[:, target].max())))
    same = curve(ends, ends, QUIET, line={"width": 1}, hoverinfo="skip")
    return framed([bars, same, dots], axis_of(f"{name}, predicted"), axis_of(f"{name}, observed"))


def residuals(rows: Rows, names: tuple[str, ...]) -> Figure:
    """Residuals in units of their root mean square against predictions."""
    size = np.sqrt(np.mean(rows.residuals**2, axis=0))
    scaled = rows.residuals / np.where(size > 0, size, 1.0)
    units = np.where(rows.y.std(axis=0) > 0, rows.y.std(axis=0), 1.0)
    at = rows.mean if len(names) == 1 else (rows.mean - rows.y.mean(axis=0)) / units
    traces = [
        dots_at(at[:, j], scaled[:, j], faint(colour(j), 0.7), name if len(names) > 1 else "", 4)
        for j, name in enumerate(names)
    ]
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0}
    x = f"{names[0]}, predicted" if len(names) == 1 else "predicted (sd)"
    shapes = [zero | {"line": {"color": QUIET, "width": 1}}]
    return framed(traces, axis_of(x), axis_of("residual (RMSE)"), shapes=shapes)


def effect(e: Effect, names: tuple[str, ...], span: tuple[float, float] | None) -> Figure:
    """The mean prediction over a column's values."""
    alone = len(names) == 1
    traces = [
        curve(e.x, e.mean[:, j], LEARNED if alone else colour(j), "" if alone else name)
        for j, name in enumerate(names)
    ]
    look = {} if span is None else {"range": list(span)}
    return framed(traces, axis_of(e.name), axis_of(names[0] if alone else "mean", **look),
                  height=230)  # fmt: skip


def training(f: RegressionFindings) -> Figure | None:
    """The squared error of batches and of rows that did not train; None without a curve."""
    traces = losses(f.fit, "did not train")
    if not traces:
        return None
    y = axis_of("squared error (standardised)", type="log", exponentformat="power", dtick=DECADE)
    decades = np.concatenate([t["y"] for t in traces])
    decades = decades[np.isfinite(decades) & (decades > 0)]
    if len(decades) and decades.max() > 100 * decades.min():
        y |= {"dtick": 1}
    return framed(traces, axis_of("optimiser step"), y)
