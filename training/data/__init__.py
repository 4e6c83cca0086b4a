"""Training rows: read, encode, remember, sample. May import `text` and the modules of `training` itself."""
