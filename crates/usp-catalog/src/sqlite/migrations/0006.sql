-- Version 6: a store knows its name, so that no backup of one takes the place of a backup of another.

INSERT INTO meta (name, value) VALUES ('store_id', random());
