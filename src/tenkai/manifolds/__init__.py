"""Manifolds by kernel regression: latents of rows, and the surface that they span."""

from .manifold import Manifold as Manifold
