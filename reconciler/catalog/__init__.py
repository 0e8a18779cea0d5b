"""The catalogue of modules: reads its sources in the background and keeps the store up to date."""
