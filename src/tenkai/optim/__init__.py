"""Explicit optimisers: a state beside a model, both of them values, over any optax rule.

``setup(rule, model) -> state`` and ``update(state, model, gradients) -> (state, model)`` know any
PyTree and work inside `jax.jit`, `jax.lax.scan` and `jax.vmap`; `tenkai.fit` takes its steps with
them. `adjust`, `freeze` and `thaw` change numbers and flags of a state, whole or of a part, and
compile nothing anew. The interface is that of Optimisers.jl (Innes, Abbott et al. 2022).
"""

from .layout import Layout, trainable
from .numbers import adjust, freeze, thaw
from .rules import accumulate, clip_by_array_norm, mixed_precision, sign_decay
from .state import State, plain, setup, update
from .vector import destructure, trainables

__all__ = [
    "Layout",
    "State",
    "accumulate",
    "adjust",
    "clip_by_array_norm",
    "destructure",
    "freeze",
    "mixed_precision",
    "plain",
    "setup",
    "sign_decay",
    "thaw",
    "trainable",
    "trainables",
    "update",
]
