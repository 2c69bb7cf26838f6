"""The mathematics: activations, losses, layers and networks."""
