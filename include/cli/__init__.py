"""The commands of `ctr`, one module for each family; `app` puts them together. It may import everything but `training`."""
