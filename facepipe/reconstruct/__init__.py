"""Reconstruct coloured meshes from photos."""
