#!/usr/bin/env python3
"""Reads Headwater's events from Kafka as anybody may, with a stock client and without Headwater.

Prints one JSON line per event that counts, in the order of each partition, up to where the topic
ended when it started; then, on stderr, how many there were. Exits 1 at the first event whose data
does not fit its published schema.
"""

import argparse
import functools
import json
import pathlib
import sys

import confluent_kafka
import jsonschema

NUMBERS = ("epoch", "streamversion", "depth", "transactionindex", "transactioncount")


def counting(records):
    """Yields the records that count, of one partition's (offset, attributes, value) in order.

    This is the whole rule: a record counts if it lies where its writer expected it, and one that
    is part of a transaction only if all parts lie there, next to each other.
    """
    opened = []
    for offset, event, value in records:
        index, count = int(event.get("transactionindex", 0)), int(event.get("transactioncount", 1))
        if event.get("expectedoffset") != str(offset):
            opened = []
            continue
        if opened and (opened[-1][0] + 1 != offset or not same_transaction(opened[0][1], event)):
            opened = []
        if index == 0:
            opened = []
        if index == len(opened):
            opened.append((offset, event, value))
        if len(opened) == count:
            yield from opened
            opened = []


def same_transaction(one, other):
    names = ("transactionid", "transactioncount")
    return [one.get(name) for name in names] == [other.get(name) for name in names]


class Refused(Exception):
    """An event is not what the schemas say."""


@functools.cache
def schema(root, name):
    """The validator of a `dataschema`, which is a path below the folder of schemas."""
    path = root / name.removeprefix("/schemas/")
    if not path.is_file():
        raise Refused(f"no such schema: {path}")
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


def check(root, place, event, value):
    """The data of a record of Headwater's; raises when it does not fit its schema."""
    try:
        data = json.loads(value)
    except (TypeError, ValueError) as error:
        raise Refused(f"{place}: the data is not JSON: {error}") from error
    error = next(schema(root, event["dataschema"]).iter_errors(data), None)
    if error is not None:
        raise Refused(f"{place}: does not fit {event['dataschema']}: {error.message}")
    return data


def attributes(message):
    """The CloudEvents attributes, by the Kafka protocol binding: headers with `ce_` before them."""
    headers = [(name, value or b"") for name, value in message.headers() or []]
    return {
        name.removeprefix("ce_"): value.decode("utf-8", "replace")
        for name, value in headers
        if name.startswith("ce_")
    }


def read(consumer, topic, partition, seconds):
    """All records of a partition up to its present end."""
    place = confluent_kafka.TopicPartition(topic, partition)
    start, end = consumer.get_watermark_offsets(place, timeout=seconds)
    place.offset = start
    consumer.assign([place])
    while place.offset < end:
        message = consumer.poll(seconds)
        if message is None:
            sys.exit(f"{topic} {partition}: nothing came for {seconds} s")
        if message.error():
            if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                return
            sys.exit(f"{topic} {partition}: {message.error()}")
        place.offset = message.offset() + 1
        yield message.offset(), attributes(message), message.value()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--brokers", default="127.0.0.1:9092", help="host:port, comma-separated")
    arguments.add_argument("--topic", default="headwater.events")
    arguments.add_argument("--schemas", type=pathlib.Path, default=pathlib.Path("schemas"))
    arguments.add_argument("--wait", type=float, default=10, help="seconds to wait for the brokers")
    options = arguments.parse_args()
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": options.brokers,
        "group.id": "foreign",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
    })
    topics = consumer.list_topics(options.topic, timeout=options.wait).topics
    partitions = sorted(topics[options.topic].partitions)
    if not partitions:
        sys.exit(f"no topic {options.topic}")
    totals = {"records": 0, "events": 0, "takeovers": 0}

    def noted(partition):
        for offset, event, value in read(consumer, options.topic, partition, options.wait):
            totals["records"] += 1
            if event.get("type") == "writer.took-over" and "expectedoffset" not in event:
                totals["takeovers"] += 1
                check(options.schemas, f"{partition}-{offset}", event, value)
            yield offset, event, value

    try:
        for partition in partitions:
            for offset, event, value in counting(noted(partition)):
                place = f"{partition}-{offset}"
                data = check(options.schemas, place, event, value)
                del event["expectedoffset"]
                event |= {name: int(event[name]) for name in NUMBERS if name in event}
                totals["events"] += 1
                print(json.dumps({"position": place, **event, "data": data}))
    except Refused as refused:
        sys.exit(str(refused))
    finally:
        consumer.close()
    # Neither an event nor a takeover: displaced, cut short, or foreign.
    totals["void"] = totals["records"] - totals["events"] - totals["takeovers"]
    print(json.dumps(totals), file=sys.stderr)


if __name__ == "__main__":
    main()
