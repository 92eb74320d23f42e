"""`tk.profile`: orders, memory and stiffness as theory has them, and advice that holds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.linalg import expm

import tenkai as tk
from tenkai import InputError
from tenkai.devices import arithmetic
from tenkai.flows.evaluation import evaluate
from tenkai.profile import Problem, profilable
from tenkai.profile.clock import Clock
from tenkai.profile.gradients import POLICIES, Backwards, grid_gradient, reference_gradient
from tenkai.profile.reference import rates, reference
from tenkai.profile.solves import Bench
from tenkai.records import Profile
from tenkai.reproduce import Task, ode_memory, ode_uniqueness
from tenkai.unfold import EULER, RK4

SPIRAL = np.array([[-0.1, 2.0], [-2.0, -0.1]])
START = np.array([[2.0, 0.0], [0.5, 1.0], [-1.0, 1.5]])
END = 4.0


class Linear(eqx.Module):
    """``y' = A y``."""

    matrix: Any

    def __call__(self, t: Any, y: Array, u: Any = None) -> Array:
        return self.matrix @ y


def linear(rates_of: list[float]) -> Linear:
    return Linear(np.diag(rates_of))


@pytest.fixture(scope="module")
def spiral() -> Profile:
    """Everything measured."""
    return tk.profile(Linear(SPIRAL), (START, [0.0, END]), seconds=1000)


def worst(ys: np.ndarray) -> float:
    """RMS over rows and variables of an end, in ranges of the exact paths."""
    at = np.linspace(0, END, 9)
    paths = np.stack([START @ expm(SPIRAL * t).T for t in at])
    return float(np.sqrt(np.mean(((ys - paths[-1]) / np.ptp(paths, axis=(0, 1))) ** 2)))


# --- solves ---


def test_observed_orders_are_those_of_theory(spiral: Profile) -> None:
    order = spiral.order
    assert order["euler"] == pytest.approx(1, abs=0.1)
    assert order["midpoint"] == pytest.approx(2, abs=0.1)
    assert order["rk4"] == pytest.approx(4, abs=0.15)
    assert order["dopri5"] == pytest.approx(5, abs=0.3)


def test_the_error_is_that_of_the_exact_solution(spiral: Profile) -> None:
    """Of the last step count of a fixed method, by the matrix exponential."""
    one = next(s for s in spiral.solves if s.method == "rk4" and s.steps == 16)
    with arithmetic("float64"):
        ends = [
            np.asarray(tk.solve(Linear(SPIRAL), y, [0, END], method=RK4, substeps=16).ys[-1])
            for y in START
        ]
    # The path decays, but its error has not stopped growing at the end.
    assert one.error == pytest.approx(worst(np.stack(ends)), rel=1e-6)
    assert one.nfe == 64


def test_the_recommendation_meets_its_tolerance_on_a_fresh_solve(spiral: Profile) -> None:
    best = spiral.recommendation
    assert best.met and not best.implicit and best.solve.error <= spiral.tolerance
    with arithmetic("float64"):
        ends = [
            np.asarray(tk.solve(Linear(SPIRAL), y, [0, END], **best.options).ys[-1]) for y in START
        ]
    assert worst(np.stack(ends)) <= 1.05 * spiral.tolerance


def test_tighter_tolerances_cost_more_and_give_more(spiral: Profile) -> None:
    mine = sorted((s for s in spiral.solves if s.kind == "adaptive"), key=lambda s: -(s.rtol or 0))
    assert len(mine) >= 5
    for loose, tight in itertools.pairwise(mine):
        assert loose.nfe < tight.nfe and loose.error > tight.error


def test_only_the_answers_differ_without_time(spiral: Profile) -> None:
    hasty = tk.profile(Linear(SPIRAL), (START, [0.0, END]), seconds=1e-3)
    assert hasty.recommendation.met and {s.method for s in hasty.solves} == {"rk4"}
    assert hasty.left_out and not spiral.left_out
    assert f"Left out: {hasty.left_out[0]}" in str(hasty)


