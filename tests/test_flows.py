"""The laws of every flow, continuous and discrete: inverses, determinants, densities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flow_laws import compiled, randomised, wide

import tenkai.flows as fl
from tenkai.errors import InputError
from tenkai.fit import fit
from tenkai.flows import abilities, steps
from tenkai.flows.flow import base_log_prob
from tenkai.flows.objectives import Rows, Weights, likelihood

SOLVER = fl.Grid(steps=24)
DISCRETE = [
    fl.Planar(layers=3),
    fl.Radial(layers=3),
    fl.Sylvester(layers=3, units=2),
    fl.NICE(layers=3, width=8),
    fl.RealNVP(layers=3, width=8),
    fl.Glow(layers=3, width=8),
    fl.MAF(layers=3, width=8),
    fl.IAF(layers=3, width=8),
]
CONTINUOUS = [
    fl.FFJORD(width=8, depth=1, solver=SOLVER, learn_end=True),
    fl.PlanarCNF(units=4, solver=SOLVER, learn_end=True),
]
FLOWS = [*DISCRETE, *CONTINUOUS]
OTHER_LAYERS = [
    fl.FFJORD(width=8, kind="concat", solver=SOLVER),
    fl.FFJORD(width=4, kind="hyper", depth=3, solver=SOLVER),
    fl.FFJORD(width=8, kind="concat", solver=SOLVER, sharpness=2.0),
]


def name(architecture: Any) -> str:
    return type(architecture).__name__ + str(getattr(architecture, "kind", ""))


def rounding(architecture: Any) -> float:
    """How far a law may be off: an ODE on a grid, or arithmetic."""
    return 1e-4 if architecture.abilities.to_data == "ODE solve" else 1e-9


def both_ways(flow: Any, z: Any, x: Any, context: Any) -> dict[str, Any]:
    """Rows of the base to the data and rows of data to the base, with full Jacobians, and what
    training differentiates."""

    def moved(move: Any) -> Any:
        return jax.vmap(jax.jacfwd(lambda x, c: (lambda m: (m.y, m))(move(x, c)), has_aux=True))

    def value(flow: Any) -> Any:
        base, data = fl.rows(flow.to_base, x, context), fl.rows(flow.to_data, z, context)
        density = jax.vmap(base_log_prob)(base.y) + base.log_det
        return jnp.mean(density) + jnp.mean(data.log_det) + jnp.mean(jnp.sin(data.y))

    return {
        "to_data": moved(flow.to_data)(z, context), "to_base": moved(flow.to_base)(x, context),
        "value": eqx.filter_value_and_grad(value)(flow),
    }  # fmt: skip


@pytest.mark.parametrize("architecture", FLOWS, ids=name)
def test_both_directions_with_a_context(architecture: Any) -> None:
    rng = np.random.default_rng(1)
    z, x, context = (rng.normal(size=(5, n)) for n in (3, 3, 2))
    with jax.enable_x64(True):
        flow = wide(randomised(architecture, 3, 2))
        run = compiled(both_ways, flow)
        got, there = run(flow, z, x, context), run(flow, z, x, context[::-1])
        back = run(flow, got["to_base"][1].y, got["to_data"][1].y, context)

        size = [np.cos(np.arange(v.size)).reshape(v.shape) for v in arrays_of(flow)]
        sides = [run(shifted(flow, size, s), z, x, context)["value"][0] for s in (1e-5, -1e-5)]
    small = rounding(architecture)
    for full, moved in (got["to_data"], got["to_base"]):
        np.testing.assert_allclose(moved.log_det, np.linalg.slogdet(full)[1], atol=small)
        assert np.all(moved.ok)
    np.testing.assert_allclose(back["to_base"][1].y, z, atol=small)
    np.testing.assert_allclose(back["to_data"][1].y, x, atol=small)
    np.testing.assert_allclose(back["to_base"][1].log_det, -got["to_data"][1].log_det, atol=small)
    slope = sum(np.sum(g * d) for g, d in zip(arrays_of(got["value"][1]), size, strict=True))
    np.testing.assert_allclose(slope, (sides[0] - sides[1]) / 2e-5, rtol=1e-5, atol=1e-6)
    # The context is heard.
    assert np.max(np.abs(there["to_data"][1].y - got["to_data"][1].y)) > 0.05


def arrays_of(flow: Any) -> list[Any]:
    return jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array))


def shifted(flow: Any, by: list[Any], size: float) -> Any:
    arrays, rest = eqx.partition(flow, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    moved = [a + size * b for a, b in zip(leaves, by, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, moved), rest)


def on_a_grid(flow: Any, z: Any, cells: int = 160) -> dict[str, Any]:
    """Samples and their density; the density on a grid over the box that they fill, and beyond."""
    y, log_q = jax.vmap(lambda z: fl.sample(flow, z))(z)
    low, high = jnp.min(y, axis=0), jnp.max(y, axis=0)
    low, high = low - 0.4 * (high - low), high + 0.4 * (high - low)
    step = (high - low) / cells
    middle = (jnp.arange(cells) + 0.5)[:, None] * step + low
    grid = jnp.stack(jnp.meshgrid(*middle.T, indexing="ij"), -1).reshape(-1, 2)
    log_p = jax.vmap(lambda x: fl.log_prob(flow, x))(grid)
    return {
        "y": y, "log_q": log_q, "log_p": jax.vmap(lambda x: fl.log_prob(flow, x))(y),
        "grid": grid, "mass": jnp.exp(log_p) * jnp.prod(step), "log_p_grid": log_p,
    }  # fmt: skip


@pytest.mark.parametrize("architecture", [*FLOWS, *OTHER_LAYERS], ids=name)
def test_the_density_integrates_to_one_and_is_that_of_the_samples(architecture: Any) -> None:
    z = np.random.default_rng(2).normal(size=(2000, 2))
    with jax.enable_x64(True):
        flow = wide(randomised(architecture, 2))
        got = compiled(on_a_grid, flow)(flow, z)
    assert abs(np.sum(got["mass"]) - 1) < 1e-3
    np.testing.assert_allclose(got["log_q"], got["log_p"], atol=rounding(architecture))
    assert np.std(got["y"]) > 0.3 and np.max(np.abs(got["y"] - z)) > 0.3  # it does something

    for of in (np.sin, np.cos, np.square):
        for column in (0, 1):
            sampled = of(got["y"][:, column])
            exact = np.sum(got["mass"] * of(got["grid"][:, column]))
            assert abs(sampled.mean() - exact) < 4 * sampled.std() / 2000**0.5
    exact = np.sum(got["mass"] * got["log_p_grid"])
    assert abs(got["log_q"].mean() - exact) < 4 * got["log_q"].std() / 2000**0.5


@pytest.mark.parametrize("architecture", [FLOWS[2], FLOWS[5], FLOWS[6], FLOWS[8]], ids=name)
def test_a_flow_begins_near_the_identity(architecture: Any) -> None:
    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)

    @jax.jit
    def move(key: Any) -> Any:
        return fl.rows(architecture.build(3, key=key).to_data, z)

    moved = move(jax.random.key(0))
    assert np.max(np.abs(moved.y - z)) < 0.5 and np.max(np.abs(moved.log_det)) < 0.5


@pytest.mark.parametrize("architecture", DISCRETE, ids=name)
def test_flows_of_the_same_shape_share_their_programs(architecture: Any) -> None:
    """What is not an array is the same object or equal, so nothing compiles anew."""
    a, b = (eqx.partition(randomised(architecture, 3, 1), eqx.is_array)[1] for _ in range(2))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert jax.tree.leaves(a) == jax.tree.leaves(b)


def test_inverse_exchanges_base_and_data() -> None:
    """An IAF is an inverted MAF; a planar flow gets exact densities of data."""
    z = np.ones(3, np.float32)
    iaf = randomised(fl.IAF(layers=2, width=8), 3)
    maf = randomised(fl.Inverse(fl.MAF(layers=2, width=8)), 3)
    pairs = jax.jit(lambda z: [(f.to_data(z)[:2], f.to_base(z)[:2]) for f in (iaf, maf)])(z)
    for a, b in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert fl.Inverse(fl.MAF()).abilities == fl.IAF.abilities
    assert fl.Inverse(fl.Inverse(fl.Planar())).abilities == fl.Planar.abilities
    assert repr(fl.Inverse(fl.Planar(layers=2))) == "Inverse(architecture=Planar(layers=2))"


def test_a_numerical_inverse_that_fails_is_told() -> None:
    from flowjax.bijections import Affine, NumericalInverse

    def lost(bijection: Any, y: Any, condition: Any = None) -> Any:
        return 0 * y

    wrong = NumericalInverse(Affine(2 * jnp.ones(2)), lost)
    flow = fl.Discrete(wrong, numerical=True)
    assert not flow.to_base(np.ones(2, np.float32)).ok
    steep = fl.Planar(layers=2).build(2, key=jax.random.key(0))
    broken = jax.tree.map(lambda x: x * np.nan if eqx.is_inexact_array(x) else x, steep)
    assert not broken.to_base(np.ones(2, np.float32)).ok


def test_flowjax_flows_of_users() -> None:
    from flowjax.bijections import Affine
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow

    def make(key: Any, dim: int, context: int) -> Any:
        base = Normal(jnp.zeros(dim))
        return coupling_flow(key, base_dist=base, cond_dim=context or None, flow_layers=2)

    def there_and_back(key: Any, z: Any, c: Any) -> Any:
        flow = fl.Flowjax(make).build(3, context=2, key=key)
        return flow.to_base(flow.to_data(z, c).y, c)

    z = np.array([0.5, -1.0, 2.0], np.float32)
    back = jax.jit(there_and_back)(jax.random.key(0), z, np.ones(2, np.float32))
    np.testing.assert_allclose(back.y, z, atol=1e-5)
    with pytest.raises(InputError, match=r"make: expected 3 variables and a context of 0; got 2"):
        fl.Flowjax(lambda key, dim, context: Affine(jnp.zeros(2))).build(3, key=jax.random.key(0))
    with pytest.raises(InputError, match=r"shape \(2, 2\)"):
        fl.Discrete(Affine(jnp.zeros((2, 2))))


def test_what_an_architecture_cannot_do_is_said_when_it_is_built() -> None:
    key = jax.random.key(0)
    for architecture in (fl.RealNVP(), fl.MAF()):
        with pytest.raises(InputError, match="at least two variables"):
            architecture.build(1, key=key)
    with pytest.raises(InputError, match="units: expected 1 to 2"):
        fl.Sylvester(units=3).build(2, key=key)
    with pytest.raises(InputError, match="layers"):
        fl.Planar(layers=0).build(2, key=key)
    with pytest.raises(InputError, match="activation"):
        fl.Glow(activation="tan").build(2, key=key)


def test_abilities_in_words() -> None:
    assert "numerical inverse" in fl.Planar.abilities.words()
    assert "one pass per variable" in fl.MAF.abilities.words()
    assert fl.Glow.abilities.words() == fl.FFJORD.abilities.words() == ""
    assert not fl.Sylvester.abilities.trains_from_data
    assert fl.Inverse(fl.Sylvester()).abilities.trains_from_data
    assert not fl.MAF.abilities.one_pass_sampling


def test_a_planar_flow_learns_from_data_through_its_numerical_inverse() -> None:
    x = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32) ** 3 / 4
    zero = np.float32(0)
    data = Rows(x, None, np.arange(256), np.int32(256), Weights(*(zero,) * 5))
    flow = fl.Planar(layers=2).build(2, key=jax.random.key(0))
    done = fit(flow, likelihood(64), data, steps=200, rule=optax.adam(0.02), progress=False)
    losses = [row["loss"] for row in done.history]
    assert done.status.ok and losses[-1] < losses[0] - 0.05


def test_orthonormal_columns() -> None:
    rng = np.random.default_rng(0)
    for q in (
        steps.householder(jnp.asarray(rng.normal(size=(4, 5)), jnp.float32), 3),
        steps.orthonormal(jnp.asarray(rng.normal(size=(5, 3)), jnp.float32)),
    ):
        np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-6)


def test_the_gated_step_of_an_iaf() -> None:
    z, mean, gate = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    full = jax.jacfwd(lambda z: steps.gated(z, mean, gate)[0])(z)
    np.testing.assert_allclose(steps.gated(z, mean, gate)[1], np.linalg.slogdet(full)[1], atol=1e-6)


def test_the_table_of_abilities() -> None:
    table = abilities.table()
    rows = {line.split("`")[1]: line for line in table.splitlines() if "`" in line}
    assert set(rows) >= {name(a).removesuffix("concatsquash") for a in FLOWS}
    assert rows["FFJORD"].count("✓") == 4 and rows["Glow"].count("✓") == 3
    assert rows["Planar"].count("✓") == 2 and rows["MAF"].count("✓") == 2
    page = f"a\n{abilities.BEGIN}\nold\n{abilities.END}\nb\n"
    assert abilities.written(page) == f"a\n{abilities.BEGIN}\n{table}\n{abilities.END}\nb\n"


@pytest.mark.parametrize("page", sorted(Path(__file__).parents[1].glob("docs/density.md")))
def test_the_printed_table_is_the_generated_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert abilities.BEGIN in text
    assert text == abilities.written(text), f"python -m tenkai.flows.abilities {page}"
