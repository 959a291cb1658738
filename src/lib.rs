//! shopwire: the server library.

pub mod access;
pub mod event;
pub mod wire;
