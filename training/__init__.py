"""Training, evaluation and the gate: everything that runs on a GPU or CPU beside Spark."""
