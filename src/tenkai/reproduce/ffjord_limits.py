"""What limits continuous flows: evaluations that grow with training, and stiffness.

Wadayama's lecture on FFJORD (in Japanese), slides 37 and 38; Grathwohl et al. 2019, section 5.2;
Finlay et al. 2020 (RNODE). No numbers are published on these sets. First, training by likelihood
without regulariser, with weight decay, spectral normalisation, or RNODE: likelihood and
evaluations of the field per point at rtol = atol = 1e-5, over training. Second, on toys, the
default training (flow matching between paired points, then likelihood with penalties) against
likelihood alone on the same network, with as many steps and at equal likelihood. Third, a flow that
relaxes to a curve ever faster, drawn by an explicit and by an implicit solver.
"""

from __future__ import annotations

import dataclasses
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

from ..data import clouds
from ..devices import arithmetic
from ..fit import fit
from ..flows.continuous import FFJORD, ContinuousFlow
from ..flows.evaluation import COUNTED, evaluate, log_density_of, widened
from ..flows.flow import rows
from ..flows.objectives import Rows, Weights, likelihood
from ..flows.recipe import Recipe, default_architecture
from ..flows.whitening import Shaping
from . import Row, Task
from .ffjord_toy import SEEN, judged, train

CLOUD = "moons"
TOYS = ("moons", "swissroll", "2spirals", "pinwheel")
STEPS, BATCH, RATE, REPORTS = 1500, 256, 2e-3, 6
DECAY, SPECTRAL, PENALTY, SHARP = 1e-4, 1.5, 0.02, 4.0
RATES = (10.0, 100.0, 1000.0, 10000.0)
_MOST = 2000  # steps of a solver
_ASKED = 500  # points whose evaluations are counted over training
_EQUAL, _HALVINGS = 0.02, 5  # nats; trainings until two likelihoods are as near as that
_MINUTES = 10.0  # that all of it takes on two cores


@dataclass(frozen=True)
class Course:
    """One training: evaluations per point and log-likelihood after numbers of steps."""

    name: str
    steps: list[int]
    nfe: list[float]
    likelihood: list[float]


def run(
    task: Task = Task(),
    *,
    toys: Sequence[str] = TOYS,
    steps: int | None = None,
    points: int = 10_000,
) -> list[Row]:
    """Courses, pairs at equal likelihood, and the stiff flow; a picture."""
    share = 1.0 if task.budget is None else min(1.0, task.budget / _MINUTES)
    steps = steps or max(REPORTS, int(STEPS * share))
    made = courses(CLOUD, steps)
    pairs = [row for toy in toys for row in pair(toy, points, share)]
    if CLOUD in toys:
        sharp = dataclasses.replace(usual(), sharpness=SHARP)
        pairs += pair(CLOUD, points, share, architecture=sharp)
    if task.out is not None:
        draw(made, task.out / "ffjord-limits.png")
    found = []
    for course in made:
        what, note = f"{CLOUD}, {course.name}", f"after {course.steps[-1]} steps"
        found.append(Row(f"{what}, NFE", None, course.nfe[-1], note=note))
        value = course.likelihood[-1]
        found.append(Row(f"{what}, log-likelihood", None, value, unit="nats", note="shaped units"))
    return [*found, *pairs, *(row for rate in RATES for row in stiff(rate))]


@functools.cache
def _rule(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(RATE, steps))


def usual() -> FFJORD:
    """The default network, begun as flows usually are, with every unit at the origin.

    A sharp start, the default in a plane, also lowers the evaluations of training without
    regulariser, see `run`; here it is about the regularisers.
    """
    made = default_architecture(2, SEEN)
    assert isinstance(made, FFJORD)
    return dataclasses.replace(made, sharpness=None)


def courses(cloud: str, steps: int, seed: int = 0) -> list[Course]:
    """Members of one program with strengths of their own, and one with bounded weights."""
    x = clouds.draw(cloud, SEEN, seed=seed)
    shaping = Shaping.fit(x)
    asked = shaping.forward(clouds.draw(cloud, _ASKED, seed=1000 + seed))
    z = shaping.forward(x).astype(np.float32)
    plain = usual()
    strengths = {
        "no regulariser": {},
        "weight decay": {"decay": DECAY},
        "kinetic and Jacobian": {"kinetic": PENALTY, "jacobian": PENALTY},
    }
    bounded = dataclasses.replace(plain, spectral=SPECTRAL)
    made = _trained(plain, z, strengths, steps, asked, seed)
    return made + _trained(bounded, z, {"spectral normalisation": {}}, steps, asked, seed)


