-- Version 4: scrubbing. Where the scrub of the packs stands, so that a restart goes on, and what it found.

CREATE TABLE scrubs (
    id          INTEGER PRIMARY KEY CHECK (id = 1), -- there is one
    began_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    last_pack   INTEGER NOT NULL DEFAULT 0, -- packs up to this one were checked
    until_pack  INTEGER NOT NULL,           -- the newest when it began: later ones have their turn in the next
    pack_count  INTEGER NOT NULL DEFAULT 0,
    frame_count INTEGER NOT NULL DEFAULT 0,
    size_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE scrub_damage (
    pack       INTEGER NOT NULL,
    offset     INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
    part       TEXT    NOT NULL,
    PRIMARY KEY (pack, offset)
) STRICT, WITHOUT ROWID;
