"""The benchmark: configuration, stages and driver."""
