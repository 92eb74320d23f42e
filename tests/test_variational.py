"""Variational problems: known solutions, natural conditions, statuses, errors, pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tenkai as tk
from tenkai import InputError, VariationalProblem
from tenkai.problems import (
    RBF,
    GaussLegendre,
    Network,
    PiecewiseConstant,
    Polynomial,
    RightEndpoint,
    Sine,
    Trapezoid,
)
from tenkai.problems.minimise import minimise

T = np.linspace(0, 1, 101)


def book(t: Any, y: Any, dy: Any) -> Any:
    return dy**2 - y**2 - t * y


def exact(t: Any) -> Any:
    return np.sin(t) / (2 * np.sin(1)) - t / 2


@pytest.mark.parametrize("rule", [GaussLegendre, Trapezoid, RightEndpoint])
def test_quadratures_meet_their_order(rule: Any) -> None:
    def error(n: int) -> float:
        t, w = rule(n).nodes(-1.0, 2.0)
        return abs(float(w @ np.exp(t)) - (np.exp(2) - np.exp(-1)))

    order = {Trapezoid: 2, RightEndpoint: 1}.get(rule)
    if order is None:
        t, w = rule(5).nodes(-1.0, 2.0)
        for k in range(10):  # exact below degree 2n, and not at 2n
            assert w @ t**k == pytest.approx((2 ** (k + 1) - (-1) ** (k + 1)) / (k + 1), rel=1e-13)
        assert abs(w @ t**10 - (2**11 + 1) / 11) > 1e-3
        return
    assert np.log2(error(100) / error(200)) == pytest.approx(order, abs=0.02)
    t, w = rule(4).nodes(0.0, 1.0)
    assert w.sum() == pytest.approx(1.0) and t[-1] == 1.0


def test_a_coarse_quadrature_moves_the_solution_by_its_order() -> None:
    errors = []
    for n in (400, 800):
        y = VariationalProblem(book, (0, 1), (0, 0), Polynomial(4), RightEndpoint(n)).solve()
        errors.append(np.abs(y(T) - exact(T)).max())
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)


def test_the_book_problem_by_default() -> None:
    y = VariationalProblem(book, (0, 1), (0, 0)).solve()
    assert y.status.ok and y.status.kind == "converged" and y.curvature > 0
    np.testing.assert_allclose(y(T), exact(T), atol=1e-12)
    slope = np.cos(T) / (2 * np.sin(1)) - 0.5
    np.testing.assert_allclose(y.derivative(T), slope, atol=1e-11)
    assert y.action == pytest.approx(-0.5 * ((1 - 1 / np.tan(1)) / 2 - 1 / 6), abs=1e-14)
    assert y.loss == y.action and y.legendre == pytest.approx(2.0)
    assert y(0.5).shape == () and y([[0.1], [0.2]]).shape == (2, 1)
    assert np.asarray(y).shape == (201, 1)
    frame = y.to_frame()
    assert list(frame) == ["time", "y", "dy", "residual y"] and len(frame) == 201
    with pytest.raises(InputError, match=r"t: expected times between 0 and 1; got 1\.5"):
        y([0.5, 1.5])


@pytest.mark.parametrize(
    ("trial", "error"),
    [(RBF(30), 1e-8), (RBF(50, low=-0.5, high=1.95, width=20.0), 1e-8), (Polynomial(7), 1e-9),
     (Sine(32), 2e-5), (Network(8, 1), 1e-5)],
    ids=["RBF", "book", "Polynomial", "Sine", "Network"],
)  # fmt: skip
def test_trials_reach_the_solution(trial: Any, error: float) -> None:
    y = VariationalProblem(book, (0, 1), (0, 0), trial).solve()
    np.testing.assert_allclose(y(T), exact(T), atol=error)
    assert y.status.ok or isinstance(trial, Sine), "sines have no curvature at the ends"


def test_the_recipe_of_the_book() -> None:
    trial = RBF(50, low=-0.5, high=1.95, width=20.0, start=1.0)
    problem = VariationalProblem(book, (0, 1), (0, 0), trial, RightEndpoint(100), penalty=1000.0)
    y = problem.solve(rule=optax.adam(1.0), steps=300, finish=0)
    assert y.loss == pytest.approx(-0.006088545544344969, abs=1e-12)
    assert y.action == pytest.approx(y.loss - 1000 * np.sum(y.boundary_errors**2), abs=1e-15)
    assert y.steps == 300 and y.status.kind == "not converged" and not y.status.ok
    np.testing.assert_allclose(y(T), exact(T), atol=1.2e-3)


def test_catenary() -> None:
    """Euler 1744: the surface of least area around an axis is that of a hanging chain."""
    ends = (np.cosh(1.0), np.cosh(1.0))
    y = VariationalProblem(lambda t, y, dy: y * jnp.sqrt(1 + dy**2), (-1, 1), ends).solve()
    assert y.status.kind == "converged"
    t = np.linspace(-1, 1, 51)
    np.testing.assert_allclose(y(t), np.cosh(t), atol=1e-8)
    assert y.action == pytest.approx(1 + np.sinh(2) / 2, abs=1e-10)


def test_brachistochrone() -> None:
    """Bernoulli 1696: a cycloid, here between two heights below the start, where it is regular."""
    angle = np.linspace(0.6, 2.4, 200)
    x, depth = angle - np.sin(angle), 1 - np.cos(angle)
    y = VariationalProblem(
        lambda t, y, dy: jnp.sqrt((1 + dy**2) / y), (x[0], x[-1]), (depth[0], depth[-1])
    ).solve()
    assert y.status.kind == "converged"
    np.testing.assert_allclose(y(x), depth, atol=1e-7)
    assert y.action == pytest.approx(np.sqrt(2) * (angle[-1] - angle[0]), abs=1e-8)


def test_vectors_with_mixed_ends_and_the_natural_condition() -> None:
    """Two uncoupled problems: cosh and sinh. The second one's last end is free."""
    problem = VariationalProblem(
        lambda t, y, dy: dy @ dy + y @ y, (0, 1), ([0.0, 1.0], [1.0, None])
    )
    y = problem.solve()
    truth = np.stack([np.sinh(T) / np.sinh(1), np.cosh(1 - T) / np.cosh(1)], 1)
    np.testing.assert_allclose(y(T), truth, atol=1e-10)
    assert y.status.ok and "natural condition" in y.status.notes[0]
    np.testing.assert_array_equal(np.isnan(y.natural), [[True, True], [True, False]])
    assert abs(y.natural[1, 1]) < 1e-9 and y(0.3).shape == (2,)
    assert list(y.to_frame())[1:4] == ["y0", "dy0", "residual y0"]


