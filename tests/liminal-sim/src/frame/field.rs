//! What stands in the fields of frames.

use std::fmt::Debug;

use bytes::Bytes;
use liminal_proto::wire::{
    CausalContext, Envelope, RecordNumbers, SchemaId, SchemaIds, Texts, Version, WorkerVerdict,
};
use liminal_proto::{ConversationId, LogId, MessageId, Metadata, OnExit, Pid, ReasonCode, RecordNumber};

#[cfg(feature = "arbitrary")]
use {arbitrary::Result, arbitrary::Unstructured};
#[cfg(feature = "proptest")]
use {proptest::collection::vec, proptest::option, proptest::prelude::*};

/// The type of a field, of which values can be made up.
pub(super) trait Field: Debug + Sized + 'static {
    /// By proptest. Short texts and lists, so that frames stay readable.
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self>;

    /// By a fuzzer.
    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Field for $number {
            #[cfg(feature = "proptest")]
            fn strategy() -> BoxedStrategy<Self> {
                // Small ones meet, and the largest is an edge.
                prop_oneof![4 => 0..=12 as Self, 4 => any::<Self>(), 1 => Just(Self::MAX)].boxed()
            }

            #[cfg(feature = "arbitrary")]
            fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
                from.arbitrary()
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 }

impl Field for String {
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self> {
        "(?s).{0,8}".boxed()
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        from.arbitrary()
    }
}

impl Field for Bytes {
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..40).prop_map(Self::from).boxed()
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        from.arbitrary::<Vec<u8>>().map(Self::from)
    }
}

impl Field for SchemaId {
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self> {
        any::<[u8; Self::LEN]>().prop_map(Self).boxed()
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        from.arbitrary().map(Self)
    }
}

impl<T: Field> Field for Option<T> {
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self> {
        option::of(T::strategy()).boxed()
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        let is_there = from.arbitrary()?;
        if is_there { T::arbitrary(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Field> Field for Vec<T> {
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self> {
        vec(T::strategy(), 0..4).boxed()
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        let mut all = Self::new();
        while from.arbitrary()? {
            all.push(T::arbitrary(from)?);
        }
        Ok(all)
    }
}

impl<T: Field, U: Field> Field for (T, U) {
    #[cfg(feature = "proptest")]
    fn strategy() -> BoxedStrategy<Self> {
        (T::strategy(), U::strategy()).boxed()
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        Ok((T::arbitrary(from)?, U::arbitrary(from)?))
    }
}

/// Few names of headers, so that some come twice.
fn metadata(
    schema_id: Option<SchemaId>,
    cause: &CausalContext<String>,
    headers: &[(u8, String)],
) -> Metadata {
    let mut builder = Metadata::builder();
    if let Some(id) = schema_id {
        builder = builder.schema_id(id);
    }
    if let Some(entry) = cause.vector_clock_entry {
        builder = builder.vector_clock_entry(entry);
    }
    if let Some(id) = &cause.parent_id {
        builder = builder.parent_id(id).unwrap_or_default();
    }
    for (name, value) in headers {
        builder = builder.header(&format!("x{}", name % 4), value).unwrap_or_default();
    }
    builder.build()
}

/// `Field = Parts, from_parts`: what is made of fields is a field.
macro_rules! made_of {
    ($($field:ty = $parts:ty, $from_parts:expr;)*) => {$(
        impl Field for $field {
            #[cfg(feature = "proptest")]
            fn strategy() -> BoxedStrategy<Self> {
                <$parts as Field>::strategy().prop_map($from_parts).boxed()
            }

            #[cfg(feature = "arbitrary")]
            fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
                <$parts as Field>::arbitrary(from).map($from_parts)
            }
        }
    )*};
}

made_of! {
    Version = (u16, u16), |(major, minor)| Self { major, minor };
    ReasonCode = u16, Self::new;
    ConversationId = u64, Self::new;
    MessageId = u64, Self::new;
    Pid = u64, Self::new;
    RecordNumber = u64, Self::new;
    LogId = u64, Self::new;
    OnExit = u8, |number| [Self::AsServed, Self::Fail, Self::Next][usize::from(number % 3)];
    SchemaIds<Bytes> = Vec<SchemaId>, |ids| Self::new(ids).unwrap_or_default();
    RecordNumbers<Bytes> = Vec<RecordNumber>, |numbers| Self::new(numbers).unwrap_or_default();
    Texts<Bytes> = Vec<String>, |texts| Self::new(texts).unwrap_or_default();
    Metadata = (Option<SchemaId>, (CausalContext<String>, Vec<(u8, String)>)),
        |(schema_id, (cause, headers))| metadata(schema_id, &cause, &headers);
    CausalContext<String> = (Option<String>, Option<u64>),
        |(parent_id, vector_clock_entry)| Self { parent_id, vector_clock_entry };
    Envelope<String, Bytes> = (SchemaId, (CausalContext<String>, Bytes)),
        |(schema_id, (causal_context, payload))| Self { schema_id, causal_context, payload };
    WorkerVerdict<String> = Option<String>,
        |why| why.map_or(Self::Accepted, |reason| Self::Rejected { reason });
}
