"""The champion night after night: realised metrics, drift, freshness, and the gate itself. May import `evaluate` and
what that may."""
