//! The whole system from outside: every test starts the real binary on a data folder of its own
//! and speaks HTTP, WebSocket and SSE to it. One file per promise.

mod backpressure;
mod channels;
mod corrupt_log;
mod crash;
mod documents;
mod foreign;
mod full_disk;
mod garbage;
mod history;
mod house;
mod idempotency;
mod isolation;
mod limits;
mod openapi;
mod operations;
mod people;
mod realtime;
mod rebuild;
mod rules_cli;
mod schemas;
mod transactions;
