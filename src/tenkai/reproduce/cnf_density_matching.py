"""Density matching: K planar steps against one continuous planar flow of M units.

Chen et al. 2018, figure 4, which publishes pictures and curves without numbers: the four potentials
of Rezende and Mohamed 2015, reverse KL, K and M in 2, 8, 32; CNF by Adam for 10 000 iterations, NF
by RMSprop for 500 000. Here all four are members of one training, for fewer iterations unless
``--budget`` allows more, and the loss stands as the KL divergence itself, by the normaliser of a
quadrature; the potentials stay in their box by a soft wall.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..data import potentials
from ..fit import fit
from ..flows import Architecture, Planar, PlanarCNF, evaluation, rows
from ..flows.flow import base_log_prob
from ..objectives import Aux
from . import Row, Task

TARGETS = tuple(potentials.POTENTIALS)
SIZES = (2, 8, 32)
BATCH, JUDGED = 256, 4000
PUBLISHED_STEPS = {"CNF": 10_000, "NF": 500_000}
_MINUTES = 4.0  # that the steps below take on two cores
_SIDE = 90


@functools.cache
def _rule(kind: str, steps: int) -> optax.GradientTransformation:
    if kind == "NF":
        return optax.rmsprop(1e-3, decay=0.9)
    return optax.adam(optax.cosine_decay_schedule(5e-3, steps))


def architecture(kind: str, size: int) -> Architecture:
    """M units or K steps."""
    return PlanarCNF(units=size) if kind == "CNF" else Planar(layers=size)


def objective(flow: Any, which: Any, key: Any) -> tuple[Any, Aux]:
    """``E_q[log q + U]`` of the target with this number."""
    z = jax.random.normal(key, (BATCH, 2))
    moved = rows(flow.to_data, z)
    logs = [jax.vmap(potentials.log_density(name))(moved.y) for name in TARGETS]
    return jnp.mean(base_log_prob(z) - moved.log_det - jnp.stack(logs)[which]), Aux()


@dataclass(frozen=True)
class Matched:
    """One flow and its KL divergence from the target, over `JUDGED` samples, in nats."""

    flow: Any
    kl: float
    error: float


def match(kind: str, size: int, steps: int, seed: int = 0) -> list[Matched]:
    """Train one flow of this kind and size for every target."""
    keys = jax.random.split(jax.random.key(seed), len(TARGETS))
    flows = eqx.filter_vmap(lambda key: architecture(kind, size).build(2, key=key))(keys)
    trained = fit(
        flows, objective, np.arange(len(TARGETS)), rule=_rule(kind, steps), steps=steps,
        members=len(TARGETS), every=max(steps // 10, 1), key=jax.random.key(seed + 1),
        stage=f"{kind} {size}",
    ).model  # fmt: skip
    parts = [_member(trained, i) for i in range(len(TARGETS))]
    return [_judge(flow, name) for flow, name in zip(parts, TARGETS, strict=True)]


def _member(flows: Any, index: int) -> Any:
    return jax.tree.map(lambda a: a[index] if isinstance(a, jax.Array | np.ndarray) else a, flows)


def _judge(flow: Any, name: str) -> Matched:
    """By fresh samples, solved adaptively."""
    z = np.random.default_rng(0).standard_normal((JUDGED, 2))
    moved = evaluation.evaluate(flow, "to_data", z, tolerance=evaluation.COUNTED)
    target = jax.jit(jax.vmap(potentials.log_density(name)))
    log_p = np.asarray(target(np.asarray(moved.y, np.float32))) - potentials.log_normaliser(name)
    ratio = evaluation.normal(z) - moved.log_det - log_p
    return Matched(flow, float(ratio.mean()), float(ratio.std(ddof=1) / len(ratio) ** 0.5))


def run(
    task: Task = Task(), *, sizes: Sequence[int] = SIZES, steps: dict[str, int] | None = None
) -> list[Row]:
    """KL divergence by kind, size and target; a picture of all densities and one of the loss."""
    share = 1.0 if task.budget is None else task.budget / _MINUTES
    steps = steps or {
        "CNF": min(int(1500 * share), PUBLISHED_STEPS["CNF"]),
        "NF": min(int(10_000 * share), PUBLISHED_STEPS["NF"]),
    }
    found, out = {}, []
    for kind, what in (("NF", "K"), ("CNF", "M")):
        for size in sizes:
            begun = time.perf_counter()
            found[kind, size] = match(kind, size, steps[kind])
            spent = f"{steps[kind]:,} of {PUBLISHED_STEPS[kind]:,} steps, "
            spent += f"{time.perf_counter() - begun:.0f} s for all four"
            out += [
                Row(
                    f"KL to {name}, {kind}, {what} = {size}", None, made.kl, made.error,
                    unit="nats", note=f"{spent}; ± is its standard error",
                )
                for name, made in zip(TARGETS, found[kind, size], strict=True)
            ]  # fmt: skip
    if task.out is not None:
        draw_densities(found, sizes, task.out / "cnf-density-matching.png")
        draw_losses(found, sizes, task.out / "cnf-density-matching-loss.png")
    wins = sum(
        found["CNF", s][i].kl < found["NF", s][i].kl for s in sizes for i in range(len(TARGETS))
    )
    total = len(sizes) * len(TARGETS)
    return [*out, Row(f"of {total} pairs, closer with M = K: CNF", None, float(wins))]


def draw_densities(found: dict, sizes: Sequence[int], file: Path) -> None:
    """One row per target: the target, planar flows, continuous ones."""
    from ..report.axes import new_figure
    from ..report.fonts import lettering

    points = np.linspace(-potentials.BOX, potentials.BOX, _SIDE)
    grid = np.stack(np.meshgrid(points, points), -1).reshape(-1, 2)
    columns = [("NF", s) for s in sizes] + [("CNF", s) for s in sizes]
    with lettering():
        figure = new_figure(1.5 * (len(columns) + 1), 1.6 * len(TARGETS))
        axes = figure.subplots(len(TARGETS), len(columns) + 1, squeeze=False)
        for i, name in enumerate(TARGETS):
            density = jax.jit(jax.vmap(potentials.log_density(name)))
            panels = [np.asarray(density(grid.astype(np.float32)))]
            panels += [_log_density(found[column][i].flow, grid) for column in columns]
            titles = ["target"] + [f"{k}, {'K' if k == 'NF' else 'M'} = {s}" for k, s in columns]
            for ax, logs, title in zip(axes[i], panels, titles, strict=True):
                image = np.exp(logs - logs.max()).reshape(_SIDE, _SIDE)
                ax.imshow(image, origin="lower", cmap="Blues", interpolation="bilinear")
                ax.set(xticks=[], yticks=[])
                if i == 0:
                    ax.set_title(title, fontsize="medium")
            axes[i, 0].set_ylabel(name)
        figure.savefig(file, dpi=150)


def _log_density(flow: Any, grid: np.ndarray) -> np.ndarray:
    moved = evaluation.evaluate(flow, "to_base", grid, tolerance=evaluation.COUNTED)
    return evaluation.log_density_of(moved)


def draw_losses(found: dict, sizes: Sequence[int], file: Path) -> None:
    """The divergence against depth and width."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, LEARNED

    with lettering():
        figure = new_figure(11, 2.9)
        for i, (ax, name) in enumerate(zip(figure.subplots(1, len(TARGETS)), TARGETS, strict=True)):
            for kind, shade, label in (
                ("NF", AHEAD, "planar flow, K"), ("CNF", LEARNED, "continuous, M"),
            ):  # fmt: skip
                kl = [found[kind, s][i].kl for s in sizes]
                ax.plot(sizes, kl, "o-", color=shade, label=label)
            ax.set_xscale("log", base=2)
            ax.set_ylim(bottom=0)
            ax.set_xticks(sizes, [str(s) for s in sizes])
            dress(ax, title=name, x="K, M", y="KL, nats" if i == 0 else "", legend=i == 0)
        figure.savefig(file, dpi=150)
