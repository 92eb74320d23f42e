"""Equilibria, cycles and sensitivities of flows whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import tenkai as tk
from tenkai.analysis import find_equilibria, sensitivities
from tenkai.analysis.region import scattered
from tenkai.data import Scaler, TimeScaler, Trajectories
from tenkai.models.ensemble import Ensemble
from tenkai.models.trajectory import RawField
from tenkai.records import Equilibria
from tenkai.report.portrait import mark_of

Rhs = Callable[[Any, Any, Any], Any]


class Known(eqx.Module):
    """A field with known parameters."""

    p: Any
    rhs: Rhs = eqx.field(static=True)

    def __call__(self, t: Any, y: Any, u: Any = None) -> Any:
        return jnp.stack(self.rhs(y, self.p, t if u is None else u))


def lotka_volterra(y, p, _):
    return [p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]]


def van_der_pol(y, p, _):
    return [y[1], p[0] * (1 - y[0] ** 2) * y[1] - y[0]]


def pendulum(y, p, _):
    return [y[1], -p[0] * jnp.sin(y[0]) - p[1] * y[1]]


def lorenz(y, p, _):
    return [p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]]


def linear(y, p, _):
    return [p[0] * y[0] + p[1] * y[1], p[2] * y[0] + p[3] * y[1]]


def hopf(y, p, _):
    """In polar coordinates ``r' = r (r^2 - p0) (p1 - r^2)``, turning once per 2 pi."""
    square = y[0] ** 2 + y[1] ** 2
    pull = (square - p[0]) * (p[1] - square)
    return [pull * y[0] - y[1], pull * y[1] + y[0]]


def ensemble_of(
    rhs: Rhs,
    members: Any,
    data: Trajectories,
    positive: Any = None,
    *,
    inputs: Scaler | None = None,
    step: float = 1 / 80,
) -> Ensemble:
    """Three members that know the equation, with a row of parameters each or the same for all."""
    time = TimeScaler.fit(s.t for s in data)
    state = Scaler.fit(np.concatenate([s.x for s in data]), positive)
    rows = np.broadcast_to(np.asarray(members, float), (3, np.shape(members)[-1]))
    fields = [RawField(Known(p, rhs), state, time, inputs) for p in rows]
    stacked = jax.tree.map(lambda *a: np.stack(a), *fields)
    starts = np.stack([state.forward(s.x[0]) for s in data]).astype(np.float32)
    many = np.tile(starts, (len(rows), 1, 1))
    trusted = np.ones(len(rows), bool)
    return Ensemble(stacked, many, trusted, state, time, inputs, False, step)


def found_in(
    rhs: Rhs, members: Any, data: Trajectories, positive: Any = None, **options: Any
) -> Equilibria:
    return find_equilibria(ensemble_of(rhs, members, data, positive), data, **options)


PREY = tk.toys.sample("lotka_volterra", 60)
RELAXATION = tk.toys.sample("van_der_pol", 60)
SWING = tk.toys.sample("damped_pendulum", 60)
WHEEL = Trajectories.from_arrays(
    np.stack([np.cos(np.arange(60) / 4), np.sin(np.arange(60) / 4)], 1), np.arange(60) / 4
)
TRUE = (1.5, 1.0, 1.0, 0.5)


# --- equilibria ---


@pytest.mark.parametrize("positive", [None, (True, True)])
def test_lotka_volterra_has_its_centre(positive: Any) -> None:
    found = found_in(lotka_volterra, TRUE, PREY, positive)
    centre = found[0]
    assert centre.kind == "centre"
    assert centre.stable is None
    assert centre.inside
    np.testing.assert_allclose(centre.point, [2.0, 1.5], rtol=1e-8)
    np.testing.assert_allclose(sorted(centre.eigenvalues.imag), [-(1.5**0.5), 1.5**0.5], rtol=1e-8)
    np.testing.assert_allclose(centre.eigenvalues.real, 0, atol=1e-10)
    # The origin is a saddle, which a log scale cannot hold.
    assert [e.kind for e in found] == (["centre", "saddle"] if positive is None else ["centre"])


def test_closed_paths_around_a_centre_are_no_limit_cycle() -> None:
    found = found_in(lotka_volterra, TRUE, PREY)
    assert found.cycles == ()
    assert "paths close without a limit cycle" in found.notes[0]


