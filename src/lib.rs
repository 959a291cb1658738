//! shopwire: the server library.
