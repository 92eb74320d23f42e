"""Optimal control against closed forms, Riccati equations, the adjoint equation, differences."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_are
from scipy.stats import multivariate_normal, norm

import tenkai as tk
from tenkai.problems import (
    RBF,
    Feedback,
    LinearGain,
    Network,
    NetworkPolicy,
    OptimalControl,
    OutputFeedback,
    PiecewiseConstant,
    Polynomial,
    RightEuler,
)
from tenkai.problems.unfolding import Pushes, rollout
from tenkai.records import ControlSolution
from tenkai.reproduce import Task
from tenkai.reproduce import du_optimal_control as vo
from tenkai.reproduce import du_stabilise as stabilise
from tenkai.reproduce import du_stabilise_sde as sde
from tenkai.unfold import EULER, RK4

DOUBLE = [0.0, 0.0]


def double_integrator(t, x, u):
    return jnp.array([x[1], u[0]])


def pendulum(t, x, u):
    return jnp.array([x[1], jnp.sin(x[0]) - 0.1 * x[1] + u[0]])


def energy(t, x, u):
    return u @ u


def quadratic(t, x, u):
    return x @ x + u @ u


@functools.cache
def scalar() -> ControlSolution:
    return OptimalControl(lambda t, x, u: u, quadratic, x0=[1.0], horizon=1.0).solve()


def test_the_books_problem_with_the_default_control() -> None:
    best = scalar()
    assert best.cost == pytest.approx(np.tanh(1), abs=1e-9)
    assert best.control(vo.GRID)[:, 0] == pytest.approx(vo.exact(vo.GRID), abs=1e-7)
    assert best.states[-1, 0] == pytest.approx(1 / np.cosh(1), abs=1e-8)
    assert best.control(1.0) == pytest.approx([0.0], abs=1e-7)
    assert np.abs(best.residual).max() < 1e-6 * best.residual_size
    assert best.status.ok and best.status.kind == "converged" and best.eigenvalues is None


def test_the_books_recipe() -> None:
    assert vo.book().cost == pytest.approx(0.7601447910, abs=1e-9)


def test_costate_solves_the_adjoint_equation() -> None:
    """``-l' = (df/dx)' l + dl/dx`` along the path that a control not optimal takes."""
    problem = OptimalControl(
        pendulum, lambda t, x, u: jnp.cos(x[0]) + x[1] ** 2 * u[0] + u @ u, lambda x: x[0] ** 3,
        x0=[0.4, -0.2], horizon=2.0, control=RBF(6, start=0.3), intervals=400,
    )  # fmt: skip
    found = problem.solve(finish=0)

    def slope(t, y):
        x, costate = y[:2], y[2:]
        u = float(found.control(t)[0])
        jacobian = np.array([[0, 1], [np.cos(x[0]), -0.1]])
        running = np.array([-np.sin(x[0]), 2 * x[1] * u])
        dx = [x[1], np.sin(x[0]) - 0.1 * x[1] + u]
        return np.concatenate([dx, -jacobian.T @ costate - running])

    end = np.concatenate([found.states[-1], [3 * found.states[-1, 0] ** 2, 0.0]])
    back = solve_ivp(
        slope, (2.0, 0.0), end, t_eval=found.time[::-1][::40], rtol=1e-9, atol=1e-11
    ).y.T[::-1]  # fmt: skip
    assert back[:, :2] == pytest.approx(found.states[::40], abs=1e-6)
    assert back[:, 2:] == pytest.approx(found.costate[::40], abs=1e-6)
    u = found.controls[:, 0]
    hamiltonian = found.costate[:, 1] + found.states[:, 1] ** 2 + 2 * u
    middle = (hamiltonian[1:] + hamiltonian[:-1]) / 2
    assert found.residual[:, 0] == pytest.approx(middle, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("method", [RK4, EULER, RightEuler()], ids=lambda m: m.name)
def test_derivatives_are_finite_differences(method) -> None:
    """Costate and residual of the discretised problem itself, a feedback's control held fixed."""
    problem = OptimalControl(
        pendulum, quadratic, lambda x: x[0] ** 4, x0=[0.3, 0.1], horizon=1.0, method=method,
        control=NetworkPolicy(4, 1), intervals=10, bounds=(-1.0, 1.0), inputs=1,
    )  # fmt: skip
    with problem.arithmetic():
        model, x0 = problem.begin(), problem.starts[0]
        slopes = problem.differentiate(model, x0[None], None, None)
        # Whatever the policy applied becomes an open loop, stage by stage.
        pushed = jax.jit(
            lambda x, k, e: rollout(
                problem.plant, model, x, 10,
                push=Pushes(jnp.zeros((11, 2)), jnp.zeros((10, 1)).at[k].add(e)), frozen=True,
            ).cost
        )  # fmt: skip
        forward = jax.jit(jax.grad(pushed, argnums=2))
        assert slopes.residual[0, 7, 0] == pytest.approx(10 * float(forward(x0, 7, 0.0)), rel=1e-9)
        whole = jax.jit(lambda x: rollout(problem.plant, model, x, 10).cost)
        total = jax.grad(whole)(x0)
        eps = 1e-6 * np.eye(2)
        measured = [(whole(x0 + e) - whole(x0 - e)) / 2e-6 for e in eps]
    assert np.array(measured) == pytest.approx(np.asarray(total), rel=1e-6)
    assert np.isfinite(slopes.costate).all()


