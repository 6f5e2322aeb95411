//! What people prove themselves with: passwords, codes, one-time passwords, and the tokens that they
//! get for it. Knows neither the log nor the HTTP server.
