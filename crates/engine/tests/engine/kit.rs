//! A private engine, and short ways to use it.

use std::future::Future;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use engine::{AttachOptions, CreateRequest, Engine, EngineConfig, RemoveOptions, WaitCondition};

/// Leaves the host's network and mounts; called before there are threads.
pub(crate) fn own_namespaces() {
    sys::process::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS).expect("namespaces of one's own");
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .expect("private mounts");
    // Settings of the network are those of the namespace that is looked at.
    std::process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .expect("lo up");
}

/// Roots of a test, removed with it.
pub(crate) struct Roots {
    pub(crate) folder: tempfile::TempDir,
}

impl Roots {
    pub(crate) fn new() -> Roots {
        Roots {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn config(&self) -> EngineConfig {
        let mut config = EngineConfig::new(
            self.folder.path().join("data"),
            self.folder.path().join("exec"),
        );
        config.bridge = Some("none".to_owned());
        config
    }
}

/// Runs a test's future to its end, with a limit.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    run_on(512, test);
}

/// [`run`] with so many threads for what blocks.
pub(crate) fn run_on<F: Future<Output = ()>>(threads: usize, test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test)
            .await
            .expect("the test takes too long")
    });
}

/// A request that runs this program with these words, without a network.
pub(crate) fn request(words: &[&str]) -> CreateRequest {
    let mut request = CreateRequest::default();
    request.config.image = "wharf/isolation".to_owned();
    request.config.entrypoint = Some(vec!["/wharf".to_owned(), "inside".to_owned()].into());
    request.config.cmd = Some(
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
            .into(),
    );
    request.host_config.network_mode = "none".to_owned();
    request
}

/// What a container wrote and how it ended.
pub(crate) struct Ran {
    pub(crate) id: String,
    pub(crate) output: String,
    pub(crate) code: i64,
}

/// Attaches, starts and waits, as docker's client does for `run`.
pub(crate) async fn run_container(engine: &Engine, request: CreateRequest) -> Ran {
    let condition = if request.host_config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let id = engine.create(None, request, None).await.expect("create").id;
    let options = AttachOptions {
        stdout: true,
        stderr: true,
        stream: true,
        raw: true,
        ..Default::default()
    };
    let ticket = engine.attach_intent(&id, options).await.expect("attach");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ticket
        .deliver(OwnedFd::from(theirs), Vec::new())
        .await
        .expect("deliver");
    let wait = engine.wait(&id, condition).await.expect("wait");
    engine.start(&id, None).await.expect("start");
    let output = read_all(ours).await;
    let code = wait.await.expect("the end").status_code;
    Ran { id, output, code }
}

pub(crate) async fn read_all(mut stream: UnixStream) -> String {
    tokio::task::spawn_blocking(move || {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a limit");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("read the stream");
        // Frames have bytes that are no text.
        String::from_utf8_lossy(&bytes).into_owned()
    })
    .await
    .expect("a reader")
}

/// Waits until a test holds.
pub(crate) async fn eventually(what: &str, mut test: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if test().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true: {what}");
}

/// Removes all containers and closes; nothing of the engine is left in the kernel then.
pub(crate) async fn clean_up(engine: Engine) {
    for container in engine
        .list(engine::ListOptions {
            all: true,
            ..Default::default()
        })
        .await
        .expect("list")
    {
        let options = RemoveOptions {
            force: true,
            volumes: true,
            ..Default::default()
        };
        engine.remove(&container.id, options).await.expect("remove");
    }
    engine.close().await.expect("close");
}
