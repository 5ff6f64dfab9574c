//! The vocabulary: ids, digests, names, ranges, limits, states, entities and the error; no I/O.
