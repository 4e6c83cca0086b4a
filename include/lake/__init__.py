"""Tables and records, on local files or HDFS, and how they are published. May import the ground only."""
