"""What a model scores whose features contain the label, beside the same model without: `ctr leak-demo`."""
