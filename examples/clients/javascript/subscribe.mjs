// Prints every outcome of a checkout as one line of JSON, as a downstream team reads them.
//
//     node subscribe.mjs [--group GROUP] [--count N]
//
// GROUP  consumer group, default example-javascript: it goes on where it stopped
// N      end after so many records; without it, Ctrl-C ends
//
// Environment: KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL.

import { once } from "node:events";
import { parseArgs } from "node:util";
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import { Kafka, logLevel } from "kafkajs";

const { values: options } = parseArgs({
  options: {
    group: { type: "string", default: "example-javascript" },
    count: { type: "string", default: "Infinity" },
  },
});

const registry = new SchemaRegistry({ host: process.env.SCHEMA_REGISTRY_URL });
const brokers = process.env.KAFKA_BOOTSTRAP_SERVERS.split(",");
const kafka = new Kafka({ clientId: "example-javascript", brokers, logLevel: logLevel.ERROR });
const end = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => end.abort());

// Committed records only: never the remains of an aborted transaction.
const consumer = kafka.consumer({ groupId: options.group, readUncommitted: false });
let seen = 0;
await consumer.connect();
await consumer.subscribe({ topics: ["ordering.orders", "ordering.checkouts"], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ topic, partition, message }) => {
    if (seen >= Number(options.count)) return;
    const { offset, headers } = message;
    const value = await registry.decode(message.value);
    const [type, id] = [headers.ce_type, headers.ce_id].map(String);
    console.log(JSON.stringify({ topic, partition, offset: Number(offset), type, id, value }));
    if (++seen >= Number(options.count)) end.abort();
  },
});
if (!end.signal.aborted) await once(end.signal, "abort");
await consumer.disconnect();
