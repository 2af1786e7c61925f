"""A licence-clean morphable head, its renderer and the face factory."""
