//! shopwire: the server library.

pub mod wire;
