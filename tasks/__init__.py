"""Prefect tasks: one per stage, each a thin call of the engine."""