def test_a_tolerance_beyond_reach_is_said() -> None:
    made = tk.profile(Linear(SPIRAL), (START, [0.0, END]), tolerance=1e-9, precision="float32",
                      seconds=1e-3)  # fmt: skip
    assert not made.recommendation.met and made.precision == "float32"
    assert "Nothing measured meets" in str(made)


def test_inputs_and_backward_time() -> None:
    """``y' = u`` with u linear between times; ``y' = -y`` from t = 1 to 0 grows to e."""
    given = (np.zeros(1), [0.0, 1.0, 3.0], np.array([[0.0], [2.0], [0.0]]))
    driven = profilable(lambda t, y, u: u, given)
    assert reference(driven).ys[-1, 0, 0] == pytest.approx(3.0, rel=1e-4)
    by_time = profilable(lambda t, y, u: u, (np.zeros(1), [0.0, 2.0], lambda t: t * jnp.ones(1)))
    assert reference(by_time).ys[-1, 0, 0] == pytest.approx(2.0, rel=1e-12)
    back = reference(profilable(linear([-1.0]), (np.ones(1), [1.0, 0.0])))
    assert back.ys[-1, 0, 0] == pytest.approx(np.e, rel=1e-11)
    assert back.error < 1e-10


def test_every_row_has_its_own_span_and_arguments() -> None:
    span, rate = np.array([[0.0, 1.0], [1.0, 3.0]]), np.array([[-1.0], [-0.5]])
    problem = Problem(lambda t, y, args: args * y, np.ones((2, 1)), span, args=rate)
    assert reference(problem).ys[-1, :, 0] == pytest.approx(np.exp([-1.0, -1.0]), rel=1e-11)


# --- gradients ---


def problem_of(rows: int = 32) -> Problem:
    from tenkai.fields import NeuralField

    random = np.random.default_rng(0)
    field = NeuralField(4, key=random, width=16, depth=2)
    return Problem(field, random.normal(size=(rows, 4)), np.array([0.0, 1.0]))


def test_memory_is_ordered_as_theory_says() -> None:
    problem = problem_of()
    back = Backwards(problem, reference(problem), "float32")
    found = {
        name: grid_gradient(back, None, name, EULER, 256)
        for name in (*POLICIES, "continuous adjoint")
    }
    bytes_of = [found[name].bytes for name in ("store", "recompute field", "segments")]
    assert bytes_of == sorted(bytes_of, reverse=True)
    assert found["recompute step"].bytes <= found["recompute field"].bytes
    assert found["recompute step"].bytes > found["segments"].bytes
    assert found["continuous adjoint"].bytes < found["segments"].bytes
    assert {g.nfe for g in found.values()} == {g.nfe_backward for g in found.values()} == {256}


def test_the_reference_gradient_is_exact() -> None:
    """``d c.y(T) / d y0 = exp(A T)^T c``, in the units of the paths."""
    problem = profilable(Linear(SPIRAL), (START, [0.0, END]))
    known = reference(problem)
    exact = reference_gradient(problem, known)
    assert exact is not None
    back = Backwards(problem, known, "float64")
    wanted = back.weights @ expm(SPIRAL * END) * known.scale
    assert exact[SPIRAL.size :] == pytest.approx(wanted.ravel(), rel=1e-8)


def test_ways_back_through_one_grid_agree(spiral: Profile) -> None:
    ways = [g for g in spiral.gradients if g.rtol is None]
    least = min(g.steps for g in ways)
    errors = [g.error for g in ways if g.steps == least and g.adjoint in POLICIES]
    assert len(errors) == len(POLICIES) and np.ptp(errors) < 1e-9
    assert max(errors) < 30 * spiral.tolerance
    finer = [g.error for g in ways if g.steps > least and g.adjoint in POLICIES]
    assert max(finer) < min(errors) / 100  # four times the steps of a method of order 4


def test_the_continuous_adjoint_counts_its_own_solve(spiral: Profile) -> None:
    ways = [g for g in spiral.gradients if g.adjoint == "continuous adjoint" and g.rtol]
    assert len(ways) == 4
    assert [g.nfe_backward for g in ways] == sorted(g.nfe_backward for g in ways)
    assert ways[-1].error < 0.01 * ways[0].error


