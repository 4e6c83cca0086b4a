"""The audit of what a job staged: checks, leakage, Data Docs. May import `columns`, `priors`, `session`, and `include`."""
