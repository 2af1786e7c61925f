"""Surveillance batches: an inbox of images and videos becomes an archive of faces, each input once.

Called, it does that: `facepipe.surveil("inbox", "archive")` is `facepipe.api.work.surveil`.
"""

from facepipe.core.callable_room import make_callable

make_callable(__name__, "facepipe.api.work:surveil")
