"""From a gradient to a step: optimizers, learning rate schedules and constraints."""
