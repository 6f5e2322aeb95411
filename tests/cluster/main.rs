//! Faults under load: clients and subscribers at work on several nodes, while nodes, brokers,
//! tables and networks fail; and in the end a checker that goes through everything they were told.

mod channels;
mod checker;
mod embedded;
mod foreign;
mod history;
mod indexes;
mod ledger;
mod nodes;
mod operator;
mod outages;
mod people;
mod scenarios;
mod secured;
mod workload;
