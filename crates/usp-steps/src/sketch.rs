//! Statistics of a stream in fixed memory.

mod distinct;
mod frequent;
mod moments;
mod quantiles;

pub(crate) use distinct::Distinct;
pub(crate) use frequent::{Frequent, Top};
pub(crate) use moments::Moments;
pub(crate) use quantiles::Quantiles;
