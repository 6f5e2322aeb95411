//! What must not be read by whoever reads the log or the tables: the server's key, a key per
//! person, and what is sealed with them. Destroying a person's key erases all that was sealed with
//! it, wherever copies lie.
