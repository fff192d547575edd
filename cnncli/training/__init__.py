"""Training: the loop, optimisers, schedules, metrics, runs and their checkpoints, and the measurements of a network."""
