//! Repository chores: gen, tidy, arrows.
