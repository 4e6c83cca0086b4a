"""Pages in Airflow's UI: data quality, models and days, each with a JSON endpoint behind it. They read and never act."""
