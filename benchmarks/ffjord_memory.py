"""Bytes of the backward pass of a flow against the number of steps, for every memory policy.

`python -m benchmarks.ffjord_memory picture.png` draws them. Temporary memory of one compiled
gradient, 512 rows, two hidden layers of 64; timed is one gradient of 128 steps. diffrax's
continuous adjoint (`BacksolveAdjoint`) takes as many steps at most.
"""

from __future__ import annotations

import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from tenkai.flows import Adams, Adaptive, ContinuousFlow, Grid, log_prob
from tenkai.unfold import RK4, RecomputeField, RecomputeStep, Segments, Store

from .ffjord import material
from .harness import Contender, Race, peer

COUNTS = (16, 128, 1024)
POLICIES = {
    "RecomputeField": RecomputeField(),
    "RecomputeStep": RecomputeStep(),
    "Segments": Segments(),
    "Store": Store(),
}


def solvers(steps: int) -> dict[str, Grid | Adaptive]:
    """Every way to go back, the default first."""
    found: dict[str, Grid | Adaptive] = {}
    for name, policy in POLICIES.items():
        found[f"Adams, {name}"] = Grid(steps, Adams(), policy)
        found[f"RK4, {name}"] = Grid(steps, RK4, policy)
    adjoint = peer("diffrax").BacksolveAdjoint()
    return found | {"continuous adjoint": Adaptive(max_steps=steps, adjoint=adjoint)}


def gradient(solver: Grid | Adaptive, rows: int = 512) -> tuple[Any, Any]:
    """The compiled gradient of the mean log density, and the weights it is of."""
    net = material.DEFAULT.architecture.build(2, key=jax.random.key(0)).with_solver(solver)
    trained, static = eqx.partition(net, eqx.is_inexact_array)
    x = material.rows("moons")[:rows]

    def loss(trained: ContinuousFlow) -> Any:
        flow = eqx.combine(trained, static)
        return -jnp.mean(jax.vmap(lambda row: log_prob(flow, row))(x))

    return jax.jit(jax.grad(loss)).lower(trained).compile(), trained


def megabytes(solver: Grid | Adaptive, rows: int = 512) -> float:
    """Temporary memory of the gradient."""
    return gradient(solver, rows)[0].memory_analysis().temp_size_in_bytes / 1e6


def prepare(quick: bool) -> Race:
    """One gradient of 128 steps by every policy; the bytes of the others are extras."""
    counts, rows = ((4, 8), 16) if quick else (COUNTS, 512)

    def contender(name: str, solver: Grid | Adaptive) -> Contender:
        run, trained = gradient(solver, rows)
        size = run.memory_analysis().temp_size_in_bytes / 1e6
        return Contender(name, lambda: jax.block_until_ready(run(trained)), 1, lambda: size)

    extras = {
        f"{name}, {n} steps, MB": lambda n=n, name=name: megabytes(solvers(n)[name], rows)
        for name in solvers(1)
        for n in counts
    }
    contenders = [contender(*item) for item in solvers(counts[1]).items()]
    return Race("gradient", "MB", contenders, 2 if quick else 5, extras)


def draw(path: str) -> None:
    """The bytes as a picture: dashed by Runge-Kutta, solid by Adams."""
    from tenkai.report.axes import axes_or_new, dress
    from tenkai.report.palette import colour

    ax, shades = axes_or_new(None), dict.fromkeys((*POLICIES, "continuous adjoint"))
    for name in solvers(1):
        method, _, policy = name.rpartition(", ")
        shade = colour(list(shades).index(policy))
        sizes = [megabytes(solvers(n)[name]) for n in COUNTS]
        style = "--" if method == "RK4" else "-"
        ax.loglog(COUNTS, sizes, style, marker="o", markersize=3, color=shade, label=name)
    dress(ax, title="Backward pass, 512 rows", x="steps", y="MB", legend=False)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    ax.figure.savefig(path, dpi=120)


if __name__ == "__main__":
    draw(sys.argv[1])
