//! TensorBoard's files: the message of `event.proto` that we write, and the frames around it.
//!
//! The message is that of TensorFlow's `event.proto`, the frames those of its `TFRecord`:
//! <https://www.tensorflow.org/tutorials/load_data/tfrecord>.

use prost::{Message, Oneof};

use crate::summary::Summary;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
    #[prost(message, optional, tag = "10")]
    pub source_metadata: Option<SourceMetadata>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SourceMetadata {
    #[prost(string, tag = "1")]
    pub writer: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionLog {
    #[prost(enumeration = "SessionStatus", tag = "1")]
    pub status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum SessionStatus {
    Unspecified = 0,
    Start = 1,
}

/// The message in its frame: length and message, each followed by its checksum, little endian.
pub(crate) fn framed(event: &Event) -> Vec<u8> {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(message.len() + 16);
    frame.extend(length);
    frame.extend(masked(crc32c::crc32c(&length)).to_le_bytes());
    frame.extend(&message);
    frame.extend(masked(crc32c::crc32c(&message)).to_le_bytes());
    frame
}

/// The checksum as TFRecord stores it, altered so that a checksum of data that holds checksums
/// stays sound.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
