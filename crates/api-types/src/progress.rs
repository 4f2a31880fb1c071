//! The lines of answers that tell how something long goes on: pull, load, push, build.

use crate::wire::wire;

wire! {
    /// One line: a step, text, or the error at the end.
    pub struct Progress {
        /// Text that is shown as it is.
        stream: String = "stream" omitempty,
        /// What is done.
        status: String = "status" omitempty,
        /// How far it is.
        progress_detail: Option<ProgressDetail> = "progressDetail" omitempty,
        /// How far it is, drawn for people.
        progress: String = "progress" omitempty,
        /// What it is done to: a layer's short digest, or a tag.
        id: String = "id" omitempty,
        /// Why it failed.
        error_detail: Option<ErrorDetail> = "errorDetail" omitempty,
        /// The same sentence, for old clients.
        error: String = "error" omitempty,
        /// More for programs.
        aux: Option<serde_json::Value> = "aux" omitempty,
    }
}

wire! {
    /// How far a step is.
    pub struct ProgressDetail {
        /// Done.
        current: i64 = "current" omitempty,
        /// All.
        total: i64 = "total" omitempty,
        /// When it began, in seconds since 1970.
        start: i64 = "start" omitempty,
        /// Whether clients should not show how much is left.
        hide_counts: bool = "hidecounts" omitempty,
        /// Empty for bytes.
        units: String = "units" omitempty,
    }
}

wire! {
    /// Why something failed.
    pub struct ErrorDetail {
        /// A status code.
        code: i64 = "code" omitempty,
        /// One sentence.
        message: String = "message",
    }
}

wire! {
    /// What a push says to programs at its end.
    pub struct PushResult {
        /// The tag.
        tag: String = "Tag",
        /// The manifest's digest.
        digest: String = "Digest",
        /// The manifest's length in bytes.
        size: i64 = "Size",
    }
}
