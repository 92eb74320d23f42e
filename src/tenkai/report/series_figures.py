"""Models of many series as plotly figures: small panels, the hidden plane, errors, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from ..records import Fit
from .axes import number, running
from .classes_findings import Confusion, shade
from .palette import AHEAD, INK, LEARNED, QUIET, RULE, faint
from .series_findings import Piece, SeriesFindings, Told
from .series_latent import Distances, Hidden
from .series_recurrent import RecurrentFindings
from .series_tiles import GAP, ROOM, Panel, tiled
from .traces import HEIGHT, Figure, axis_of, between, curve, dots_at, framed

_WIDE_GAP = 0.09  # where every panel has a title of its own at its left
_TOWERING = 1.0  # of the range of the data, that a band may reach beyond it
_CROSSES = 60  # of posteriors of a class; more hide the dots
_DATES = 16  # pixels more, for the year below dates
_TIMES = "Viridis"


def courses(f: SeriesFindings) -> Figure:
    """The shown series over time: a row for each where there are several variables."""
    wide = len(f.chosen) > 1
    panels = []
    for s in f.series:
        for j in f.chosen:
            last = s is f.series[-1] or (not wide and s in f.series[-2:])
            x = axis_of(f.time_name if last else "")
            y = axis_of(f.label(j) if wide or not len(panels) % 2 else "", range=_ends(s, j))
            title = s.title(f.unit) if j == f.chosen[0] else ""
            panels.append(Panel(_course(s, j, legend=not panels), x, y, title))
    across = len(f.chosen) if wide else min(2, len(panels))
    dated = np.asarray(f.series[0].time).dtype.kind == "M"
    room, gap = ROOM + _DATES * dated, _WIDE_GAP if wide else GAP
    return tiled(panels, across, 130 if wide else 170, gap, room)


def _course(s: Told, j: int, *, legend: bool) -> list[dict]:
    """One variable of one series; hidden observations are rings."""
    traces = [between(s.path.time, s.path.lower[:, j], s.path.upper[:, j], LEARNED)]
    traces += [between(p.time, p.lower[:, j], p.upper[:, j], AHEAD) for p in s.outside]
    names = ("given what was seen", "beyond it") if legend else ("", "")
    traces.append(curve(s.path.time, s.path.mean[:, j], LEARNED, names[0]))
    for k, p in enumerate(s.outside):
        dash = {"dash": "dash"}
        traces.append(curve(p.time, p.mean[:, j], AHEAD, "" if k else names[1], line=dash))
    return traces + _observed(s, s.time, s.observed[:, j], legend)


def _observed(s: Told, x: np.ndarray, y: np.ndarray, legend: bool) -> list[dict]:
    traces = [dots_at(x[s.given], y[s.given], INK, "observed" if legend else "", size=4)]
    if not s.given.all():
        name = "observed, hidden from the model" if legend else ""
        rings = dots_at(x[~s.given], y[~s.given], "white", name, size=5)
        rings["marker"] |= {"line": {"color": INK, "width": 1.2}}
        traces.append(rings)
    return traces


def _ends(s: Told, j: int) -> list[float] | None:
    """Limits where a band would make a line of the data; else plotly's."""
    seen = [s.observed[:, j], s.path.mean[:, j], *(p.mean[:, j] for p in s.outside)]
    known = np.concatenate(seen)
    known = known[np.isfinite(known)]
    bands = np.concatenate([b[:, j] for p in (s.path, *s.outside) for b in (p.lower, p.upper)])
    bands = bands[np.isfinite(bands)]
    if not len(known) or not len(bands):
        return None
    low, high = float(known.min()), float(known.max())
    more = _TOWERING * max(high - low, 1e-300)
    if bands.min() >= low - more and bands.max() <= high + more:
        return None
    return [max(low - more, float(bands.min())), min(high + more, float(bands.max()))]


