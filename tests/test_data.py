"""Trajectories from arrays, clocks and scalers: what goes in comes out, or is refused in words."""

from __future__ import annotations

import datetime as dt

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from tenkai import InputError, Trajectories
from tenkai.data import Clock, Scaler, TimeScaler, can_be_log

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 2))
T = np.array([0.0, 0.5, 2.0, 2.5, 4.0, 9.0])


class TestFromArrays:
    """pysindy's ways to pass trajectories."""

    def test_one_array(self) -> None:
        data = Trajectories.from_arrays(X, T)
        assert (len(data), data.dim, data.names) == (1, 2, ("x0", "x1"))
        np.testing.assert_array_equal(data[0].t, T)
        np.testing.assert_array_equal(data["0"].x, X)

    def test_times_by_step_and_by_default(self) -> None:
        np.testing.assert_allclose(Trajectories.from_arrays(X, 0.1)[0].t, 0.1 * np.arange(6))
        np.testing.assert_array_equal(Trajectories.from_arrays(X)[0].t, np.arange(6))

    def test_one_variable(self) -> None:
        np.testing.assert_array_equal(Trajectories.from_arrays(X[:, 0], T)[0].x, X[:, :1])
        listed = Trajectories.from_arrays([1.0, 2.0, 4.0], [0, 1, 2])
        np.testing.assert_array_equal(listed[0].x, [[1], [2], [4]])

    def test_several_series_of_different_lengths(self) -> None:
        data = Trajectories.from_arrays([X, X[:4]], [T, T[:4]], ids=["a", "b"], static=[[1], [2]])
        assert [len(s) for s in data] == [6, 4]
        assert data["b"].static is not None
        assert data["b"].static.tolist() == [2]
        shared = Trajectories.from_arrays([X, X], T)
        np.testing.assert_array_equal(shared[1].t, T)
        stepped = Trajectories.from_arrays([X, X[:4]], 0.5)
        assert stepped[1].t[-1] == 1.5

    def test_a_frame_gives_the_names(self) -> None:
        data = Trajectories.from_arrays(pd.DataFrame(X, columns=["a", "b"]), T)
        assert data.names == ("a", "b")

    def test_masked_entries_are_not_observed(self) -> None:
        masked = np.ma.array(X, mask=False)
        masked[1, 0] = np.ma.masked
        one = Trajectories.from_arrays(masked, T)[0]
        assert not one.observed[1, 0]
        assert one.observed.sum() == 11

    def test_inputs(self) -> None:
        u = np.arange(6.0)
        varying = Trajectories.from_arrays(X, T, u, input_names=["heat"])
        np.testing.assert_array_equal(varying["0"].u, u[:, None])
        assert (varying.n_inputs, varying.input_names) == (1, ("heat",))
        constant = Trajectories.from_arrays([X, X[:4]], None, [[1.0, 2.0], [3.0, 4.0]])
        np.testing.assert_array_equal(constant[1].u, np.tile([3.0, 4.0], (4, 1)))
        np.testing.assert_array_equal(Trajectories.from_arrays(X, T, 7.0)[0].u, np.full((6, 1), 7))

    def test_unsorted_rows_are_sorted_with_a_note(self) -> None:
        order = RNG.permutation(6)
        data = Trajectories.from_arrays(X[order], T[order])
        np.testing.assert_array_equal(data[0].x, X)
        assert "sorted" in data.notes[0]

    def test_dates(self) -> None:
        days = np.array(["2020-01-01", "2020-01-02", "2020-03-13"], dtype="datetime64[D]")
        for t in (days, pd.DatetimeIndex(days), [d.item() for d in days]):
            data = Trajectories.from_arrays(X[:3], t)
            assert data.clock == Clock("date")
            np.testing.assert_array_equal(data[0].t, [18262, 18263, 18334])

    def test_short_series_only_to_forecast_from(self) -> None:
        data = Trajectories.from_arrays([X, X[:1]], 1.0)
        assert [s.id for s in data] == ["0"]
        assert "'1'" in data.notes[0]
        assert len(Trajectories.from_arrays([X, X[:1]], 1.0, learn=False)) == 2

    def test_arrays_are_read_only_and_the_callers_untouched(self) -> None:
        mine = X.copy()
        one = Trajectories.from_arrays(mine, T)[0]
        with pytest.raises(ValueError, match="read-only"):
            one.x[0] = 0
        mine[0] = 7
        np.testing.assert_array_equal(one.x, X)

    @pytest.mark.parametrize(
        ("arguments", "pattern"),
        [
            ((X[None], T), r"x: .*\(time, dim\).*shape \(1, 6, 2\)"),
            (([],), "at least one series"),
            ((np.empty((0, 2)),), "at most 0 observed times"),
            ((["a", "b", "c"],), "x: expected numbers"),
            ((X, T[:5]), "t: expected 6 times"),
            (([X, X[:4]], [T, T]), "t of series 1: expected 4 times"),
            (([X, X], [T]), r"t: expected one per series \(2\); got 1"),
            (([X, X[:, :1]], T), "same number of columns.*1, 2"),
            ((X, np.where(T == 4, np.nan, T)), "'time'.*nothing in row 4"),
            ((X, np.where(T == 4, np.inf, T)), "'time'.*inf in row 4"),
            ((X, np.where(T == 4, 2.5, T)), "'x0' at time 2.5.*row 3 and row 4"),
            ((X, -1.0), "positive step"),
            ((X, "soon"), "positive step"),
            ((X, ["a"] * 6), "times: expected numbers; got 'a'"),
            ((X, [dt.date(2020, 1, 1), *"abcde"]), "times: expected dates.*got 'a'"),
            ((np.where(X[3, 1] == X, np.inf, X), T), "'x1'.*inf in row 3"),
            (([X, np.where(X[3, 1] == X, -np.inf, X)], T), "'x1'.*-inf in row 3 of series '1'"),
            ((X, T, np.ones((5, 1))), "u: expected 6 rows"),
            ((X, T, "warm"), "u: expected numbers"),
            ((X, T, np.full(6, np.nan)), "'u0'.*none in series '0'"),
            ((np.full((6, 1), np.nan), T), "'x0'.*observed values; got none"),
            ((np.ones((6, 1)), T), "only constant values"),
        ],
    )
    def test_refusals(self, arguments, pattern) -> None:
        with pytest.raises(InputError, match=pattern) as caught:
            Trajectories.from_arrays(*arguments)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "pattern"),
        [
            ({"names": ["a"]}, "names"),
            ({"names": ["a", "a"]}, "different names"),
            ({"ids": ["a", "b"]}, "ids"),
            ({"static": [[1.0], [2.0]]}, "static"),
            ({"hold": "spline"}, "'linear' or 'previous'"),
            ({"units": {"z": "m"}}, "units of 'z'"),
        ],
    )
    def test_refused_options(self, options, pattern) -> None:
        with pytest.raises(InputError, match=pattern):
            Trajectories.from_arrays(X, T, **options)

    def test_unknown_series(self) -> None:
        with pytest.raises(InputError, match="'a', 'b'"):
            Trajectories.from_arrays([X, X], T, ids=["a", "b"])["c"]


