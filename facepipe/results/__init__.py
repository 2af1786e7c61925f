"""Read the tables of finished runs: SQL, means with intervals, the result table."""