def planes(f: SeriesFindings) -> Figure:
    """The shown series in the plane of their two variables."""
    panels = []
    for k, s in enumerate(f.series):
        legend = k == 0
        names = ("given what was seen", "beyond it") if legend else ("", "")
        traces = [_orbit(s.path, LEARNED, names[0])]
        traces += [
            _orbit(p, AHEAD, "" if i else names[1], {"dash": "dash"})
            for i, p in enumerate(s.outside)
        ]
        traces += _observed(s, s.observed[:, 0], s.observed[:, 1], legend)
        title = f.label(0) if k >= len(f.series) - 3 else ""
        y = axis_of(f.label(1) if k % 3 == 0 else "")
        panels.append(Panel(traces, axis_of(title), y, s.title(f.unit)))
    return tiled(panels, min(3, len(panels)), 220)


def _orbit(p: Piece, shade_: str, name: str, line: dict | None = None) -> dict:
    return curve(p.mean[:, 0], p.mean[:, 1], shade_, name, line=line or {})


def hidden_paths(h: Hidden, names: Sequence[str]) -> Figure:
    """Hidden paths, coloured by class, without classes by time; dots are where they begin."""
    traces: list[dict] = []
    if names:
        for k in np.unique(h.codes):
            x, y = _joined(h.paths[h.codes == k])
            traces.append(_thin(x, y, faint(_of(k), 0.55)))
        traces += _starts(h.paths[:, 0], h.codes, names)
    else:
        x, y = _joined(h.paths)
        traces.append(_thin(x, y, RULE))
        dots = dots_at(h.paths[..., 0].ravel(), h.paths[..., 1].ravel(), INK, size=3)
        bar = {"title": {"text": "share of the duration", "side": "right"}, "thickness": 10}
        dots["marker"] |= {
            "color": np.tile(h.fractions, len(h.paths)), "colorscale": _TIMES, "showscale": True,
            "colorbar": bar,
        }  # fmt: skip
        traces.append(dots)
    return _plane(traces)


