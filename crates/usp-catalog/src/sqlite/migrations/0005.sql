-- Version 5: waiting runs are taken by priority, then by rule and bucket in turn, so a run knows its bucket; a rule may
-- bound how many of its runs are held at once; a run remembers the trace of the upload that it belongs to.

ALTER TABLE runs ADD COLUMN bucket INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN trace TEXT;
UPDATE runs SET bucket = (SELECT f.bucket FROM files f WHERE f.id = runs.file);

DROP INDEX runs_due;
CREATE INDEX runs_waiting ON runs (priority, rule, bucket, due_at) WHERE state IN ('queued', 'retrying');
CREATE INDEX runs_leased ON runs (rule, due_at) WHERE state = 'running';
