"""What all tests have in common."""

from hypothesis import settings

# Two cores that other tests load, too, are no place to time an example; `timeout` in pyproject.toml bounds a test.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
