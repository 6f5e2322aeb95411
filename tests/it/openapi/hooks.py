"""Lets a made-up string be sent as lines of JSON, just as it is."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
