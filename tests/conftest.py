"""Settings shared by all tests."""

from hypothesis import settings

# The first call of a torch function can be slow; a deadline would make laws flaky.
settings.register_profile("barelens", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("barelens")
