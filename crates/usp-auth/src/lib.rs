//! Who may do what: tokens, keys, passwords, roles; no HTTP.
