//! A trace: the spans of one request.

/// One timed operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// Its id, unique within the trace.
    pub id: String,
    /// The span that caused it.
    pub parent: Option<String>,
    /// The operation.
    pub name: String,
    /// Start, in nanoseconds since 1970.
    pub start: u64,
    /// End, in nanoseconds since 1970.
    pub end: u64,
}

/// The spans of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    /// Its id, in hexadecimal.
    pub id: String,
    /// All spans, in no particular order.
    pub spans: Vec<Span>,
}
