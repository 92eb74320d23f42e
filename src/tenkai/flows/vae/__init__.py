"""Variational autoencoders with flow posteriors: encoder, amortised flow, decoder, objective."""

from .autoregressive import IAFPosterior
from .likelihoods import Bernoulli, Categorical, DiscretisedLogistic, Gaussian, Likelihood
from .low_rank import FFJORDPosterior
from .model import VAE, Belief, normal_divergence
from .posteriors import Amortised, NoFlow, PlanarPosterior, PosteriorFamily, SylvesterPosterior

__all__ = [
    "VAE",
    "Amortised",
    "Belief",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "FFJORDPosterior",
    "Gaussian",
    "IAFPosterior",
    "Likelihood",
    "NoFlow",
    "PlanarPosterior",
    "PosteriorFamily",
    "SylvesterPosterior",
    "normal_divergence",
]
