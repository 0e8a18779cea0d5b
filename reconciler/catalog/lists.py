"""Lists of modules over HTTP: the list first, then every module's metadata, many at a time."""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from reconciler.catalog.hosts import Refused
from reconciler.catalog.http import Answer, Http, Unreachable
from specs.catalog.documents import BadDocument, read_document
from specs.catalog.indexes import BadIndex, Entry, Index, raw_urls
from specs.catalog.reads import CatalogRead, Format, ModuleRead
from specs.texts import shown
from specs.timed import Deadline
from specs.trees import SourceUnavailable

log = logging.getLogger(__name__)

WHOLE_S: Final = 300.0
"""Time for a whole source; what is not read by then stays as it was known."""

MAX_BYTES_IN_ALL: Final = 64_000_000
"""Bytes of all metadata of one read, which are in memory together."""

STOP_S: Final = 0.5
"""How often a read that is under way looks whether it should give up."""

_ETAG: Final = re.compile(r'(?:W/)?"[!#-~]{0,256}"', re.ASCII)
_LATER: Final = frozenset({408, 425, 429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class ListForm:
    """One form of lists: how it is read, and what each module's file is called and means."""

    read: Callable[[str], Index]
    file: str
    format: Format


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at a time, and for how long, in seconds."""

    concurrency: int = 16
    file_s: float = 10.0
    whole_s: float = WHOLE_S


@dataclass(frozen=True, slots=True)
class _Later:
    """A module that can't be read now, but perhaps soon."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class _Same:
    """A module that is as it was known."""

    name: str


_Found = ModuleRead | _Same | _Later


class ListReader:
    """The `CatalogReader` of a list of repositories.

    What is known of a module stays while its host is in trouble; a module that is gone or broken is
    told with its fault. `stopped` is asked during a long read: whether to give up.
    """

    def __init__(
        self,
        url: str,
        form: ListForm,
        open_http: Callable[[], Http],
        *,
        templates: Mapping[str, str],
        pace: Pace,
        stopped: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._form = form
        self._open_http = open_http
        self._templates = templates
        self._pace = pace
        self._stopped = stopped
        self._monotonic = monotonic

    def read(self, known: Mapping[str, str]) -> CatalogRead:
        """Read the list and all its modules; see `CatalogReader`."""
        with self._open_http() as http:
            index = self._index(http)
            found = self._modules(http, index.entries, known)
        modules = [one for one in found if isinstance(one, ModuleRead)]
        same = {one.name for one in found if isinstance(one, _Same)}
        later = [one for one in found if isinstance(one, _Later)]
        if later and not modules and not same:
            raise SourceUnavailable(
                f"none of the {len(later)} modules of {self._url} can be read: {later[0].why}"
            )
        notes = [*index.unnamed]
        for one in later:
            if known.get(one.name):
                same.add(one.name)
                notes.append(f"{one.name} stays as it was known: {one.why}")
            else:
                modules.append(ModuleRead(one.name, self._form.format, fault=one.why))
        return CatalogRead(sorted(modules, key=lambda one: one.name), same, notes)

    def _index(self, http: Http) -> Index:
        try:
            answer = http.get(self._url, Deadline(self._pace.file_s, self._monotonic))
            if answer.status != 200:
                raise SourceUnavailable(f"{self._url} answers {answer.status}: check the address")
            return self._form.read(answer.body.decode("utf-8"))
        except (Refused, Unreachable, BadIndex) as error:
            raise SourceUnavailable(f"can't read {self._url}: {error}") from error
        except UnicodeDecodeError as error:
            raise SourceUnavailable(
                f"can't read {self._url}: byte {error.start} is not UTF-8"
            ) from error

    def _modules(
        self, http: Http, entries: Sequence[Entry], known: Mapping[str, str]
    ) -> Sequence[_Found]:
        whole = Deadline(self._pace.whole_s, self._monotonic)
        visit = _Visit(http, self._form, self._templates, whole, self._pace.file_s, self._monotonic)
        pool = ThreadPoolExecutor(self._pace.concurrency, thread_name_prefix="catalogue")
        try:
            asked = {
                entry.name: pool.submit(visit.module, entry, known.get(entry.name, ""))
                for entry in entries
            }
            waiting = set(asked.values())
            while waiting and not self._stopped() and not _is_over(whole):
                waiting = wait(waiting, timeout=STOP_S).not_done
            if self._stopped():
                raise SourceUnavailable("the program is stopping")
            return [
                future.result() if future.done() else _Later(name, _OVER)
                for name, future in asked.items()
            ]
        finally:
            # A thread that waits for the system's look-up of a name can't be ended: it is left.
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Visit:
    """One read of all modules of a list, in many threads."""

    http: Http
    form: ListForm
    templates: Mapping[str, str]
    whole: Deadline
    file_s: float
    monotonic: Callable[[], float]
    bytes_left: int = MAX_BYTES_IN_ALL

    def module(self, entry: Entry, version: str) -> _Found:
        """Read one module, of which `version` is known."""
        if entry.fault:
            return self._fault(entry.name, entry.fault)
        try:
            urls = raw_urls(entry, self.form.file, self.templates)
            deadline = Deadline(min(self.file_s, self.whole.left_s()), self.monotonic)
            return self._first(entry.name, urls, _Version.of(version), deadline)
        except (Refused, ValueError) as error:
            return self._fault(entry.name, str(error))
        except TimeoutError:
            return _Later(entry.name, _OVER)
        except Unreachable as error:
            return _Later(entry.name, str(error))

    def _first(
        self,
        name: str,
        urls: Sequence[tuple[str, str]],
        known: "_Version",
        deadline: Deadline,
    ) -> _Found:
        """Read the module where it is found first; the branch where it was before comes first."""
        for branch, url in sorted(urls, key=lambda one: one[0] != known.branch):
            etag = known.etag if branch == known.branch else ""
            answer = self.http.get(url, deadline, etag=etag)
            if answer.status == 304 and etag:
                return _Same(name)
            if answer.status in _LATER:
                return _Later(name, f"{url} answers {answer.status}")
            if answer.status == 200:
                self._count(len(answer.body))
                version = _Version(branch, _tag_of(answer))
                return _Same(name) if version == known else self._read(name, version, answer)
            if answer.status != 404:
                return self._fault(name, f"{url} answers {answer.status}", url)
        branches = " or ".join(shown(branch) for branch, _ in urls)
        return self._fault(name, f"there is no {self.form.file} on branch {branches}", urls[0][1])

    def _read(self, name: str, version: "_Version", answer: Answer) -> ModuleRead:
        try:
            document = read_document(answer.body, self.form.file)
        except BadDocument as error:
            return self._fault(name, str(error), answer.url)
        return ModuleRead(name, self.form.format, str(version), document, url=answer.url)

    def _fault(self, name: str, why: str, url: str = "") -> ModuleRead:
        return ModuleRead(name, self.form.format, fault=why, url=url)

    def _count(self, size: int) -> None:
        # Ending a little late does no harm, so this needs no lock.
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise Refused(
                f"the metadata of this list has more than {MAX_BYTES_IN_ALL:,} bytes in all"
            )


_OVER: Final = "the time for the whole list was over"


def _is_over(deadline: Deadline) -> bool:
    try:
        deadline.left_s()
    except TimeoutError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Version:
    """The branch on which a module was found, and what tells its document from the next."""

    branch: str = ""
    tag: str = ""

    @classmethod
    def of(cls, text: str) -> "_Version":
        branch, _, tag = text.partition(" ")
        return cls(branch, tag)

    @property
    def etag(self) -> str:
        """The server's own tag of the document, "" where it gave none."""
        return self.tag if _ETAG.fullmatch(self.tag) else ""

    def __str__(self) -> str:
        return f"{self.branch} {self.tag}"


def _tag_of(answer: Answer) -> str:
    etag = answer.headers.get("etag", "")
    if _ETAG.fullmatch(etag):
        return etag
    return "sha256:" + hashlib.sha256(answer.body).hexdigest()
