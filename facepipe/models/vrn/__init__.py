"""Volumetric regression networks: from a restored image to an occupancy volume."""