@pytest.mark.parametrize("penalty", [None, 1000.0])
def test_both_ends_free(penalty: float | None) -> None:
    """y'' = y - t with y' = 0 at both ends; and a straight line, where every term vanishes."""
    y = VariationalProblem(lambda t, y, dy: dy**2 + (y - t) ** 2, penalty=penalty).solve()
    a = (np.cosh(1) - 1) / np.sinh(1)
    np.testing.assert_allclose(y(T), T + a * np.cosh(T) - np.sinh(T), atol=1e-9)
    level = VariationalProblem(lambda t, y, dy: dy**2 + (y - 2.0) ** 2, penalty=penalty).solve()
    np.testing.assert_allclose(level(T), 2.0, atol=1e-9)
    assert y.status.ok and level.status.ok


def test_penalties_approach_ends_that_are_built_in() -> None:
    """The miss at either end is the momentum there over twice the weight, to first order."""
    misses = []
    for weight in (1e3, 1e4, 1e5):
        y = VariationalProblem(book, (0, 1), (0.0, 0.5), penalty=weight).solve()
        assert y.status.ok and y.loss > y.action
        misses.append(weight * y.boundary_errors[:, 0])
    built = VariationalProblem(book, (0, 1), (0.0, 0.5)).solve()
    momentum = 2 * built.derivative([0.0, 1.0]) * np.array([1, -1])
    np.testing.assert_allclose(misses[-1], momentum / 2, rtol=1e-3)
    off = [np.abs(m - momentum / 2).max() for m in misses]
    np.testing.assert_allclose(np.log10([off[0] / off[1], off[1] / off[2]]), 1, atol=0.05)
    assert (
        "raise penalty"
        in VariationalProblem(book, (0, 1), (0.0, 0.5), penalty=1.0).solve().status.notes[0]
    )


def test_the_residual_is_that_of_finite_differences() -> None:
    """On a path that is no solution: d/dt L_dy - L_y along y, by central differences."""

    def lagrangian(t: Any, y: Any, dy: Any) -> Any:
        return (1 + y**2 + 0.1 * dy**2) * dy**2 * jnp.exp(-t) + jnp.sin(3 * y)

    problem = VariationalProblem(lagrangian, (0, 1), (0, 1), Polynomial(3), guess=lambda t: t**2)
    y = problem.solve(finish=0)
    np.testing.assert_allclose(y(T), T**2, atol=1e-12)
    h = 1e-4
    t = y.time[1:-1]

    def momentum(t: Any) -> Any:
        at, slope = t**2, 2 * t
        return (2 * (1 + at**2) * slope + 0.4 * slope**3) * np.exp(-t)

    change = (momentum(t + h) - momentum(t - h)) / (2 * h)
    force = 2 * t**2 * (2 * t) ** 2 * np.exp(-t) + 3 * np.cos(3 * t**2)
    np.testing.assert_allclose(y.residual[1:-1, 0], change - force, atol=1e-5)
    assert y.status.kind == "not converged" and y.relative_residual > 0.1


