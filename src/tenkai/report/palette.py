"""The colours of every picture: Okabe and Ito (2008), told apart by colour-blind readers."""

from __future__ import annotations

INK = "#1a1a1a"
QUIET = "#6b7280"
RULE = "#d9dce1"
FLOW = "#b4bac4"
LEARNED = "#0072b2"
AHEAD = "#d55e00"
GOOD = "#00724f"
CYCLE = "#e3b5cd"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#4a9fd4")


def colour(index: int) -> str:
    """The colour of the i-th variable, series or stage."""
    return SERIES[index % len(SERIES)]


def faint(hex_colour: str, alpha: float = 0.18) -> str:
    """The colour of an interval: `rgba(...)` as pages understand it."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
