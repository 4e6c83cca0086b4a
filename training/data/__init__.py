"""Training rows: read, encoded, remembered, drawn. May import `text` and the ground of `training`."""