# --- stiffness ---


@pytest.mark.parametrize(
    "decays, span, ratio",
    [([-1.0, -50.0], 3.0, 50.0), ([-0.01, -50.0], 2.0, 100.0), ([-0.1, -0.2], 1.0, 1.0)],
)
def test_stiffness_of_a_linear_system_is_exact(
    decays: list[float], span: float, ratio: float
) -> None:
    """Rates slower than the span count as the span."""
    problem = profilable(linear(decays), (np.ones(2), [0.0, span]))
    seen = rates(problem, reference(problem))
    assert seen.stiffness == pytest.approx(ratio, rel=1e-9)
    assert seen.decay == pytest.approx(-min(decays) * span, rel=1e-9)


def test_a_stiff_field_asks_for_an_implicit_method() -> None:
    made = tk.profile(linear([-1.0, -3000.0]), (np.ones(2), [0.0, 2.0]), seconds=1e-3)
    best = made.recommendation
    assert made.stiff and best.implicit and best.met and "implicit" in str(made)
    with arithmetic("float64"):
        end = np.asarray(tk.solve(linear([-1.0, -3000.0]), np.ones(2), [0, 2], **best.options).ys)
    assert end[-1] == pytest.approx([np.exp(-2.0), 0.0], abs=3 * made.tolerance)


@pytest.mark.slow
def test_van_der_pol_stiff() -> None:
    """mu = 1000: explicit methods do not get there, the reference is LSODA's."""

    def field(t: Any, y: Array, u: Any) -> Array:
        return jnp.stack([y[1], 1000.0 * (1 - y[0] ** 2) * y[1] - y[0]])

    made = tk.profile(field, (np.array([2.0, 0.0]), [0.0, 1000.0]), seconds=1e-3)
    assert made.recommendation.implicit and made.recommendation.met
    assert {s.method for s in made.solves if s.error < 1} == {"kvaerno5"}


# --- what estimators say ---


def test_a_fitted_ode_is_solved_as_it_reconstructs() -> None:
    file = Path(__file__).parent / "fixtures" / "neural_ode_format1.safetensors"
    ode = tk.load(file)
    problem = profilable(ode)
    assert problem.y0.shape[0] == len(ode.data_) and problem.because == "a tenth of the noise"
    ensemble = ode.predictor_.ensemble
    end = ensemble.raw(reference(problem).ys[-1])
    if ensemble.trusted.sum() == 1:
        path = ode.reconstruct(series=0)
        assert end[0] == pytest.approx(path.values[-1], rel=1e-2)
    bench = Bench(problem, reference(problem), Clock(1.0))
    now = bench.current()
    assert now is not None and now.method == "rk4" and now.error < 0.05 and not bench.tried


def test_a_flow_density_is_solved_with_its_log_determinant() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    flow = tk.flows.FFJORD(width=8, depth=1)
    density = tk.FlowDensity(flow, members=1, matching=20, steps=5, compare=False).fit(x)
    problem = profilable(density, x[:5])
    end = reference(problem).ys[-1]
    known = density.density_
    moved = evaluate(known.best, "to_base", known.scale.forward(x[:5]))
    assert end[:, :2] == pytest.approx(moved.y, abs=1e-5)
    assert end[:, 2] == pytest.approx(moved.log_det, abs=1e-5)
    assert problem.points == 1 and problem.current is not None
    with pytest.raises(InputError, match="rows of 2 numbers"):
        profilable(density, np.ones((3, 3)))


def test_new_kinds_of_models_join() -> None:
    class Pendulum:
        rate = 2.0

    @profilable.register(Pendulum)
    def _(model: Pendulum, data: Any = None) -> Problem:
        return Problem(linear([-model.rate]), np.ones((1, 1)), np.array([0.0, 1.0]), subject="P")

    made = tk.profile(Pendulum(), seconds=1e-3)
    assert str(made).startswith("P, float32")


# --- tables, pictures, bad input ---


