"""Figures beside their floors, measured in one run: `make bench`."""
