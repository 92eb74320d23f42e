"""Learn the lynx-hare cycle and draw it: `python examples/lynx_hare.py [PICTURE]`."""

import sys
from pathlib import Path

import tenkai as tk

here = Path(__file__).parent
data = tk.read_trajectories(here / "lynx_hare.csv", time="Year")
ode = tk.NeuralODE(seed=0).fit(data)
print(ode.summary())
print(ode.forecast(horizon=10).to_frame().head())

figure = ode.plot().flat[0].figure
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "lynx_hare.png", dpi=110)
