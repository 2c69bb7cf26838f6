"""The training loop and everything around it: recipes, checkpoints, reports, several processes."""
