"""The same model in torch, its path by torchdiffeq's `odeint` as the example calls it."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np

from ..harness import peer
from .material import HIDDEN, LATENT, NOISE, TIMES, WIDTH

torch = peer("torch")
torch.set_num_threads(1)


class Field(torch.nn.Module):
    """4-20-20-4 ELU; counts its evaluations."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (LATENT, WIDTH, WIDTH, LATENT)
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)
        )
        self.count = 0

    def forward(self, t: Any, z: Any) -> Any:
        self.count += 1
        for layer in self.layers[:-1]:
            z = torch.nn.functional.elu(layer(z))
        return self.layers[-1](z)


class TorchLatent(torch.nn.Module):
    """Encoder, field and decoder with the weights of ours."""

    def __init__(self, ours: Any):
        super().__init__()
        self.odeint = peer("torchdiffeq").odeint
        self.cell = torch.nn.Linear(2 + HIDDEN, HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, 2 * LATENT)
        self.field = Field()
        self.decoder = torch.nn.Sequential(
            torch.nn.Linear(LATENT, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 2)
        )
        _copy(ours.cell.layer, self.cell)
        _copy(ours.head.layers[0], self.head)
        for a, b in zip(ours.field.net.layers, self.field.layers, strict=True):
            _copy(a, b)
        for a, b in zip(ours.decoder.layers, (self.decoder[0], self.decoder[2]), strict=True):
            _copy(a, b)
        self.times = torch.tensor(TIMES)

    def posterior(self, x: Any) -> tuple[Any, Any]:
        """Mean and log sd of the state at the first time; as there, every time has an output."""
        h = out = torch.zeros(len(x), HIDDEN)
        for i in reversed(range(x.shape[1])):
            h = torch.tanh(self.cell(torch.cat([x[:, i], h], dim=1)))
            out = self.head(h)
        mean, log_sd = out.split(LATENT, dim=1)
        return mean, log_sd

    def path(self, z0: Any) -> Any:
        """(series, times, latent), at odeint's own tolerances: dopri5, rtol 1e-7, atol 1e-9."""
        return self.odeint(self.field, z0, self.times).permute(1, 0, 2)

    def solved(self, z0: np.ndarray) -> np.ndarray:
        """The same of arrays; the field's count is of this solve."""
        self.field.count = 0
        with torch.no_grad():
            return self.path(torch.tensor(z0)).numpy()

    def exact(self, z0: np.ndarray) -> np.ndarray:
        """In float64 at 1e-9."""
        field = copy.deepcopy(self.field).double()
        start, times = torch.tensor(z0).double(), self.times.double()
        with torch.no_grad():
            found = self.odeint(field, start, times, rtol=1e-9, atol=1e-9)
        return found.permute(1, 0, 2).numpy()

    def loss(self, x: Any) -> Any:
        """Minus the evidence lower bound, per series."""
        mean, log_sd = self.posterior(x)
        z0 = mean + torch.randn_like(mean) * log_sd.exp()
        seen = self.decoder(self.path(z0))
        log_p = -0.5 * ((x - seen) / NOISE) ** 2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
        divergence = 0.5 * (mean**2 + (2 * log_sd).exp() - 1) - log_sd
        return divergence.sum(1).mean() - log_p.sum((1, 2)).mean()

    def train(self, x: np.ndarray, steps: int) -> None:
        """Full batches, Adam at .01."""
        rows, rule = torch.tensor(x), torch.optim.Adam(self.parameters(), lr=0.01)
        for _ in range(steps):
            rule.zero_grad()
            self.loss(rows).backward()
            rule.step()


def _copy(ours: Any, theirs: Any) -> None:
    weight = np.asarray(ours.weight, np.float32)[:, : theirs.weight.shape[1]]
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(weight))
        theirs.bias.copy_(torch.tensor(np.asarray(ours.bias, np.float32)))
