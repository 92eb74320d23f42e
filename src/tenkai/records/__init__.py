"""What comes out: read-only records with their own tables and pictures.

Arrays are NumPy, times and values are in the units of the user's data.
"""

from .core import Discretisation, Fit, Forecast, HeldOut, Path, Status, Work

__all__ = ["Discretisation", "Fit", "Forecast", "HeldOut", "Path", "Status", "Work"]
