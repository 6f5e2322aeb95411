#!/usr/bin/env python3
"""An authenticator app of somebody else's making, as a person has it on a phone.

Takes what a QR code says (otpauth://…) and prints three codes: those of the step before this one, of
this one and of the next.
"""

import datetime
import sys

import pyotp

app = pyotp.parse_uri(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)
print(app.name, app.issuer, *(app.at(now + steps * datetime.timedelta(seconds=app.interval)) for steps in (-1, 0, 1)))
