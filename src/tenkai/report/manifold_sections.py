"""The page of a manifold, in its order. Every text from outside passes `escape`."""

from __future__ import annotations

import numpy as np

from .axes import number, running
from .manifold_animation import moving
from .manifold_findings import ManifoldFindings, Shades
from .manifold_verdict import apart_of, error_of, isolated_of
from .moving import script
from .palette import INK, LEARNED, QUIET, faint
from .parts import Page, bars, opening, plots, section, settings
from .sections import sections
from .traces import Figure, axis_of, curve, dots_at, framed

_COLUMNS = 40  # that have a bar of their own


@sections.register
def _(f: ManifoldFindings, heading: str, page: Page) -> str:
    cards = [error_of(f.error, f.left_out), isolated_of(f.isolated, f.total), apart_of(f.apart)]
    parts = [
        opening(f, heading, [c for c in cards if c is not None], (), _lead(f)),
        _map(f, page),
        _course(f),
        _columns(f),
        _training(f, page),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _lead(f: ManifoldFindings) -> str:
    count = f.model.latent.shape[1]
    latents = f"{count} latent{'s' * (count > 1)}"
    return (
        f"{f.kind}: {latents} of {len(f.model.latent):,} rows of {len(f.names)} "
        f"column{'s' * (len(f.names) > 1)}, bandwidth {f.bandwidth:.3g}."
    )


def _map(f: ManifoldFindings, page: Page) -> str:
    x, y = (axis_of(name) for name in f.plane.names)
    if f.plane.names[0] == "z1":
        y |= {"scaleanchor": "x"}
    first, second = f.plane.points.T
    dots = dots_at(first, second, faint(LEARNED, 0.7), size=4)
    items = [
        page.place(framed([dots], x, y, height=420), "latents of the rows"),
        page.place(_surface(f), "rows and the surface"),
    ]
    note = "Left the latents, a dot for each row; right the rows and the surface that the latents "
    note += "span, drawn where there are latents."
    if f.space.names and f.space.names[0].startswith("PC "):
        note += " Rows and surface are seen in principal components of the rows."
    return section("Latents and surface", plots(items, "two"), note=note)


def _surface(f: ManifoldFindings) -> Figure:
    solid = f.rows.shape[1] == 3
    kind = "scatter3d" if solid else "scatter"
    keys = ("x", "y", "z")[: f.rows.shape[1]]
    look = {"mode": "markers", "marker": {"size": 2 if solid else 4, "color": faint(LEARNED, 0.7)}}
    traces = [{"type": kind, "showlegend": False, **dict(zip(keys, f.rows.T, strict=True)), **look}]
    if f.surface is not None:
        points = f.surface.points
        known = np.isfinite(points).all(-1, keepdims=True)
        places = np.where(known, (np.nan_to_num(points) - f.space.centre) @ f.space.axes, np.nan)
        ways = [places] if f.surface.curve else [*places, *places.swapaxes(0, 1)]
        gap = np.full((1, places.shape[-1]), np.nan)
        line = np.concatenate([part for way in ways for part in (way, gap)])
        traces.append(
            {"type": kind, "mode": "lines", "showlegend": False, "hoverinfo": "skip",
             "line": {"color": INK if f.surface.curve else QUIET, "width": 1},
             "connectgaps": False, **dict(zip(keys, line.T, strict=True))}
        )  # fmt: skip
    axes = [axis_of(name) for name in f.space.names]
    if not solid:
        return framed(traces, axes[0], axes[1], height=420)
    plain = [{k: v for k, v in axis.items() if k not in ("automargin", "linecolor")}
             for axis in axes]  # fmt: skip
    for axis in plain:
        axis["title"] = {"text": axis["title"]["text"]}
    scene = {f"{k}axis": axis for k, axis in zip(keys, plain, strict=True)}
    return framed(traces, {}, {}, height=420, scene=scene, margin={"l": 0, "r": 0, "t": 0, "b": 0})


def _course(f: ManifoldFindings) -> str:
    if len(f.history) < 2 or f.history[0][1].shape[1] != 2:
        return ""
    note = "From the start to the end: the kernel begins wide and narrows to its bandwidth."
    shown = moving(f.history, Shades(), ("z1", "z2"))
    return section("Learning of the latents", shown, script(), note=note)


def _columns(f: ManifoldFindings) -> str:
    order = np.argsort(f.shares, kind="stable")[:_COLUMNS]
    rows = [(f.names[i], max(float(f.shares[i]), 0.0), _percent(float(f.shares[i]))) for i in order]
    note = (
        "Share of every column's variance that the surface explains at the rows' latents, the row "
        "itself in the estimate; the least first. The leave-one-out error is the stricter number."
    )
    if len(f.names) > _COLUMNS:
        note += f" The first {_COLUMNS} of {len(f.names)} columns."
    return section("Columns", bars(rows, [LEARNED] * len(rows)), note=note)


def _percent(share: float) -> str:
    return f"{share:.1%}" if np.isfinite(share) else "constant"


def _training(f: ManifoldFindings, page: Page) -> str:
    rows = running(f.fit)
    note = f"{f.fit.steps:,} steps, {f.fit.seconds:.1f} s."
    if len(rows) < 3:
        return section("Training", note=note)
    at, loss = [r["total"] for r in rows], [number(r, "loss") for r in rows]
    scale = {"type": "log", "exponentformat": "power", "dtick": 1} if min(loss) > 0 else {}
    drawn = framed(
        [curve(at, np.array(loss), LEARNED)], axis_of("optimiser step"),
        axis_of("share of the variance", **scale),
    )  # fmt: skip
    return section("Training", page.place(drawn, "error over training"), note=note)
