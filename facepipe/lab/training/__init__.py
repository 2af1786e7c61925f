"""Code that all trainings share."""
