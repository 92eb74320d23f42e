"""How good a model forecasts, on data that it did not see: rolling origins, fair comparisons."""

from .backtest import backtest as backtest
from .compare import compare as compare
