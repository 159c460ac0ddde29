//! Frames as JSON, for people and for recorded vectors.
//!
//! ```
//! use liminal_cli::frame_json;
//! use liminal_proto::wire::Body;
//!
//! let json = r#"{"frame_type":"PublishAck","type_id":10,"flags":1,"stream_id":3,"fields":{"message_id":7}}"#;
//! let frame = frame_json::read(&serde_json::from_str(json)?)?;
//! assert_eq!(frame.body, Body::PublishAck { message_id: 7 });
//! assert_eq!(frame_json::write(&frame).to_string(), json);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `fields` holds the fields of the frame type under their names in the specification. Byte strings
//! stand in hexadecimal under names that end in `_hex`, integers are JSON integers of up to 64 bits,
//! and what is absent is `null`.

mod error;
pub mod hex;
mod object;
mod read;
mod write;

pub use error::JsonError;
pub use read::read;
pub(crate) use write::metadata_json;
pub use write::write;
