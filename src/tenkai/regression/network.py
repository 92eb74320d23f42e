"""A multilayer perceptron with the scaling of its inputs and outputs inside."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fields import MLP, activation, together

_STEEP = 2.0  # of the first layer's weights, where it begins spread over a box


class Affine(NamedTuple):
    """``z = (x - offset) / scale`` per column."""

    offset: Any  # (columns,)
    scale: Any  # (columns,)

    @classmethod
    def identity(cls, columns: int) -> Affine:
        """Changes nothing."""
        return cls(np.zeros(columns), np.ones(columns))

    @classmethod
    def standard(cls, x: Float[np.ndarray, "rows columns"], weight: np.ndarray) -> Affine:
        """To mean 0 and standard deviation 1 under the weights; a constant column gets scale 1."""
        mean = np.average(x, axis=0, weights=weight)
        spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
        constant = spread <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
        return cls(mean, np.where(constant, 1.0, spread))

    def forward(self, x: Any) -> Any:
        """Standardised values (..., columns) of raw ones."""
        return (x - self.offset) / self.scale

    def inverse(self, z: Any) -> Any:
        """Raw values (..., columns) of standardised ones."""
        return z * self.scale + self.offset


class Perceptron(eqx.Module):
    """``y = s(W_L a(... a(W_1 x + b_1) ...) + b_L)``: activation `a`, on the output `s`."""

    net: MLP
    output_activation: str = eqx.field(static=True)

    def __call__(self, x: Float[Array, " in *rows"]) -> Float[Array, " out *rows"]:
        return activation(self.output_activation)(self.net(x))


class RegressionNetwork(eqx.Module):
    """Members of an ensemble, raw columns in, raw targets out.

    The arrays of `core` have a leading axis of `members`; the scaling is shared. One row (in,) of
    raw inputs gives (members, out).
    """

    core: Perceptron
    inputs: Affine
    outputs: Affine
    members: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, "members out"]:
        return self.rows(x[None])[:, 0]

    def rows(self, x: Float[Array, "rows in"]) -> Float[Array, "members rows out"]:
        """Every member's answer to every row."""
        z = self.inputs.forward(x).T
        with together(self.members * z.shape[1]):
            found = eqx.filter_vmap(lambda core: core(z))(self.core)
        return self.outputs.inverse(jnp.swapaxes(found, 1, 2))


def begin(
    sizes: tuple[int, ...], inner: str, output: str, members: int, seed: int, dtype: Any,
    spread: bool = False,
) -> Perceptron:  # fmt: skip
    """The perceptrons before training, with a leading axis of members, of NumPy's numbers.

    With `spread` the first layer is twice as steep and each of its units bends at a place of its
    own in a box of standardised inputs; else all of them bend at the middle.
    """
    made = [
        Perceptron(MLP(sizes, inner, key=np.random.default_rng([seed, member])), output)
        for member in range(members)
    ]
    core = jax.tree.map(lambda *leaves: np.stack(leaves).astype(dtype), *made)
    if not spread:
        return core
    weight = _STEEP * core.net.layers[0].weight
    half = 3**0.5  # a uniform number of standard deviation 1 lies between its negative and itself
    places = np.random.default_rng([seed, members]).uniform(-half, half, weight.shape)
    bias = -(weight * places).sum(-1).astype(dtype)
    first = lambda c: (c.net.layers[0].weight, c.net.layers[0].bias)  # noqa: E731
    return eqx.tree_at(first, core, (weight, bias))


def parameters(model: RegressionNetwork | Perceptron) -> int:
    """How many numbers one member learned."""
    core, members = (
        (model.core, model.members) if isinstance(model, RegressionNetwork) else (model, 1)
    )
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(core)) // members
