//! What may be collected.
