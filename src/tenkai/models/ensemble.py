"""A trained ensemble: fields, scaling and start states; everything a prediction needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PyTree

from ..data import Scaler, TimeScaler
from ..unfold import RK4, Tableau
from .grid import ANY_SIZE, Size, pack, substeps
from .trajectory import SecondOrderField, TrajectoryModel

PAD = 64  # steps and nodes come in multiples of this, so that predictions share programs


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members with the same scaling; states are standardised, hidden dimensions last.

    The first hidden dimensions of a second-order system are the velocities of what is observed.

    `fields` has a leading member axis on every array, `starts` is (members, series, dim), `trusted`
    marks the members that predictions average over, `step` is the longest step in scaled time;
    grids of up to `size` share the program that trained.
    """

    fields: PyTree
    starts: Float[np.ndarray, "members series dim"]
    trusted: np.ndarray
    state: Scaler
    time: TimeScaler
    inputs: Scaler | None
    held: bool
    step: float
    tableau: Tableau = RK4
    size: Size = ANY_SIZE

    @property
    def members(self) -> int:
        """Size of the ensemble, trusted or not."""
        return len(self.trusted)

    @property
    def dim(self) -> int:
        """State dimension with the hidden ones."""
        return self.starts.shape[-1]

    @property
    def shown(self) -> int:
        """Number of observed variables."""
        return len(self.state.scale)

    @property
    def velocity_units(self) -> Float[np.ndarray, " shown"] | None:
        """A second-order system's ``dz/dtau`` per unit of its velocity states, for all members."""
        if not isinstance(self.fields, SecondOrderField):
            return None
        return np.asarray(self.fields.slope, float)[0, : self.shown]

    @property
    def given(self) -> int:
        """How many numbers tell a state in raw units: what is observed, and its velocities."""
        return self.shown if self.velocity_units is None else 2 * self.shown

    def standardised(self, y: Float[Any, "n k"], xp: Any = np) -> Float[Any, "n k"]:
        """States of raw ones, of which hidden dimensions may be left away; NaN stays.

        Velocities are in raw units too, ``v = scale dz/dtau / span``; hidden ones are as they are.
        Pass ``xp=jax.numpy`` to trace through it, as through a `Scaler`.
        """
        units, n = self.velocity_units, self.shown
        parts, rest = [self.state.forward(y[:, :n], xp=xp)], y[:, n:]
        if units is not None and rest.shape[1]:
            parts.append(rest[:, :n] * (self.time.scale / (self.state.scale * units)))
            rest = rest[:, n:]
        return xp.concatenate([*parts, rest], axis=1)

    def rates(self, z: np.ndarray, slope: np.ndarray) -> Float[np.ndarray, "n given"]:
        """Raw time derivatives of states (n, dim) with ``dz/dtau = slope``; accelerations last."""
        n, units = self.shown, self.velocity_units
        stretch = self.state.scale / self.time.scale
        shown = slope[:, :n] * stretch * np.where(self.state.positive, self.raw(z), 1.0)
        if units is None:
            return shown
        pull = slope[:, n : 2 * n] * units * stretch / self.time.scale
        return np.concatenate([shown, pull], axis=1)

    def paths(
        self,
        times: Sequence[np.ndarray],
        starts: Float[np.ndarray, "members series dim"],
        inputs: Sequence[np.ndarray] | None = None,
        *,
        refine: int = 1,
    ) -> list[Float[np.ndarray, "members time dim"]]:
        """One solve per series and member: raw times (n,), start states at ``times[i][0]``."""
        tau = [self.time.forward(t) for t in times]
        counts = [refine * c for c in substeps(tau, self.step)]
        scaled = None
        if self.inputs is not None and inputs is not None:
            scaled = [self.inputs.forward(u) for u in inputs]
        grid = pack(tau, counts, scaled, held=self.held, pad_to=PAD, least=self.size)
        dtype = jax.tree.leaves(self.fields)[0].dtype
        nodes = np.zeros((self.members, grid.nodes, self.dim), dtype)
        nodes[:, np.flatnonzero(grid.first)] = starts
        model = TrajectoryModel(self.fields, nodes, np.ones(nodes.shape, bool))
        out = np.asarray(paths(self.members, self.tableau)(model, cast(grid, dtype), grid.first))
        edges = np.cumsum([len(t) for t in times])[:-1]
        return np.split(out[:, : sum(len(t) for t in times)].astype(float), edges, axis=1)

    def slopes(
        self, z: Float[np.ndarray, "n dim"], t: np.ndarray, u: np.ndarray | None
    ) -> Float[np.ndarray, "members n dim"]:
        """``dz/dtau`` of every member at standardised states, raw times and raw inputs."""
        dtype = jax.tree.leaves(self.fields)[0].dtype
        scaled = None if u is None or self.inputs is None else self.inputs.forward(u)
        arguments = cast((self.time.forward(t), z, scaled), dtype)
        return np.asarray(_slopes(self.fields, *arguments)).astype(float)

    def raw(self, z: Any, xp: Any = np) -> Any:
        """Observed variables in raw units of standardised states (..., dim)."""
        return self.state.inverse(z[..., : self.shown], xp=xp)


@functools.cache
def paths(members: int, tableau: Tableau = RK4):
    """Compiled: the states with which every member reaches every node, (members, nodes, dim)."""

    def one(model, grid, reset):
        return model.arrivals(grid, reset, tableau=tableau, members=members)

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), None, None)))


@eqx.filter_jit
def _slopes(fields, t, z, u):
    def one(field):
        return jax.vmap(field)(t, z, u)

    return eqx.filter_vmap(one, in_axes=(eqx.if_array(0),))(fields)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """NumPy leaves with every floating-point array in `dtype`; other leaves stay."""

    def leaf(a):
        if not eqx.is_array_like(a):
            return a
        a = np.asarray(a)
        return a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a

    return jax.tree.map(leaf, tree)
