"""Hyperparameters that say what they are."""

from __future__ import annotations

import dataclasses


class Described:
    """A frozen dataclass of hyperparameters that prints what differs from its defaults."""

    def __repr__(self) -> str:
        changed = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        )
        return f"{type(self).__name__}({', '.join(changed)})"
