//! From the command line to an engine that answers, and back to nothing.

use std::io;
use std::path::Path;
use std::time::Duration;

use engine::{Engine, EngineConfig, EngineError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, ConfigError};
use crate::flags::{self, FlagError, Invocation};
use crate::listen::{self, ListenError, Socket};
use crate::log::Log;
use crate::notify::ServiceManager;
use crate::pidfile::PidFile;

/// Why the daemon did not start, or did not end in order.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The command line.
    #[error("{0}\nSee 'wharf daemon --help'.")]
    Flags(#[from] FlagError),
    /// `daemon.json`, or a value.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A socket.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// The store, the host, or another daemon on the same folders.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// Something of the process itself.
    #[error("cannot {doing}: {source}")]
    Process {
        /// What was being done.
        doing: &'static str,
        /// What came back.
        source: io::Error,
    },
}

/// How long threads that block are waited for at the end.
const PARTING: Duration = Duration::from_secs(2);

fn process(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::Process { doing, source }
}

/// Runs the daemon until SIGTERM or SIGINT. At SIGHUP `daemon.json` is read anew.
///
/// Containers outlive it, unless `live-restore` is off. Returns the exit status: 0 after an orderly end, 1 after a fault, which
/// was told on standard error.
pub fn main(args: Vec<String>, build: engine::Build) -> u8 {
    match run(args, build) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("wharf daemon: {error}");
            1
        }
    }
}

fn run(args: Vec<String>, build: engine::Build) -> Result<u8, DaemonError> {
    let typed = Invocation::parse(args)?;
    if typed.switch("help") {
        print!("{}", flags::help());
        return Ok(0);
    }
    if typed.switch("version") {
        println!("Wharf daemon version {}", env!("CARGO_PKG_VERSION"));
        return Ok(0);
    }
    let config = Config::load(&typed)?;
    if typed.switch("validate") {
        let found = Found {
            open_files: None,
            build,
        };
        engine_config(&config, found).check()?;
        eprintln!("configuration OK");
        return Ok(0);
    }
    let manager = ServiceManager::from_environment()
        .map_err(process("read what the service manager passed"))?;
    let log = Log::to_stderr(&config.log_level).map_err(process("begin the log"))?;
    let open_files = raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(engine::THREADS)
        .enable_all()
        .build()
        .map_err(process("start the daemon's threads"))?;
    let reload = || match Config::load(&typed) {
        Ok(config) => {
            log.set_level(&config.log_level);
            tracing::info!(
                level = config.log_level,
                "the configuration was read anew; all but the log level counts from the next start on"
            );
        }
        Err(error) => tracing::warn!(%error, "the configuration stays as it is"),
    };
    let outcome = runtime.block_on(serve(config, manager, Found { open_files, build }, reload));
    // What hangs in the kernel, in a file system that does not answer, would keep the process for ever.
    runtime.shutdown_timeout(PARTING);
    let status = outcome.map_or_else(
        |error| {
            log.tell(&error);
            1
        },
        |()| 0,
    );
    log.flush(PARTING);
    Ok(status)
}

/// Takes as many open files as this process may have: each container and each client costs some. Answers with the limit
/// until then, if there is less: containers are not to have more for it (select(2) knows no more than 1024).
fn raise_open_files() -> Option<u64> {
    let given = getrlimit(Resource::Nofile);
    let soft = given.current?;
    if given.maximum.is_some_and(|hard| soft >= hard) {
        return None;
    }
    let raised = Rlimit {
        current: given.maximum,
        ..given
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => Some(soft),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays at {soft}");
            None
        }
    }
}

/// What no configuration says.
struct Found {
    /// See [`raise_open_files`].
    open_files: Option<u64>,
    build: engine::Build,
}

async fn serve(
    config: Config,
    mut manager: ServiceManager,
    found: Found,
    reload: impl Fn(),
) -> Result<(), DaemonError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(process("listen for SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(process("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(process("listen for SIGINT"))?;
    let _pidfile = PidFile::create(&config.pidfile).map_err(process("write the pid file"))?;
    // Recovery first: what a client is told must already be true when the socket answers.
    let opening = Engine::open(engine_config(&config, found));
    let engine = tokio::select! {
        opened = opening => opened?,
        // What is half recovered the next daemon finds as after any other end of this one.
        () = either(&mut terminate, &mut interrupt) => {
            tracing::info!("asked to stop before the engine was open; containers go on");
            return Ok(());
        }
    };
    let sockets = match listen::open(
        &config.hosts,
        config.group.as_deref(),
        manager.take_sockets(),
    ) {
        Ok(sockets) => sockets,
        Err(error) => {
            // What was made for containers that nobody can ask for goes again.
            if let Err(left) = engine.close().await {
                tracing::warn!(error = %left, "the engine did not end orderly");
            }
            return Err(error.into());
        }
    };
    let listeners = listeners(&sockets).map_err(process("share the sockets"))?;
    let stopped = async move {
        loop {
            tokio::select! {
                () = either(&mut terminate, &mut interrupt) => break,
                Some(()) = hangup.recv() => reload(),
            }
        }
        tracing::info!("asked to stop");
    };
    if let Err(error) = sys::memory::give_back() {
        tracing::debug!(%error, "memory of the start-up is kept");
    }
    manager.tell("READY=1");
    for socket in &sockets {
        tracing::info!(socket = %name(socket), "API listens");
    }
    let served = api::serve(listeners, engine.clone(), stopped).await;
    manager.tell("STOPPING=1");
    listen::remove_files(&sockets);
    let closed = engine.close().await;
    served.map_err(process("serve the API"))?;
    Ok(closed?)
}

/// Ready at the next of these signals.
async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn engine_config(config: &Config, found: Found) -> EngineConfig {
    EngineConfig {
        bridge: config.bridge.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        bip: config
            .bip
            .map(|(address, prefix)| format!("{address}/{prefix}")),
        mtu: config.mtu,
        default_runtime: config.default_runtime.clone(),
        userland_proxy: config.userland_proxy,
        log_driver: config.log_driver.clone(),
        log_opts: config.log_opts.clone(),
        insecure_registries: config.insecure_registries.clone(),
        mirrors: config.mirrors.clone(),
        proxies: config.proxies.clone(),
        containers: config.containers.clone(),
        address_pools: config.address_pools.clone(),
        host_ip: config.host_ip,
        transfers: config.transfers,
        live_restore: config.live_restore,
        labels: config.labels.clone(),
        open_files: found.open_files,
        build: found.build,
        debug: config.log_level == "debug",
        ..EngineConfig::new(&config.data_root, &config.exec_root)
    }
}

/// The API gets descriptors of its own; the list that was opened is kept for its file names.
fn listeners(sockets: &[Socket]) -> io::Result<Vec<api::Listener>> {
    sockets
        .iter()
        .map(|socket| {
            Ok(match socket {
                Socket::Unix(listener, _) => api::Listener::Unix(listener.try_clone()?),
                Socket::Tcp(listener) => api::Listener::Tcp(listener.try_clone()?),
            })
        })
        .collect()
}

fn name(socket: &Socket) -> String {
    match socket {
        Socket::Unix(_, Some(path)) => format!("unix://{}", Path::display(path)),
        Socket::Unix(_, None) => "a unix socket of the service manager".to_owned(),
        Socket::Tcp(listener) => listener
            .local_addr()
            .map_or_else(|_| "tcp".to_owned(), |address| format!("tcp://{address}")),
    }
}