def test_tables_pictures_and_words(spiral: Profile, tmp_path: Path) -> None:
    assert list(spiral.to_frame().columns[:3]) == ["method", "kind", "steps"]
    assert len(spiral.to_frame("gradients")) == len(spiral.gradients)
    assert len(spiral.to_frame("stiffness")) == spiral.stiffness.size == 27
    panels = spiral.plot()
    assert [ax.get_title(loc="left").split(",")[0] for ax in panels] == [
        "Error", "Time", "Stiffness ratio: not stiff", "Memory of a gradient",
        "Evaluations back and forth",
    ]  # fmt: skip
    panels[0].figure.savefig(tmp_path / "p.png")
    assert spiral.plot(ax=panels[0]) is panels[0]
    assert "The continuous adjoint evaluates" in str(spiral)


@pytest.mark.parametrize(
    "model, data, options, words",
    [
        (3, None, {}, "a fitted estimator with a continuous field"),
        (tk.NeuralODE(), None, {}, "a fitted estimator"),
        (linear([-1.0]), None, {}, r"\(y0, t\)"),
        (linear([-1.0]), (np.array([np.nan]), [0, 1]), {}, "finite states"),
        (linear([-1.0]), (np.ones(1), [1.0, 1.0]), {}, "two times or more"),
        (linear([-1.0]), (np.ones(1), [0, 2, 1]), {}, "run one way"),
        (linear([-1.0]), (np.ones(1), [0, 1], np.ones((3, 1))), {}, "one row for each"),
        (linear([-1.0]), (np.ones(1), [0, 1]), {"seconds": 0}, "positive number"),
        (linear([-1.0]), (np.ones(1), [0, 1]), {"tolerance": -1.0}, "positive number"),
        (linear([-1.0]), (np.ones(1), [0, 1]), {"precision": "half"}, "'float32', 'float64'"),
        (lambda t, y, u: y**2, (np.ones(1), [0, 2]), {}, "a path that exists"),
    ],
)
def test_bad_input_is_one_clear_line(model: Any, data: Any, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        tk.profile(model, data, **options)


# --- entries ---


def test_ode_memory_draws_and_orders(tmp_path: Path) -> None:
    rows = ode_memory.run(Task(out=tmp_path), counts=(64, 256), rows=32, dim=8, width=8)
    found = {row.quantity: row for row in rows}
    slope = {k.split(": ")[1]: r.ours or 0.0 for k, r in found.items() if k.startswith("slope")}
    assert slope["store"] == pytest.approx(1, abs=0.2)
    assert slope["continuous adjoint"] < 0.3
    assert slope["segments"] < 0.6
    assert (tmp_path / "ode-memory.png").exists()


def test_ode_uniqueness_bounds_hold(tmp_path: Path) -> None:
    rows = {r.quantity: r for r in ode_uniqueness.run(Task(out=tmp_path), steps=200, count=64)}
    held = rows["snapshots of the training whose lower bound is below the upper"]
    assert held.ours == held.published == 3
    above = rows["Lipschitz constant from above, after 200 steps"].ours
    below = rows["Lipschitz constant from below, after 200 steps"].ours
    assert above is not None and below is not None and 0 < below <= above
    assert rows["y' = sqrt|y| from 0: y(4)"].ours == 0.0
    assert rows["y' = sqrt|y| from 1e-12: y(4)"].ours == pytest.approx(4.0, abs=1e-3)
    assert (tmp_path / "ode-uniqueness.png").exists()


def test_the_bounds_of_a_known_network() -> None:
    """One linear layer: both are the largest singular value."""
    from tenkai.fields import NeuralField

    field = NeuralField(2, key=np.random.default_rng(0), width=4, depth=0)
    weight = np.asarray(field.net.layers[0].weight)
    largest = float(np.linalg.svd(weight, compute_uv=False)[0])
    assert ode_uniqueness.upper_bound(field) == pytest.approx(largest, rel=1e-6)
    states = ode_uniqueness.samples(8)
    assert ode_uniqueness.lower_bound(field, states) == pytest.approx(largest, rel=1e-5)