def _trained(
    architecture: Any, z: np.ndarray, strengths: dict[str, dict[str, float]], steps: int,
    asked: np.ndarray, seed: int,
) -> list[Course]:  # fmt: skip
    members, fields = len(strengths), Weights._fields
    weights = Weights(
        *(np.array([s.get(f, 0.0) for s in strengths.values()], np.float32) for f in fields)
    )
    keys = jnp.broadcast_to(jax.random.key(seed), (members,))  # the same start for all
    flows = eqx.filter_vmap(lambda k: architecture.build(2, key=k))(keys)
    data = Rows(z, None, np.arange(len(z)), len(z), weights)
    made = fit(
        flows, likelihood(BATCH, costs=True), data, rule=_rule(steps), steps=steps,
        members=members, member_axes=Rows(None, None, None, None, 0),
        every=max(1, steps // REPORTS), snapshot_every=1, stage="limits",
    )  # fmt: skip
    return [Course(name, *_course(made.snapshots, k, asked)) for k, name in enumerate(strengths)]


def _course(
    snapshots: Any, member: int, asked: np.ndarray
) -> tuple[list[int], list[float], list[float]]:
    steps, nfe, values = [], [], []
    for step, flows in snapshots:
        flow = jax.tree.map(lambda a: a[member] if eqx.is_array(a) else a, flows)
        found = evaluate(flow, "to_base", asked, tolerance=COUNTED)
        steps.append(step)
        nfe.append(float(found.nfe.mean()))
        values.append(float(log_density_of(found).mean()))
    return steps, nfe, values


def pair(
    cloud: str, points: int, share: float = 1.0, seed: int = 0, architecture: FFJORD | None = None
) -> list[Row]:
    """The default training and likelihood alone, the same network: likelihood and NFE.

    First with as many steps each; where the default is then the better one, also with as many
    fewer steps as bring it to the other's likelihood.
    """
    architecture = architecture or usual()
    start = "" if architecture.sharpness is None else " from a sharp start"
    sizes = Recipe(members=1).resolved(architecture.build(2, key=jax.random.key(0)), 2, SEEN)

    def trained(share: float, **changes: Any) -> tuple[Row, Row, float, float]:
        counts = [max(1, int(share * (n or 0))) for n in (sizes.matching, sizes.steps)]
        name = "likelihood alone" if changes else "regularised"
        matching, steps = (0, sum(counts)) if changes else counts
        recipe = Recipe(members=1, matching=matching, steps=steps, **changes)
        made = train(cloud, architecture, recipe, seed=seed)
        value, error, nfe = judged(cloud, made, points, seed + 1000)
        note = f"{sum(f.steps for f in made.learned.fits)} steps, {made.seconds:.0f} s"
        law = "E[-log q]" if cloud == "pinwheel" else "E[log p - log q]"
        what = f"{cloud}, {name}{start}"
        return (
            Row(f"{what}, {law}", None, value, error, unit="nats", note=note),
            Row(f"{what}, NFE", None, nfe, note="per point, at 1e-5"),
            value, nfe,
        )  # fmt: skip

    *rows, value, nfe = trained(share)
    *plain, other, most = trained(share, kinetic=0.0, jacobian=0.0)
    rows += [*plain, Row(f"{cloud}, NFE regularised / alone{start}", None, nfe / most)]
    low, high = 0.0, share
    for _ in range(_HALVINGS if other - value > _EQUAL else 0):
        middle = (low + high) / 2
        *fewer, value, nfe = trained(middle)
        if abs(value - other) <= _EQUAL:
            note = f"{value - other:+.3f} nats apart"
            ratio = Row(
                f"{cloud}, at equal likelihood, NFE ratio{start}", None, nfe / most, note=note
            )
            return [*rows, *fewer, ratio]
        low, high = (middle, high) if value > other else (low, middle)
    return rows


class Relaxing(eqx.Module):
    """``dx/dt = 1``, ``dy/dt = rate (sin 3x - y)``: to a curve within ``1 / rate``."""

    rate: Any

    def __call__(self, t: Any, y: Any, u: Any = None) -> Any:
        one = jnp.ones((), y.dtype)
        return jnp.stack([one, self.rate * (jnp.sin(3 * y[0]) - y[1])])


def stiff(rate: float, points: int = 20, seed: int = 0) -> list[Row]:
    """Steps from base to data of the relaxing flow; its log-determinant is ``-rate`` exactly."""
    import diffrax

    out = []
    with arithmetic("float64"):
        flow = widened(
            ContinuousFlow(field=Relaxing(np.array(rate)), root_end=jnp.ones(()), dim=2, context=0)
        )
        z = np.random.default_rng(seed).standard_normal((points, 2))
        for name, solver in (("explicit", diffrax.Dopri5()), ("implicit", diffrax.Kvaerno5())):
            solved = flow.with_tolerance(1e-5, solver=solver, max_steps=_MOST)
            move = eqx.filter_jit(lambda f, z: rows(f.to_data, z))
            made = jax.block_until_ready(move(solved, z))
            begun = time.perf_counter()
            made = jax.device_get(jax.block_until_ready(move(solved, z)))
            seconds = time.perf_counter() - begun
            done = bool(np.all(made.ok))
            note = f"{seconds:.2g} s for {points} points; " + (
                f"log-determinant off by {np.abs(made.log_det + rate).max():.1g}"
                if done
                else f"gave up after {_MOST} steps, and says so"
            )
            nfe = float(np.mean(made.nfe))
            out.append(Row(f"stiffness {rate:g}, {name}, evaluations", None, nfe, note=note))
    return out


def draw(made: list[Course], file: Path) -> None:
    """Evaluations and likelihood over training."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import colour

    with lettering():
        figure = new_figure(9.0, 3.4)
        left, right = figure.subplots(1, 2)
        for k, course in enumerate(made):
            left.plot(course.steps, course.nfe, color=colour(k), label=course.name)
            right.plot(course.steps, course.likelihood, color=colour(k), label=course.name)
        dress(left, title="Evaluations per point", x="step of training", y="NFE")
        title = "Log-likelihood of unseen points"
        dress(right, title=title, x="step of training", y="nats", legend=False)
        figure.savefig(file, dpi=150)
