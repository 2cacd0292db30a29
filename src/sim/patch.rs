//! The three kinds of patch that change what is there: JSON patch, JSON merge patch, strategic merge patch.
//! They work on JSON; what comes out is read as an object by whoever asked.

pub mod json;
pub mod merge;
pub mod strategic;

#[cfg(test)]
mod properties;
