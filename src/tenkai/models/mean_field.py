"""The field of a trained ensemble in the units of the user's data, for any JAX program."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..data import Scaler, TimeScaler
from .ensemble import Ensemble, cast


class MeanField(eqx.Module):
    """``dx/dt = f(t, x, u)`` in raw units: the mean over the trusted members' fields.

    With ``x = g(offset + scale z)`` and ``t = shift + span tau``:
    ``dx/dt = scale g'(z) mean_m f_m(tau, z, u) / span``. States are the observed variables, with
    ``order=2`` their velocities, then hidden dimensions in model units. `u` (inputs,) are the
    known inputs; covariates of the series stay at their training mean.
    """

    fields: PyTree  # the trusted ones, a leading axis of members on every array
    state: Scaler
    time: TimeScaler
    drive: Scaler | None
    dim: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True)

    @classmethod
    def of(cls, ensemble: Ensemble, inputs: int) -> MeanField:
        """In float64: a problem solved with the field asks for more digits than its training."""
        fields, rest = eqx.partition(cast(ensemble.fields, np.float64), eqx.is_array)
        trusted = _taken(fields, np.flatnonzero(ensemble.trusted))
        state = ensemble.state.extended(ensemble.dim - ensemble.shown)
        units = ensemble.velocity_units
        if units is not None:  # velocities come behind what is observed
            n, speed = ensemble.shown, ensemble.state.scale * units / ensemble.time.scale
            state = state._replace(scale=np.r_[state.scale[:n], speed, state.scale[2 * n :]])
        model = eqx.combine(trusted, rest)
        return cls(model, state, ensemble.time, ensemble.inputs, ensemble.dim, inputs)

    def __call__(
        self, t: Any, x: Float[Array, " dim"], u: Float[Array, " inputs"] | None = None
    ) -> Float[Array, " dim"]:
        z = self.state.forward(x, xp=jnp)
        drive = self._drive(u)

        def one(field: Any) -> Array:
            return field(self.time.forward(t), z, drive)

        sizes = {a.shape[0] for a in jax.tree.leaves(self.fields) if eqx.is_array(a)}
        if sizes == {1}:  # a single member is not a batch: its program is what it seems
            slope = one(jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, self.fields))
        else:
            slope = eqx.filter_vmap(one, in_axes=(eqx.if_array(0),))(self.fields).mean(0)
        stretch = self.state.scale / self.time.scale
        return slope * stretch * jnp.where(self.state.positive, x, 1.0)

    def _drive(self, u: Any) -> Any:
        if self.drive is None:
            return None
        given = self.drive.offset if u is None else jnp.asarray(u)
        held = self.drive.offset[len(given) :]
        return self.drive.forward(jnp.concatenate([given, held]), xp=jnp)


def _taken(fields: PyTree, members: np.ndarray) -> PyTree:
    return jax.tree.map(lambda a: np.asarray(a)[members], fields)
