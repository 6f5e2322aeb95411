//! Other issuers: signing in through them (OAuth 2.0 with PKCE, OpenID Connect), and taking tokens
//! that they signed. Speaks HTTP as a client; keeps nothing but their keys.
