"""Problems that are solved rather than fitted: variational ones and optimal control."""

from ..models.policies import Feedback as Feedback
from ..models.policies import LinearGain as LinearGain
from ..models.policies import NetworkPolicy as NetworkPolicy
from ..models.policies import OutputFeedback as OutputFeedback
from ..models.policies import Policy as Policy
from ..models.trials import RBF as RBF
from ..models.trials import Network as Network
from ..models.trials import PiecewiseConstant as PiecewiseConstant
from ..models.trials import Polynomial as Polynomial
from ..models.trials import Sine as Sine
from .control import OptimalControl as OptimalControl
from .quadrature import GaussLegendre as GaussLegendre
from .quadrature import RightEndpoint as RightEndpoint
from .quadrature import Trapezoid as Trapezoid
from .unfolding import RightEuler as RightEuler
from .variational import VariationalProblem as VariationalProblem
