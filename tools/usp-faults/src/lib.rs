//! Places for packs that fail, lose their answers and their power as a test says.
//!
//! Both are decorators and ordinary places themselves: [`Faulty`] goes around either trait, [`PowerCuts`] around the place
//! where packs are written. Without faults they behave as what they decorate, which the suites of `usp-content` prove.

mod faulty;
mod power;
mod script;

pub use faulty::Faulty;
pub use power::PowerCuts;
pub use script::{Call, Fault, Script};
