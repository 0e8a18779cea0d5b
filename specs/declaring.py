"""What a wish makes of the store, inside its transaction: for people, and for sources of files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from specs import timeline
from specs.admission import admit, let_in
from specs.model import Deployment, Owner
from specs.ownership import refuse_taken_away, take_for_source
from specs.provenance import SourcedWish, moved, written_by_people
from specs.quota import Quotas
from specs.records import source_id
from specs.revisions import (
    as_wished,
    new_record,
    refuse_while_being_deleted,
    resolved_secrets,
    revised,
)
from specs.timeline import Author
from specs.transaction import Write
from specs.wish import Wish


class Change(Enum):
    """What a put made of the record."""

    CREATED = auto()
    CHANGED = auto()
    UNCHANGED = auto()
    TAKEN = auto()


@dataclass(frozen=True, slots=True)
class Declaring:
    """Writes wishes within the site's quotas; `new_uid` names new records."""

    quotas: Quotas
    new_uid: Callable[[], str]

    def insert(
        self, write: Write, wish: Wish, owner: Owner, owner_name: str, author: Author
    ) -> Deployment:
        """Add a record. Raises: InvalidSpec; QuotaExceeded."""
        values = resolved_secrets(wish.secrets, {})
        record = new_record(
            wish,
            uid=self.new_uid(),
            owner=owner,
            owner_name=owner_name,
            source=author.source,
            version=write.version,
            now=write.now(),
        )
        record = admit(write, record, self.quotas)
        write.insert(record, values, author, timeline.created(record, author))
        return record

    def revise(
        self, write: Write, record: Deployment, wish: Wish, owner_name: str, author: Author
    ) -> Deployment:
        """Make `record` what `wish` wants; return `record` itself where it is.

        Raises: AlreadyExists; InvalidSpec; QuotaExceeded.
        """
        refuse_while_being_deleted(record)
        kept = write.secrets(record.uid)
        values = resolved_secrets(wish.secrets, kept)
        by_file = source_id(author.source)
        changed = revised(
            record,
            wish,
            new_secrets=values != kept,
            owner_name=owner_name,
            source=author.source if by_file else written_by_people(record, author.source),
            version=write.version,
        )
        if changed.generation > record.generation:
            changed = admit(write, changed, self.quotas)
            secrets = timeline.changed_secrets(kept, values)
            events = timeline.wish_changed(record, changed, author, secrets=secrets)
            write.save_wish(changed, author, *events)
            if record.over_quota:
                let_in(write, self.quotas, beside=record)
        elif changed is not record:
            write.save(changed, wished=False)
        if values != kept:
            write.save_secrets(record.uid, values)
        return changed

    def put_sourced(self, write: Write, sourced: SourcedWish) -> tuple[Deployment, Change]:
        """Create or replace in the name of a source.

        A record of people's that is just as the source wants it belongs to the source from then on,
        unless they took it over from that very document.

        Raises:
            AlreadyExists: the name belongs to another source or to people, or the record is being
                deleted, or was taken over from this document and deleted.
            InvalidSpec: the wish keeps a secret that was never set.
            QuotaExceeded: the quota has no room for it, and the site no line to wait in.
        """
        wish, source = sourced.wish, sourced.provenance
        author = Author(source_id(source), source)
        there = write.record_named(sourced.owner, wish.vo, wish.name)
        if there is None:
            refuse_taken_away(write, sourced.place, source)
            made = self.insert(write, wish, sourced.owner, sourced.owner_name, author)
            return made, Change.CREATED
        refuse_while_being_deleted(there)
        wanted = as_wished(there, wish, write.secrets(there.uid))
        taken = take_for_source(write, there, source, as_wished=wanted)
        # A file knows its owner's `sub`; the name that a token told stays.
        changed = self.revise(write, taken, wish, there.owner_name, author)
        if changed is not taken:
            return changed, Change.CHANGED
        if moved(there, source):
            changed = replace(taken, source=dict(source), resource_version=write.version)
            write.save(changed, wished=False)
        return changed, Change.UNCHANGED if taken is there else Change.TAKEN
