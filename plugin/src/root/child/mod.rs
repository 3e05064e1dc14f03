//! Running a program as the user and keeping what it says.

mod command;
mod exec;
pub(crate) mod output;
mod run;
#[cfg(test)]
mod tests;
mod wait;

pub(crate) use command::{Caller, Command, Outcome, print_log, terminated};
pub(crate) use wait::{Allowance, Ending, Patience};
