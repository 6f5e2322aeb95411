//! What the workload runs on: server processes, the engines beneath them, and what can be done to
//! each. Everything that is started here is ended here, also by a panic.

pub(crate) mod cluster;
pub(crate) mod engines;
pub(crate) mod network;
pub(crate) mod process;
