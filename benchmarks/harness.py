"""Times ours and the peers alternately in one process, and says who loses, also when it is us."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


class MissingPeer(RuntimeError):
    """A peer is not installed; the message is one line and says how to get it."""


def peer(name: str) -> ModuleType:
    """The peer's module, imported only when its entry runs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPeer(
            f"peer {name!r}: expected it to be installed; got {error}. "
            "Run: pip install -e '.[bench]'"
        ) from error


def python_loop(model: Any, value: Callable[[Any], Any], rule: Any) -> Callable[[int], Any]:
    """Training as the peers' examples have it: a loop in Python around one compiled step."""
    import equinox as eqx
    import jax
    import optax

    trained, static = eqx.partition(model, eqx.is_array)

    @jax.jit
    def step(trained: Any, state: Any) -> tuple[Any, Any]:
        slope = jax.grad(lambda p: value(eqx.combine(p, static)))(trained)
        updates, state = rule.update(slope, state)
        return optax.apply_updates(trained, updates), state

    def train(steps: int) -> Any:
        now, state = trained, rule.init(trained)
        for _ in range(steps):
            now, state = step(now, state)
        return jax.block_until_ready(eqx.combine(now, static))

    return train


@dataclass(frozen=True)
class Contender:
    """`run()` does `units` units of work and waits for them; `error()` says how good its work is.

    It is measured once it has run once, so that compilation does not count.
    """

    name: str
    run: Callable[[], Any]
    units: int
    error: Callable[[], float]


@dataclass(frozen=True)
class Race:
    """Contenders for the same work, the first one ours.

    `unit` is what is timed, `error_name` what `error` measures; `extras` are further numbers, by
    label, measured alone and last; `title` tells the races of one entry apart.
    """

    unit: str
    error_name: str
    contenders: Sequence[Contender]
    rounds: int
    extras: dict[str, Callable[[], float]] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Result:
    """Seconds per unit in every round; ratios are to ours in the same round, over 1 is slower."""

    name: str
    error: float
    seconds: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """Who loses to whom; a tie where the rounds disagree."""
        low, high = min(self.ratios), max(self.ratios)
        spread = f"{self.ratio:.3g} × ({low:.3g}..{high:.3g})"
        if low > 1:
            return f"{self.name} takes {spread} the time of ours"
        if high < 1:
            return f"ours LOSES: {self.name} takes {spread} the time of ours"
        return f"a tie with {self.name}: {spread}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "seconds": statistics.median(self.seconds),
            "error": self.error,
            "ratio": self.ratio,
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
        }


def hold(race: Race, clock: Callable[[], float] = time.perf_counter) -> list[Result]:
    """Warm everyone up, time them in turn (A, B, A, B, …), then ask everyone for their error."""
    for contender in race.contenders:
        contender.run()
    rounds = []
    for _ in range(race.rounds):
        times = []
        for contender in race.contenders:
            begun = clock()
            contender.run()
            times.append((clock() - begun) / contender.units)
        rounds.append(times)
    results = []
    for i, contender in enumerate(race.contenders):
        seconds = tuple(times[i] for times in rounds)
        ratios = tuple(times[i] / times[0] for times in rounds)
        results.append(Result(contender.name, contender.error(), seconds, ratios))
    return results


def table(race: Race, results: Sequence[Result]) -> str:
    """Times, errors and ratios, then a line per peer that says who loses."""
    width = max(len(r.name) for r in results)
    lines = [f"  {'':<{width}}  {'ms per ' + race.unit:>22}  {race.error_name:>24}"]
    for r in results:
        ms = 1e3 * statistics.median(r.seconds)
        lines.append(f"  {r.name:<{width}}  {ms:>22.4g}  {r.error:>24.6g}")
    return "\n".join(lines + [f"  {r.verdict}" for r in results[1:]])
