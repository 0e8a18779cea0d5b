"""The seed's way in: `uvicorn main:app --reload`."""

from api.serve import open_app

app = open_app()
