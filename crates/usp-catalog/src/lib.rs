//! Facts: buckets, files, versions, uploads, runs, users, outbox, chunk rows.
