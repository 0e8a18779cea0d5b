"""The JSON Schema of spec files as one document, ready to be served.

`python -m api.spec_schema` prints that of the packaged `etc/`, which is committed as
`docs/deployment.schema.json`.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from typing import Any, Final

from specs.json_schema import spec_schema
from specs.userconf import read_userconf

MEDIA_TYPE: Final = "application/schema+json"
PATH: Final = "/schema/deployment.json"


@dataclass(frozen=True, slots=True)
class SchemaDocument:
    """A schema as JSON, with the strong ETag of these bytes."""

    body: bytes
    etag: str


def schema_document(schema: dict[str, Any]) -> SchemaDocument:
    """Return the document of a schema, indented for people."""
    body = json.dumps(schema, indent=1, ensure_ascii=False).encode() + b"\n"
    return SchemaDocument(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


if __name__ == "__main__":
    from reconciler.settings import load_settings

    SETTINGS = load_settings({})
    FORM = read_userconf(SETTINGS.userconf)
    SCHEMA = spec_schema(FORM, SETTINGS.priorities, vos=SETTINGS.auth.VO)
    sys.stdout.write(schema_document(SCHEMA).body.decode())
