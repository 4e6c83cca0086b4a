"""What runs inside Airflow: operators, notices, links, how Spark jobs and trainings start. May import
all but `airflow_control` and `cli`."""
