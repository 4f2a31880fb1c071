//! The door: signatures of every operation.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::config::EngineConfig;
use crate::filters::Filters;
use crate::options::*;
use crate::outcome::{EngineError, Result};

/// One engine; clones are handles to the same one.
#[derive(Clone)]
pub struct Engine {
    #[allow(dead_code)]
    inner: Arc<Inner>,
}

struct Inner {}

fn soon<T>() -> Result<T> {
    Err(EngineError::unsupported("this operation"))
}

#[allow(unused_variables, missing_docs)]
impl Engine {
    pub async fn open(config: EngineConfig) -> Result<Engine> {
        soon()
    }
    /// Drains what is queued; with `live_restore: false` stops containers first.
    pub async fn close(&self) -> Result<()> {
        soon()
    }

    // containers
    pub async fn create(&self, name: Option<String>, request: CreateRequest, platform: Option<String>) -> Result<Created> {
        soon()
    }
    pub async fn start(&self, id: &str, detach_keys: Option<String>) -> Result<()> {
        soon()
    }
    /// `timeout` in seconds: negative waits for ever, `None` is the container's own or 10.
    pub async fn stop(&self, id: &str, timeout: Option<i64>, signal: Option<String>) -> Result<()> {
        soon()
    }
    pub async fn kill(&self, id: &str, signal: Option<String>) -> Result<()> {
        soon()
    }
    pub async fn restart(&self, id: &str, timeout: Option<i64>, signal: Option<String>) -> Result<()> {
        soon()
    }
    pub async fn pause(&self, id: &str) -> Result<()> {
        soon()
    }
    pub async fn unpause(&self, id: &str) -> Result<()> {
        soon()
    }
    pub async fn rename(&self, id: &str, new_name: &str) -> Result<()> {
        soon()
    }
    pub async fn remove(&self, id: &str, options: RemoveOptions) -> Result<()> {
        soon()
    }
    pub async fn prune_containers(&self, filters: Filters) -> Result<api_types::ContainersPruned> {
        soon()
    }
    pub async fn inspect(&self, id: &str, size: bool) -> Result<api_types::ContainerInspect> {
        soon()
    }
    pub async fn list(&self, options: ListOptions) -> Result<Vec<api_types::ContainerSummary>> {
        soon()
    }
    /// Subscribes before it returns; the handle is awaited for the answer.
    pub async fn wait(&self, id: &str, condition: WaitCondition) -> Result<WaitHandle> {
        soon()
    }
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        soon()
    }
    pub async fn logs(&self, id: &str, options: LogsOptions) -> Result<LogStream> {
        soon()
    }
    /// Registers before the 101 is sent; `ticket.deliver(socket, leftover)` hands the socket over.
    pub async fn attach_intent(&self, id: &str, options: AttachOptions) -> Result<AttachTicket> {
        soon()
    }

    // exec
    /// The exec's id.
    pub async fn exec_create(&self, id: &str, request: api_types::ExecCreate) -> Result<String> {
        soon()
    }
    pub async fn exec_start(&self, exec: &str, options: ExecStartOptions) -> Result<ExecStart> {
        soon()
    }
    pub async fn exec_inspect(&self, exec: &str) -> Result<api_types::ExecInspect> {
        soon()
    }
    pub async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<()> {
        soon()
    }

    // images
    /// `reference` as the user wrote it; without tag or digest the border passes `NAME:latest` (or asks for all tags,
    /// which is refused by name). `auth` is the decoded X-Registry-Auth header.
    pub async fn pull(&self, reference: &str, platform: Option<String>, auth: Option<api_types::AuthConfig>, progress: ProgressSender) -> Result<()> {
        soon()
    }
    pub async fn load(&self, archive: Box<dyn Read + Send>, quiet: bool, progress: ProgressSender) -> Result<()> {
        soon()
    }
    /// A docker-archive that is an OCI layout too; validates the names before anything is written.
    pub async fn save(&self, names: Vec<String>, archive: Box<dyn Write + Send>) -> Result<()> {
        soon()
    }
    pub async fn image_tag(&self, image: &str, repo: &str, tag: Option<String>) -> Result<()> {
        soon()
    }
    pub async fn image_remove(&self, image: &str, force: bool, no_prune: bool) -> Result<Vec<api_types::ImageDeleted>> {
        soon()
    }
    pub async fn image_list(&self, options: ImageListOptions) -> Result<Vec<api_types::ImageSummary>> {
        soon()
    }
    pub async fn image_inspect(&self, image: &str) -> Result<api_types::ImageInspect> {
        soon()
    }
    pub async fn image_history(&self, image: &str) -> Result<Vec<api_types::ImageHistoryItem>> {
        soon()
    }
    pub async fn prune_images(&self, filters: Filters) -> Result<api_types::ImagesPruned> {
        soon()
    }

    // volumes
    pub async fn volume_create(&self, request: api_types::VolumeCreate) -> Result<api_types::Volume> {
        soon()
    }
    pub async fn volume_list(&self, filters: Filters) -> Result<Vec<api_types::Volume>> {
        soon()
    }
    pub async fn volume_inspect(&self, name: &str) -> Result<api_types::Volume> {
        soon()
    }
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        soon()
    }
    pub async fn prune_volumes(&self, filters: Filters) -> Result<api_types::VolumesPruned> {
        soon()
    }

    // networks
    pub async fn network_list(&self, filters: Filters) -> Result<Vec<api_types::Network>> {
        soon()
    }
    pub async fn network_inspect(&self, name: &str) -> Result<api_types::Network> {
        soon()
    }

    // system
    pub async fn info(&self) -> Result<api_types::SystemInfo> {
        soon()
    }
    pub async fn version(&self) -> Result<api_types::Version> {
        soon()
    }
    pub async fn df(&self) -> Result<api_types::DiskUsage> {
        soon()
    }
    pub async fn events(&self, options: EventsOptions) -> Result<EventStream> {
        soon()
    }
}
