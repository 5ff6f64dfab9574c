-- Version 8: events in a compact form (docs/formats/event.md), several of one file in one row.

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

-- The last number that was given stays given, also where its event was forgotten.
INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq)
    SELECT (SELECT rowid FROM sqlite_sequence WHERE name = 'events_of_version_8'), 'events_of_version_8', seq
    FROM sqlite_sequence WHERE name = 'events';
DROP TABLE events;
ALTER TABLE events_of_version_8 RENAME TO events;
CREATE INDEX events_by_bucket ON events (bucket);
CREATE INDEX events_by_file ON events (file) WHERE file IS NOT NULL;
CREATE INDEX events_by_id ON events (file_id) WHERE file_id IS NOT NULL;
