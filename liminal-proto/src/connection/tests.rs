//! What takes too many messages to be reached from outside.

use alloc::collections::VecDeque;

use super::poll::position;
use crate::MessageId;

#[test]
fn ids_are_found_although_they_wrap_around_between_the_first_and_the_last() {
    let ids: VecDeque<MessageId> = [u64::MAX - 9, u64::MAX, 3, 70].into_iter().map(MessageId::new).collect();
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(position(&ids, *id, |id| *id), Some(at));
    }
    for missing in [0, 4, 71, u64::MAX - 10] {
        assert_eq!(position(&ids, MessageId::new(missing), |id| *id), None);
    }
}
