// A certified OpenID Connect issuer (oidc-provider) with one client, for tests of sign-in.
//
//     node issuer.js PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI...
//
// Listens on 127.0.0.1; with port 0 on any that is free. Prints the port when it is ready, and
// ends when its standard input closes. Any login and password will do: the login becomes the
// subject, and LOGIN@people.example the verified address.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const [port, clientId, clientSecret, ...redirectUris] = process.argv.slice(2);
if (redirectUris.length === 0) {
  console.error('usage: node issuer.js PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI...');
  process.exit(2);
}

// Whoever started this reads one line and no more.
console.info = console.error;

function key(id, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', kid: id };
}

const configuration = {
  clients: [
    { client_id: clientId, client_secret: clientSecret, redirect_uris: redirectUris },
  ],
  jwks: {
    keys: [key('rsa', 'rsa', { modulusLength: 2048 }), key('ec', 'ec', { namedCurve: 'P-256' })],
  },
  cookies: { keys: ['a key that only tests use'] },
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'locale', 'picture'],
  },
  async findAccount(_context, id) {
    return {
      accountId: id,
      async claims() {
        return {
          sub: id,
          email: `${id}@people.example`,
          email_verified: true,
          name: `${id} of the people`,
          locale: 'en-GB',
          picture: `https://people.example/${id}.png`,
        };
      },
    };
  },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
};

const server = createServer();
server.listen(Number(port), '127.0.0.1', () => {
  const chosen = server.address().port;
  const provider = new Provider(`http://127.0.0.1:${chosen}`, configuration);
  server.on('request', provider.callback());
  console.log(chosen);
});

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
