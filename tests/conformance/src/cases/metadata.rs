//! What is said about a payload, beside it.

use std::sync::Arc;

use liminal_core::Received;
use liminal_core::participant::{AsyncContext, async_fn, from_fn};
use liminal_driver::error::AskError;
use liminal_proto::wire::SchemaId;
use liminal_proto::{CommandError, Content, Metadata};

use crate::WAIT;
use crate::stage::{Setup, Stage};
use crate::transport::{Role, Transport};

const SCHEMA: SchemaId = SchemaId([7; 32]);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Answers with the trace that it was given, and says the same about that, and a header of its own.
fn answer(message: &Received) -> Content {
    let trace = message.metadata.header("traceparent").unwrap_or("none").to_owned();
    let mut builder = Metadata::builder();
    for (name, value) in message.metadata.headers().chain([("x-served-by", "me")]) {
        builder = builder.header(name, value).expect("it came as a header");
    }
    if let Some(id) = message.metadata.schema_id() {
        builder = builder.schema_id(id);
    }
    Content::new(trace, builder.build())
}

fn roles() -> [Role; 3] {
    let here = || from_fn(|context, message: Received| context.reply(answer(&message)));
    let awaiting = || {
        async_fn(|mut context: AsyncContext, message: Received| async move {
            context.reply(answer(&message));
        })
    };
    [Role::Inline(Arc::new(here)), Role::Blocking(Arc::new(here)), Role::Async(Arc::new(awaiting))]
}

/// Headers and a schema reach every kind of participant, and what that says about its reply reaches the asker.
pub fn metadata_goes_with_a_message_and_with_its_reply(transport: &dyn Transport) {
    let metadata =
        Metadata::builder().schema_id(SCHEMA).header("traceparent", TRACE).expect("a name").build();
    for setup in Setup::all(transport).iter().filter(|setup| !setup.is_v1()) {
        for role in roles() {
            let world = Stage::empty().role("work", role).serve(transport, *setup);
            let (_handle, conversation) = world.open("work");
            assert_eq!(conversation.ask("plain".into(), WAIT).unwrap(), "none");
            let question = Content::new("?", metadata.clone());
            let request = conversation.request(question.clone(), WAIT).unwrap();
            let reply = conversation.receive_reply(WAIT).unwrap();
            assert_eq!((reply.answers, &reply.payload[..]), (request, TRACE.as_bytes()), "{setup:?}");
            assert!(reply.metadata.headers().eq([("traceparent", TRACE), ("x-served-by", "me")]));
            assert_eq!(reply.metadata.schema_id(), Some(SCHEMA));
            conversation.message(question).unwrap();
        }
    }
}

/// 1.0 has room for a schema, and for headers it has none.
pub fn on_a_1_0_link_the_schema_goes_along_and_headers_are_refused(transport: &dyn Transport) {
    for setup in Setup::all(transport).iter().filter(|setup| setup.is_v1()) {
        let [role, ..] = roles();
        let world = Stage::empty().role("work", role).serve(transport, *setup);
        let (_handle, conversation) = world.open("work");
        let traced = Metadata::builder().header("traceparent", TRACE).expect("a name").build();
        let refused = conversation.ask(Content::new("?", traced), WAIT);
        assert_eq!(refused, Err(AskError::Rejected(CommandError::NeedsVersion2)), "{setup:?}");
        let schema = Metadata::builder().schema_id(SCHEMA).build();
        conversation.request(Content::new("?", schema), WAIT).unwrap();
        let reply = conversation.receive_reply(WAIT).unwrap();
        assert_eq!((reply.metadata.schema_id(), reply.metadata.headers().count()), (Some(SCHEMA), 0));
    }
}
