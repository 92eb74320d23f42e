"""The only training loop.

One compiled program takes any number of optimiser steps (`program`); between chunks of about a
quarter of a second the host only looks at the clock. Everything that decides (validation,
rollback, patience, checkpoints) happens at multiples of `every` steps, so that results do not
depend on the clock.
"""

from .loop import Interrupted, fit
from .program import member_key

__all__ = ["Interrupted", "fit", "member_key"]
