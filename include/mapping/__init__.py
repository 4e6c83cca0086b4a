"""What a log looks like: the mapping, and where the files of a day lie."""
