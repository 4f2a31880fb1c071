//! Reading logs.

use crate::engine::Engine;
use crate::options::{LogStream, LogsOptions};
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Reads a container's log.
    pub async fn logs(&self, id: &str, options: LogsOptions) -> Result<LogStream> {
        let _ = (self.registry().find(id)?, options);
        Err(EngineError::unsupported("reading logs"))
    }
}
