"""Contract suites for plug-ins: call them in a plug-in's own tests.

    from facepipe.testing import check_method

    def test_contract():
        check_method("my-method")

Every function takes the name of an entry point or `module:object` and raises `ContractError`, an
AssertionError, with what was expected.
"""

from facepipe.testing.contracts import (
    ContractError,
    check_dataset,
    check_method,
    check_metric,
    check_regressor,
)

__all__ = ["ContractError", "check_dataset", "check_method", "check_metric", "check_regressor"]
