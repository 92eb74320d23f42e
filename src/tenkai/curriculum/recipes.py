"""Members that differ in more than their numbers: narrower networks, fewer hidden dimensions."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ..fields import MLP


def narrowed(field: PyTree, width: int | None) -> PyTree:
    """The field with only `width` units in use in every hidden layer of its networks.

    The others have no weights at all; where the activation is zero at zero their gradients are
    zero too, so they stay dead and members of any width share a compiled program.
    """
    if width is None:
        return field

    def narrow(node):
        return _narrow(node, width) if isinstance(node, MLP) else node

    return jax.tree.map(narrow, field, is_leaf=lambda node: isinstance(node, MLP))


def _narrow(net: MLP, width: int) -> MLP:
    last = len(net.layers) - 1
    weights = []
    for i, layer in enumerate(net.layers):
        weight = np.array(layer.weight)
        full = weight.shape[1]
        if i < last:
            weight[width:] = 0.0
        if i > 0:
            weight[:, width:] = 0.0
            weight *= (full / min(width, full)) ** 0.5  # the variance of LeCun's initial values
        weights.append(weight)
    return eqx.tree_at(lambda n: [layer.weight for layer in n.layers], net, weights)