def test_a_pendulum_hangs_or_stands() -> None:
    found = found_in(pendulum, (2.0, 0.2), SWING)
    assert [e.kind for e in found] == ["stable focus", "saddle", "saddle"]
    assert [e.stable for e in found] == [True, False, False]
    assert [e.inside for e in found] == [True, False, False]
    angles = sorted(float(e.point[0]) for e in found)
    np.testing.assert_allclose(angles, [-np.pi, 0, np.pi], atol=1e-7)
    up = np.roots([1, 0.2, -2.0])
    np.testing.assert_allclose(np.sort(found[1].eigenvalues.real), np.sort(up), rtol=1e-6)
    assert found.cycles == ()
    assert "comes to rest at the stable focus" in found.notes[0]


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        ((-1, 0, 0, -2), "stable node"),
        ((1, 0, 0, 2), "unstable node"),
        ((1, 0, 0, -2), "saddle"),
        ((-0.1, 1, -1, -0.1), "stable focus"),
        ((0.1, 1, -1, 0.1), "unstable focus"),
        ((0, 1, -1, 0), "centre"),
        ((0, 1, 0, -1), "degenerate"),
    ],
)
def test_kinds_of_linear_systems(matrix: Any, kind: str) -> None:
    found = found_in(linear, matrix, WHEEL)
    assert [e.kind for e in found] == [kind]
    if kind != "degenerate":
        np.testing.assert_allclose(found[0].point, 0, atol=1e-8)
        expected = np.linalg.eigvals(np.reshape(matrix, (2, 2)).astype(float))
        np.testing.assert_allclose(
            np.sort_complex(found[0].eigenvalues), np.sort_complex(expected), atol=1e-8
        )


def test_a_line_of_equilibria_is_said_to_be_one() -> None:
    found = found_in(linear, (0, 1, 0, -1), WHEEL)
    assert len(found) == 1
    assert "fill a curve" in found.notes[0]


def test_no_equilibrium_is_said() -> None:
    drift = found_in(lambda y, p, _: [p[0] + 0 * y[0], y[0]], (1.0,), WHEEL)
    assert len(drift) == 0
    assert drift.notes[0] == "no equilibrium in the searched box"
    assert "leaves the searched region" in drift.notes[1]
    assert str(drift).startswith("no equilibria, no limit cycles")


def test_members_that_disagree_are_counted() -> None:
    """``x' = p0 - x^2`` loses its equilibria where a member's p0 falls below zero."""
    data = Trajectories.from_arrays(np.linspace(-0.5, 2, 20)[:, None], np.linspace(0, 4, 20))
    fold = found_in(lambda y, p, _: [p[0] - y[0] ** 2], [[1.0], [1.44], [-0.5]], data)
    assert [(e.kind, e.members) for e in fold] == [("stable node", 2), ("unstable node", 2)]
    root = (1.94 / 3) ** 0.5  # of the mean field
    np.testing.assert_allclose(fold[0].point, root, rtol=1e-8)
    np.testing.assert_allclose(fold[0].spread, 0.1, rtol=1e-6)  # of 1.0 and 1.2
    np.testing.assert_allclose(fold[0].eigenvalues, -2 * root, rtol=1e-8)


def test_a_sign_that_members_dispute_is_undecided() -> None:
    rows = [(0.05, 1, -1, 0.05), (-0.02, 1, -1, -0.02), (0.1, 1, -1, 0.1)]
    focus = found_in(linear, rows, WHEEL)[0]
    assert (focus.kind, focus.stable, focus.members) == ("undecided focus", None, 3)
    assert mark_of(focus) == "square"
    np.testing.assert_allclose(focus.eigenvalue_spread.real, np.std([0.05, -0.02, 0.1]), rtol=1e-6)


def test_members_that_are_not_trusted_do_not_count() -> None:
    from dataclasses import replace

    whole = ensemble_of(lotka_volterra, [TRUE, (9.0, 1.0, 1.0, 0.5), (np.nan,) * 4], PREY)
    found = find_equilibria(replace(whole, trusted=np.array([True, False, False])), PREY)
    np.testing.assert_allclose(found[0].point, [2.0, 1.5], rtol=1e-8)
    assert (found[0].members, found.trusted) == (1, 1)