def test_open_loop_costate_is_the_finite_difference_of_the_cost() -> None:
    problem = OptimalControl(
        pendulum, quadratic, lambda x: x[0] ** 4, x0=[0.3, 0.1], horizon=1.0,
        control=PiecewiseConstant(10, start=0.5), intervals=20,
    )  # fmt: skip
    with problem.arithmetic():
        model, x0 = problem.begin(), problem.starts[0]
        slopes = problem.differentiate(model, x0[None], None, None)
        cost = jax.jit(lambda model, x: rollout(problem.plant, model, x, 20).cost)
        eps = 1e-6
        for i, d in enumerate(eps * np.eye(2)):
            measured = (cost(model, x0 + d) - cost(model, x0 - d)) / (2 * eps)
            assert slopes.costate[0, 0, i] == pytest.approx(float(measured), rel=1e-7)
        c = np.asarray(model.coefficients)
        for piece in (0, 6):
            d = np.zeros_like(c)
            d[piece] = eps
            up, down = (eqx.tree_at(lambda m: m.coefficients, model, c + s * d) for s in (1, -1))
            measured = (cost(up, x0) - cost(down, x0)) / (2 * eps)
            both = slopes.residual[0, 2 * piece : 2 * piece + 2, 0].sum() / 20
            assert both == pytest.approx(float(measured), rel=1e-7)


@pytest.mark.parametrize(("dim", "inputs"), [(4, 2), (12, 3)])
def test_linear_quadratic_problems_agree_with_riccati(dim: int, inputs: int) -> None:
    cost, largest = vo.misses(dim, inputs, seed=7)
    assert cost < 1e-6 and largest < 1e-5


def test_held_controls_agree_with_the_discrete_recursion() -> None:
    cost, largest = vo.held_misses(4, 2, seed=7)
    assert cost < 1e-9 and largest < 1e-7


def test_minimum_energy_to_a_given_end() -> None:
    """``u = 6 - 12 t`` moves a mass by one in unit time; the cost is 12."""
    found = OptimalControl(
        double_integrator, energy, x0=DOUBLE, horizon=1.0, control=Polynomial(4),
        terminal_constraint=lambda x: x - jnp.array([1.0, 0.0]),
    ).solve()  # fmt: skip
    t = np.linspace(0, 1, 11)
    assert found.status.ok and found.violation < 1e-5
    assert found.cost == pytest.approx(12, abs=1e-3)
    assert found.control(t)[:, 0] == pytest.approx(6 - 12 * t, abs=1e-3)


def test_a_terminal_penalty_has_its_closed_form() -> None:
    """``x'' = u``, cost ``int u^2 + w x(1)^2`` from x = 1 at rest: ``u = -c (1 - t)``."""
    w = 5.0
    found = OptimalControl(
        double_integrator, energy, lambda x: w * x[0] ** 2, x0=[1.0, 0.0], horizon=1.0,
        control=Polynomial(4),
    ).solve()  # fmt: skip
    c = w / (1 + w / 3)  # u = -w x(1) (1 - t) and x(1) = 1 - c / 3
    assert found.control(0.0) == pytest.approx([-c], rel=1e-8)
    assert found.cost == pytest.approx(c**2 / 3 + w * (1 - c / 3) ** 2, rel=1e-9)
    assert found.costate[:, 1] == pytest.approx(-2 * found.controls[:, 0], abs=1e-7)


