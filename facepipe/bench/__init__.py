"""The benchmark: configuration, stages and driver.

Called, it runs one: `facepipe.bench("photos", out="runs/x")` is `facepipe.api.work.bench`.
"""

from facepipe.core.callable_room import make_callable

make_callable(__name__, "facepipe.api.work:bench")
