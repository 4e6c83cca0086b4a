"""What measures speed against peers on the same machine: each benchmark prints a table and writes JSON."""