def test_path_constraints_are_kept_and_what_cannot_be_is_said() -> None:
    end = {"terminal_constraint": lambda x: x - jnp.array([1.0, 0.0])}
    options = {"x0": DOUBLE, "horizon": 1.0, "control": PiecewiseConstant(20), "intervals": 40}
    slow = OptimalControl(
        double_integrator, energy, path_constraint=lambda t, x, u: x[1] - 1.2, **end, **options
    ).solve()
    assert slow.status.ok and slow.states[:, 1].max() < 1.2 + 1e-4
    assert 12.1 < slow.cost < 20  # less speed costs more energy
    weak = OptimalControl(double_integrator, energy, bounds=(-1.0, 1.0), **end, **options).solve()
    assert weak.status.kind == "infeasible" and not weak.status.ok and weak.violation > 0.1
    assert np.abs(weak.controls).max() <= 1.0


def test_bounds_bind_and_the_projected_residual_vanishes() -> None:
    found = OptimalControl(
        double_integrator, lambda t, x, u: 0.001 * u @ u,
        lambda x: 10 * jnp.sum((x - jnp.array([0.9, 0.0])) ** 2), x0=DOUBLE, horizon=2.0,
        bounds=(-1.0, 1.0), control=PiecewiseConstant(20), intervals=40,
    ).solve()  # fmt: skip
    u = found.controls[:, 0]
    assert np.abs(u).max() <= 1.0 and u[0] > 0.999 and u[-1] < -0.999
    assert np.abs(found.residual).max() < 1e-4
    rest = vo.exact(np.array([0.0]))
    assert rest < 0  # the same problem without bounds would push harder
    one_sided = OptimalControl(
        lambda t, x, u: u, lambda t, x, u: (u[0] + 1.0) ** 2, x0=[0.0], horizon=1.0,
        bounds=(-0.5, np.inf), control=PiecewiseConstant(2), intervals=4,
    ).solve()  # fmt: skip
    assert one_sided.controls == pytest.approx(-0.5, abs=1e-2)


def test_a_gain_for_many_initial_states_is_riccatis() -> None:
    """With the terminal cost of the infinite horizon the constant gain is the best control."""
    A, B = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0], [1.0]])
    P = solve_continuous_are(A, B, np.eye(2), np.eye(1))
    problem = OptimalControl(
        lambda t, x, u: A @ x + B @ u, quadratic, lambda x: x @ P @ x, horizon=2.0,
        x0=multivariate_normal(np.zeros(2), np.eye(2)), control=LinearGain([[-1.5, -1.5]]),
        paths=10, intervals=50,
    )  # fmt: skip
    found = problem.solve()
    assert found.gain == pytest.approx(-B.T @ P, abs=1e-5)
    assert found.status.ok and found.status.notes == ()  # no residual: nothing is better
    assert found.states.shape == (100, 51, 2) and found.costs.shape == (1000,)
    assert abs(found.cost - np.trace(P)) < 4 * found.standard_error
    poles = np.sort_complex(np.linalg.eigvals(A - B @ B.T @ P))
    assert np.sort_complex(found.eigenvalues) == pytest.approx(poles, abs=1e-4)
    x = np.ones((3, 2))
    assert found.control(np.zeros(3), x) == pytest.approx(x @ found.gain.T)
    with pytest.raises(ValueError, match="feedback policy"):
        found.control(0.0)


def test_with_noise_the_best_gain_is_still_riccatis() -> None:
    """``dx = u dt + s dW``, cost ``E int x^2 + u^2 + x(T)^2``: u = -x whatever s."""
    problem = OptimalControl(
        lambda t, x, u: u, quadratic, lambda x: x @ x, x0=[0.0], horizon=2.0, noise=0.5,
        control=LinearGain([[-0.3]]), intervals=100,
    )  # fmt: skip
    found = problem.solve(steps=300)
    assert found.gain == pytest.approx(-1.0, abs=0.1)
    # J = s^2 P T with P = 1; common random numbers make the refined cost comparable.
    assert abs(found.cost - 0.5) < 4 * found.standard_error + 0.01
    assert abs(found.refined_cost - found.cost) < found.standard_error
    assert found.status.ok, found.status
    again = problem.solve(steps=300)
    assert again.cost == found.cost


