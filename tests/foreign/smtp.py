#!/usr/bin/env python3
"""A mail server for tests, of somebody else's making.

Listens on 127.0.0.1, prints its port, and then each mail it takes as a line of JSON. Ends when
stdin closes. Refuses recipients that start with "gone" for good, and with "later" for now.
"""

import argparse
import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later"):
            return "451 4.7.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
        text = {kind: part and part.get_content() for kind, part in parts.items()}
        seen = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "user": session.auth_data,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "connection": session.peer[1],
            "headers": {name: str(value) for name, value in mail.items()},
            "text": text["plain"],
            "html": text["html"],
        }
        print(json.dumps(seen), flush=True)
        return "250 OK"


def authenticator(user, password):
    def check(server, session, envelope, mechanism, given):
        if (given.login.decode(), given.password.decode()) == (user, password):
            return AuthResult(success=True, auth_data=user)
        return AuthResult(success=False, handled=False)

    return check


async def serve(options):
    settings = {"decode_data": False, "enable_SMTPUTF8": True}
    if options.auth:
        settings |= {"auth_required": True, "auth_require_tls": False}
        settings["authenticator"] = authenticator(*options.auth)
    wrapper = None
    if options.tls:
        mode, certificate, key = options.tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if mode == "wrapped":
            wrapper = context
        else:
            settings |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), loop=loop, **settings), "127.0.0.1", 0, ssl=wrapper
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main():
    # It warns of what the tests are about: sign-in without TLS, and handshakes that fail.
    warnings.simplefilter("ignore")
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--auth", nargs=2, metavar=("USER", "PASSWORD"))
    parser.add_argument("--tls", nargs=3, metavar=("starttls|wrapped", "CERTIFICATE", "KEY"))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
