"""How many examples a property test tries: more where HYPOTHESIS_PROFILE is `thorough`, as in `make test-services`."""

import os

from hypothesis import HealthCheck, settings

_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
_MORE = 10

settings.register_profile(
    "project",
    deadline=None,
    max_examples=100 * (_MORE if _THOROUGH else 1),
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a test that needs a fresh folder cleans its own
)
settings.load_profile("project")


def examples(few: int) -> settings:
    """Settings of a property test that tries so many examples, or ten times as many."""
    return settings(max_examples=few * (_MORE if _THOROUGH else 1))
