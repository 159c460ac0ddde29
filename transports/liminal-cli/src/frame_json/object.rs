//! JSON objects, read key by key.

use bytes::Bytes;
use liminal_proto::wire::{
    CausalContext, Envelope, RecordNumbers, SchemaId, SchemaIds, Texts, Version, WorkerVerdict,
};
use liminal_proto::{ConversationId, Metadata, OnExit, ReasonCode, RecordNumber};

use serde_json::{Map, Value};

use super::{JsonError, hex};

type Result<T> = core::result::Result<T, JsonError>;

/// A JSON object. Each method reads one key and says what should stand there when it does not.
#[derive(Clone, Copy, Default)]
pub(super) struct Object<'a>(Option<&'a Map<String, Value>>);

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(|map| Self(Some(map)))
    }

    fn get(self, key: &str) -> Option<&'a Value> {
        self.0?.get(key)
    }

    fn read<T>(
        self,
        key: &'static str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T> {
        let value = self.get(key).ok_or(JsonError::Missing { key, expected })?;
        convert(value).ok_or(JsonError::Expected { key, expected })
    }

    /// What `read` finds under the key; `None` when there is nothing, or `null`.
    pub(super) fn opt<T>(
        self,
        key: &'static str,
        read: impl FnOnce(Self, &'static str) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => read(self, key).map(Some),
        }
    }

    pub(super) fn object(self, key: &'static str) -> Result<Self> {
        self.read(key, "an object", Object::of)
    }

    pub(super) fn u8(self, key: &'static str) -> Result<u8> {
        self.read(key, "an integer from 0 to 255", |value| value.as_u64()?.try_into().ok())
    }

    pub(super) fn u16(self, key: &'static str) -> Result<u16> {
        self.read(key, "an integer from 0 to 65535", |value| value.as_u64()?.try_into().ok())
    }

    pub(super) fn u32(self, key: &'static str) -> Result<u32> {
        self.read(key, "an integer from 0 to 2^32 - 1", |value| value.as_u64()?.try_into().ok())
    }

    pub(super) fn u64(self, key: &'static str) -> Result<u64> {
        self.read(key, "an integer from 0 to 2^64 - 1", Value::as_u64)
    }

    pub(super) fn text(self, key: &'static str) -> Result<String> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn texts(self, key: &'static str) -> Result<Texts<Bytes>> {
        self.read(key, "an array of strings", |value| {
            let texts = value.as_array()?.iter().map(Value::as_str);
            Texts::new(texts.collect::<Option<Vec<_>>>()?).ok()
        })
    }

    pub(super) fn hex(self, key: &'static str) -> Result<Bytes> {
        self.read(key, "a string of pairs of hexadecimal digits", |value| {
            hex::decode(value.as_str()?).map(Bytes::from)
        })
    }

    pub(super) fn schema_id(self, key: &'static str) -> Result<SchemaId> {
        self.read(key, "a string of 64 hexadecimal digits", schema_id)
    }

    pub(super) fn schema_ids(self, key: &'static str) -> Result<SchemaIds<Bytes>> {
        self.read(key, "an array of strings of 64 hexadecimal digits", |value| {
            let ids = value.as_array()?.iter().map(schema_id);
            SchemaIds::new(ids.collect::<Option<Vec<_>>>()?).ok()
        })
    }

    pub(super) fn records(self, key: &'static str) -> Result<RecordNumbers<Bytes>> {
        self.read(key, "an array of integers from 0 to 2^64 - 1", |value| {
            let numbers = value.as_array()?.iter().map(|number| number.as_u64().map(RecordNumber::new));
            RecordNumbers::new(numbers.collect::<Option<Vec<_>>>()?).ok()
        })
    }

    pub(super) fn version(self, key: &'static str) -> Result<Version> {
        let version = self.object(key)?;
        Ok(Version { major: version.u16("major")?, minor: version.u16("minor")? })
    }
}

