//! How an execution moves: transitions, expressions, gate decisions. Pure: no I/O, no clock.

pub mod expression;
