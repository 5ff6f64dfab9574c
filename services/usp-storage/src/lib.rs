//! The transaction: joins content, catalog and queue into uploads, reads and deletes.