def test_noise_that_grows_with_the_control() -> None:
    """``dx = u dt + u dW``: the variance holds the control back, E x(1) = x0 (1 - p)."""
    calm, wild = (
        OptimalControl(
            lambda t, x, u: u, None, lambda x: x @ x, x0=[1.0], horizon=1.0, intervals=20,
            noise=lambda t, x, u, b=b: b * u, control=PiecewiseConstant(1), paths=200,
        ).solve(steps=300).controls[0, 0, 0]
        for b in (1e-6, 1.0)
    )  # fmt: skip
    assert calm == pytest.approx(-1.0, abs=0.02)
    assert wild == pytest.approx(-0.5, abs=0.1)  # (1 + u)^2 + u^2


def test_a_network_swings_better_than_nothing() -> None:
    options = {"x0": norm(0.0, 0.3), "horizon": 3.0, "intervals": 30, "paths": 20}

    def swing(t, x, u):
        return jnp.sin(x) + u

    found = OptimalControl(
        swing, quadratic, control=NetworkPolicy(8, 1, time_dependent=False), **options
    ).solve(steps=200, finish=20)
    idle = OptimalControl(
        swing, quadratic, control=LinearGain([[0.0]]), **options
    ).solve(finish=0)  # fmt: skip
    assert found.cost < 0.2 * idle.cost
    assert found.spectral_abscissa < -0.5 and idle.status.kind == "unstable closed loop"
    opened = OptimalControl(
        swing, quadratic, control=Network(8, 1), **options
    ).solve(steps=50, finish=5)  # fmt: skip
    assert opened.cost > found.cost  # one plan for all states cannot do what feedback does


def test_the_books_stabilisation() -> None:
    problem = stabilise.problem()
    two, twenty = (problem.solve(rule=stabilise.ADAM(), steps=n, finish=0) for n in (2, 20))
    assert two.cost == pytest.approx(3.02, abs=0.01)
    assert two.status.kind == "unstable closed loop" and not two.status.ok
    assert two.spectral_abscissa == pytest.approx(0.038, abs=1e-3)
    assert twenty.cost == pytest.approx(1.2e-3, abs=5e-5)
    assert twenty.spectral_abscissa == pytest.approx(-0.12, abs=1e-3)
    assert twenty.spectral_abscissa == pytest.approx(stabilise.spread(twenty.gain), abs=1e-9)


def test_the_stationary_norm_of_the_scheme() -> None:
    before = sde.covariance(sde.K0)
    assert sde.mean_norm(before) == pytest.approx(1.677, abs=1e-3)
    assert np.trace(before) == pytest.approx(3.43, abs=5e-3)
    assert sde.mean_norm(sde.covariance(sde.K0, None)) == pytest.approx(1.583, abs=2e-3)
    assert sde.mean_norm(np.eye(1)) == pytest.approx(np.sqrt(2 / np.pi), rel=1e-8)
    assert sde.mean_norm(np.diag([1.0, -1.0])) == float("inf")
    z = np.random.default_rng(0).multivariate_normal(np.zeros(4), before, 200_000)
    assert np.linalg.norm(z, axis=1).mean() == pytest.approx(sde.mean_norm(before), rel=5e-3)


