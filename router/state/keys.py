"""Every key that the router keeps in Redis or Valkey.

All keys of a namespace share one hash tag, so that a cluster keeps them in one slot and a script may touch them all.

    {NAMESPACE}:version     string   the fleet version: how many entries the change stream has ever had
    {NAMESPACE}:config      string   the fleet version of the last change of anything but health
    {NAMESPACE}:changes     stream   one entry per changed document, capped near `MAX_CHANGES`; the id of an entry is
                                     "FLEET_VERSION-0", so a fleet version is also a position in the stream
    {NAMESPACE}:history     stream   one entry per change of the configuration, with its documents before and after;
                                     the last `MAX_REVISIONS`, of at most about `MAX_HISTORY_BYTES`; the id of an entry
                                     is "FLEET_VERSION-0" of the last document that the change touched
    {NAMESPACE}:history-sizes  list  "ID START SIZE" of each revision, oldest first, START being the bytes of all before
                                     it: so the history is kept within its bytes without being read
    {NAMESPACE}:rebuilding  string   there while replicas put back what the server lost; expires after `REBUILD_S`
    {NAMESPACE}:leases      hash     shard number -> "TOKEN:OWNER:EXPIRES_MS": who watches the health of which backends.
                                     A lease is renewed every 0.5 s and void after 2 s; the key expires 10 s after the
                                     last renewal of anybody
    {NAMESPACE}:lease_token string   the last token of a lease; kept for ever, for tokens must not repeat
    {NAMESPACE}:beats       hash     replica id                -> what it says of itself ten times a second (msgpack)
    {NAMESPACE}:replicas    zset     replica id, by the server's time in ms of its last beat; who is silent for 0.7 s is
                                     removed from both, and both expire 10 s after the last beat of anybody
    {NAMESPACE}:backend     hash     backend id                -> envelope of a backend
    {NAMESPACE}:price       hash     backend id "/" model      -> envelope of its prices (model "": every model)
    {NAMESPACE}:tenant      hash     tenant id                 -> envelope of a tenant with the hashes of its keys
    {NAMESPACE}:health      hash     backend id                -> envelope of a health state
    {NAMESPACE}:policies    hash     "policies"                -> envelope of the policies' YAML
    {NAMESPACE}:feeds       hash     feed of prices            -> how it is doing, as who reads it says (JSON);
                                     expires `FEEDS_S` after the last write of any
    {NAMESPACE}:usage:HOUR  hash     "INCARNATION|TENANT|MODEL|BACKEND", each percent-encoded -> what one run of a
                                     replica counted in the hour that begins at Unix time HOUR: numbers with a space
                                     between them, attempts first (`domain.usage.FIELDS`); expires `USAGE_S` after
                                     its last change
    {NAMESPACE}:usage-packed:HOUR   hash   any name -> zlib of lines "FIELD<TAB>VALUE" of `usage:HOUR`, moved here when
                                     the hour is over; of a field that is in both places the later copy counts, that is
                                     the one with more attempts; expires `USAGE_S` after its last change
    {NAMESPACE}:usage-handed-in:INCARNATION   string   how many times that run of a replica has handed in its usage: a
                                     lower number than it knows tells it that something was lost; expires likewise
    {NAMESPACE}:rate:TENANT:LIMIT   hash   one token bucket: "" -> "LEVEL AT", and for each process of a replica
                                     "REPLICA/RUN" -> "AT HELD DEMAND CALL"; expires a minute after the bucket would be
                                     full again
    {NAMESPACE}:budget:TENANT:PERIOD   hash   dollars of a day ("2027-01-15") or a month ("2027-01"): "" -> spent by
                                     processes that are gone, "REPLICA/RUN" -> "AT SPENT GRANTED CALL"; expires 2 days
                                     (a day's) or 40 days (a month's) after its last change

An envelope is `{"version":N,"at":UNIX_SECONDS,"doc":DOCUMENT}`, where `at` is the server's clock. A removed document
leaves its envelope with `"doc":null`: the tombstone keeps its version, so that a restart with the same configuration
does not bring it back and versions do not repeat. Tombstones older than `TOMBSTONE_S` are dropped, but for those that
the configuration of a running replica names. Where nothing else is said a key does not expire, and the server must not
evict it (`maxmemory-policy noeviction`).

Fields of a stream entry: kind, id, op ("set" or "removed"), version (of the document), at, actor, doc (absent when
removed), more ("1" when the change goes on in the next entry: readers apply both or none). Of a change of more than a
thousand documents only the last has an entry.

Fields of a revision: at, actor, origin, action, note, changes (JSON: a list of {kind, id, before, after}, null where it
was not there).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_CHANGES = 10_000
MAX_REVISIONS = 2_000
MAX_HISTORY_BYTES = 32 * 1024 * 1024
TOMBSTONE_S = 7 * 86_400.0
REBUILD_S = 2.0
USAGE_S = 40 * 86_400
FEEDS_S = 7 * 86_400
# How far the fleet version is raised when the server lost changes: past every version that one of them may have had.
REBUILD_JUMP = 100_000
POLICIES_ID = "policies"
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class Kind(StrEnum):
    """The kinds of documents; also the last part of the key of the hash that holds them."""

    BACKEND = "backend"
    PRICE = "price"
    TENANT = "tenant"
    HEALTH = "health"
    POLICIES = "policies"


class Operation(StrEnum):
    SET = "set"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    namespace: str

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError(
                f"namespace {self.namespace!r}: expected 1 to 64 letters, digits and . _ : -, a letter or digit first"
            )

    @property
    def version(self) -> str:
        return f"{{{self.namespace}}}:version"

    @property
    def config(self) -> str:
        return f"{{{self.namespace}}}:config"

    @property
    def changes(self) -> str:
        return f"{{{self.namespace}}}:changes"

    @property
    def history(self) -> str:
        return f"{{{self.namespace}}}:history"

    @property
    def history_sizes(self) -> str:
        return f"{{{self.namespace}}}:history-sizes"

    @property
    def rebuilding(self) -> str:
        return f"{{{self.namespace}}}:rebuilding"

    @property
    def leases(self) -> str:
        return f"{{{self.namespace}}}:leases"

    @property
    def lease_token(self) -> str:
        return f"{{{self.namespace}}}:lease_token"

    @property
    def beats(self) -> str:
        return f"{{{self.namespace}}}:beats"

    @property
    def replicas(self) -> str:
        return f"{{{self.namespace}}}:replicas"

    @property
    def feeds(self) -> str:
        return f"{{{self.namespace}}}:feeds"

    def usage(self, hour: int) -> str:
        return f"{{{self.namespace}}}:usage:{hour}"

    def usage_packed(self, hour: int) -> str:
        return f"{{{self.namespace}}}:usage-packed:{hour}"

    def usage_handed_in(self, incarnation: str) -> str:
        return f"{{{self.namespace}}}:usage-handed-in:{incarnation}"

    def rate(self, tenant: str, limit: str) -> str:
        return f"{{{self.namespace}}}:rate:{tenant}:{limit}"

    def budget(self, tenant: str, period: str) -> str:
        return f"{{{self.namespace}}}:budget:{tenant}:{period}"

    def documents(self, kind: Kind) -> str:
        return f"{{{self.namespace}}}:{kind.value}"

    @property
    def for_scripts(self) -> tuple[str, ...]:
        """KEYS of the scripts on documents, in the order that `scripts/common.lua` reads them in."""
        head = (self.version, self.changes, self.config, self.history, self.history_sizes, self.rebuilding, self.leases)
        return (*head, *(self.documents(kind) for kind in Kind))


@dataclass(frozen=True, slots=True)
class Fence:
    """Who watches a shard of backends, as its lease says: of two owners the one with the greater token is the later."""

    shard: int
    token: int
    owner: str


def price_id(backend: str, model: str) -> str:
    """A backend's id holds no "/", so the first one ends it; a model's name may hold some."""
    return f"{backend}/{model}"


def price_key(document_id: str) -> tuple[str, str]:
    backend, _, model = document_id.partition("/")
    return backend, model
