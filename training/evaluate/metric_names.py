"""Names of the metrics in a record `evaluation`, for what computes them and for what only reads the record."""

METRICS = ("ctr", "auc", "gauc", "log_loss", "pcoc", "ece")
RANKING = ("auc", "gauc")
CHANGES = ("auc", "gauc", "log_loss", "ece")
"""Metrics of which the difference candidate - champion is reported; of PCOC, nearer to 1 is better, not higher."""
