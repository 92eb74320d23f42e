"""Iterative algorithms with learned numbers: `Unfolded`, shipped ones, and their baselines."""

from .binary import binary_problems as binary_problems
from .binary import hard_tanh as hard_tanh
from .binary import linear_mmse as linear_mmse
from .binary import soft_projected as soft_projected
from .binary import symbol_errors as symbol_errors
from .binary import zero_forcing as zero_forcing
from .codes import bch as bch
from .codes import cyclic_code as cyclic_code
from .codes import generator_matrix as generator_matrix
from .codes import regular_ldpc as regular_ldpc
from .decoding import bit_cross_entropy as bit_cross_entropy
from .decoding import codewords as codewords
from .decoding import sum_product as sum_product
from .iteration import Layer as Layer
from .iteration import squared_error as squared_error
from .sparse import fista as fista
from .sparse import ista as ista
from .sparse import lista as lista
from .sparse import mmse_shrinkage as mmse_shrinkage
from .sparse import soft as soft
from .sparse import sparse_problems as sparse_problems
from .sparse import tista as tista
from .tuning import FixedStep as FixedStep
from .unfolded import Unfolded as Unfolded
