-- Version 2: collection. A pack knows how much of it is alive, and is doomed before its file is erased.
-- The table is built anew because SQLite cannot change a CHECK.

CREATE TABLE packs_of_version_2 (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    state           TEXT    NOT NULL CHECK (state IN ('open', 'sealed', 'set_aside', 'doomed')),
    committed_bytes INTEGER NOT NULL DEFAULT 0,
    live_chunks     INTEGER NOT NULL DEFAULT 0 CHECK (live_chunks >= 0), -- rows that name a frame in it
    live_bytes      INTEGER NOT NULL DEFAULT 0 CHECK (live_bytes >= 0),  -- stored bytes of those frames
    doomed_epoch    INTEGER,
    doomed_at       INTEGER,
    CHECK ((state = 'doomed') = (doomed_epoch IS NOT NULL AND doomed_at IS NOT NULL)),
    CHECK (state <> 'doomed' OR live_chunks = 0)
) STRICT;

INSERT INTO packs_of_version_2 (id, state, committed_bytes, live_chunks, live_bytes)
    SELECT p.id, p.state, p.committed_bytes, count(c.id), coalesce(sum(c.stored_bytes), 0)
    FROM packs p LEFT JOIN chunks c ON c.pack = p.id GROUP BY p.id;

DROP TABLE packs;
ALTER TABLE packs_of_version_2 RENAME TO packs;
CREATE INDEX packs_doomed ON packs (doomed_epoch) WHERE state = 'doomed';
