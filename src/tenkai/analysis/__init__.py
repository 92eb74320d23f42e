"""What a learned flow does: equilibria, limit cycles, and how start errors grow along a path."""

from .equilibria import find_equilibria
from .sensitivity import sensitivities

__all__ = ["find_equilibria", "sensitivities"]
