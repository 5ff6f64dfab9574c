//! Work: publish, lease, extend, ack.
