"""A model as a picture of nested boxes: layers, shapes and parameter counts, as SVG."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import singledispatch
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..fields import MLP, Linear, NeuralField, Sum
from ..models.equation import Residual
from ..models.trajectory import RawField
from ..regression.network import Perceptron, RegressionNetwork
from .fonts import PAGE_FAMILY
from .palette import INK, LEARNED, QUIET

_LETTER, _LINE, _PAD, _GAP = 7.6, 17.0, 10.0, 30.0
_LINES = 8


@dataclass(frozen=True)
class Box:
    """One part of a model: a title, a few lines, and the parts inside, joined by a sign."""

    title: str
    lines: tuple[str, ...] = ()
    parts: tuple[Box, ...] = ()
    joint: str = ""

    @property
    def head(self) -> float:
        """Height of the title and the lines."""
        return _PAD + _LINE * (1 + len(self.lines))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height with everything inside."""
        width = max(map(_width, (self.title, *self.lines))) + 2 * _PAD
        if not self.parts:
            return width, self.head + 0.6 * _PAD
        sizes = [part.size for part in self.parts]
        inside = sum(w for w, _ in sizes) + _GAP * (len(sizes) - 1) + 2 * _PAD
        return max(width, inside), self.head + max(h for _, h in sizes) + 1.6 * _PAD


