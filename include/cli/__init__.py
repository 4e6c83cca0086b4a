"""The commands of `ctr`, one module for each family; `app` puts them together. May import everything but `training`."""
