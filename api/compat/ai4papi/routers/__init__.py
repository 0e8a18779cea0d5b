"""Where the seed keeps its routes; here they are plain functions."""