@dataclass(frozen=True)
class Diagram:
    """A picture of a network; notebooks show it, `save` writes the SVG."""

    box: Box

    @property
    def svg(self) -> str:
        """The picture as an SVG element with nothing outside it."""
        width, height = self.box.size
        style = f'font-family="system-ui,{PAGE_FAMILY},sans-serif" font-size="12" fill="{INK}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width + 2:.0f} '
            f'{height + 2:.0f}" width="{width + 2:.0f}" role="img" {style}>'
            f"<title>{escape(self.box.title)}</title>{_draw(self.box, 0, 0, 0)}</svg>"
        )

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the SVG file."""
        Path(path).write_text(self.svg, encoding="utf-8")


def draw(model: Any, members: int = 1) -> Diagram:
    """The picture of a model; with `members` > 1 every array has a leading axis of that length.

    Of a fitted estimator the picture of its `model_`.
    """
    model = getattr(model, "model_", model)
    members = model.members if isinstance(model, RegressionNetwork) else members
    box = outline(model, members)
    total = f"{_count(model, members):,} parameters"
    if members > 1:
        total += f" × {members} members"
    return Diagram(dataclasses.replace(box, title=f"{box.title} · {total}"))


@singledispatch
def outline(node: Any, members: int) -> Box:
    """A part of a model as a box. Register a type to draw it in its own way.

    Any dataclass (so any Equinox module) shows its arrays as lines and its modules as boxes; any
    other callable is a box with its name.
    """
    if not dataclasses.is_dataclass(node):
        name = getattr(node, "__qualname__", type(node).__name__)
        return Box(name.rsplit(".", 1)[-1])
    lines: list[str] = []
    parts: list[Box] = []
    for f in dataclasses.fields(node):
        value = getattr(node, f.name)
        if _is_part(value):
            parts.append(outline(value, members))
        elif isinstance(value, (tuple, list)) and value and all(map(_is_part, value)):
            parts += [outline(v, members) for v in value]
        elif value is not None:
            lines += [f"{f.name} {text}" for text in _describe(value, members)]
    if len(lines) > _LINES:
        lines[_LINES:] = [f"and {len(lines) - _LINES} more"]
    return Box(type(node).__name__, tuple(lines), tuple(parts))


@outline.register
def _(node: Linear, members: int) -> Box:
    n_out, n_in = np.shape(node.weight)[-2:]
    return Box(f"{n_in} → {n_out}", (f"{n_out * (n_in + 1):,} parameters",))


@outline.register
def _(node: MLP, members: int) -> Box:
    layers = [outline(layer, members) for layer in node.layers]
    hidden = [dataclasses.replace(b, lines=(*b.lines, node.activation)) for b in layers[:-1]]
    return Box("MLP", (), (*hidden, layers[-1]), "→")


@outline.register
def _(node: NeuralField, members: int) -> Box:
    reads = "reads state and time" if node.time_dependent else "reads the state"
    return dataclasses.replace(outline(node.net, members), title=f"NeuralField, {reads}")


@outline.register
def _(node: Sum, members: int) -> Box:
    return Box("Sum", (), tuple(outline(part, members) for part in node.parts), "+")


@outline.register
def _(node: RawField, members: int) -> Box:
    box = outline(node.field, members)
    return dataclasses.replace(box, title=f"{box.title}, in raw units")


@outline.register
def _(node: Perceptron, members: int) -> Box:
    """Layers with the shapes of their arrays and what follows each."""
    acts = [*[node.net.activation] * (len(node.net.layers) - 1), node.output_activation]
    parts = []
    for layer, act in zip(node.net.layers, acts, strict=True):
        box = outline(layer, members)
        n_out, n_in = np.shape(layer.weight)[-2:]
        shapes = f"W {n_out} × {n_in}", f"b {n_out}"
        after = () if act == "identity" else (act,)
        parts.append(dataclasses.replace(box, lines=(*shapes, *box.lines, *after)))
    return Box("MLP", (), tuple(parts), "→")


@outline.register
def _(node: RegressionNetwork, members: int) -> Box:
    ends = [Box(f"× {len(node.inputs.offset)}", ("standardised",))]
    ends.append(Box(f"× {len(node.outputs.offset)}", ("in raw units",)))
    return Box("Regressor", (), (ends[0], *outline(node.core, members).parts, ends[1]), "→")


@outline.register
def _(node: Residual, members: int) -> Box:
    parts = outline(node.known, members), outline(node.network, members)
    return Box("equation + network", (), parts, "+")


def _is_part(value: Any) -> bool:
    return callable(value) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _describe(value: Any, members: int) -> list[str]:
    """A number as itself (the members' mean), an array as its shape, arrays in containers too."""
    if isinstance(value, dict):
        return [f"{k} {text}" for k, v in value.items() for text in _describe(v, members)]
    if isinstance(value, (tuple, list)):
        return [text for v in value for text in _describe(v, members)]
    if not hasattr(value, "shape"):
        return [f"= {value}"]
    shape = value.shape[1:] if members > 1 else value.shape
    if shape == ():
        return [f"= {float(np.mean(value)):.4g}"]
    return [f"({' × '.join(map(str, shape))})"]


def _count(node: Any, members: int) -> int:
    """How many floating-point numbers one member holds."""
    import jax

    # Parameters count; the scaling around them is measured.
    scaled = RawField | RegressionNetwork
    nodes = jax.tree.leaves(node, is_leaf=lambda n: isinstance(n, scaled))
    nodes = [n.field if isinstance(n, RawField) else n for n in nodes]
    nodes = [n.core if isinstance(n, RegressionNetwork) else n for n in nodes]
    leaves = [x for x in jax.tree.leaves(nodes) if hasattr(x, "shape")]
    floats = [x for x in leaves if np.issubdtype(x.dtype, np.inexact)]
    return sum(int(np.prod(x.shape)) for x in floats) // members


def _width(text: str) -> float:
    return sum(_LETTER if ord(c) < 0x2E80 else 12.5 for c in text)


def _draw(box: Box, x: float, y: float, depth: int) -> str:
    width, height = box.size
    tint = f'fill="{LEARNED}" fill-opacity="{0.04 + 0.05 * depth:.2f}"'
    out = [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
        f'{tint} stroke="{LEARNED}" stroke-opacity=".55"/>'
    ]
    for i, text in enumerate((box.title, *box.lines)):
        look = 'font-weight="600"' if i == 0 else f'fill="{QUIET}"'
        at = f'x="{x + _PAD:.1f}" y="{y + _PAD + 0.7 * _LINE + i * _LINE:.1f}"'
        out.append(f"<text {at} {look}>{escape(text)}</text>")
    left, row = x + _PAD, max((p.size[1] for p in box.parts), default=0)
    for i, part in enumerate(box.parts):
        w, h = part.size
        if i and box.joint:
            middle = f'x="{left - _GAP / 2:.1f}" y="{y + box.head + row / 2 + 4:.1f}"'
            out.append(f'<text {middle} text-anchor="middle">{box.joint}</text>')
        out.append(_draw(part, left, y + box.head + (row - h) / 2, depth + 1))
        left += w + _GAP
    return "".join(out)
