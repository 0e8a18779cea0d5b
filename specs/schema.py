"""The tables of the spec store, for SQLite and PostgreSQL alike; `migrations/` creates them.

Instants are RFC 3339 text in UTC, JSON is text: both databases keep them byte for byte. The numbers
in `resource_version`, `born` and `wished` all come from the one row of `counter`, taken inside the
transaction that uses them; the row's lock makes their order the order of the commits. The numbers
of events come from the same row.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA: Final = MetaData()

counter = Table(
    "counter",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="counter_has_one_row"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("durable", BigInteger, nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("oldest_reader", Text, nullable=False),
    Column("forgotten", BigInteger, nullable=False, server_default="0"),
)
"""`version`: the newest write; `durable`: the newest that was synced to the disk; `event`: the
newest event. `store_id` is made once. `oldest_reader` is the revision of these tables that a
program must know at least to work on them. `forgotten` is the newest departure that was cleaned up.
"""

deployments = Table(
    "deployments",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("owner_iss", Text, nullable=False),
    Column("owner_sub", Text, nullable=False),
    Column("owner_name", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("born", BigInteger, nullable=False),
    Column("wished", BigInteger, nullable=False),
    Column("resource_version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("secrets_generation", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("deletion_requested_at", Text),
    Column("deletion_held", Text, nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("observed_generation", BigInteger, nullable=False),
    Column("observed_at", Text),
    Column("phase", Text, nullable=False),
    Column("seen_index", BigInteger, nullable=False),
    Column("wake_at", Text),
    Column("applied_generation", BigInteger, nullable=False),
    Column("applied_secrets_generation", BigInteger, nullable=False),
    Column("applied_digest", Text),
    Column("applied_index", BigInteger, nullable=False),
    Column("applied_restart", BigInteger, nullable=False),
    Column("finalizers", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("pin", Text),
    Column("status", Text, nullable=False),
    Column("counted", Text, nullable=False),
    Column("asks", Text, nullable=False),
    Column("queued_at", BigInteger),
    Column("queue_rank", BigInteger, nullable=False),
    Column("source_fault", Text, nullable=False),
    Column("module_defaults", Text, nullable=False),
    UniqueConstraint("owner_iss", "owner_sub", "vo", "name", name="deployments_name"),
    Index("deployments_born", "owner_iss", "owner_sub", "born", unique=True),
    Index("deployments_wished", "wished", unique=True),
    Index("deployments_resource_version", "resource_version", unique=True),
    Index("deployments_source_id", "source_id"),
    Index("deployments_vo", "vo", "born"),
    Index(
        "deployments_queued",
        "queued_at",
        sqlite_where=text("queued_at IS NOT NULL"),
        postgresql_where=text("queued_at IS NOT NULL"),
    ),
)
"""One row per record. `applied_digest` is null while nothing is applied, `pin` while the wish runs,
`queued_at` while the wish is let in; `counted` and `asks` are amounts of the quota in JSON.

`source_id` names the source whose reads decide over the record, "" where people do; `source_fault`
is what is wrong with its file. `module_defaults` is what the module set where the wish says
nothing, by group and key, in JSON.
"""

applied_jobs = Table(
    "applied_jobs",
    METADATA,
    Column("uid", Text, ForeignKey("deployments.uid", ondelete="CASCADE"), primary_key=True),
    Column("job", Text, nullable=False),
)
"""The rendered job as it was last sent. Apart, so that a status write need not copy it."""

secrets = Table(
    "secrets",
    METADATA,
    Column("uid", Text, ForeignKey("deployments.uid", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Values are sealed: see `specs.sealing`."""

idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    Column("owner_iss", Text, primary_key=True),
    Column("owner_sub", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column(
        "uid", Text, ForeignKey("deployments.uid", ondelete="CASCADE"), nullable=False, index=True
    ),
)

departures = Table(
    "departures",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False),
    Column("at", Text, nullable=False),
)
"""Records that are gone, so that those who follow the changes learn of it."""

revisions = Table(
    "revisions",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("pinned_generation", BigInteger),
)
"""What was wished at each generation. Outlives its record while that is in the trash."""

