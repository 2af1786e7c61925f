"""Reconstruct coloured meshes from photos.

Called, it gives them: `facepipe.reconstruct("photo.jpg")` is `facepipe.api.work.reconstruct`.
"""

from facepipe.core.callable_room import make_callable

make_callable(__name__, "facepipe.api.work:reconstruct")
