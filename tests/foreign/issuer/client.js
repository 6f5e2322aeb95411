// A certified client of OpenID Connect reads our metadata and checks an access token by our keys.
//   node client.js <issuer> <access token> <audience>
// Prints the token's claims, and what the userinfo endpoint says of its user, as a line of JSON.

import * as client from 'openid-client';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, token, audience] = process.argv.slice(2);
// The tests have no TLS.
const options = { execute: [client.allowInsecureRequests] };
const config = await client.discovery(new URL(issuer), 'the-app', undefined, client.None(), options);
const server = config.serverMetadata();
const keys = createRemoteJWKSet(new URL(server.jwks_uri));
const algorithms = server.id_token_signing_alg_values_supported;
const { payload } = await jwtVerify(token, keys, { issuer: server.issuer, audience, algorithms });
const user = await client.fetchUserInfo(config, token, payload.sub);
console.log(JSON.stringify({ claims: payload, user }));
