"""Stochastic differential equations from data: transition densities, their maximum, simulation."""
