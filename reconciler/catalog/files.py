"""Modules as files: one `<module>.json` or `.yaml` each, in a folder or a git repository."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from specs.catalog.documents import BadDocument, format_of, module_of, read_document
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.texts import shown
from specs.trees import File, SourceUnavailable, TreeReader
from specs.userconf import is_module
from specs.walk import opened, walk


class FolderReader:
    """The `CatalogReader` of a folder: what stands in it itself, not below.

    A file that is written just now may be read half: its writer's next change has it read again.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, known: Mapping[str, str]) -> CatalogRead:
        """Read every file of the folder; see `CatalogReader`."""
        with opened(self._root) as fd:
            found = walk(fd, lambda path, _: "/" not in path)
        files = [File(path, "", fault=fault) for path, fault in found.faults.items()]
        files += [
            File(path, hashlib.sha256(content).hexdigest(), content)
            for path, content in found.contents.items()
        ]
        read = read_of(files, known, self._root.name)
        # It was replaced while it was read.
        lost = {path for path in found.files.keys() - found.contents.keys() if "/" not in path}
        return replace(read, same={*read.same, *(set(map(module_of, lost)) & known.keys())})


class GitReader:
    """The `CatalogReader` of a git repository: the files at its top, or at that of `folder`."""

    def __init__(self, tree: TreeReader, url: str) -> None:
        self._tree = tree
        self._url = url
        self._contents: dict[str, File] = {}

    def read(self, known: Mapping[str, str]) -> CatalogRead:
        """Read the newest commit; see `CatalogReader`."""
        seen = {path: file.blob for path, file in self._contents.items()}
        files = [self._with_content(file) for file in self._tree.read(seen).files]
        self._contents = {file.path: file for file in files if file.content is not None}
        return read_of(files, known, self._url)

    def _with_content(self, file: File) -> File:
        before = self._contents.get(file.path)
        if file.content is None and not file.fault and before and before.blob == file.blob:
            return before
        return file


def read_of(files: Sequence[File], known: Mapping[str, str], url: str) -> CatalogRead:
    """Return what the files say of their modules; files in folders say nothing.

    `url` is the place, as everybody may see it.

    Raises: SourceUnavailable: none of the files is a module's.
    """
    top = sorted(
        (file for file in files if "/" not in file.path),
        key=lambda file: (module_of(file.path), file.path),
    )
    modules: list[ModuleRead] = []
    same: set[str] = set()
    notes: list[str] = []
    for name, group in groupby(top, key=lambda file: module_of(file.path)):
        its = list(group)
        if not is_module(name):
            notes += [f"{file.path}: {shown(name)} is no module name" for file in its]
        elif len(its) == 1 and its[0].blob and known.get(name) == its[0].blob:
            same.add(name)
        else:
            modules.append(replace(_module(name, its), url=f"{url}/{its[0].path}"))
    if not modules and not same:
        raise SourceUnavailable(f"{url} holds no <module>.json or <module>.yaml")
    return CatalogRead(modules, same, notes)


def _module(name: str, files: Sequence[File]) -> ModuleRead:
    file = files[0]
    if len(files) > 1:
        both = " and ".join(one.path for one in files)
        return ModuleRead(name, "v1", fault=f"{both} are of one module: take one away")
    if file.content is None:
        return ModuleRead(name, "v1", fault=f"{file.path} {file.fault or 'was not read'}")
    try:
        document = read_document(file.content, file.path)
    except BadDocument as error:
        return ModuleRead(name, "v1", fault=str(error))
    return ModuleRead(name, format_of(document), file.blob, document)
