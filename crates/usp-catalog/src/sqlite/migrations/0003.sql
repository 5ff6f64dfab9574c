-- Version 3: frames of short contents are committed with their rows, and kept until their pack is synced.

CREATE TABLE redo (
    id     INTEGER PRIMARY KEY,
    pack   INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    bytes  BLOB    NOT NULL -- header and payload, as they stand at that place
) STRICT;
