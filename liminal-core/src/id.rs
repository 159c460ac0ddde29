//! Identifiers of the bus. None is ever used again after what it named is gone.

use core::fmt;

/// Numbers that print with a prefix. `$new` says who may make one.
macro_rules! identifiers {
    ($new:vis, $($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The one with this number. Whoever gives the numbers out makes them.
            #[must_use]
            $new const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number: 1, 2, 3, … in the order in which they were given out.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl liminal_proto::Id for $name {
            fn of(number: u64) -> Self {
                Self(number)
            }

            fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

pub(crate) use identifiers;

identifiers! {
    pub(crate),
    /// Who opens conversations: a connection, or a local opener in the same program.
    LinkId, "link-";
    /// A conversation, across all links of the bus.
    ConversationKey, "conversation-";
    /// What was registered for a subject. The host knows which participants to create for it.
    OfferId, "offer-";
    /// One call of a participant, from [`BusNext::Run`](crate::BusNext::Run) until it returned.
    Ticket, "ticket-";
}

impl ConversationKey {
    /// None is before it.
    pub(crate) const FIRST: Self = Self(0);

    /// The one after it.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LinkId {
    /// The bus itself, which owns the conversations that it opens to compensate. No command is for it.
    pub const BUS: Self = Self(0);
}

/// Gives out the numbers 1, 2, 3, …
#[derive(Debug, Default)]
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    /// The last that was given out; 0 when none was.
    pub(crate) const fn last(&self) -> u64 {
        self.0
    }
}
