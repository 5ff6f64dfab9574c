-- Version 7: uploads that are parts of another, which has the bytes of all of them; files whose time is over are deleted;
-- rules can be written while usp runs.

ALTER TABLE uploads ADD COLUMN is_part INTEGER NOT NULL DEFAULT 0;
ALTER TABLE uploads ADD COLUMN joined INTEGER; -- the upload that has what this part had
ALTER TABLE uploads ADD COLUMN parts TEXT;     -- of such an upload: the ids of its parts in order, as JSON

CREATE INDEX files_by_expiry ON files (expires_at) WHERE expires_at IS NOT NULL;

-- Rules that someone wrote over the API, whatever stands before them in a file. Those in force are in `rules`.
CREATE TABLE written_rules (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