def posteriors(h: Hidden, names: Sequence[str]) -> Figure:
    """Where hidden paths begin: a dot per series, the crosses of some one standard deviation."""
    traces: list[dict] = []
    for k in np.unique(h.start_codes):
        mine = h.start_codes == k
        shade_ = _of(k) if names else LEARNED
        few = slice(None, None, -(-int(mine.sum()) // _CROSSES))
        at, wide = h.start[mine][few], h.blur[mine][few]
        for i in (0, 1):
            ends = np.stack([at, at, np.full_like(at, np.nan)], 1)
            ends[:, 0, i] -= wide[:, i]
            ends[:, 1, i] += wide[:, i]
            flat = ends.reshape(-1, 2)
            traces.append(_thin(flat[:, 0], flat[:, 1], faint(shade_, 0.3)))
    traces += _starts(h.start, h.start_codes, names, 4 if len(h.start) < 200 else 2.5)
    return _plane(traces)


def _starts(at: np.ndarray, codes: np.ndarray, names: Sequence[str], size: float = 5) -> list[dict]:
    if not names:
        return [dots_at(at[:, 0], at[:, 1], LEARNED, size=size)]
    made = []
    for k in np.unique(codes):
        mine, name = codes == k, names[k] if k >= 0 else "unknown"
        made.append(dots_at(at[mine, 0], at[mine, 1], _of(k), str(name), size=size))
    return made


def _of(k: int) -> str:
    return QUIET if k < 0 else shade(int(k))


def _joined(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paths (series, times, 2) as one line, parted by gaps."""
    gap = np.full((len(paths), 1, 2), np.nan)
    flat = np.concatenate([paths, gap], axis=1).reshape(-1, 2)
    return flat[:, 0], flat[:, 1]


def _thin(x: Any, y: Any, shade_: str) -> dict:
    return curve(x, y, shade_, line={"width": 1}, hoverinfo="skip")


def _plane(traces: list[dict]) -> Figure:
    x, y = axis_of("first principal component"), axis_of("second principal component")
    return framed(traces, x, y, height=360)


def distances(d: Distances, time_name: str) -> Figure:
    """Errors by how far a hidden observation is from what was given."""
    traces = []
    for name, shade_, values, look in (
        ("this model", LEARNED, d.error, {}), ("nearest value carried on", QUIET, d.naive,
                                               {"dash": "dot"}),
    ):  # fmt: skip
        for side, shown in ((d.distance < 0, ""), (d.distance >= 0, name)):
            line = curve(d.distance[side], values[side], shade_, shown, line=look)
            traces.append(line | {"mode": "lines+markers", "marker": {"size": 5}})
    return framed(
        traces, axis_of(f"{time_name} before and after what was given"),
        axis_of("error (sd)", rangemode="tozero"),
    )  # fmt: skip


def transform(f: RecurrentFindings) -> Figure:
    """The histogram of the probability integral transform; the band holds 90 % of right ones."""
    counts, edges = np.histogram(f.transform, bins=f.bins, range=(0, 1))
    expected = len(f.transform) / f.bins
    off = 1.645 * np.sqrt(expected * (1 - 1 / f.bins))
    bars = {
        "type": "bar", "x": 0.5 * (edges[1:] + edges[:-1]), "y": counts / max(expected, 1e-12),
        "width": 1 / f.bins, "marker": {"color": faint(LEARNED, 0.5), "line": {"width": 0}},
        "showlegend": False,
    }  # fmt: skip
    low, high = 1 - off / max(expected, 1e-12), 1 + off / max(expected, 1e-12)
    band = {
        "type": "rect", "layer": "below", "x0": 0, "x1": 1, "y0": max(low, 0.0), "y1": high,
        "fillcolor": RULE, "line": {"width": 0},
    }  # fmt: skip
    one = curve(np.array([0.0, 1.0]), np.ones(2), INK, line={"width": 1})
    y = axis_of("observed / expected", rangemode="tozero")
    x = axis_of("share of the prediction below the value", range=[0, 1])
    return framed([bars, one], x, y, shapes=[band])


def coverage(f: RecurrentFindings) -> Figure:
    """Measured against nominal coverage of central intervals."""
    nominal, share = f.covered()
    ends = np.array([0.0, 1.0])
    line = curve(nominal, share, LEARNED)
    traces = [
        curve(ends, ends, QUIET, line={"width": 1}, hoverinfo="skip"),
        line | {"mode": "lines+markers", "marker": {"size": 5}},
    ]
    look = {"tickformat": ".0%", "range": [0, 1.01]}
    return framed(traces, axis_of("nominal coverage", **look), axis_of("values inside", **look))


def confusion(c: Confusion) -> Figure:
    """Shares of every true class, with counts."""
    shares = c.shares
    names = [escape(n) for n in c.names]
    drawn = {
        "type": "heatmap", "x": names, "y": names, "z": [np.asarray(r) for r in shares],
        "colorscale": [[0, "#ffffff"], [0.5, "#9dc6e0"], [1, "#08457e"]], "zmin": 0, "zmax": 1,
        "showscale": False, "xgap": 1, "ygap": 1, "hoverinfo": "x+y+z",
    }  # fmt: skip
    notes = [
        {
            "x": j, "y": i, "text": str(c.counts[i, j]), "showarrow": False,
            "font": {"size": 11, "color": "white" if shares[i, j] > 0.55 else INK},
        }
        for i, j in zip(*np.nonzero(c.counts), strict=True)
    ]  # fmt: skip
    look = {"type": "category", "showgrid": False}
    x = axis_of("said", **look, side="bottom")
    y = axis_of("true", **look, autorange="reversed")
    height = int(np.clip(30 * len(names) + 140, 240, 620))
    return framed([drawn], x, y, height=height, annotations=notes, showlegend=False)


def progress(fit: Fit, key: str, title: str, other: str = "") -> Figure | None:
    """A number of the history over the steps, and another one dotted; None where neither is."""
    rows = running(fit)
    at = [r["total"] for r in rows]
    traces = []
    for k, (name, look) in enumerate(((key, {}), (other, {"dash": "dot"}))):
        values = np.array([number(r, name) for r in rows]) if name else np.empty(0)
        known = np.isfinite(values)
        if known.sum() > 2 and (not name.startswith("nfe") or (values[known] > 0).any()):
            said = name.removeprefix("nfe_") if other else ""
            traces.append(curve(at, values, (LEARNED, AHEAD)[k], said, line=look))
    if not traces:
        return None
    tozero = {"rangemode": "tozero"} if key.startswith("nfe") else {}
    return framed(traces, axis_of("optimiser step"), axis_of(title, **tozero), height=HEIGHT)
