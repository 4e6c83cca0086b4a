"""Data quality: declared checks, rejected rows and their repair. May import `lake`, `raw`, and the ground."""
