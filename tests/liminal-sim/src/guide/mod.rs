#![doc = include_str!("guide.md")]

#[doc = include_str!("handover.md")]
pub mod handover {}
pub mod model;
#[doc = include_str!("order.md")]
pub mod order {}
#[doc = include_str!("ticket_desk.md")]
pub mod ticket_desk {}
