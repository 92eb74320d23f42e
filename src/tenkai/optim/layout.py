"""Which leaves of a model are trained, what they are called, and which are one and the same array.

A `Layout` holds no array: it is hashable, static under `jax.jit`, and the same for two models of
one structure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..errors import InputError

Where = Callable[[PyTree], PyTree] | str | None


@functools.singledispatch
def trainable(node: Any) -> Collection[str] | None:
    """The names of the fields that are trained in a node of a model; None: all of them.

    A hook: register a function for a class, and every model with a node of that class (or of a
    subclass) trains only those fields, wherever the node stands. Keys of a dictionary and the
    places of a tuple are names too (``"0"``).

    >>> import jax.numpy as jnp
    >>> from typing import NamedTuple
    >>> class Shifted(NamedTuple):
    ...     weight: jnp.ndarray
    ...     shift: jnp.ndarray
    >>> @trainable.register(Shifted)
    ... def _(node):
    ...     return ["weight"]
    >>> from tenkai import optim
    >>> [name for name, _ in optim.trainables(Shifted(jnp.ones(2), jnp.ones(2)), path=True)]
    ['weight']
    """
    return None


def is_trained(leaf: Any) -> bool:
    """Arrays of floating-point or complex numbers are; Python's numbers and whole ones are not."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(
        leaf.dtype, jnp.inexact
    )


