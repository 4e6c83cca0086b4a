"""The days of the lake: what state each is in, what is stale and has to be redone. May import `lake`, `raw`, and the ground."""