events = Table(
    "events",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False),
    Column("owner_iss", Text, nullable=False),
    Column("owner_sub", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("from_phase", Text, nullable=False),
    Column("to_phase", Text, nullable=False),
    Index("events_uid", "uid", "number"),
    Index("events_owner", "owner_iss", "owner_sub", "number"),
)
"""The timeline. Only appended to and trimmed; outlives its record like `revisions`."""

trash = Table(
    "trash",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
    Column("owner_iss", Text, nullable=False),
    Column("owner_sub", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("secrets", Text, nullable=False),
    Index("trash_owner", "owner_iss", "owner_sub", "version"),
    Index("trash_version", "version"),
)
"""Records as they were when they went: `record` is the JSON of their `Row`."""

log_tails = Table(
    "log_tails",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("allocation_id", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("at", Text, nullable=False),
    Column("content", Text, nullable=False),
)
"""The ends of the logs of allocations that failed. Outlive their record like `revisions`."""

quota_use = Table(
    "quota_use",
    METADATA,
    Column("scope", Text, primary_key=True),
    Column("used", Text, nullable=False),
)
"""What all deployments of a scope count for together: `scope` is `["user", iss, sub]` or
`["vo", name]`, `used` the amounts by item, both JSON. Always the sums of `deployments.counted`.
"""

prunes = Table(
    "prunes",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", Text, nullable=False),
    Column("at", Text, nullable=False),
)
"""Deletions that a source made without a person's yes; the budget counts the latest of them."""

sources = Table(
    "sources",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("report", Text, nullable=False),
    Column("asked", BigInteger, nullable=False),
)
"""The sources of spec files that the site has: `report` is what the last read found, in JSON;
`asked` counts how often somebody asked for a read.
"""

replicas = Table(
    "replicas",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("program", Text, nullable=False),
)
"""The reconcilers of a site and when each was last heard of, by the database's clock."""

leases = Table(
    "leases",
    METADATA,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text),
    Column("term", BigInteger, nullable=False),
    Column("until_at", DateTime(timezone=True)),
)
"""Who does the work of each part of the deployments, until when by the database's clock. `term`
moves with every change of hands.
"""

catalog_counter = Table(
    "catalog_counter",
    METADATA,
    Column(
        "id",
        Integer,
        CheckConstraint("id = 1", name="catalog_counter_has_one_row"),
        primary_key=True,
    ),
    Column("version", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("asked", BigInteger, nullable=False),
)
"""`version` moves when what is known of a module changes, `reads` with every read of a source;
`asked` counts how often somebody asked for a read. No row: 0 each.
"""

catalog_sources = Table(
    "catalog_sources",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("rank", Integer, nullable=False),
    Column("read_at", Text),
    Column("state", Text),
)
"""The sources of modules; the lowest `rank` wins a name. `state` is a `CatalogState` in JSON."""

catalog_modules = Table(
    "catalog_modules",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("document", Text),
    Column("digest", Text, nullable=False),
    Column("fault", Text, nullable=False),
    Column("url", Text, nullable=False),
)
"""What each source lists. `document` is the last good one in JSON, as it was read, null where there
was none; `fault` is what is wrong with the latest ("": nothing). `digest` is of both.
"""

catalog_overlays = Table(
    "catalog_overlays",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("fields", Text),
)
"""What editors set, version by version; `fields` is JSON, null where the overlay was taken away."""

outbox = Table(
    "outbox",
    METADATA,
    Column("destination", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Text, nullable=False),
    Column("owner_iss", Text, nullable=False),
    Column("owner_sub", Text, nullable=False),
    Column("notice", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("due_at", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Index("outbox_line", "destination", "line", "number"),
)
"""Moments that are still to be told, one row for each that is to hear of it. `number` is that of
the event; within a `line` the lowest number goes first. `notice` is JSON.
"""

contacts = Table(
    "contacts",
    METADATA,
    Column("owner_iss", Text, primary_key=True),
    Column("owner_sub", Text, primary_key=True),
    Column("address", Text, nullable=False),
)
"""Addresses of owners who asked for mail, as their provider vouched for them. Shown to nobody."""
