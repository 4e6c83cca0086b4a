"""Speed of the Spark jobs, beside DuckDB."""
