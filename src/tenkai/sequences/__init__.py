"""Many irregular series: latent ODEs, ODE-RNNs and the recurrent networks beside them."""
