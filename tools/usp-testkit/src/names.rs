//! What the binary calls things, in one place: settings, files, words that it prints.

/// Storage role: where other roles reach it.
pub(crate) const NODE_LISTEN: &str = "USP__STORAGE__NODE_LISTEN";
/// Other roles: where storage is.
pub(crate) const STORAGE_URL: &str = "USP__STORAGE__URL";
/// Other roles: the file that holds the secret of the installation.
pub(crate) const NODE_SECRET_FILE: &str = "USP__STORAGE__NODE_SECRET_FILE";
/// The same secret as a text.
pub(crate) const NODE_SECRET_TEXT: &str = "USP__STORAGE__NODE_SECRET";
/// Storage and processors: what the queue is.
pub(crate) const QUEUE_KIND: &str = "USP__QUEUE__KIND";
/// Storage and processors: where the broker is.
pub(crate) const QUEUE_URL: &str = "USP__QUEUE__URL";
/// Below the data directory of the storage role.
pub(crate) const NODE_SECRET: &str = "keys/node.secret";
/// Below the data directory: one YAML file per rule.
pub(crate) const RULES_DIR: &str = "rules";
/// Begins the line on standard output that says that a role serves.
pub(crate) const READY: &str = "ready";
/// Stands before the password of the first start, on standard output.
pub(crate) const ADMIN_PASSWORD: &str = "admin password:";

pub(crate) const ANY_PORT: &str = "127.0.0.1:0";
