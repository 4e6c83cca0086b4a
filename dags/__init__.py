"""What the scheduler reads: `ctr_daily` runs a night, `ctr_rollback` takes a promotion back."""
