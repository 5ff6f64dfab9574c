-- Version 1. What each row promises: docs/formats/catalogue.md.
-- Times are milliseconds since 1970. AUTOINCREMENT stands wherever a number must never name a second thing.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES
    ('epoch', 1), ('generation', 0), ('chunk_count', 0), ('plain_bytes', 0), ('frame_bytes', 0);

-- Buckets ---------------------------------------------------------------------------------------------------------

CREATE TABLE domains (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE, -- NULL: private to one bucket
    key  BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;

CREATE TABLE buckets (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    domain     INTEGER NOT NULL REFERENCES domains (id),
    policy     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX buckets_by_domain ON buckets (domain);

CREATE TABLE usage (
    bucket             INTEGER PRIMARY KEY REFERENCES buckets (id) ON DELETE CASCADE,
    file_count         INTEGER NOT NULL DEFAULT 0,
    version_count      INTEGER NOT NULL DEFAULT 0,
    current_bytes      INTEGER NOT NULL DEFAULT 0,
    logical_bytes      INTEGER NOT NULL DEFAULT 0,
    stored_bytes       INTEGER NOT NULL DEFAULT 0,
    deduplicated_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Chunks, packs, manifests ----------------------------------------------------------------------------------------

CREATE TABLE packs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    state           TEXT    NOT NULL CHECK (state IN ('open', 'sealed', 'set_aside')),
    committed_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE chunks (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    pack         INTEGER NOT NULL REFERENCES packs (id),
    offset       INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL CHECK (stored_bytes > 0),
    size_bytes   INTEGER NOT NULL CHECK (size_bytes > 0),
    epoch        INTEGER NOT NULL,
    doubted      INTEGER NOT NULL DEFAULT 0 -- its frame failed a check: it is there for readers only
) STRICT;
CREATE INDEX chunks_by_pack ON chunks (pack);

-- Owned by exactly one open upload, file or past version, which deletes it; not a foreign key of theirs, because that
-- would cost one more index entry per file.
CREATE TABLE manifests (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    size_bytes  INTEGER NOT NULL DEFAULT 0,
    chunk_count INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE segments (
    manifest     INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    start_offset INTEGER NOT NULL,
    end_offset   INTEGER NOT NULL CHECK (end_offset > start_offset),
    body         BLOB    NOT NULL,
    PRIMARY KEY (manifest, start_offset)
) STRICT;

-- Files -----------------------------------------------------------------------------------------------------------

-- One row per file, with its current version in full.
CREATE TABLE files (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id             BLOB    NOT NULL UNIQUE CHECK (length(file_id) = 32),
    bucket              INTEGER NOT NULL REFERENCES buckets (id),
    key                 TEXT    NOT NULL,
    version             INTEGER NOT NULL CHECK (version >= 1),
    manifest            INTEGER NOT NULL,
    size_bytes          INTEGER NOT NULL,
    media_type          TEXT    NOT NULL,
    declared_media_type TEXT,
    etag                TEXT    NOT NULL,
    digests             TEXT    NOT NULL,
    sha256              BLOB,
    state               TEXT    NOT NULL,
    release             TEXT    NOT NULL,
    released            INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    owner               TEXT    NOT NULL,
    metadata            TEXT    NOT NULL,
    labels              TEXT    NOT NULL,
    stored_bytes        INTEGER NOT NULL,
    stored_chunks       INTEGER NOT NULL,
    deduplicated_bytes  INTEGER NOT NULL,
    derived_from        BLOB,
    expires_at          INTEGER
) STRICT;
CREATE UNIQUE INDEX files_by_key ON files (bucket, key);
CREATE INDEX files_by_created ON files (bucket, created_at);
CREATE INDEX files_by_sha256 ON files (bucket, sha256, key);
CREATE INDEX files_by_state ON files (bucket, state, key) WHERE state <> 'ready';
CREATE INDEX files_by_source ON files (derived_from) WHERE derived_from IS NOT NULL;

-- Versions that were superseded, as they stood.
CREATE TABLE versions (
    file                INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    version             INTEGER NOT NULL,
    manifest            INTEGER NOT NULL,
    size_bytes          INTEGER NOT NULL,
    media_type          TEXT    NOT NULL,
    declared_media_type TEXT,
    etag                TEXT    NOT NULL,
    digests             TEXT    NOT NULL,
    sha256              BLOB,
    state               TEXT    NOT NULL,
    release             TEXT    NOT NULL,
    released            INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    owner               TEXT    NOT NULL,
    metadata            TEXT    NOT NULL,
    labels              TEXT    NOT NULL,
    stored_bytes        INTEGER NOT NULL,
    stored_chunks       INTEGER NOT NULL,
    deduplicated_bytes  INTEGER NOT NULL,
    derived_from        BLOB,
    expires_at          INTEGER,
    PRIMARY KEY (file, version)
) STRICT;

-- Labels (kind 0) and metadata (kind 1) of current versions, in key order, so that a filtered list needs no sort.
CREATE TABLE tags (
    bucket INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    name   TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    file   INTEGER NOT NULL,
    PRIMARY KEY (bucket, kind, name, value, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
    file    INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    step    TEXT    NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (file, version, step)
) STRICT;

CREATE TABLE idempotency_keys (
    owner      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    file       INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_file ON idempotency_keys (file);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Uploads ---------------------------------------------------------------------------------------------------------

CREATE TABLE uploads (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    upload_id           BLOB    NOT NULL UNIQUE CHECK (length(upload_id) = 32),
    file_id             BLOB    NOT NULL CHECK (length(file_id) = 32), -- preliminary
    file                INTEGER REFERENCES files (id) ON DELETE CASCADE, -- what it became
    bucket              INTEGER NOT NULL REFERENCES buckets (id),
    key                 TEXT    NOT NULL,
    size_bytes          INTEGER,
    received_bytes      INTEGER NOT NULL DEFAULT 0,
    state               TEXT    NOT NULL,
    is_announced        INTEGER NOT NULL,
    manifest            INTEGER NOT NULL,
    tail                BLOB    NOT NULL DEFAULT x'',
    sha256_state        BLOB    NOT NULL DEFAULT x'',
    stored_bytes        INTEGER NOT NULL DEFAULT 0,
    stored_chunks       INTEGER NOT NULL DEFAULT 0,
    deduplicated_bytes  INTEGER NOT NULL DEFAULT 0,
    declared_media_type TEXT,
    metadata            TEXT    NOT NULL,
    labels              TEXT    NOT NULL,
    terms               TEXT    NOT NULL, -- what must hold when it is finished, as JSON
    owner               TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_by_file_id ON uploads (file_id);
CREATE INDEX uploads_by_file ON uploads (file) WHERE file IS NOT NULL;
CREATE INDEX uploads_by_bucket ON uploads (bucket);
CREATE INDEX uploads_open ON uploads (expires_at) WHERE state = 'open';
CREATE INDEX uploads_ended ON uploads (expires_at) WHERE state <> 'open';

-- Rules and runs --------------------------------------------------------------------------------------------------

CREATE TABLE rules (
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    is_retired INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE runs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id          BLOB    NOT NULL UNIQUE CHECK (length(run_id) = 32),
    file            INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    version         INTEGER NOT NULL,
    rule            TEXT    NOT NULL,
    rule_version    INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,
    attempts_max    INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    required        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    ended_at        INTEGER,
    next_attempt_at INTEGER,
    error           TEXT,
    lease_no        INTEGER NOT NULL DEFAULT 0,
    -- When a worker may take it: queued and retrying from then on, running once the lease is over. NULL: ended.
    due_at          INTEGER
) STRICT;
CREATE INDEX runs_by_file ON runs (file);
CREATE INDEX runs_by_state ON runs (state);
CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE steps (
    run        INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    uses       TEXT    NOT NULL,
    state      TEXT    NOT NULL DEFAULT 'pending',
    attempt    INTEGER NOT NULL DEFAULT 0,
    percent    INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    ended_at   INTEGER,
    error      TEXT,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- Events (the outbox) ---------------------------------------------------------------------------------------------

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    bucket  TEXT    NOT NULL,
    file_id BLOB    NOT NULL,
    data    TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_bucket ON events (bucket);
CREATE INDEX events_by_file ON events (file_id);

-- Callers ---------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    name          TEXT    PRIMARY KEY,
    password_hash TEXT,
    grants        TEXT    NOT NULL,
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id           TEXT    PRIMARY KEY,
    name         TEXT    NOT NULL,
    user         TEXT    NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    grants       TEXT    NOT NULL,
    secret_hash  BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_user ON api_keys (user);

CREATE TABLE refresh_tokens (
    hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32),
    family     BLOB    NOT NULL CHECK (length(family) = 16),
    user       TEXT    NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    is_used    INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user);
CREATE INDEX refresh_tokens_by_age ON refresh_tokens (expires_at);
