"""One training step of an ODE-Net, against torchdiffeq's `odenet_mnist.py` at equal error.

Its architecture (208 266 numbers), batches of 128 images of 28 x 28, SGD with momentum, and its
solver: dopri5 at 1e-3, once with gradients through the solver (its default), once by the adjoint.
Both have the same weights, trained for a few steps before. Ours takes the coarsest grid of RK4
whose end states are no further from a solve at 1e-7 than the peer's (root mean square over 128
images, relative); `RungeKutta` against the default, `ODE` against the adjoint. Images are
scikit-learn's digits, three times as large.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tenkai.classifiers import ODE, BodyKind, Design, Network, PaperStem, RungeKutta, build
from tenkai.classifiers.bodies import Together
from tenkai.classifiers.learning import Recipe, labelled
from tenkai.classifiers.objectives import cross_entropy
from tenkai.classifiers.transport import Solver
from tenkai.fit import fit

from .harness import Contender, Race, peer

BATCH = 128
TOLERANCE, EXACT = 1e-3, 1e-7
RULE = optax.sgd(0.1, momentum=0.9)
GENTLE = optax.adam(1e-3)  # of the few steps before
GRIDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def prepare(quick: bool) -> Sequence[Race]:
    """A race per way of taking gradients."""
    x, y = material()
    network = trained(x, y, 3 if quick else 40)
    ways = (("gradients through the solver", False, RungeKutta()), ("adjoint", True, ODE()))
    return [race(*way, network, x, y, quick) for way in (ways[:1] if quick else ways)]


def material() -> tuple[np.ndarray, np.ndarray]:
    """Digits (n, 28, 28, 1), bytes, and their labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    small = np.round(np.asarray(x).reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    large = np.pad(small.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    return large[..., None], np.asarray(y, np.int32)


def network_of(body: BodyKind) -> Network:
    """The published network."""
    design = Design((28, 28, 1), 10, body, PaperStem(), 64, "relu", (0.0,), (255.0,))
    return build(design, key=jax.random.key(0))


@functools.cache
def _recipe() -> Recipe:
    return Recipe(batch=BATCH)


def trained(x: np.ndarray, y: np.ndarray, steps: int) -> Network:
    """A few steps on, so that the field is no longer the one that was drawn."""
    start, data = network_of(RungeKutta(steps=1)), labelled(x, y, _recipe())
    return fit(start, cross_entropy(BATCH, None), data, rule=GENTLE, steps=steps).model


def with_body(network: Network, body: BodyKind) -> Network:
    """The same weights in another body."""
    block = network.body.block  # type: ignore[attr-defined]
    return dataclasses.replace(
        network, body=dataclasses.replace(network_of(body).body, block=block)
    )


def race(
    title: str, adjoint: bool, body: Any, network: Network, x: np.ndarray, y: np.ndarray,
    quick: bool,
) -> Race:  # fmt: skip
    """Ours on the grid that matches the peer, and the peer."""
    judged = x[:BATCH]
    theirs = TorchNet(network, adjoint)
    states = np.asarray(jax.jit(jax.vmap(network.start))(judged))
    exact = _end(network, states, Solver(rtol=EXACT))
    off = _apart(theirs.ends(judged), exact)
    steps, mine = next(
        (n, error)
        for n in GRIDS
        if (error := _apart(_end(network, states, Solver("rk4", n)), exact)) <= off
        or n == GRIDS[-1]
    )
    ours = with_body(network, dataclasses.replace(body, steps=steps))
    data, units = labelled(x, y, _recipe()), 2 if quick else 4

    def train() -> None:
        fit(ours, cross_entropy(BATCH, None), data, rule=RULE, steps=units)

    run, few = theirs.train(x, y), 1 if quick else 2
    return Race(
        "training step", "relative error of the end",
        [
            Contender(f"tenkai, RK4 x {steps}", train, units, lambda: mine),
            Contender("torchdiffeq, dopri5", lambda: run(few), few, lambda: off),
        ],
        1 if quick else 4, {"NFE forth of torchdiffeq": lambda: float(theirs.nfe)}, title=title,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnums=2)
def _solve(block: Any, states: Any, solver: Solver) -> Any:
    return solver.solve(Together(block), states).ys[-1]


def _end(network: Network, states: np.ndarray, solver: Solver) -> np.ndarray:
    return np.asarray(_solve(network.body.block, jnp.asarray(states), solver))  # type: ignore


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class TorchNet:
    """The peer with our weights."""

    def __init__(self, ours: Network, adjoint: bool):
        torch = peer("torch")
        self.torch, self.adjoint, self.nfe = torch, adjoint, 0
        self.stem, self.field, self.head = _modules(torch, ours)
        parts = torch.nn.ModuleList([self.stem, self.field, self.head])
        self.parameters = list(parts.parameters())
        assert sum(p.numel() for p in self.parameters) == 208_266

    def end(self, x: Any) -> Any:
        """The state at depth 1 of images (n, 1, 28, 28)."""
        package = peer("torchdiffeq")
        solve = package.odeint_adjoint if self.adjoint else package.odeint
        self.field.nfe = 0
        times = self.torch.tensor([0.0, 1.0])
        solved = solve(self.field, self.stem(x), times, rtol=TOLERANCE, atol=TOLERANCE)
        self.nfe = self.field.nfe
        return solved[1]

    def ends(self, images: np.ndarray) -> np.ndarray:
        """States in our layout (n, h, w, c)."""
        with self.torch.no_grad():
            return self.end(self._pixels(images)).permute(0, 2, 3, 1).numpy()

    def _pixels(self, images: np.ndarray) -> Any:
        return self.torch.tensor(images).permute(0, 3, 1, 2).float() / 255

    def train(self, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
        """Steps of SGD on rows drawn from `x`."""
        torch = self.torch
        rule = torch.optim.SGD(self.parameters, lr=0.1, momentum=0.9)
        loss, labels = torch.nn.CrossEntropyLoss(), torch.tensor(y).long()
        pixels = self._pixels(x)

        def run(steps: int) -> None:
            for _ in range(steps):
                rule.zero_grad()
                rows = torch.randint(len(pixels), (BATCH,))
                loss(self.head(self.end(pixels[rows])), labels[rows]).backward()
                rule.step()

        return run


def _modules(torch: Any, ours: Network) -> tuple[Any, Any, Any]:
    """Stem, right-hand side and head in torch, with our weights."""
    nn, stem, block, head = torch.nn, ours.stem, ours.body.block, ours.head  # type: ignore

    def put(target: Any, array: Any) -> None:
        with torch.no_grad():
            target.copy_(torch.tensor(np.array(array, np.float32)))

    def norm(layer: Any) -> Any:
        made = nn.GroupNorm(layer.groups, len(layer.weight))
        put(made.weight, layer.weight)
        put(made.bias, layer.bias)
        return made

    def convolution(linear: Any, size: int, drift: Any = None, **options: Any) -> Any:
        kernel = np.asarray(linear.weight).T.reshape(size, size, -1, len(linear.bias))
        if drift is not None:  # the time comes first there
            time = np.asarray(drift).reshape(size, size, 1, -1)
            kernel = np.concatenate([time, kernel], axis=2)
        made = nn.Conv2d(kernel.shape[2], kernel.shape[3], size, **options)
        put(made.weight, kernel.transpose(3, 2, 0, 1))
        put(made.bias, linear.bias)
        return made

    layers = [convolution(stem.first.linear, 3)]
    for normed, halving in zip(stem.norms, stem.halvings, strict=True):
        halved = convolution(halving.patch, 4, stride=2, padding=1)
        layers += [norm(normed), nn.ReLU(inplace=True), halved]
    linear = nn.Linear(64, 10)
    put(linear.weight, head.linear.weight)
    put(linear.bias, head.linear.bias)
    top = [norm(head.norm), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear]

    class Field(nn.Module):
        """The peer's `ODEfunc`."""

        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(norm(layer) for layer in block.norms)
            self.layers = nn.ModuleList(
                convolution(c.convolution.patch, 3, c.drift, padding=1) for c in block.convolutions
            )
            self.nfe = 0

        def forward(self, t: Any, y: Any) -> Any:
            self.nfe += 1
            for normed, layer in zip(self.norms, self.layers, strict=False):
                y = torch.relu(normed(y))
                y = layer(torch.cat([torch.ones_like(y[:, :1]) * t, y], 1))
            return self.norms[-1](y)

    return nn.Sequential(*layers), Field(), nn.Sequential(*top)
