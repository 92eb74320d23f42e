"""A learned density of images: pictures of some and of samples, bits per dimension, the page."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from ..records import Discretisation
from .axes import dress, new_figure, number, running
from .density_findings import used
from .density_verdict import cost, nature
from .findings import About
from .fonts import lettering
from .palette import AHEAD, INK, LEARNED, QUIET, colour
from .parts import Page, bars, capital, network, opening, plots, section, settings, table
from .sections import sections
from .traces import HEIGHT, axis_of, curve, framed
from .verdict import Verdict

_SHOWN = 40  # images, and as many samples
_ACROSS = 8
_SIDE = 360  # pixels of the page that a sheet of images is at least as wide as


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageFindings(About):
    """What the page shows of a density of images; (n, h, w, channels) of whole grey levels."""

    images: np.ndarray = field(repr=False)
    samples: np.ndarray = field(repr=False)
    levels: int
    dim: int
    held_out: Any
    repeats: Any
    nfe: Any
    discretisation: Discretisation | None

    def bits(self, nats: float) -> float:
        """Of an image as bits per dimension."""
        return -nats / self.dim / math.log(2)


def gathered(found: Any) -> ImageFindings:
    """From a fitted `FlowDensity` of images."""
    images, samples = pictures(found)
    h, w, c = images.shape[1:]
    size = f"{h} × {w}" + (f" × {c}" if c > 1 else "")
    return ImageFindings(
        heading=f"A density of images, {size}",
        kind=type(found).__name__,
        names=tuple(found.names_),
        units={},
        time_name="",
        span=(0, 0),
        total_series=1,
        observations=found.repeats_.rows,
        fit=found.fit_,
        seconds=dict(found.seconds_),
        settings=used(found),
        notes=(),
        model=found.model_,
        images=images,
        samples=samples,
        levels=found.images_.levels,
        dim=found.density_.dim,
        held_out=found.held_out_,
        repeats=found.repeats_,
        nfe=found.nfe_,
        discretisation=found.discretisation_,
    )


def pictures(found: Any, most: int = _SHOWN) -> tuple[np.ndarray, np.ndarray]:
    """Images of the fit and as many samples, (n, h, w, channels)."""
    shape = found.architecture_.shape
    few = found.data_[:most]
    both = (few, found.sample(len(few)))
    return tuple(np.asarray(part).reshape(-1, *shape) for part in both)  # type: ignore[return-value]


def sheet(images: np.ndarray, levels: int, across: int = _ACROSS) -> Float[np.ndarray, "h w rgb"]:
    """Images side by side on white, colours in [0, 1]; of other than three channels the first."""
    n, h, w, c = images.shape
    inked = images / (levels - 1)
    colours = inked if c == 3 else np.repeat(inked[..., :1], 3, axis=-1)
    gap, down = max(1, h // 14), -(-n // across)
    out = np.ones((down * (h + gap) - gap, across * (w + gap) - gap, 3))
    for i, image in enumerate(colours):
        top, left = i // across * (h + gap), i % across * (w + gap)
        out[top : top + h, left : left + w] = image
    return out


def images_and_samples(found: Any) -> np.ndarray:
    """Panels: images, samples, bits per dimension over training."""
    images, samples = pictures(found)
    levels, held = found.images_.levels, found.held_out_
    with lettering():
        figure = new_figure(8.0, 5.6)
        grid = figure.add_gridspec(2, 2, height_ratios=(1.3, 1.0))
        axes = [figure.add_subplot(place) for place in (grid[0, 0], grid[0, 1], grid[1, :])]
        for ax, some, title in zip(axes, (images, samples), ("Images", "Samples"), strict=False):
            ax.imshow(sheet(some, levels), interpolation="nearest")
            ax.set_axis_off()
            ax.set_title(title, loc="left", color=INK)
        rows = running(found.fit_)
        at = [r["total"] for r in rows]
        ax = axes[2]
        ax.plot(at, [number(r, "loss") for r in rows], color=LEARNED, label="training (penalised)")
        ax.plot(at, [number(r, "validation") for r in rows], color=AHEAD, label="left-out images")
        best = None if held is None else held.best
        if best is not None:
            bits = -best.mean / found.density_.dim / math.log(2)
            ax.axhline(bits, color=QUIET, ls=":", label=best.name)
        dress(ax, title="Bits per dimension", x="step", y="bits per dimension")
    panels = np.empty(3, dtype=object)
    panels[:] = axes
    return panels


@sections.register
def _(f: ImageFindings, heading: str, page: Page) -> str:
    cards = (quality(f), copies(f), cost(f.nfe, None), nature(f.discretisation))
    told = () if f.discretisation is None else (f.discretisation.message,)
    lead = f"{f.kind} learned from {f.observations:,} images of {f.levels} grey levels."
    parts = [
        opening(f, heading, [c for c in cards if c is not None], told, lead),
        _pictures(f),
        _held_out(f),
        _solving(f),
        _training(f, page),
        network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def quality(f: ImageFindings) -> Verdict:
    """Bits per dimension beside the best of the simple densities."""
    held = f.held_out
    error, best = held.error / f.dim / math.log(2), held.best
    value = f"{f.bits(held.mean):.3f} ± {error:.1g}"
    told = f"bits per dimension, on {held.rows:,} images that neither trained nor chose the flow"
    if best is not None:
        told += f"; the best simple density ({best.name}): {f.bits(best.mean):.3f}"
    return Verdict("Held-out bits per dimension", value, f"{told}.")


def copies(f: ImageFindings) -> Verdict:
    """Images that are there more than once."""
    count = f.repeats.duplicates
    sentence = (
        "of the images repeat an earlier one, and stay on its side of every split."
        if count
        else "no image is there twice."
    )
    return Verdict("Repeated images", f"{count:,} of {f.repeats.rows:,}", sentence)


def _pictures(f: ImageFindings) -> str:
    drawn = [
        f"<figure><figcaption>{title}</figcaption>{_picture(sheet(some, f.levels), title)}</figure>"
        for title, some in (("Images of the fit", f.images), ("Samples", f.samples))
    ]
    note = "Samples of a good density look like the images."
    if f.images.shape[-1] not in (1, 3):
        note += " The first channel is shown."
    return section("Images and samples", plots(drawn, "two"), note=note)


def _picture(colours: np.ndarray, alt: str) -> str:
    """A PNG inside the page; its pixels stay square."""
    from matplotlib.image import imsave

    out = io.BytesIO()
    imsave(out, colours, format="png")
    data = base64.b64encode(out.getvalue()).decode()
    width = max(_SIDE, min(2 * colours.shape[1], 520))
    look = f"width:{width}px;max-width:100%;image-rendering:pixelated"
    return f'<img src="data:image/png;base64,{data}" alt="{alt}" style="{look}">'


def _held_out(f: ImageFindings) -> str:
    held = f.held_out
    rows = [
        ("this flow", "", f"{f.bits(held.mean):.4f}", f"{held.mean:.2f} ± {held.error:.2g}", "")
    ]
    rows += [
        (
            b.name, b.chosen, f"{f.bits(b.mean):.4f}", f"{b.mean:.2f}",
            f"{b.gain:+.2f} ± {b.error:.2g}",
        )
        for b in held.beside
    ]  # fmt: skip
    note = f"Mean over {held.rows:,} images that neither trained the flow nor chose it."
    note += " The others were fitted to the images that trained it." if held.beside else ""
    head = ("density", "chosen", "bits per dimension", "nats per image", "gain of this flow, nats")
    return section("Held-out images", table(head, rows), note=note)


def _solving(f: ImageFindings) -> str:
    check = f.discretisation
    if f.nfe is None or check is None:
        return ""
    rows = [
        ("evaluations per image, adaptive at 1e-5", f"{f.nfe.mean:.0f} (at most {f.nfe.max:.0f})"),
        ("log density moves on a grid twice as fine by", f"{check.finer:.2g} nats"),
        ("log density moves by adaptive solving by", f"{check.adaptive:.2g} nats"),
        ("allowed", f"{check.tolerance:.2g} nats, a hundredth of a bit per dimension"),
    ]
    return section("Solving", table(("", ""), rows), note=capital(check.message))


def _training(f: ImageFindings, page: Page) -> str:
    rows = running(f.fit)
    at = [r["step"] for r in rows]
    told = (("loss", "training, with penalties"), ("validation", "left-out images"))
    lines = [np.array([number(r, key) for r in rows]) for key, _ in told]
    dotted = {"dash": "dot", "width": 1.5}
    traces = [
        curve(at, values, LEARNED if k == 0 else colour(1), name, line=dotted if k else {})
        for k, (values, (_, name)) in enumerate(zip(lines, told, strict=True))
        if np.isfinite(values).any()
    ]
    made = framed(traces, axis_of("step"), axis_of("bits per dimension"), height=HEIGHT)
    drawn = plots([page.place(made, "bits per dimension over training")], "narrow")
    spent = bars(((s, t, f"{t:.2f} s") for s, t in f.seconds.items()), [QUIET] * len(f.seconds))
    note = f"{f.fit.steps:,} steps, {sum(f.seconds.values()):.1f} s in all. The flow with the best "
    note += "left-out images is kept."
    return section("Training", drawn, spent, note=note)
