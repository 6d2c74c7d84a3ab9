"""Prints every outcome of a checkout as one line of JSON, as a downstream team reads them.

    python subscribe.py [--group GROUP] [--count N]

GROUP  consumer group, default example-python: it goes on where it stopped
N      end after so many records; without it, Ctrl-C ends

Environment: KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL.
"""

import argparse
import json
import os

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--group", default="example-python")
parser.add_argument("--count", type=int, default=0)
args = parser.parse_args()

registry = SchemaRegistryClient({"url": os.environ["SCHEMA_REGISTRY_URL"]})
deserialize = AvroDeserializer(registry, conf={"subject.name.strategy": topic_record_subject_name_strategy})
consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
    "group.id": args.group,
    "auto.offset.reset": "earliest",
    # Committed records only: never the remains of an aborted transaction.
    "isolation.level": "read_committed",
})
consumer.subscribe(["ordering.orders", "ordering.checkouts"])
seen = 0
try:
    while not args.count or seen < args.count:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        headers = dict(message.headers() or [])
        value = deserialize(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
        print(json.dumps({
            "topic": message.topic(), "partition": message.partition(), "offset": message.offset(),
            "type": headers["ce_type"].decode(), "id": headers["ce_id"].decode(), "value": value,
        }, default=str), flush=True)
        seen += 1
except KeyboardInterrupt:
    pass
finally:
    consumer.close()
