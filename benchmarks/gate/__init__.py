"""The promotion gate on worlds whose truth is known."""
