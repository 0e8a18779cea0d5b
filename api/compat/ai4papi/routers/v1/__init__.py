"""Version 1 of the seed's functions."""
