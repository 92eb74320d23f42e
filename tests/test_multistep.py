"""The solver of packed rows: its order, its starts, rows side by side; encoders and bounds too."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.sequences.latent import LatentModel
from tenkai.sequences.multistep import between, knots, weights
from tenkai.sequences.objectives import summed, terms
from tenkai.sequences.packing import Rows, Shape, Spell, abreast, pack


def spells(count: int = 30, seed: int = 0) -> list[Spell]:
    rng = np.random.default_rng(seed)
    made = []
    for n in rng.integers(2, 25, count):
        x = rng.normal(size=(n, 2))
        x[rng.uniform(size=x.shape) < 0.2] = np.nan
        t = np.cumsum(rng.exponential(0.1, n))
        made.append(Spell(t - t[0], x, seen=rng.uniform(size=x.shape) < 0.7))
    return made


def solved(field, rows: Rows, z0: np.ndarray) -> np.ndarray:
    """States at the slots out of `z0` (rows, places, latent), in float64."""

    @jax.jit
    @jax.vmap
    def run(row: Rows, z0: jax.Array) -> jax.Array:
        begun = z0[jnp.maximum(row.start, 0)]
        ends = row.since + row.length
        found = knots(field, begun, row.start >= 0, ends, row.length, row.phase)
        return between(found, row.step, row.length, row.part)

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, "d") if a.dtype.kind == "f" else a, rows)
        return np.asarray(run(wide, jnp.asarray(z0, "d")))


def turning(t, y, u=None):
    """``y'' = -y`` with a clock: solved by ``(cos, -sin)(t + phase)``, times ``exp(sin t)``."""
    return jnp.stack([y[1], -y[0]]) + jnp.cos(t) * y


def exact(t: np.ndarray, z0: np.ndarray) -> np.ndarray:
    c, s = np.cos(t), np.sin(t)
    turned = np.stack([c * z0[..., 0] + s * z0[..., 1], c * z0[..., 1] - s * z0[..., 0]], axis=-1)
    return turned * np.exp(np.sin(t))[..., None]


def worst(longest: float, series: list[Spell]) -> float:
    """The largest miss of packed paths, each out of a state of its own."""
    rows = pack(series, longest)
    z0 = np.random.default_rng(1).normal(size=(*rows.begin.shape, 2))
    own = np.take_along_axis(z0, np.maximum(rows.owner, 0)[..., None], axis=1)
    miss = np.abs(solved(turning, rows, z0) - exact(rows.t, own)).max(axis=-1)
    return float(miss[rows.owner >= 0].max())


def test_packed_paths_are_of_fourth_order_wherever_they_start():
    """The cubic between steps is of order 4; what remains of float32 grids is below 1e-6."""
    series = spells()
    found = [worst(h, series) for h in (0.2, 0.1, 0.05)]
    orders = np.log2([a / b for a, b in itertools.pairwise(found)])
    assert orders.min() > 3.5
    assert found[-1] < 3e-5


def test_weights_integrate_polynomials_exactly():
    predict, correct = weights()
    assert np.allclose(predict[1:].sum(1), 1) and np.allclose(correct[1:].sum(1), 1)
    assert not predict[0].any() and not correct[0].any()
    # Of equal steps the textbook's numbers (Hairer, Noersett and Wanner 1993, III.1).
    np.testing.assert_allclose(24 * predict[-1], [55, -59, 37, -9], atol=1e-9)
    np.testing.assert_allclose(720 * correct[-1], [251, 646, -264, 106, -19], atol=1e-9)


def test_a_series_path_depends_neither_on_its_neighbours_nor_on_its_end():
    one = Spell(np.array([0.0, 0.31, 0.5, 1.0]), np.zeros((4, 2)))
    longer = Spell(np.array([0.0, 0.31, 0.5, 1.0, 2.0]), np.zeros((5, 2)))
    start = np.array([1.0, -0.5])

    def path(series: list[Spell], which: int) -> np.ndarray:
        rows = pack(series, 0.1)
        z0 = np.tile(start, (*rows.begin.shape, 1))
        found = solved(turning, rows, z0)
        ((r, p),) = np.argwhere(rows.index == which)
        return found[r, rows.begin[r, p] : rows.begin[r, p] + 4]

    alone = path([one], 0)
    np.testing.assert_allclose(path([longer], 0), alone, atol=1e-6)
    crowd = [one, *spells(10), Spell(np.linspace(0, 1, 30), np.zeros((30, 2)))]
    np.testing.assert_allclose(path(crowd, 0), alone, atol=1e-6)


def test_a_state_that_blew_up_does_not_reach_the_next_series():
    def field(t, y, u=None):
        return 50 * y**3

    three = [Spell(np.linspace(0, 2, n), np.zeros((n, 1))) for n in (12, 6, 6)]
    both = pack(three, 0.5, Shape(12, 20, 2))
    assert len(both.owner) == 2
    z0 = np.where(both.index[..., None] == 2, 30.0, 0.001)
    found = solved(field, both, z0)
    r, _ = np.argwhere(both.index == 1)[0]
    calm = both.index[r, np.maximum(both.owner[r], 0)] == 1
    assert np.isfinite(found[r, calm]).all() and not np.isfinite(found).all()


@pytest.mark.parametrize("encoder", ["rnn", "ode-rnn"])
def test_rows_side_by_side_are_rows_one_by_one(encoder):
    rows = pack(spells(), 0.1)
    model = LatentModel.build(
        2, latent=3, encoder=encoder, hidden=6, decoder=5, classes=2, key=np.random.default_rng(0)
    )
    noise = np.random.default_rng(1).normal(size=(*rows.begin.shape, 3)).astype(np.float32)

    def apart(model: LatentModel) -> tuple:
        found = jax.vmap(terms, in_axes=(None, 0, 0))(model, rows, noise)
        sums = (found.log_likelihood, found.divergence, found.points)
        return *(jnp.sum(a) for a in sums), found.logits

    def side_by_side(model: LatentModel) -> tuple:
        return tuple(summed(model, abreast(rows), noise.transpose(1, 2, 0)))

    for a, b in zip(jax.jit(apart)(model), jax.jit(side_by_side)(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
    slopes = [
        jax.jit(jax.grad(lambda m, f=f: f(m)[0] - f(m)[1], allow_int=True))(model)
        for f in (apart, side_by_side)
    ]
    for a, b in zip(*map(jax.tree.leaves, slopes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)
