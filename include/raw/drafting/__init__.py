"""Guesses of what a log looks like: its format, encoding, dialect, columns and paths, and what a mapping makes of it."""
