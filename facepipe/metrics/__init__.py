"""Metrics on images and on geometry."""
