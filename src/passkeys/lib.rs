//! Passkeys: WebAuthn registration and sign-in, from the relying party's side. Pure: challenges and
//! credentials are handed in and out.
