//! The checks hold for this repository, and each of them fails where something is planted.

mod arrows;
mod deny;
mod generate;
mod planted;
mod repository;
mod tidy;
