"""Generated logs of a world whose truth is known. May import `raw` and the ground."""
