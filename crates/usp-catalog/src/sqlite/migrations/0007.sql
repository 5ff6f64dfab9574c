-- Version 7: uploads that are parts of another, which has the bytes of all of them.

ALTER TABLE uploads ADD COLUMN is_part INTEGER NOT NULL DEFAULT 0;
ALTER TABLE uploads ADD COLUMN joined INTEGER; -- the upload that has what this part had
ALTER TABLE uploads ADD COLUMN parts TEXT;     -- of such an upload: the ids of its parts in order, as JSON
