"""What all tests share: how long one example of a property may take."""

from hypothesis import settings

# Far above what any takes, so that a busy machine fails none; below what a pattern that tries every
# way would take.
settings.register_profile("busy", deadline=5000)
settings.load_profile("busy")