def test_a_narrow_layer_takes_more_polynomials() -> None:
    """``y' = 10 (1 - y^2)``: the least wall between two wells."""
    ends = (np.tanh(-10.0), np.tanh(10.0))
    y = VariationalProblem(lambda t, y, dy: 0.01 * dy**2 + (y**2 - 1) ** 2, (-1, 1), ends).solve()
    assert y.status.kind == "converged" and "128" in y.trial
    t = np.linspace(-1, 1, 201)
    np.testing.assert_allclose(y(t), np.tanh(10 * t), atol=1e-7)


def test_a_guess_chooses_among_minima() -> None:
    """A double well: y and -y are both minima, and zero between them is none."""

    def lagrangian(t: Any, y: Any, dy: Any) -> Any:
        return 0.05 * dy**2 + (y**2 - 1) ** 2

    up, down = (
        VariationalProblem(lagrangian, (0, 1), (0, 0), guess=lambda t, s=s: s * np.sin(np.pi * t))
        for s in (1, -1)
    )
    above, below = up.solve(), down.solve()
    assert above.status.ok and below.status.ok and above(0.5) > 0.3
    np.testing.assert_allclose(below(T), -above(T), atol=1e-8)


@pytest.mark.parametrize(
    ("lagrangian", "interval", "ends", "kinds"),
    [
        (lambda t, y, dy: dy**2 - 16 * y**2, (0, 3.2), (0, 0), {"unbounded"}),
        (lambda t, y, dy: dy**2 - 16 * y**2, (0, 3.2), (0, 1), {"unbounded"}),
        (lambda t, y, dy: y + 0 * dy, (0, 1), (0, 0), {"unbounded"}),
        (lambda t, y, dy: dy**2 - y, (0, 1), (None, None), {"unbounded"}),
        (lambda t, y, dy: jnp.log(y) + dy**2, (0, 1), (0.1, 0.1), {"not finite"}),
        (lambda t, y, dy: -jnp.sqrt(1 + dy**2), (0, 1), (0, 1), {"saddle", "unbounded"}),
    ],
    ids=["conjugate point", "inhomogeneous", "linear", "free", "logarithm", "longest path"],
)
def test_problems_without_a_minimum_say_so(
    lagrangian: Any, interval: Any, ends: Any, kinds: set[str]
) -> None:
    y = VariationalProblem(lagrangian, interval, ends).solve()
    assert not y.status.ok and y.status.kind in kinds
    assert y.status.cause and y.status.remedy


def test_newton_meets_known_minima() -> None:
    def rosenbrock(x: Any, data: Any) -> Any:
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    start = np.array([-1.2, 1.0, -1.2, 1.0])
    with jax.enable_x64(True):
        for hessian in (True, False):
            found = minimise(rosenbrock, start, hessian=hessian, tolerance=1e-15)
            assert found.kind == "minimum"
            np.testing.assert_allclose(found.model, 1.0, atol=1e-5)
            assert (found.curvature is None) != hessian
        none = minimise(rosenbrock, start, finish=0)
        assert none.steps == 0 and none.kind == "stalled"
        np.testing.assert_array_equal(none.model, start)
        flat = minimise(lambda x, data: x[0] ** 2 - x[1] ** 2, np.zeros(2))
        assert flat.kind == "unbounded", "left along the negative curvature"
        cubic = minimise(lambda x, data: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, np.zeros(2))
        assert cubic.kind == "minimum" and abs(float(cubic.model[1])) == pytest.approx(0.5**0.5)


