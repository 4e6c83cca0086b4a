"""The promotion gate: a policy, its comparisons and rules. May import `evaluate` and what that may."""
