"""What the DAGs, the Spark jobs, the training and the plugins share."""
