"""Latent ODEs and classifiers as problems that `profile` measures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import tenkai as tk
from tenkai.errors import InputError
from tenkai.profile import profilable


def test_a_classifier_is_the_solve_from_stem_to_head():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    clf = tk.ODEClassifier(steps=20, width=4).fit(x, np.hypot(*x.T) < 1)
    problem = profilable(clf, x)
    ends = clf.with_tolerance(1e-7).hidden(x, 1.0)
    for start, end in zip(problem.y0[:3], ends[0], strict=False):
        solved = solve_ivp(
            lambda t, y: np.asarray(problem.field(t, y)), problem.span, start, rtol=1e-7, atol=1e-7
        )
        np.testing.assert_allclose(solved.y[:, -1], end, atol=1e-4)
    with pytest.raises(InputError, match="rows to classify"):
        profilable(clf)


def test_a_latent_ode_is_its_series_from_their_beliefs():
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 3, rng.integers(5, 12))) for _ in range(20)]
    series = [np.sin(t + rng.uniform(0, 6)) for t in times]
    lat = tk.LatentODE(latent=3, steps=20).fit(series, times)
    problem = profilable(lat)
    np.testing.assert_allclose(problem.y0, lat.encode().mean, rtol=1e-6)
    spans = np.array([t[-1] - t[0] for t in times])
    np.testing.assert_allclose(problem.span[:, 1], spans / np.median(spans), rtol=1e-6)
    assert 0 < problem.tolerance <= 0.1