@dataclass(frozen=True)
class Layout:
    """The leaves of a model, in order, and the variables among them.

    A variable is one trained array; leaves that are tied belong to one variable.
    """

    structure: Any  # tree structure of the model
    paths: tuple[tuple, ...]  # of every leaf
    variables: tuple[tuple[int, ...], ...]  # the leaves of every variable

    @classmethod
    def of(cls, model: PyTree, trained: PyTree = None) -> Layout:
        """Of a model; `trained`: which leaves, as a filter of equinox (default `trainable`).

        Raises `InputError` where there is nothing to train.
        """
        found, structure = jax.tree_util.tree_flatten_with_path(model)
        chosen = jax.tree.leaves(_asked(model, trained))
        groups: dict[int, list[int]] = {}
        for i, ((_, leaf), ask) in enumerate(zip(found, chosen, strict=True)):
            if ask and is_trained(leaf):
                groups.setdefault(id(leaf), []).append(i)
        if not groups:
            raise InputError(
                "model",
                expected="at least one array of floating-point numbers to train",
                got=f"none among {len(found)} leaves",
                do="pass a model with parameters, or train more of it",
            )
        return cls(structure, tuple(p for p, _ in found), tuple(map(tuple, groups.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each variable, that of its first leaf, as ``layers.0.weight``."""
        return tuple(name_of(self.paths[leaves[0]]) for leaves in self.variables)

    @property
    def ties(self) -> tuple[str, ...]:
        """The leaves of every tied variable, as ``encoder.W = decoder.W``."""
        tied = [group for group in self.variables if len(group) > 1]
        return tuple(" = ".join(name_of(self.paths[i]) for i in group) for group in tied)

    def onto(self, part: PyTree) -> Layout:
        """The same variables in a part of the model, in which leaves that are not trained lack.

        Raises `InputError` where a variable is not in the part.
        """
        found, structure = jax.tree_util.tree_flatten_with_path(part)
        places = {path: i for i, (path, _) in enumerate(found)}
        if missing := [n for n, g in zip(self.names, self.variables, strict=True)
                       if not all(self.paths[i] in places for i in g)]:  # fmt: skip
            raise InputError(
                "state of the optimiser",
                expected="one that was set up for this model",
                got=f"one that trains {_quoted(missing)}, which it has not",
                do="call optim.setup with this model",
            )
        variables = tuple(tuple(places[self.paths[i]] for i in g) for g in self.variables)
        return Layout(structure, tuple(places), variables)

    def take(self, model: PyTree) -> list[Any]:
        """The arrays of the variables."""
        leaves = self._leaves(model)
        return [leaves[first[0]] for first in self.variables]

    def put(self, model: PyTree, arrays: Sequence[Any]) -> PyTree:
        """The model with these arrays for its variables, the tied ones tied."""
        leaves = self._leaves(model)
        for group, array in zip(self.variables, arrays, strict=True):
            for i in group:
                leaves[i] = array
        return jax.tree.unflatten(self.structure, leaves)

    def tree(self, arrays: Sequence[Any]) -> PyTree:
        """A tree like the model with each variable once, and None for everything else."""
        leaves: list[Any] = [None] * len(self.paths)
        for group, array in zip(self.variables, arrays, strict=True):
            leaves[group[0]] = array
        return jax.tree.unflatten(self.structure, leaves)

    def gradients(self, gradients: PyTree, arrays: Sequence[Any]) -> list[Any]:
        """One gradient per variable, summed over tied leaves; None where there is none."""
        found = jax.tree_util.tree_leaves_with_path(gradients)
        given = {path: g for path, g in found if not _is_float0(g)}
        if unknown := given.keys() - set(self.paths):
            raise InputError(
                "gradients",
                expected="the model's tree, or parts of it with None for the rest",
                got=f"something at {_quoted(name_of(path) for path in unknown)}",
                do=f"pass the gradient of the whole model, whose leaves are {self.leaf_names()}",
            )
        return [
            self._sum([given.get(self.paths[i]) for i in group], array, group)
            for group, array in zip(self.variables, arrays, strict=True)
        ]

    def _sum(self, parts: list[Any], array: Any, group: tuple[int, ...]) -> Any:
        for i, part in zip(group, parts, strict=True):
            if part is not None and np.shape(part) != np.shape(array):
                raise InputError(
                    f"gradient of {name_of(self.paths[i])!r}",
                    expected=f"the shape of the array, {np.shape(array)}",
                    got=str(np.shape(part)),
                    do="pass the gradient with respect to this model",
                )
        parts = [part for part in parts if part is not None]
        return functools.reduce(jnp.add, parts) if parts else None

    def _leaves(self, model: PyTree) -> list[Any]:
        leaves, structure = jax.tree.flatten(model)
        if structure != self.structure:
            raise InputError(
                "model",
                expected=f"the structure that setup saw, {self.structure}",
                got=str(structure),
                do="set the rule up again for this model",
            )
        return leaves

    def where(self, where: Where) -> list[int]:
        """The variables of a part of the model: a selector, a path, or None for all.

        Raises `InputError` for an unknown path and for a part without a variable.
        """
        if where is None:
            return list(range(len(self.variables)))
        if callable(where):
            numbered = jax.tree.unflatten(self.structure, range(len(self.paths)))
            chosen = set(jax.tree.leaves(where(numbered)))
        else:
            names = [name_of(path) for path in self.paths]
            chosen = {
                i for i, name in enumerate(names) if f"{name}.".startswith(f"{where}.") or not where
            }
        found = [v for v, group in enumerate(self.variables) if chosen & set(group)]
        if not found:
            raise InputError(
                "part of the model",
                expected=f"one that is trained: {_quoted(self.names)} or what holds them",
                got=repr(where) if isinstance(where, str) else "a selector that finds none",
                do="pass a path, or a function as lambda model: model.layers[0]",
            )
        return found

    def leaf_names(self) -> str:
        """All of them, for messages."""
        return _quoted(name_of(path) for path in self.paths)


def name_of(path: tuple) -> str:
    """A key path as text: ``layers.0.weight``."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _quoted(names: Any) -> str:
    return ", ".join(repr(name) for name in names)


def _is_float0(x: Any) -> bool:
    return getattr(x, "dtype", None) == jax.dtypes.float0


def _asked(model: PyTree, trained: PyTree) -> PyTree:
    """True or False per leaf: by the filter, else by the hooks of the classes."""
    if trained is None:
        return jax.tree.unflatten(jax.tree.structure(model), _by_class(model))

    def part(ask: Any, part: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: bool(ask(leaf) if callable(ask) else ask), part)

    try:
        return jax.tree.map(part, trained, model)
    except ValueError as error:
        raise InputError(
            "trainable",
            expected="a function of a leaf, or a tree of booleans that is a prefix of the model",
            got=str(jax.tree.structure(trained)),
            do="pass eqx.is_inexact_array, say, or True and False in the shape of the model",
        ) from error


def _by_class(node: PyTree) -> list[bool]:
    """Per leaf of a node, by the hooks of the classes inside it."""
    whole = jax.tree.structure(node)
    if len(trainable.registry) == 1:  # nobody registered anything
        return [True] * whole.num_leaves
    children = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    if jax.tree_util.treedef_is_leaf(whole) or not children:
        return [True] * whole.num_leaves
    named = [(name_of(path), child) for path, child in children]
    fields = trainable(node)
    if fields is not None and (unknown := set(fields) - {name for name, _ in named}):
        raise InputError(
            f"trainable fields of {type(node).__name__}",
            expected=f"names among {_quoted(name for name, _ in named)}",
            got=_quoted(sorted(unknown)),
            do="mend the function registered with optim.trainable",
        )
    asked: list[bool] = []
    for name, child in named:
        if fields is None or name in fields:
            asked += _by_class(child)
        else:
            asked += [False] * jax.tree.structure(child).num_leaves
    return asked