def test_the_box_is_where_roots_are_looked_for() -> None:
    wide = found_in(pendulum, (2.0, 0.2), SWING, box=[(-10, 10), (-1, 1)])
    angles = sorted(float(e.point[0]) for e in wide)
    np.testing.assert_allclose(angles, np.arange(-3, 4) * np.pi, atol=1e-6)
    for box in ([(-1, 1)], [(1, -1), (0, 1)]):
        with pytest.raises(tk.InputError, match="box"):
            found_in(pendulum, (2.0, 0.2), SWING, box=box)
    with pytest.raises(tk.InputError, match="log scale"):
        found_in(lotka_volterra, TRUE, PREY, (True, True), box=[(0, 1), (1, 2)])


def test_inputs_are_held() -> None:
    """``x' = u - x`` rests at u."""
    t = np.linspace(0, 5, 30)
    data = Trajectories.from_arrays(
        np.sin(t)[:, None], t, np.cos(t)[:, None], input_names=["drive"]
    )
    scaler = Scaler.fit(np.cos(t)[:, None])
    driven = ensemble_of(lambda y, p, u: [p[0] * (u[0] - y[0])], (1.0,), data, inputs=scaler)
    resting = find_equilibria(driven, data)
    np.testing.assert_allclose(resting[0].point, np.cos(t).mean(), atol=1e-9)
    np.testing.assert_allclose(find_equilibria(driven, data, u=0.25)[0].point, 0.25)
    assert "drive = " in str(resting)
    with pytest.raises(tk.InputError, match="drive"):
        find_equilibria(driven, data, u=[1.0, 2.0])
    with pytest.raises(tk.InputError, match="without inputs"):
        found_in(pendulum, (2.0, 0.2), SWING, u=1.0)


def test_a_field_that_reads_the_time_has_no_equilibria() -> None:
    forced = ensemble_of(lambda y, p, t: [y[1], p[0] * jnp.sin(t) - y[0]], (1.0,), WHEEL)
    with pytest.raises(tk.InputError, match="read the time"):
        find_equilibria(forced, WHEEL)


def test_starts_are_spread_evenly() -> None:
    points = scattered(np.zeros(2), np.ones(2), 256)
    counts = np.histogram2d(*points.T, bins=8, range=[[0, 1], [0, 1]])[0]
    assert counts.min() >= 2
    assert counts.max() <= 6


# --- limit cycles ---


def test_van_der_pol_has_its_cycle() -> None:
    found = found_in(van_der_pol, [[1.0], [1.1], [0.9]], RELAXATION)
    assert [e.kind for e in found] == ["unstable focus"]
    np.testing.assert_allclose(found[0].point, 0, atol=1e-9)
    np.testing.assert_allclose(found[0].eigenvalues, [0.5 - 0.75**0.5 * 1j, 0.5 + 0.75**0.5 * 1j])
    (cycle,) = found.cycles
    assert abs(cycle.period - 6.6633) < 2e-4  # Strogatz, exercise 7.6; Andersen and Geer 1982
    assert 0 < cycle.period_spread < 0.1
    assert (cycle.stable, cycle.members, cycle.inside) == (True, 3, True)
    assert abs(np.abs(cycle.orbit[:, 0]).max() - 2.0086) < 1e-3
    np.testing.assert_allclose(cycle.orbit[0], cycle.orbit[-1], atol=1e-7)
    # Liouville: the multipliers' product is exp of the integrated divergence mu (1 - x^2).
    divergence = 1 - cycle.orbit[:, 0] ** 2
    integral = np.trapezoid(divergence, np.linspace(0, cycle.period, len(divergence)))
    np.testing.assert_allclose(cycle.multipliers[0].real, np.exp(integral), rtol=1e-3)
    assert "limit cycle (stable): period 6.66" in str(found)
    assert list(cycle.to_frame().columns) == ["time", "y", "v"]


def test_an_unstable_cycle_is_found_backwards() -> None:
    """Circles of radius sqrt(.25), unstable, and 1, stable, around a stable focus."""
    found = found_in(hopf, (0.25, 1.0), WHEEL)
    assert [e.kind for e in found] == ["stable focus"]
    radii = {c.stable: float(np.linalg.norm(c.orbit, axis=1).mean()) for c in found.cycles}
    assert set(radii) == {True, False}
    np.testing.assert_allclose([radii[True], radii[False]], [1.0, 0.5], rtol=1e-6)
    for cycle in found.cycles:
        np.testing.assert_allclose(cycle.period, 2 * np.pi, rtol=1e-7)
        square = 1.0 if cycle.stable else 0.25  # d(r')/dr there, times the period
        slope = 2 * square * (1.25 - 2 * square)
        np.testing.assert_allclose(cycle.multipliers, np.exp(2 * np.pi * slope), rtol=1e-5)


