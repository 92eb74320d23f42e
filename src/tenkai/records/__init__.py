"""What comes out: read-only records with their own tables and pictures.

Arrays are NumPy, times and values are in the units of the user's data.
"""

from .backtest import Backtest as Backtest
from .backtest import Origin as Origin
from .comparison import Comparison as Comparison
from .control import ControlSolution as ControlSolution
from .core import Discretisation as Discretisation
from .core import Fit as Fit
from .core import Forecast as Forecast
from .core import HeldOut as HeldOut
from .core import Path as Path
from .core import Status as Status
from .core import Work as Work
from .diffusion import Paths as Paths
from .diffusion import Stationary as Stationary
from .equilibria import Cycle as Cycle
from .equilibria import Equilibria as Equilibria
from .equilibria import Equilibrium as Equilibrium
from .prediction import Prediction as Prediction
from .profile import MeasuredGradient as MeasuredGradient
from .profile import MeasuredSolve as MeasuredSolve
from .profile import Profile as Profile
from .profile import Recommendation as Recommendation
from .scores import Coverage as Coverage
from .scores import Difference as Difference
from .scores import Points as Points
from .sensitivity import Sensitivity as Sensitivity
from .solution import Family as Family
from .solution import Solution as Solution
