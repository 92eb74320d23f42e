"""The latent ODE of the spirals, written for ours and for torch, with the same weights."""
