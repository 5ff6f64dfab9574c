//! REST: what goes in comes out, and what is wrong is refused in words.

mod changes;
mod conditions;
mod lists;
mod read;
mod refusals;
mod surface;
mod upload;
