// Says what the AsyncAPI parser holds against a document; exits 1 where it is anything.
import { AvroSchemaParser } from "@asyncapi/avro-schema-parser";
import { Parser, fromFile } from "@asyncapi/parser";

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await fromFile(parser, process.argv[2]).parse();
for (const { code, message, path, severity } of diagnostics) {
  console.error(`${["error", "warning", "info", "hint"][severity]}: ${path.join("/")}: ${message} (${code})`);
}
if (document === undefined || diagnostics.some(({ severity }) => severity <= 1)) {
  process.exit(1);
}
console.log(
  `${document.channels().all().length} channels, ${document.operations().all().length} operations, ` +
    `${document.components().messages().all().length} messages`,
);