def test_statuses_of_problems_without_an_answer() -> None:
    options = {"horizon": 1.0, "intervals": 10}
    falling = OptimalControl(lambda t, x, u: u, lambda t, x, u: x[0], x0=[0.0], **options).solve()
    assert falling.status.kind == "unbounded" and "bounds" in falling.status.remedy
    blown = OptimalControl(
        lambda t, x, u: x**3 + u, energy, x0=[3.0], horizon=1.0, intervals=50
    ).solve(finish=0)
    assert blown.status.kind == "not finite" and not blown.status.ok
    stiff = OptimalControl(
        lambda t, x, u: -8 * x + u, quadratic, x0=[1.0], horizon=2.0, intervals=8, method=EULER
    ).solve()
    assert stiff.status.kind == "steps too coarse" and "intervals" in stiff.status.remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bounds": (1.0, 1.0)}, "low < high"),
        ({"bounds": (1.0, 0.0, 2.0)}, "a pair"),
        ({"horizon": 0.0}, "above 0"),
        ({"horizon": np.nan}, "above 0"),
        ({"x0": [np.nan]}, "finite"),
        ({"x0": "one"}, "distribution"),
        ({"dynamics": lambda t, x, u: x[:0]}, r"shape \(1,\) from dynamics"),
        ({"dynamics": lambda t, x, u: x @ np.ones(3)}, "works on one state"),
        ({"dynamics": 3}, "a function"),
        ({"running_cost": lambda t, x, u: x}, "one number from running_cost"),
        ({"running_cost": None}, "a running or a terminal cost"),
        ({"terminal_cost": lambda x: jnp.stack([x, x])}, "one number from terminal_cost"),
        ({"noise": np.ones(3)}, "finite"),
        ({"noise": lambda t, x, u: jnp.ones(3)}, "of \\(t, x, u\\)"),
        ({"noise": 0.1, "terminal_constraint": lambda x: x}, "no constraint with noise"),
        ({"control": LinearGain(np.ones((1, 3)))}, r"shape \(1, 1\)"),
        ({"control": LinearGain(np.ones(3))}, "a matrix"),
        ({"control": OutputFeedback(np.ones((1, 2)), np.ones((2, 3)))}, r"shape \(2, 1\)"),
        ({"control": LinearGain(np.ones((1, 1))), "inputs": 2}, "one number of controls"),
        ({"control": Feedback(lambda t, x: jnp.ones(3))}, "one number from|shape"),
        ({"control": PiecewiseConstant(7), "intervals": 20}, "Pass 21"),
        ({"intervals": 0}, "at least 1"),
        ({"paths": 0}, "at least 1"),
        ({"method": "rk4"}, "a tableau"),
        ({"path_constraint": lambda t, x: x}, "works on one state"),
    ],
)  # fmt: skip
def test_errors_before_any_work(change, said) -> None:
    arguments = {"dynamics": lambda t, x, u: u, "running_cost": quadratic, "x0": [1.0]}
    with pytest.raises(tk.InputError, match=said):
        OptimalControl(**(arguments | {"horizon": 1.0} | change))


def test_the_record_has_a_table_and_a_picture() -> None:
    best = scalar()
    frame = best.to_frame()
    assert list(frame.columns) == ["time", "x1", "u1", "costate1"] and len(frame) == 201
    axes = best.plot()
    assert [ax.get_title(loc="left")[:6] for ax in axes] == ["States", "Contro", "Costat"]
    assert "cost 0.761594" in str(best)


