"""Models, one per file; shapes are in the docstrings. `B` is the batch, whose rows are sorted by scene."""
