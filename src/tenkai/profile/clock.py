"""The time a profile may take, and what there was no time for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

_MOST_PACE = 20.0


class Clock:
    """Seconds that are left. Prices are those of a small field on a quiet machine.

    `pace` is how much more the last ones took here: larger fields and busy machines compile slower.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.begun = time.perf_counter()
        self.pace = 1.0
        self.left_out: list[str] = []
        self._open: tuple[float, float] | None = None  # price and beginning of what runs now

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begun

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.seconds - self.spent

    def starts(self, price: float) -> None:
        """What runs from here to the next call has this price; the pace follows what it takes."""
        now = self.spent
        if self._open is not None:
            before, begun = self._open
            took = (now - begun) / before
            self.pace = min(max(1.0, 0.5 * (self.pace + took)), _MOST_PACE)
        self._open = (price, now)

    def allows(self, what: str, price: float) -> bool:
        """Whether there is time for it; if not, it will be said."""
        self.starts(price)
        if self.left >= price * self.pace:
            return True
        self._open = None
        self.left_out.append(f"{what} (about {price * self.pace:.0f} s more)")
        return False


def least_time(run: Callable[[], Any], most: float = 0.1) -> float:
    """Seconds of the quickest of up to 20 runs within `most` seconds, two at least."""
    found, begun = [], time.perf_counter()
    while len(found) < 2 or (len(found) < 20 and time.perf_counter() - begun < most):
        before = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - before)
    return min(found)
