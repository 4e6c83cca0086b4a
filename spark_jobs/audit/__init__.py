"""Audit of what a job staged: checks, suites, leakage, Data Docs. May import `columns`, `priors`, `session`, `include`."""
