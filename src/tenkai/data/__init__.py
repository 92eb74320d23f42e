"""The untrusted border: trajectories, readers, scaling, toy systems."""

from . import toys as toys
from .clock import Clock as Clock
from .readers import read_trajectories as read_trajectories
from .scaling import Scaler as Scaler
from .scaling import TimeScaler as TimeScaler
from .scaling import can_be_log as can_be_log
from .shards import Shards as Shards
from .trajectories import Series as Series
from .trajectories import Trajectories as Trajectories
