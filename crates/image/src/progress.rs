//! Progress in docker's words.

/// The words that docker's clients show beside a layer's short digest.
pub mod words {
    /// A layer will be fetched.
    pub const PULLING_FS_LAYER: &str = "Pulling fs layer";
    /// A layer waits for its turn.
    pub const WAITING: &str = "Waiting";
    /// A layer is being fetched.
    pub const DOWNLOADING: &str = "Downloading";
    /// A layer came in full and its digest is compared.
    pub const VERIFYING: &str = "Verifying Checksum";
    /// A layer came in full and is right.
    pub const DOWNLOAD_COMPLETE: &str = "Download complete";
    /// A layer is being unpacked.
    pub const EXTRACTING: &str = "Extracting";
    /// A layer is unpacked.
    pub const PULL_COMPLETE: &str = "Pull complete";
    /// A layer was there before.
    pub const ALREADY_EXISTS: &str = "Already exists";
    /// A layer will be sent.
    pub const PREPARING: &str = "Preparing";
    /// A layer is being sent.
    pub const PUSHING: &str = "Pushing";
    /// A layer was sent.
    pub const PUSHED: &str = "Pushed";
    /// The registry has the layer.
    pub const LAYER_ALREADY_EXISTS: &str = "Layer already exists";
    /// The registry has the layer in the repository whose name follows.
    pub const MOUNTED_FROM: &str = "Mounted from ";
    /// A layer of an archive is being unpacked.
    pub const LOADING_LAYER: &str = "Loading layer";
}

/// Takes progress reports. Called often and from several threads: an implementation that is
/// slow slows the transfer down.
pub trait Progress: Send + Sync {
    /// `id` is a layer's short digest, or empty for a line of its own; `amount` is bytes done
    /// and bytes in all.
    fn status(&self, id: &str, text: &str, amount: Option<(u64, u64)>);

    /// A line about the whole; `id` is the image's tag or digest.
    fn message(&self, id: &str, text: &str) {
        self.status(id, text, None);
    }
}

/// Drops all reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn status(&self, _id: &str, _text: &str, _amount: Option<(u64, u64)>) {}
}