class TestClock:
    """Days in float64 lose nothing above a microsecond."""

    def test_round_trip_of_dates(self) -> None:
        microseconds = RNG.integers(-(2**51), 2**51, 1000)  # 71 years to both sides
        dates = microseconds.astype("datetime64[us]").astype("datetime64[ns]")
        clock = Clock("date")
        np.testing.assert_array_equal(clock.decode(clock.encode(dates)), dates)
        assert clock.unit == "days"

    def test_round_trip_of_numbers(self) -> None:
        clock = Clock()
        np.testing.assert_array_equal(clock.decode(clock.encode([1900, 1901])), [1900.0, 1901.0])
        assert clock.unit == ""

    def test_missing_dates_stay_missing(self) -> None:
        assert np.isnat(Clock("date").decode([np.nan, 0.0])).tolist() == [True, False]

    @pytest.mark.parametrize(
        ("value", "days"),
        [
            (10, 10),
            ("10", 10),
            ("10D", 10),
            ("36h", 1.5),
            (dt.timedelta(hours=6), 0.25),
            (np.timedelta64(12, "h"), 0.5),
            (pd.Timedelta("2D"), 2),
            ("2MS", 60),
        ],
    )
    def test_horizons(self, value, days) -> None:
        assert Clock("date").horizon(value, start=18262.0) == days  # 2020-01-01, a leap year

    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "-3D", "soon", None])
    def test_refused_horizons(self, value) -> None:
        with pytest.raises(InputError, match="horizon: expected"):
            Clock("date").horizon(value)

    def test_offsets_need_dates(self) -> None:
        assert Clock().horizon("2.5") == 2.5
        with pytest.raises(InputError, match="a number; got '10D'"):
            Clock().horizon("10D")

    def test_dates_out_of_range_are_refused(self) -> None:
        with pytest.raises(InputError, match="1680 to 2260"):
            Clock("date").decode([1e6])


