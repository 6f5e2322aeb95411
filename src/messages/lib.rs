//! What goes out to people and to the app's own server while somebody signs in: mail, SMS, hooks,
//! and the question whether it is a person at all.
