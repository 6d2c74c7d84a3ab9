// Publishes one CartCheckedOut, as a cart service does, and prints it as JSON.
//
//     node publish.mjs [--strategy record|topic] [PRODUCT=QUANTITY ...]
//
// record  the schema is the one that was deployed, under the subject
//         `<topic>-<record>` (TopicRecordNameStrategy); nothing is registered
// topic   `<topic>-value` (TopicNameStrategy), registered by the producer
//
// Environment: KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL.

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const topic = "shopping.checkouts";
const { values: options, positionals } = parseArgs({
  options: { strategy: { type: "string", default: "record" } },
  allowPositionals: true,
});

const registry = new SchemaRegistry({ host: process.env.SCHEMA_REGISTRY_URL });

async function schemaId() {
  if (options.strategy === "record") {
    return registry.getLatestSchemaId(`${topic}-shopping.CartCheckedOut`);
  }
  const file = new URL("../../../schemas/shopping/CartCheckedOut.avsc", import.meta.url);
  const response = await fetch(`${process.env.SCHEMA_REGISTRY_URL}/subjects/${topic}-value/versions`, {
    method: "POST",
    headers: { "content-type": "application/vnd.schemaregistry.v1+json" },
    body: JSON.stringify({ schema: await readFile(file, "utf8") }),
  });
  if (!response.ok) throw new Error(`schema not registered: ${await response.text()}`);
  return (await response.json()).id;
}

const items = (positionals.length ? positionals : ["mug=2"])
  .map((item) => item.split("="))
  .map(([productId, quantity]) => ({ productId, quantity: Number(quantity), unitPrice: 1250 }));
const cart = {
  eventId: randomUUID(), cartId: randomUUID(), customerId: randomUUID(), occurredAt: Date.now(), items,
  total: items.reduce((sum, item) => sum + item.quantity * item.unitPrice, 0), currency: "EUR",
};

const brokers = process.env.KAFKA_BOOTSTRAP_SERVERS.split(",");
const kafka = new Kafka({ clientId: "example-javascript", brokers, logLevel: logLevel.ERROR });
// Equal keys go to equal partitions in every client with Java's partitioner.
const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
try {
  const value = await registry.encode(await schemaId(), cart);
  await producer.send({ topic, messages: [{ key: cart.cartId, value }] });
  console.log(JSON.stringify(cart));
} finally {
  await producer.disconnect();
}
