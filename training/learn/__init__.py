"""Learning a model day by day: the trainer, its state and checkpoints, the artifact. May import `models`, `data`, `text`."""