@pytest.mark.slow
def test_a_fitted_neural_ode_is_steered() -> None:
    """Learned from a driven, damped mass; the plan made with it works on the mass itself."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 6, 61)
    series, inputs = [], []
    for _ in range(6):
        a, w, phase = rng.uniform(0.5, 1.5), rng.uniform(0.5, 2.5), rng.uniform(0, 6)
        u = a * np.sin(w * t + phase)
        path = solve_ivp(
            lambda s, x, a=a, w=w, p=phase: [x[1], -x[0] - 0.5 * x[1] + a * np.sin(w * s + p)],
            (0, 6), rng.normal(size=2), t_eval=t, rtol=1e-8,
        )  # fmt: skip
        series.append(path.y.T)
        inputs.append(u[:, None])
    ode = tk.NeuralODE(members=2, steps=200, matching_steps=800, held_out=0.0, positive=False)
    ode.fit(series, [t] * 6, inputs)
    field = ode.vector_field()
    x, u = np.array([0.3, -0.4]), np.array([0.5])
    with jax.enable_x64(True):
        slope = np.asarray(field(1.0, x, u))
    assert slope == pytest.approx(ode.derivative(x, u=u)[0], abs=1e-4)

    def cost(t, x, u):
        return x @ x + 0.1 * u @ u

    # Bounds keep the plan among the inputs that training saw.
    options = {"x0": [1.0, 0.0], "horizon": 3.0, "intervals": 60, "bounds": (-1.0, 1.0)}
    plan = OptimalControl(ode, cost, **options).solve()
    mass = OptimalControl(
        lambda t, x, u: jnp.array([x[1], -x[0] - 0.5 * x[1] + u[0]]), cost, **options
    )
    best = mass.solve()
    assert plan.status.ok
    assert plan.cost == pytest.approx(best.cost, rel=0.1)
    at, steps = plan.control(best.time)[:, 0], mass.intervals

    def applied(t):
        return jnp.interp(t, best.time, at)[None]

    with mass.arithmetic():
        real = float(rollout(mass.plant, applied, mass.starts[0], steps).cost)
    assert best.cost <= real * 1.001 and real < 1.05 * best.cost


@pytest.mark.slow
def test_the_entries_reach_what_was_published(tmp_path) -> None:
    rows = {r.quantity: r.ours for r in vo.run(Task(out=tmp_path), seeds=1, dims=(4,))}
    assert rows["cost"] == pytest.approx(np.tanh(1), abs=1e-6)
    assert rows["max error in control"] < 1e-4
    assert max(v for k, v in rows.items() if k.startswith("LQ")) < 1e-4
    assert len(stabilise.run(Task(out=tmp_path))) == 8
    rows = {r.quantity: r.ours for r in sde.run(Task(out=tmp_path), seeds=1, paths=2000)}
    assert rows["stationary norm"] <= 1.03
    assert rows["simulated norm"] == pytest.approx(rows["stationary norm"], rel=0.02)
    assert {p.name for p in tmp_path.iterdir()} == {
        "du-optimal-control.png", "du-stabilise.png", "du-stabilise-sde.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "polynomial"}, "control: expected a trial or a policy"),
        ({"control": Polynomial}, "control: expected a trial or a policy"),
        ({"control": lambda t: 0.0}, "control: expected a trial or a policy"),
        ({"inputs": 1.5}, "inputs: expected a whole number"),
        ({"inputs": "a"}, "inputs: expected a whole number"),
        ({"noise": "a"}, "noise: expected a number"),
        ({"noise": [[1.0], [2.0, 3.0]]}, "noise: expected a number"),
        ({"dynamics": lambda t, x, u: 1j * x}, "dynamics: expected real numbers; got complex128"),
        ({"running_cost": lambda t, x, u: 1j * (u @ u)}, "running_cost: expected real numbers"),
        ({"terminal_constraint": lambda x: 1j * x}, "terminal_constraint: expected real numbers"),
        ({"dynamics": lambda t, x, u: jnp.array([x[2], u[0]])}, "dynamics: .*index 2 is out of"),
        ({"running_cost": lambda t, x, u: u[1] ** 2}, "running_cost: .*index 1 is out of bounds"),
        ({"path_constraint": lambda t, x, u: x[5]}, "path_constraint: .*index 5 is out of bounds"),
    ],
)
def test_what_is_no_control_problem(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "dynamics": lambda t, x, u: jnp.array([x[1], u[0]]),
        "running_cost": lambda t, x, u: u @ u,
        "x0": [0.0, 1.0],
        "horizon": 1.0,
    }
    with pytest.raises(tk.InputError, match=message):
        OptimalControl(**{**given, **options})


@pytest.mark.parametrize("how", [{"steps": 2.5}, {"finish": -1}, {"finish": "a"}])
def test_steps_are_whole_numbers(how: dict[str, Any]) -> None:  # 2.5 of them never ended
    problem = OptimalControl(lambda t, x, u: u, lambda t, x, u: u @ u, x0=[1.0], horizon=1.0)
    with pytest.raises(tk.InputError, match="expected a number of steps"):
        problem.solve(**how)


def test_a_cost_of_whole_numbers_is_a_number() -> None:
    found = OptimalControl(
        lambda t, x, u: u, lambda t, x, u: 1, x0=[1.0], horizon=2.0, intervals=4
    ).solve()
    assert found.cost == pytest.approx(2.0)


def test_bounds_do_not_catch_the_search_early() -> None:
    """Harvesting two species: Newton's first step alone would run pieces into their bounds."""

    def fish(t: Any, x: Any, u: Any) -> Any:
        prey = x[0] - x[0] * x[1] - 0.4 * x[0] * u[0]
        return jnp.array([prey, -x[1] + x[0] * x[1] - 0.2 * x[1] * u[0]])

    def away(t: Any, x: Any, u: Any) -> Any:
        return (x[0] - 1) ** 2 + (x[1] - 1) ** 2

    plan = tk.OptimalControl(
        fish, away, x0=[0.5, 0.7], horizon=12.0, control=PiecewiseConstant(60), bounds=(0, 1)
    ).solve()
    assert plan.status.ok and plan.cost == pytest.approx(1.34408, abs=1e-3)  # Sager et al. 2006


def test_a_control_that_is_too_coarse_is_told() -> None:
    plan = tk.OptimalControl(
        lambda t, x, u: u, lambda t, x, u: (x[0] - jnp.sin(9 * t)) ** 2 + 1e-3 * u @ u,
        x0=[0.0], horizon=3.0, control=Polynomial(2),
    ).solve()  # fmt: skip
    assert plan.status.kind == "not converged" and "Pontryagin residual" in plan.status.message
