"""The run directory: everything of one fit, refused or taken as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InputError

FORMAT = 1
_RECORDED = ("tenkai", "jax", "jaxlib", "equinox", "optax", "numpy")


def refuse_to_replace(
    path: Path, mark: Path, what: str, *, overwrite: bool, also: str = ""
) -> None:
    """`InputError` unless the directory is free, or holds `what` its `mark` tells and may go."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    ours = mark.exists()
    if not (ours and overwrite):
        raise InputError(
            f"output {str(path)!r}", expected="a new directory",
            got=f"{what if ours else 'something else'} that is there already",
            do="choose another --out" + (f", or pass --overwrite{also}" if ours else ""),
        )  # fmt: skip


def cannot_make(path: Path, error: OSError) -> InputError:
    """The directory cannot be made, in the words of all commands."""
    return InputError(
        f"output {str(path)!r}", expected="a directory that can be made",
        got=error.strerror or str(error), do="choose another --out",
    )  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run directory by its path; nothing is touched before it is asked for."""

    path: Path

    @property
    def config(self) -> Path:
        """Everything needed to run again, and how it ended."""
        return self.path / "config.json"

    @property
    def model(self) -> Path:
        """The learned model."""
        return self.path / "model.safetensors"

    @property
    def history(self) -> Path:
        """One JSON object per report of the training."""
        return self.path / "history.jsonl"

    @property
    def forecast(self) -> Path:
        """The forecast as a long table."""
        return self.path / "forecast.csv"

    @property
    def samples(self) -> Path:
        """Rows drawn from a density."""
        return self.path / "samples.csv"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        """States to go on from."""
        return self.path / "checkpoints"

    def read(self) -> dict[str, Any]:
        """The configuration; `InputError` where there is no run or one of a newer tenkai."""
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
            newer = config["format"] > FORMAT
        except OSError:
            there = "no config.json in it" if self.path.exists() else "nothing at that path"
            self._refuse(there, "pass the directory that tenkai fit wrote")
        except (ValueError, TypeError, KeyError):
            self._refuse("a damaged config.json", "fit again")
        if newer:
            self._refuse("one of a newer format", "upgrade tenkai")
        return config

    def _refuse(self, got: str, do: str) -> NoReturn:
        raise InputError(f"run {str(self.path)!r}", expected="a run directory", got=got, do=do)

    def write(self, config: dict[str, Any]) -> None:
        """Replace the configuration in one step."""
        from ..storage import write_atomic

        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        write_atomic(self.config, text.encode())

    def refuse_to_replace(self, *, overwrite: bool) -> None:
        """`InputError` unless the directory is free, or a run that may be overwritten."""
        refuse_to_replace(self.path, self.config, "a run", overwrite=overwrite, also=" or --resume")

    def check_same(self, config: dict[str, Any]) -> None:
        """`InputError` naming the first thing in which the run to resume differs."""
        stored = self.read()
        if stored["data"]["sha256"] != config["data"]["sha256"]:
            raise InputError(
                f"data {config['data']['path']!r}",
                expected=f"the data of the run {str(self.path)!r}",
                got="a file with another SHA-256",
                do="resume with the same file, or fit into another --out",
            )
        if stored.get("from") != config.get("from"):
            raise InputError(
                "option --from",
                expected=f"{_named(stored.get('from'))}, as in the run {str(self.path)!r}",
                got=_named(config.get("from")),
                do="resume with the same model to go on from, or fit into another --out",
            )
        there, here = stored["arguments"], config["arguments"]
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise InputError(
                    f"option --{name.replace('_', '-')}",
                    expected=f"{there.get(name)!r}, as in the run {str(self.path)!r}",
                    got=repr(here.get(name)),
                    do="pass the same options to resume, or fit into another --out",
                )

    @contextlib.contextmanager
    def begun(self, config: dict[str, Any]) -> Iterator[None]:
        """The directory while a fit fills it.

        A run that it replaces is set aside until the new one is there. When the fit fails before
        anything was learned, all is as it was before.
        """
        aside = self.path.with_name(f".{self.path.name}.replaced")
        made = [folder for folder in self.path.parents if not folder.exists()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                shutil.rmtree(aside, ignore_errors=True)
                self.path.rename(aside)
            self.path.mkdir()
        except OSError as error:
            raise cannot_make(self.path, error) from None
        try:
            self.write(config)
            yield
        finally:
            if not self.holds_something:
                shutil.rmtree(self.path)
                if aside.exists():
                    aside.rename(self.path)
                for folder in made:
                    folder.rmdir()
            shutil.rmtree(aside, ignore_errors=True)

    @property
    def holds_something(self) -> bool:
        """Whether a model or a state to go on from has been saved."""
        return self.model.exists() or any(self.checkpoints.rglob("*.safetensors"))


def _named(begun: dict[str, str] | None) -> str:
    """The model that a run went on from."""
    return "none" if begun is None else f"{begun['path']!r} ({begun['sha256'][:8]})"


def write_json(path: Path, value: object) -> None:
    """Numbers for `--json FILE`."""
    from ..storage import write_atomic

    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise InputError(
            f"--json {str(path)!r}", expected="a file that can be written",
            got=error.strerror or str(error), do="choose another path",
        ) from None  # fmt: skip


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of what a result depends on, without importing any of it."""
    return {"python": platform.python_version()} | {name: version(name) for name in _RECORDED}
