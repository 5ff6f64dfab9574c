//! Processing steps: pure transformations of byte streams; no database.