/// The fields that several frame types have, under the names that they always have.
impl Object<'_> {
    pub(super) fn conversation_id(self) -> Result<ConversationId> {
        self.u64("conversation_id").map(ConversationId::new)
    }

    pub(super) fn reason(self) -> Result<ReasonCode> {
        self.u16("reason_code").map(ReasonCode::new)
    }

    pub(super) fn message(self) -> Result<Option<String>> {
        self.opt("message", Object::text)
    }

    pub(super) fn on_exit(self, key: &'static str) -> Result<OnExit> {
        match self.opt(key, Object::text)?.as_deref() {
            None => Ok(OnExit::AsServed),
            Some("fail") => Ok(OnExit::Fail),
            Some("next") => Ok(OnExit::Next),
            Some(_) => Err(JsonError::Expected { key, expected: "\"fail\", \"next\" or null" }),
        }
    }

    pub(super) fn envelope(self) -> Result<Envelope<String, Bytes>> {
        let envelope = self.object("envelope")?;
        Ok(Envelope {
            schema_id: envelope.schema_id("schema_id_hex")?,
            causal_context: envelope.causal_context()?,
            payload: envelope.hex("payload_hex")?,
        })
    }

    fn causal_context(self) -> Result<CausalContext<String>> {
        let context = self.opt("causal_context", Object::object)?.unwrap_or_default();
        Ok(CausalContext {
            parent_id: context.opt("parent_id", Object::text)?,
            vector_clock_entry: context.opt("vector_clock_entry", Object::u64)?,
        })
    }

    pub(super) fn metadata(self) -> Result<Option<Metadata>> {
        let Some(metadata) = self.opt("metadata", Object::object)? else { return Ok(None) };
        let (cause, mut builder) = (metadata.causal_context()?, Metadata::builder());
        if let Some(id) = metadata.opt("schema_id_hex", Object::schema_id)? {
            builder = builder.schema_id(id);
        }
        if let Some(entry) = cause.vector_clock_entry {
            builder = builder.vector_clock_entry(entry);
        }
        if let Some(id) = &cause.parent_id {
            let fault = |_| JsonError::Expected { key: "parent_id", expected: "a string that fits a frame" };
            builder = builder.parent_id(id).map_err(fault)?;
        }
        for (name, value) in metadata.opt("headers", Object::headers)?.unwrap_or_default() {
            builder = builder.header(&name, &value).map_err(|_| HEADERS)?;
        }
        Ok(Some(builder.build()))
    }

    fn headers(self, key: &'static str) -> Result<Vec<(String, String)>> {
        let pair = |pair: &Value| match pair.as_array()?.as_slice() {
            [name, value] => Some((name.as_str()?.to_owned(), value.as_str()?.to_owned())),
            _ => None,
        };
        let value = self.read(key, "an array", |value| value.as_array().cloned())?;
        value.iter().map(pair).collect::<Option<_>>().ok_or(HEADERS)
    }

    pub(super) fn verdict(self) -> Result<WorkerVerdict<String>> {
        let reason = self.opt("reason", Object::text)?;
        match (self.text("outcome")?.as_str(), reason) {
            ("accepted", None) => Ok(WorkerVerdict::Accepted),
            ("accepted", Some(_)) => {
                Err(JsonError::Expected { key: "reason", expected: "null: only a rejection has one" })
            }
            ("rejected", Some(reason)) => Ok(WorkerVerdict::Rejected { reason }),
            ("rejected", None) => {
                Err(JsonError::Missing { key: "reason", expected: "a string: why it is rejected" })
            }
            _ => Err(JsonError::Expected { key: "outcome", expected: "\"accepted\" or \"rejected\"" }),
        }
    }
}

const HEADERS: JsonError = JsonError::Expected {
    key: "headers",
    expected: "an array of pairs of strings, [name, value], with names of a to z, 0 to 9, '-', '_' and '.'",
};

fn schema_id(value: &Value) -> Option<SchemaId> {
    hex::decode(value.as_str()?)?.try_into().ok().map(SchemaId)
}
