//! What goes out to people and to the app's own server while somebody signs in: mail, SMS, hooks,
//! and the question whether it is a person at all. Owns the texts, the ways out and the wait in
//! between; never decides who may sign in, and never lets a request wait for a mail server.

pub mod captcha;
mod courier;
mod error;
pub mod hooks;
pub mod inbox;
mod language;
mod letter;
pub mod mail;
mod outbound;
pub mod queue;
mod reach;
pub mod signing;
pub mod sms;
mod smtp;
pub mod template;
mod texts;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod foreign_tests;

pub use courier::{Courier, Outgoing, Route};
pub use error::Error;
pub use inbox::Inbox;
pub use letter::Letter;
pub use mail::{Mailer, SmtpOptions};
pub use outbound::Outbound;
pub use queue::Queue;
pub use template::{Kind, Message, Values};
