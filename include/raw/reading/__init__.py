"""Reads the files of a log as they were delivered: bytes, records of each format, values, canonical rows."""
