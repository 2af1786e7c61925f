"""How work is done: units on a Dask cluster, and the arrays and results that they leave."""