def test_what_is_wrong_with_the_arguments() -> None:
    def refused(match: str, *a: Any, solve: dict | None = None, **k: Any) -> None:
        with pytest.raises(InputError, match=match):
            VariationalProblem(*a, **k).solve(**(solve or {}))

    refused("interval: expected two finite times", book, (1, 0), (0, 0))
    refused("interval", book, "long", (0, 0))
    refused("boundary: expected two ends", book, (0, 1), 3.0)
    refused("boundary: expected finite ends of one shape", book, (0, 1), (0.0, [1.0, 2.0]))
    refused("boundary: expected numbers", book, (0, 1), (0.0, "end"))
    refused("lagrangian: expected a function L\\(t, y, dy\\)", lambda t, y: y, (0, 1), (0, 0))
    refused("lagrangian: expected .* in JAX", lambda t, y, dy: float(y), (0, 1), (0, 0))
    refused("got float32 of shape \\(2,\\)", lambda t, y, dy: dy**2, (0, 1), ([0, 0], [1, 1]))
    refused("finite values along the path", lambda t, y, dy: jnp.log(y - 9), (0, 1), (0, 0))
    refused("finite values along the path", lambda t, y, dy: jnp.log(y - 9), (0, 1), (0, 0),
            solve={"steps": 3})  # fmt: skip
    refused("trial: expected differentiable", book, (0, 1), (0, 0), PiecewiseConstant())
    refused("trial", book, (0, 1), (0, 0), "polynomials")
    refused("quadrature: expected GaussLegendre", book, (0, 1), (0, 0), quadrature=7)
    refused("quadrature: expected a positive", book, (0, 1), (0, 0), None, Trapezoid(0))
    refused("penalty: expected a positive", book, (0, 1), (0, 0), penalty=-1.0)
    refused("guess", book, (0, 1), (0, 0), Network(), guess=lambda t: t)
    refused("sampled: expected an ensemble", book, (0, 1), (0, 0), solve={"sampled": True})
    refused("steps: expected", book, (0, 1), (0, 0), solve={"steps": -1})
    refused("finish: expected", book, (0, 1), (0, 0), solve={"finish": 0.5})


_COUNT = """
import json
import jax
import numpy as np
import tenkai as tk

compiled = []
def heard(event, *_, **__):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(event)
jax.monitoring.register_event_duration_secs_listener(heard)

def lagrangian(t, y, dy):
    return dy**2 - y**2 - t * y

counts = []
problem = tk.VariationalProblem(lagrangian, (0, 1), (0, 0))
for solve in (problem.solve, problem.solve,
              tk.VariationalProblem(lagrangian, (0, 1), (0, 0), seed=3).solve):
    before = len(compiled)
    y = solve()
    y(0.5), y.derivative(np.linspace(0, 1, 7)), y.to_frame()
    counts.append(len(compiled) - before)
print(json.dumps(counts))
"""


def test_a_solve_compiles_two_programs_and_its_like_none() -> None:
    command = [sys.executable, "-c", _COUNT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, *again = json.loads(done.stdout.splitlines()[-1])
    assert 0 < first <= 8 and again == [0, 0]


def test_pictures() -> None:
    from tenkai import report

    y = VariationalProblem(
        lambda t, y, dy: dy @ dy + y @ y, (0, 1), ([0.0, 1.0], [1.0, None]), Polynomial(6)
    ).solve()
    top, below = y.plot(title="最短の道", names=["高さ", "速さ"], time="時間")
    assert top.get_title(loc="left").startswith("最短の道: converged, action")
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["高さ", "速さ"]
    assert below.get_xlabel() == "時間" and "residual" in below.get_title(loc="left")
    hollow = [line for line in top.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1, "the free end"
    figure = report.axes.new_figure(4, 3)
    ax = figure.add_subplot()
    assert y.plot(ax=ax) is ax and len(figure.axes) == 1
    figure.canvas.draw()


def test_the_public_name() -> None:
    assert tk.VariationalProblem is VariationalProblem


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boundary": (0, "1")}, "boundary: expected numbers, vectors or None"),
        ({"guess": 3.0}, "guess: expected a function"),
        ({"trial": Polynomial}, "trial: expected differentiable functions"),
        ({"quadrature": GaussLegendre}, "quadrature: expected"),
    ],
)
def test_what_is_no_problem(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VariationalProblem(lambda t, y, dy: dy**2, **{"boundary": (0, 1), **options})


def test_a_component_that_is_not_there_is_refused() -> None:  # JAX would take the last one
    with pytest.raises(InputError, match=r"lagrangian: .*index 3 is out of bounds"):
        VariationalProblem(lambda t, y, dy: dy @ dy + y[3], (0, 1), ([0, 0], [1, 1]))


@pytest.mark.parametrize("count", [0, -3, 2.5, True, "a"])
def test_trials_count_functions(count: Any) -> None:
    with pytest.raises(InputError, match="count of a Polynomial: expected a positive whole"):
        Polynomial(count)


def test_a_rule_is_a_rule() -> None:
    problem = VariationalProblem(lambda t, y, dy: dy**2, (0, 1), (0, 1))
    with pytest.raises(InputError, match="rule: expected an optax rule; got 'adam'"):
        problem.solve(rule="adam", steps=2)  # type: ignore[arg-type]
