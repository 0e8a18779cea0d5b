"""A server with a catalogue of 500 modules that nobody reads anew:
`python -m tests.bench.modules FOLDER PORT`."""

import sys
from pathlib import Path
from typing import Any, Final

import uvicorn

from api.app import create_app
from api.serve import services_of
from specs.catalog.reads import CatalogRead, ModuleRead
from tests.bench.doors import OpenDoor
from tests.bench.site import open_site

MODULES: Final = 500
NAME: Final = "deep-oc-bench-{:03}"


def a_document(number: int) -> dict[str, Any]:
    """Return metadata of the usual length."""
    return {
        "title": f"Train classifier number {number}",
        "summary": f"Sorts images of kind {number} into the classes that you name.",
        "description": ["It is trained with your images, or used as it is."] * 20,
        "keywords": ["image classification", "tensorflow", f"kind-{number}"],
        "license": "MIT",
        "sources": {"docker_registry_repo": f"deephdc/{NAME.format(number)}"},
    }


def main(folder: Path, port: int) -> None:
    """Serve until the process is ended."""
    folder.mkdir()
    reads = [ModuleRead(NAME.format(n), "v1", "1", a_document(n)) for n in range(MODULES)]
    with open_site(folder, None) as runtime:
        runtime.store.put_catalog("bench", CatalogRead(reads), rank=0)
        app = create_app(services_of(runtime, OpenDoor()))
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
