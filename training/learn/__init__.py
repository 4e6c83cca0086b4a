"""Day-by-day training: the trainer, its state and checkpoints, the artifact. May import `models`, `data`, `text`."""
