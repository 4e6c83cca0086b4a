"""Airflow's plugin, `ctr_plugin.py`, and the pages that it adds to Airflow's UI."""
