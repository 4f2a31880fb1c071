//! Names: what a query asks, who has the answer, and who else may.

pub(crate) mod forward;
pub(crate) mod message;
pub(crate) mod table;
