"""From gradients to updates: optimizers, learning rate schedules and constraints."""
