"""The bottleneck trick: noise as wide as the narrowest hidden layer, Gaussian and Rademacher.

Grathwohl et al. 2019, section 5.1, which publishes training curves without numbers: of a network
whose narrowest layer has half of the D dimensions, the noise of Hutchinson's estimator may have
that width, ``tr(AB) = tr(BA)``. They saw training become faster with Gaussian noise and nothing
with Rademacher noise. Here on scikit-learn's 8 x 8 digits (D = 64, dequantised), with the variance
of the estimate itself: of the log density of a row, over draws of the noise, for the same weights.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from ..fit import fit
from ..flows import FFJORD, Bottleneck, Exact, Grid, Hutchinson, log_prob
from ..flows.flow import rows
from ..flows.objectives import Rows, Weights, held_out, likelihood
from ..flows.whitening import Whitening
from ..objectives import Aux
from . import Row, Task

KINDS = ("Gaussian", "Rademacher")
ESTIMATORS = {
    "Gaussian, D": Hutchinson("gaussian"),
    "Gaussian, D/2": Bottleneck("gaussian"),
    "Rademacher, D": Hutchinson("rademacher"),
    "Rademacher, D/2": Bottleneck("rademacher"),
}
STEPS, BATCH, HELD, REPORTS = 800, 128, 300, 20
_MINUTES = 3.0  # that these steps take on two cores
_DRAWS, _PROBED = 64, 100


@functools.cache
def _adam() -> optax.GradientTransformation:
    return optax.adam(1e-3)


def digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Dequantised digits, standardised by the rows to learn from, and rows to judge by."""
    from sklearn.datasets import load_digits

    random = np.random.default_rng(seed)
    x = random.permutation(load_digits(return_X_y=True)[0])
    x = x + random.uniform(0, 1, x.shape)
    scale = Whitening.standardising(x[HELD:])
    return scale.forward(x[HELD:]).astype(np.float32), scale.forward(x[:HELD]).astype(np.float32)


def judge(flow: Any, data: Rows, key: Any) -> tuple[Any, Aux]:
    """The loss of held-out rows with the exact divergence."""
    return held_out()(flow.with_solver(flow.solver, divergence=Exact()), data, key)


def train(estimator: Any, steps: int, seed: int = 0) -> tuple[Any, list[tuple[int, float]]]:
    """The flow, and its held-out loss by step, in nats of the standardised rows."""
    seen, left = digits()
    dim = seen.shape[1]
    architecture = FFJORD(
        width=(dim, dim // 2), activation="softplus", divergence=estimator, solver=Grid(4)
    )
    made = fit(
        architecture.build(dim, key=jax.random.key(seed)), likelihood(BATCH), _rows(seen),
        rule=_adam(), steps=steps, key=jax.random.key(seed + 1), every=max(steps // REPORTS, 1),
        validation=_rows(left), validate=judge, stage="bottleneck",
    )  # fmt: skip
    return made.model, [(r["step"], float(r["validation"])) for r in made.history]


def _rows(x: np.ndarray) -> Rows:
    weights = Weights(*(np.float32(0),) * len(Weights._fields))
    return Rows(x, None, np.arange(len(x)), np.int32(len(x)), weights)


def spread(flow: Any, estimator: Any, draws: int = _DRAWS) -> float:
    """Variance of the log density over draws of the noise, mean over rows."""
    x = digits()[1][:_PROBED]
    noisy = flow.with_solver(flow.solver, divergence=estimator)

    @eqx.filter_jit
    def estimates(flow: Any, keys: Any) -> Any:
        return jax.lax.map(
            lambda key: rows(lambda *a, **k: log_prob(flow, *a, **k), x, key=key), keys
        )

    logs = np.asarray(estimates(noisy, jax.random.split(jax.random.key(5), draws)))
    return float(logs.var(0, ddof=1).mean())


def run(
    task: Task = Task(), *, steps: int | None = None, draws: int = _DRAWS,
    kinds: Sequence[str] = KINDS,
) -> list[Row]:  # fmt: skip
    """Variances at the same weights, and the held-out loss of one training with each noise."""
    share = 1.0 if task.budget is None else task.budget / _MINUTES
    steps = steps or max(int(STEPS * share), 1)
    asked = {name: e for name, e in ESTIMATORS.items() if name.split(",")[0] in kinds}
    flows, curves, spent = {}, {}, {}
    for name, estimator in asked.items():
        begun = time.perf_counter()
        flows[name], curves[name] = train(estimator, steps)
        spent[name] = time.perf_counter() - begun
    first = next(iter(asked))
    note = f"{draws} draws, weights trained with {first}"
    out = [
        Row(f"variance of the log density, {name}", None, spread(flows[first], e, draws), note=note)
        for name, e in asked.items()
    ]
    for name, curve in curves.items():
        note = f"{steps:,} updates, {spent[name]:.0f} s"
        out.append(Row(f"held-out loss, {name}", None, curve[-1][1], unit="nats", note=note))
    if task.out is not None:
        draw(curves, kinds, task.out / "ffjord-bottleneck.png")
    return out


def draw(curves: dict[str, list[tuple[int, float]]], kinds: Sequence[str], file: Path) -> None:
    """Held-out loss over training: one panel for each noise."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, LEARNED

    with lettering():
        figure = new_figure(8.0, 3.2)
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for ax, kind in zip(panels, kinds, strict=True):
            for width, shade in (("D", AHEAD), ("D/2", LEARNED)):
                ax.plot(*zip(*curves[f"{kind}, {width}"], strict=True), color=shade, label=width)
            dress(ax, title=f"{kind} noise", x="update", y="held-out loss, nats")
        for ax in panels[1:]:
            ax.set_ylabel("")
        figure.savefig(file, dpi=150)
