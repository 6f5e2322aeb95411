//! The log's record format: no bytes make `decode` panic, and a record has one spelling, so that
//! what it accepts encodes to the same bytes. Each input is tried as it is, and as the body of a
//! record with the right length and checksum, for the fuzzer can't guess a checksum.
#![no_main]

use bytes::Bytes;
use eventlog::embedded::record::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    one_spelling(Bytes::copy_from_slice(bytes));
    one_spelling(sealed(bytes));
});

fn one_spelling(bytes: Bytes) {
    let Ok((header, event, length)) = decode(&bytes) else { return };
    let mut again = Vec::new();
    assert_eq!(encode(header, &event, &mut again), Ok(length), "{event:?}");
    assert_eq!(again, bytes[..length], "{event:?}");
}

/// `input` as a whole record: its first eight bytes give way to length and checksum.
fn sealed(input: &[u8]) -> Bytes {
    let body = input.get(8..).unwrap_or_default();
    let length = (body.len() as u32).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body).to_le_bytes();
    Bytes::from([&length, &checksum, body].concat())
}