@pytest.mark.parametrize("damping", [-1e-3, -0.02, -0.3])
def test_a_decaying_spiral_is_no_cycle(damping: float) -> None:
    found = found_in(linear, (damping, 1, -1, damping), WHEEL)
    assert found[0].kind == "stable focus"
    assert found.cycles == ()
    assert found.notes[0].startswith("no limit cycle found")


def test_a_chaotic_path_is_no_cycle() -> None:
    t = np.linspace(0, 30, 600)
    data = Trajectories.from_arrays(tk.toys.truth("lorenz", t), t)
    ensemble = ensemble_of(lorenz, (10, 28, 8 / 3), data, step=1 / 2400)
    found = find_equilibria(ensemble, data)
    assert found.cycles == ()
    assert "neither at rest nor periodic" in found.notes[0]
    places = sorted(tuple(np.round(e.point, 4)) for e in found)
    wing = round(72**0.5, 4)
    assert places == [(-wing, -wing, 27.0), (0.0, 0.0, 0.0), (wing, wing, 27.0)]


# --- sensitivities ---


def test_a_linear_system_moves_as_its_exponential() -> None:
    a = np.array([[-0.1, 1.2], [-0.9, 0.05]])
    t = np.linspace(1, 7, 50)
    data = Trajectories.from_arrays(np.stack([expm(a * (s - 1)) @ [1.0, 0.5] for s in t]), t)
    (one,) = sensitivities(ensemble_of(linear, a.ravel(), data), data, [0])
    expected = np.stack([expm(a * (s - 1)) for s in t])
    np.testing.assert_allclose(np.asarray(one), expected, atol=3e-6)
    np.testing.assert_allclose(one.spread, 0, atol=1e-12)
    scale = data[0].x.std(0)
    standard = expected[-1] * scale / scale[:, None]
    exponent = np.log(np.linalg.svd(standard)[1][0]) / 6
    np.testing.assert_allclose(one.exponent, exponent, atol=1e-6)
    assert not one.grows


def test_an_unstable_system_doubles_its_errors() -> None:
    t = np.linspace(0, 4, 30)
    data = Trajectories.from_arrays(np.exp(0.7 * t)[:, None], t)
    growing = ensemble_of(lambda y, p, _: [p[0] * y[0]], (0.7,), data)
    (one,) = sensitivities(growing, data, [0])
    np.testing.assert_allclose(one.doubling_time, np.log(2) / 0.7, rtol=1e-6)
    np.testing.assert_allclose(one.growth, np.exp(0.7 * t), rtol=1e-6)
    np.testing.assert_allclose(one.horizon, np.log(1 / one.start_error) / 0.7, rtol=1e-6)
    assert one.grows
    assert "double every 0.99" in str(one)


def test_raw_sensitivities_do_not_depend_on_the_scale() -> None:
    raw, log = (
        sensitivities(ensemble_of(lotka_volterra, TRUE, PREY, scale), PREY, [0])[0]
        for scale in (None, (True, True))
    )
    np.testing.assert_allclose(np.asarray(raw), np.asarray(log), atol=2e-3, rtol=2e-3)


def test_series_do_not_move_each_other() -> None:
    both = tk.toys.sample("lotka_volterra", 30, series=2)
    ensemble = ensemble_of(lotka_volterra, TRUE, both)
    together = sensitivities(ensemble, both, [0, 1])
    alone = sensitivities(ensemble, both, [1], np.array([0.0, 5.0, 14.0]))[0]
    assert len(together) == 2
    np.testing.assert_allclose(alone.jacobian[0], np.eye(2), atol=1e-12)
    np.testing.assert_allclose(alone.jacobian[-1], together[1].jacobian[-1], rtol=2e-3)
    with pytest.raises(tk.InputError, match="times from"):
        sensitivities(ensemble, both, [0], np.array([-1.0]))


def test_lorenz_errors_grow() -> None:
    t = np.linspace(0, 12, 120)
    data = Trajectories.from_arrays(tk.toys.truth("lorenz", t), t, names=("x", "y", "z"))
    ensemble = ensemble_of(lorenz, (10, 28, 8 / 3), data, step=1 / 800)
    (one,) = sensitivities(ensemble, data, [0])
    assert one.grows
    assert 0.6 < one.exponent < 1.5  # .906 over a long time (Sprott 2003, table 4.1)
    assert one.horizon < 12
    frame = one.to_frame()
    assert len(frame) == 120 * 9
    row = frame[(frame["variable"] == "z") & (frame["start variable"] == "x")].iloc[-1]
    assert row["value"] == one.jacobian[-1, 2, 0]


