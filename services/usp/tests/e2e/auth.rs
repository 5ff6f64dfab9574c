//! Who may do what.

mod credentials;
mod matrix;
