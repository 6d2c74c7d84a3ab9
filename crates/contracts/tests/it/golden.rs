//! The bytes of every message, for ever: a change here breaks every reader.
//!
//! Each file under `snapshots/` shows what a record says and the bytes that
//! say it, frame included.

use crate::support::{Optional, message};
use contracts::{Codec, RecordType, TopicNames};

#[test]
fn the_bytes_of_each_message_are_as_published() {
    // One id for all, so that the frame stands out.
    let ids: Vec<_> = RecordType::ALL.iter().map(|r| (*r, 0x0102_0304)).collect();
    let codec = Codec::with_ids(TopicNames::default(), &ids);
    for record in RecordType::ALL.iter().copied() {
        let shown = [Optional::Present, Optional::Absent].map(|optional| {
            let message = message(record, optional);
            let json = serde_json::to_string_pretty(&message.to_json()).unwrap();
            format!("{json}\n\n{}", dump(&codec.encode(&message).unwrap()))
        });
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(record.full_name(), shown.join("\n\n"));
        });
    }
}

/// Sixteen bytes a line: offset, hexadecimal digits, text.
fn dump(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .enumerate()
        .map(|(line, bytes)| {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let text: String = bytes
                .iter()
                .map(|byte| match byte {
                    b' '..=b'~' => char::from(*byte),
                    _ => '.',
                })
                .collect();
            format!("{:04x}  {:<47}  {text}", line * 16, hex.join(" "))
        })
        .collect::<Vec<_>>()
        .join("\n")
}