# --- records, pictures and the estimator ---


def test_the_table_and_the_frame_agree() -> None:
    found = found_in(pendulum, [(2.0, 0.2), (2.1, 0.2), (2.1, 0.2)], SWING)
    frame = found.to_frame()
    assert list(frame["kind"]) == [e.kind for e in found]
    assert frame["angle"].iloc[1] == found[1].point[0]
    text = str(found)
    assert text.splitlines()[0] == "3 equilibria, no limit cycles"
    assert "3 of 3" in text
    assert "-0.1 ± (1.434 ± 0.017)i" in text  # the real part is that of every member


def test_marks_are_those_of_textbooks() -> None:
    ax = found_in(pendulum, (2.0, 0.2), SWING).plot()
    looks = {line.get_label(): line for line in ax.lines}
    assert looks["stable focus"].get_markerfacecolor() != "white"
    assert looks["saddle"].get_marker() == "X"
    cycle = found_in(hopf, (0.25, 1.0), WHEEL).plot()
    styles = {line.get_label(): line.get_linestyle() for line in cycle.lines}
    assert styles["stable limit cycle"] == "-"
    assert styles["unstable limit cycle"] == "--"


def test_one_variable_is_drawn_as_a_rate() -> None:
    data = Trajectories.from_arrays(np.linspace(-0.5, 2, 20)[:, None], np.linspace(0, 4, 20))
    ax = found_in(lambda y, p, _: [p[0] - y[0] ** 2], (1.0,), data).plot()
    rate = ax.lines[1]
    np.testing.assert_allclose(rate.get_ydata(), 1 - rate.get_xdata() ** 2, atol=1e-6)


@pytest.fixture(scope="module")
def fitted() -> tk.NeuralODE:
    data = tk.toys.sample("lotka_volterra", 30, noise=0.05, seed=0)
    return tk.NeuralODE(members=2, steps=20, matching_steps=50, held_out=0.0, seed=0).fit(data)


def test_a_network_stands_still_where_its_derivative_is_zero(fitted: tk.NeuralODE) -> None:
    found = fitted.equilibria()
    assert found.trusted == 2
    assert len(found) >= 1
    for e in found:
        assert np.abs(fitted.derivative(e.point)).max() < 1e-4
        assert found.derivative is not None
        assert np.abs(found.derivative(e.point[None])).max() < 1e-7
    assert found.plot().get_xlabel() == "prey"


def test_the_page_has_the_table_and_the_marks(fitted: tk.NeuralODE, tmp_path: Any) -> None:
    from tenkai import report

    text = report.html(fitted, tmp_path / "report.html").read_text(encoding="utf-8")
    found = fitted.equilibria()
    assert "Equilibria and limit cycles" in text
    assert f"<td>{found[0].kind}</td>" in text
    assert f'"name": "{found[0].kind}"' in text


def test_a_network_that_reads_the_time_has_a_page_without(tmp_path: Any) -> None:
    from tenkai import report

    small = {"members": 2, "steps": 5, "matching_steps": 20, "held_out": 0.0}
    timed = tk.NeuralODE(**small, time_dependent=True).fit(tk.toys.sample("oscillator", 20))
    with pytest.raises(tk.InputError, match="time_dependent=False"):
        timed.equilibria()
    text = report.html(timed, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Equilibria and limit cycles" not in text


def test_a_network_knows_how_its_path_moves(fitted: tk.NeuralODE) -> None:
    """Against the path from a moved start state, both of one member at a time."""
    one = fitted.sensitivity(t=[0.0, 2.0])
    assert isinstance(one, tk.records.Sensitivity)
    np.testing.assert_allclose(one.jacobian[0], np.eye(2), atol=1e-6)
    start, step = np.asarray(fitted.reconstruct(t=[0.0]))[0], 1e-2
    moved = np.stack(
        [
            np.asarray(fitted.simulate(start + d, [0.0, 2.0]))[1]
            - np.asarray(fitted.simulate(start - d, [0.0, 2.0]))[1]
            for d in step * np.eye(2)
        ],
        axis=1,
    )
    np.testing.assert_allclose(one.jacobian[1], moved / (2 * step), rtol=0.15, atol=0.05)
    assert one.plot().get_yscale() == "log"
