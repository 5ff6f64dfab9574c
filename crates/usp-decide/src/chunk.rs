//! What references to chunks come to.
