"""Readers of data sets: from files on disk to samples."""
