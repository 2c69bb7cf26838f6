"""The mathematics: activations, losses and layers, and the network that they form."""
