"""The seed's Python usage, without HTTP: `from ai4papi.routers.v1 import deployments`."""
