//! Bytes: chunk, hash, compress, pack, place, verify.
