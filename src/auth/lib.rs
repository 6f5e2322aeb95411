//! Who somebody is: passwords, codes, tokens, passkeys, other issuers, and the mail and messages
//! that go out on the way. Knows neither the log nor the HTTP server.

pub mod config;
