"""Publishes one CartCheckedOut, as a cart service does, and prints it as JSON.

    python publish.py [--strategy record|topic] [PRODUCT=QUANTITY ...]

record  the schema is the one that was deployed, under the subject
        `<topic>-<record>` (TopicRecordNameStrategy); nothing is registered
topic   the serializer's default: `<topic>-value`, registered by the producer

Environment: KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL.
"""

import argparse
import json
import os
import time
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "shopping.checkouts"
SCHEMA = Path(__file__).parents[3] / "schemas/shopping/CartCheckedOut.avsc"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--strategy", choices=["record", "topic"], default="record")
parser.add_argument("items", nargs="*", default=["mug=2"], metavar="PRODUCT=QUANTITY")
args = parser.parse_args()

settings = {"auto.register.schemas": True}
if args.strategy == "record":
    settings = {"auto.register.schemas": False, "use.latest.version": True,
                "subject.name.strategy": topic_record_subject_name_strategy}
registry = SchemaRegistryClient({"url": os.environ["SCHEMA_REGISTRY_URL"]})
serialize = AvroSerializer(registry, SCHEMA.read_text(), conf=settings)

items = [{"productId": product, "quantity": int(quantity), "unitPrice": 1250}
         for product, quantity in (item.split("=") for item in args.items)]
cart = {"eventId": str(uuid.uuid4()), "cartId": str(uuid.uuid4()), "customerId": str(uuid.uuid4()),
        "occurredAt": int(time.time() * 1000), "items": items, "currency": "EUR",
        "total": sum(item["quantity"] * item["unitPrice"] for item in items)}

# Equal keys go to equal partitions in every client with Java's partitioner.
producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
                     "enable.idempotence": True, "partitioner": "murmur2_random"})
failures = []
producer.produce(TOPIC, key=cart["cartId"],
                 value=serialize(cart, SerializationContext(TOPIC, MessageField.VALUE)),
                 on_delivery=lambda error, _: failures.append(error) if error else None)
if producer.flush(30) or failures:
    raise SystemExit(f"not delivered: {failures or 'no answer in 30 s'}")
print(json.dumps(cart))
