"""Settings of all tests."""

from hypothesis import settings

# Machines are shared: a slow example says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