class TestScaler:
    """``inverse(forward(x)) == x``, in NumPy and in JAX."""

    x = np.exp(RNG.standard_normal((50, 3))) * [1.0, 1e6, 1e-6]

    @pytest.mark.parametrize("positive", [None, [True, False, True]])
    def test_inverse(self, positive) -> None:
        scaler = Scaler.fit(self.x, positive)
        z = scaler.forward(self.x)
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(z.std(axis=0), 1)
        np.testing.assert_allclose(scaler.inverse(z), self.x, rtol=1e-12)

    def test_gaps_do_not_count(self) -> None:
        gaps = np.concatenate([self.x, np.full((7, 3), np.nan)])
        scaler = Scaler.fit(gaps, [True, False, True])
        np.testing.assert_allclose(np.stack(scaler), np.stack(Scaler.fit(self.x, scaler.positive)))
        assert np.isnan(scaler.forward(gaps)[-1]).all()

    def test_constants_and_nothing(self) -> None:
        x = np.stack([np.full(5, 1e9 / 3), np.zeros(5), np.full(5, np.nan)], axis=1)
        assert Scaler.fit(x).scale.tolist() == [1, 1, 1]

    def test_jax_and_its_gradients(self) -> None:
        x = self.x[0] * [1, -1, 1]
        scaler = Scaler.fit(self.x, [True, False, True])
        assert len(jax.tree.leaves(scaler)) == 3
        z = jax.jit(lambda s, x: s.forward(x, jnp))(scaler, x)
        np.testing.assert_allclose(z, scaler.forward(x), rtol=1e-5)
        there_and_back = jax.grad(lambda v: scaler.inverse(scaler.forward(v, jnp), jnp).sum())
        np.testing.assert_allclose(there_and_back(jnp.asarray(x, "float32")), 1, rtol=1e-4)

    def test_files(self) -> None:
        scaler = Scaler.fit(self.x, [True, False, True])
        for one, other in zip(Scaler.from_dict(scaler.to_dict()), scaler, strict=True):
            np.testing.assert_array_equal(one, other)
        time = TimeScaler.fit([T])
        assert TimeScaler.from_dict(time.to_dict()) == time

    def test_identity(self) -> None:
        np.testing.assert_array_equal(Scaler.identity(3).forward(self.x), self.x)

    def test_time(self) -> None:
        scaler = TimeScaler.fit([T + 1900, T[:3] + 1895])
        assert scaler == (1895, 9)
        np.testing.assert_allclose(scaler.inverse(scaler.forward(T)), T, atol=1e-12)
        assert TimeScaler.fit([np.array([3.0])]).scale == 1

    def test_what_can_be_log(self) -> None:
        x = np.array([[1.0, 0.0, np.nan, np.nan], [np.nan, 2.0, np.nan, 3.0]])
        assert can_be_log(x).tolist() == [True, False, False, True]
