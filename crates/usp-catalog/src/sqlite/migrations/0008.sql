-- Version 8: events in a compact form (docs/formats/event.md), several of one file in one row; contents that are shared;
-- rows of files without what follows from other columns.

-- Names of buckets for as long as an event may speak of them; of buckets that were gone before, under negative numbers.
CREATE TABLE event_buckets (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;
CREATE INDEX event_buckets_by_name ON event_buckets (name);
INSERT INTO event_buckets (id, name) SELECT id, name FROM buckets;
INSERT INTO event_buckets (id, name)
    SELECT -row_number() OVER (ORDER BY bucket), bucket
    FROM (SELECT DISTINCT bucket FROM events WHERE bucket NOT IN (SELECT name FROM buckets));

CREATE TABLE events_of_version_8 (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT, -- of the last event of the row
    at      INTEGER NOT NULL,
    kinds   INTEGER NOT NULL, -- one bit for each kind that the row holds
    bucket  INTEGER NOT NULL,
    file    INTEGER,          -- row of the file, also after its end
    file_id BLOB,             -- where no file stands under that row: of uploads, and of the end of a file
    body    BLOB    NOT NULL
) STRICT;

INSERT INTO events_of_version_8 (seq, at, kinds, bucket, file, file_id, body)
    SELECT e.seq, e.at,
        1 << CASE e.kind
            WHEN 'usp.upload.created' THEN 0 WHEN 'usp.upload.completed' THEN 2 WHEN 'usp.upload.expired' THEN 3
            WHEN 'usp.upload.terminated' THEN 4 WHEN 'usp.file.stored' THEN 5 WHEN 'usp.file.processing' THEN 6
            WHEN 'usp.file.ready' THEN 7 WHEN 'usp.file.failed' THEN 8 WHEN 'usp.file.quarantined' THEN 9
            WHEN 'usp.file.rejected' THEN 10 WHEN 'usp.file.deleted' THEN 11 WHEN 'usp.run.queued' THEN 12
            WHEN 'usp.run.started' THEN 13 WHEN 'usp.run.retrying' THEN 15 WHEN 'usp.run.succeeded' THEN 16
            WHEN 'usp.run.dead' THEN 17 WHEN 'usp.run.cancelled' THEN 18
        END,
        (SELECT max(b.id) FROM event_buckets b WHERE b.name = e.bucket),
        f.id,
        CASE WHEN f.id IS NULL THEN e.file_id END,
        CAST(json_set(e.data, '$.key', coalesce(
            json_extract(e.data, '$.key'), f.key,
            (SELECT json_extract(d.data, '$.key') FROM events d INDEXED BY events_by_file
             WHERE d.file_id = e.file_id AND d.kind LIKE 'usp.file.%' LIMIT 1),
            '(not known)')) AS BLOB)
    FROM events e LEFT JOIN files f ON f.file_id = e.file_id ORDER BY e.seq;

-- Numbers that were given stay given, also where what had them is gone.
DELETE FROM sqlite_sequence WHERE name = 'events_of_version_8';
INSERT INTO sqlite_sequence (name, seq) SELECT 'events_of_version_8', seq FROM sqlite_sequence WHERE name = 'events';
DROP TABLE events;
ALTER TABLE events_of_version_8 RENAME TO events;
CREATE INDEX events_by_bucket ON events (bucket);
CREATE INDEX events_by_file ON events (file) WHERE file IS NOT NULL;
CREATE INDEX events_by_id ON events (file_id) WHERE file_id IS NOT NULL;

-- A content may have several who refer to it: versions, copies, restored versions.
ALTER TABLE manifests ADD COLUMN refs INTEGER NOT NULL DEFAULT 1 CHECK (refs > 0);

-- One tree instead of two.
CREATE TABLE segments_of_version_8 (
    manifest     INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    start_offset INTEGER NOT NULL,
    end_offset   INTEGER NOT NULL CHECK (end_offset > start_offset),
    body         BLOB    NOT NULL,
    PRIMARY KEY (manifest, start_offset)
) STRICT, WITHOUT ROWID;
INSERT INTO segments_of_version_8 (manifest, start_offset, end_offset, body)
    SELECT manifest, start_offset, end_offset, body FROM segments ORDER BY manifest, start_offset;
DROP TABLE segments;
ALTER TABLE segments_of_version_8 RENAME TO segments;

-- What follows from other columns is left out: the etag of a content with a SHA-256, that digest among the others, and
-- what most files have: immediate release, no metadata, no labels.
CREATE TABLE files_of_version_8 (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id             BLOB    NOT NULL UNIQUE CHECK (length(file_id) = 32),
    bucket              INTEGER NOT NULL REFERENCES buckets (id),
    key                 TEXT    NOT NULL,
    version             INTEGER NOT NULL CHECK (version >= 1),
    manifest            INTEGER NOT NULL,
    size_bytes          INTEGER NOT NULL,
    media_type          TEXT    NOT NULL,
    declared_media_type TEXT,             -- '=': as decided
    etag                TEXT,             -- NULL: half of the SHA-256 and the version
    digests             TEXT,             -- NULL: none besides the SHA-256
    sha256              BLOB,
    state               TEXT    NOT NULL,
    release             TEXT,             -- NULL: immediate
    released            INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    owner               TEXT    NOT NULL,
    metadata            TEXT,             -- NULL: empty
    labels              TEXT,             -- NULL: empty
    stored_bytes        INTEGER NOT NULL,
    stored_chunks       INTEGER NOT NULL,
    deduplicated_bytes  INTEGER NOT NULL,
    derived_from        BLOB,
    expires_at          INTEGER
) STRICT;
INSERT INTO files_of_version_8
    SELECT id, file_id, bucket, key, version, manifest, size_bytes, media_type,
        CASE declared_media_type WHEN media_type THEN '=' ELSE declared_media_type END,
        nullif(etag, coalesce(substr(lower(hex(sha256)), 1, 32) || '-' || version, '')),
        nullif(json_remove(digests, '$.sha256'), '{}'), sha256, state, nullif(release, 'immediate'), released,
        created_at, updated_at, owner, nullif(metadata, '{}'), nullif(labels, '{}'), stored_bytes, stored_chunks,
        deduplicated_bytes, derived_from, expires_at
    FROM files ORDER BY id;
DELETE FROM sqlite_sequence WHERE name = 'files_of_version_8';
INSERT INTO sqlite_sequence (name, seq) SELECT 'files_of_version_8', seq FROM sqlite_sequence WHERE name = 'files';
DROP TABLE files;
ALTER TABLE files_of_version_8 RENAME TO files;
CREATE UNIQUE INDEX files_by_key ON files (bucket, key);
CREATE INDEX files_by_created ON files (bucket, created_at);
-- A quarter of the digest tells nearly all contents apart; the row has the rest.
CREATE INDEX files_by_sha256 ON files (bucket, substr(sha256, 1, 8), key);
CREATE INDEX files_by_state ON files (bucket, state, key) WHERE state <> 'ready';
CREATE INDEX files_by_source ON files (derived_from) WHERE derived_from IS NOT NULL;
CREATE INDEX files_by_expiry ON files (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE versions_of_version_8 (
    file                INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    version             INTEGER NOT NULL,
    manifest            INTEGER NOT NULL,
    size_bytes          INTEGER NOT NULL,
    media_type          TEXT    NOT NULL,
    declared_media_type TEXT,
    etag                TEXT,
    digests             TEXT,
    sha256              BLOB,
    state               TEXT    NOT NULL,
    release             TEXT,
    released            INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    owner               TEXT    NOT NULL,
    metadata            TEXT,
    labels              TEXT,
    stored_bytes        INTEGER NOT NULL,
    stored_chunks       INTEGER NOT NULL,
    deduplicated_bytes  INTEGER NOT NULL,
    derived_from        BLOB,
    expires_at          INTEGER,
    PRIMARY KEY (file, version)
) STRICT;
INSERT INTO versions_of_version_8
    SELECT file, version, manifest, size_bytes, media_type,
        CASE declared_media_type WHEN media_type THEN '=' ELSE declared_media_type END,
        nullif(etag, coalesce(substr(lower(hex(sha256)), 1, 32) || '-' || version, '')),
        nullif(json_remove(digests, '$.sha256'), '{}'), sha256, state, nullif(release, 'immediate'), released,
        created_at, updated_at, owner, nullif(metadata, '{}'), nullif(labels, '{}'), stored_bytes, stored_chunks,
        deduplicated_bytes, derived_from, expires_at
    FROM versions ORDER BY file, version;
DROP TABLE versions;
ALTER TABLE versions_of_version_8 RENAME TO versions;
