"""Scores of a model whose features contain the label, beside the same model without: `ctr leak-demo`."""
