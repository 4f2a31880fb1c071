//! Pulls from a real registry filled by other tools, and from servers that behave badly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixture::server::{CuttingProxy, Fake, http};
use fixture::{Recorder, Registry, content_digest, names, noise, oci, run, umoci_layout};
use image::registry::{Client, ClientOptions, Credentials, PullRequest, Pulled, Timeouts};
use image::{ContentStore, ImageError, words};
use types::{Digest, Reference};

fn client() -> Client {
    Client::new(ClientOptions::default())
}

/// A client that gives up after its second attempt.
fn hasty() -> Client {
    Client::new(ClientOptions {
        attempts: 2,
        ..ClientOptions::default()
    })
}

/// A client that waits for nobody.
fn impatient() -> Client {
    let soon = Duration::from_millis(300);
    let timeouts = Timeouts {
        connect: soon,
        headers: soon,
        idle: soon,
        pace: soon,
    };
    Client::new(ClientOptions {
        timeouts,
        ..ClientOptions::default()
    })
}

fn request(reference: &Reference) -> PullRequest {
    PullRequest {
        reference: reference.clone(),
        platform: None,
        credentials: None,
    }
}

async fn pull(
    client: &Client,
    reference: &Reference,
    store: &ContentStore,
) -> Result<(Pulled, Arc<Recorder>), ImageError> {
    let recorder = Arc::new(Recorder::default());
    let pulled = client
        .pull(request(reference), store, recorder.clone())
        .await?;
    Ok((pulled, recorder))
}

/// Pulls into a fresh store and expects a refusal that leaves no blob.
async fn refused(client: &Client, request: PullRequest) -> String {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let error = client
        .pull(request, &store, Arc::new(Recorder::default()))
        .await
        .unwrap_err();
    assert_eq!(store.list().unwrap(), [], "{error}");
    error.to_string()
}

fn check_image(pulled: &Pulled, store: &ContentStore) {
    assert_eq!(pulled.layers.len(), 3);
    for (layer, diff_id) in pulled.layers.iter().zip(pulled.config.diff_ids()) {
        assert_eq!(content_digest(store.blob(&layer.digest).unwrap()), *diff_id);
    }
    for digest in [
        pulled.config.digest(),
        pulled.manifest_descriptor.digest,
        pulled.target.digest,
    ] {
        assert!(store.contains(&digest));
    }
}

/// Sends a manifest to a registry, which skopeo cannot do for lists.
fn put_manifest(port: u16, path: &str, media_type: &str, body: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_of_every_form_are_pulled_and_layers_handed_over() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:oci", &[]);
    registry.push(&oci(&layout), "app:docker", &["--format", "v2s2"]);
    registry.push(
        &oci(&layout),
        "app:zstd",
        &["--dest-compress-format", "zstd"],
    );
    let id = fixture::skopeo_config_digest(&oci(&layout));
    for tag in ["oci", "docker", "zstd"] {
        let root = temp.path().join(tag);
        let store = ContentStore::open(&root).unwrap();
        let client = client();
        let reference = registry.reference(&format!("app:{tag}"));
        let (pulled, recorder) = pull(&client, &reference, &store).await.unwrap();
        check_image(&pulled, &store);
        if tag == "oci" {
            assert_eq!(pulled.config.digest(), id);
        }
        assert_eq!(recorder.words(tag), ["Pulling from app"]);
        let mut ready = std::mem::take(&mut *recorder.ready.lock().unwrap());
        ready.sort_by_key(|(index, ..)| *index);
        let chain = pulled.config.chain_ids();
        assert_eq!(ready.len(), 3);
        for ((index, layer, chain_id, content), wanted) in ready.into_iter().zip(chain) {
            assert_eq!(layer, pulled.layers[index]);
            assert_eq!(chain_id, wanted);
            assert_eq!(content_digest(content), layer.diff_id);
            assert_eq!(
                recorder.words(&layer.digest.short()),
                [
                    words::PULLING_FS_LAYER,
                    words::DOWNLOADING,
                    words::VERIFYING,
                    words::DOWNLOAD_COMPLETE,
                ]
            );
        }
        assert_eq!(names(&root.join("ingest")), Vec::<String>::new());

        // By digest, with everything there and unpacked: no layer is handed over.
        let by_digest = reference.with_digest(pulled.target.digest);
        let recorder = Arc::new(Recorder {
            unpacked: true,
            ..Recorder::default()
        });
        let again = client
            .pull(request(&by_digest), &store, recorder.clone())
            .await
            .unwrap();
        assert_eq!(again.target, pulled.target);
        assert!(recorder.ready.lock().unwrap().is_empty());
        let top = pulled.layers[2].digest.short();
        assert_eq!(recorder.words(&top), [words::ALREADY_EXISTS]);
        let resolved = client.resolve(&reference, None).await.unwrap();
        assert_eq!(resolved, pulled.target);
    }
}

#[tokio::test]
async fn the_platform_is_chosen_from_a_list() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:one", &["--format", "v2s2"]);
    let name = format!("docker://127.0.0.1:{}/app:one", registry.port);
    let raw = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &name]);
    let (digest, size) = (Digest::sha256(raw.as_bytes()), raw.len());
    let kind = "application/vnd.docker.distribution.manifest";
    let entry = |arch: &str, variant: &str| {
        format!(
            "{{\"mediaType\":\"{kind}.v2+json\",\"digest\":\"{digest}\",\"size\":{size},\
             \"platform\":{{\"os\":\"linux\",\"architecture\":\"{arch}\"{variant}}}}}"
        )
    };
    let list = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{kind}.list.v2+json\",\"manifests\":[{},{}]}}",
        entry("amd64", ""),
        entry("arm64", ",\"variant\":\"v8\"")
    );
    put_manifest(
        registry.port,
        "/v2/app/manifests/list",
        &format!("{kind}.list.v2+json"),
        &list,
    );
    let reference = registry.reference("app:list");
    let store = ContentStore::open(&temp.path().join("store")).unwrap();
    let wish = |platform: &str| PullRequest {
        platform: Some(platform.parse().unwrap()),
        ..request(&reference)
    };
    let silent = || Arc::new(Recorder::default());
    let pulled = client()
        .pull(wish("linux/amd64"), &store, silent())
        .await
        .unwrap();
    check_image(&pulled, &store);
    assert_eq!(pulled.target.digest, Digest::sha256(list.as_bytes()));
    assert_eq!(pulled.manifest_descriptor.digest, digest);
    assert_eq!(
        refused(&client(), wish("linux/s390x")).await,
        "no matching manifest for linux/s390x in the manifest list entries"
    );
    // The list lies about arm64: the configuration says amd64.
    let told = refused(&client(), wish("linux/arm64")).await;
    assert!(told.ends_with(
        "its platform (linux/amd64) does not match the specified platform (linux/arm64)"
    ));
}

#[tokio::test]
async fn what_is_not_there_is_told_in_docker_s_words() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let at = format!("127.0.0.1:{}", registry.port);
    for name in ["app:nope", "nope:latest"] {
        assert_eq!(
            refused(&client(), request(&registry.reference(name))).await,
            format!("manifest for {at}/{name} not found: manifest unknown: manifest unknown")
        );
    }
    let digest = Digest::sha256(b"nothing");
    let by_digest = registry.reference(&format!("app@{digest}"));
    assert_eq!(
        refused(&client(), request(&by_digest)).await,
        format!("manifest for {at}/app@{digest} not found: manifest unknown: manifest unknown")
    );
    let port = registry.port;
    drop(registry);
    let gone: Reference = format!("127.0.0.1:{port}/app:v1").parse().unwrap();
    assert_eq!(
        refused(&client(), request(&gone)).await,
        format!("Get \"http://{at}/v2/\": dial tcp {at}: connect: connection refused")
    );
    let nowhere: Reference = "reg.invalid/app".parse().unwrap();
    let told = refused(&impatient(), request(&nowhere)).await;
    let start = "Get \"https://reg.invalid/v2/\": dial tcp: lookup reg.invalid";
    assert!(told.starts_with(start), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insecure_registry_may_speak_https() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start_tls(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let store = ContentStore::open(&temp.path().join("store")).unwrap();
    let (pulled, _) = pull(&client(), &registry.reference("app:v1"), &store)
        .await
        .unwrap();
    check_image(&pulled, &store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_transfer_is_continued_within_one_pull() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let proxy = CuttingProxy::start(registry.port, 1, || {});
    let store = ContentStore::open(&temp.path().join("store")).unwrap();
    let (pulled, _) = pull(&client(), &proxy.reference("app:v1"), &store)
        .await
        .unwrap();
    check_image(&pulled, &store);
    let whole: u64 = pulled.layers.iter().map(|layer| layer.size).sum();
    assert!(
        proxy.bytes() <= whole * 112 / 100,
        "{} of {whole}",
        proxy.bytes()
    );
}

/// The process that `a_killed_pull_is_continued` kills; does nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, which kills it"]
async fn child_that_pulls() {
    let variable = |name: &str| std::env::var(name).expect("set by the parent");
    let store = ContentStore::open(Path::new(&variable("IMAGE_TEST_STORE"))).unwrap();
    let reference = variable("IMAGE_TEST_REFERENCE").parse().unwrap();
    pull(&client(), &reference, &store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_pull_is_continued() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let (told, cut) = std::sync::mpsc::channel();
    let (go_on, killed) = std::sync::mpsc::channel::<()>();
    let (told, killed) = (std::sync::Mutex::new(told), std::sync::Mutex::new(killed));
    // The connection stays open, silent, until the child is dead: the child cannot resume.
    let proxy = CuttingProxy::start(registry.port, 1, move || {
        told.lock().unwrap().send(()).unwrap();
        let _ = killed.lock().unwrap().recv();
    });
    let root = temp.path().join("store");
    let reference = proxy.reference("app:v1");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_that_pulls"])
        .env("IMAGE_TEST_STORE", &root)
        .env("IMAGE_TEST_REFERENCE", reference.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    cut.recv_timeout(Duration::from_secs(30)).unwrap();
    // What the proxy sent may still be on its way; wait until the child's file stops growing.
    let ingest = root.join("ingest");
    let largest = || {
        let entries = fs::read_dir(&ingest).unwrap();
        entries
            .map(|e| e.unwrap().metadata().unwrap().len())
            .max()
            .unwrap_or(0)
    };
    let started = Instant::now();
    while largest() < 2_600_000 && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    go_on.send(()).unwrap();
    let store = ContentStore::open(&root).unwrap();
    assert_eq!(store.list().unwrap(), []);
    let (pulled, _) = pull(&client(), &reference, &store).await.unwrap();
    check_image(&pulled, &store);
    assert_eq!(names(&ingest), Vec::<String>::new());
    let whole: u64 = pulled.layers.iter().map(|layer| layer.size).sum();
    assert!(
        proxy.bytes() <= whole * 112 / 100,
        "{} of {whole}",
        proxy.bytes()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_partial_file_is_fetched_anew() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let reference = registry.reference("app:v1");
    let first = ContentStore::open(&temp.path().join("first")).unwrap();
    let (pulled, _) = pull(&client(), &reference, &first).await.unwrap();
    for length in [1000, 10_000_000] {
        let root = temp.path().join(format!("store{length}"));
        let store = ContentStore::open(&root).unwrap();
        let partial = root.join("ingest").join(pulled.layers[0].digest.hex());
        fs::write(&partial, noise(1, length)).unwrap();
        let (again, _) = pull(&client(), &reference, &store).await.unwrap();
        check_image(&again, &store);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_of_the_same_image_share_their_blobs() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let proxy = CuttingProxy::start(registry.port, 0, || {});
    let store = ContentStore::open(&temp.path().join("store")).unwrap();
    let reference = proxy.reference("app:v1");
    let client = client();
    let (one, two, three) = tokio::join!(
        pull(&client, &reference, &store),
        pull(&client, &reference, &store),
        pull(&client, &reference, &store)
    );
    let (pulled, _) = one.unwrap();
    check_image(&pulled, &store);
    for (pulled, recorder) in [two.unwrap(), three.unwrap()] {
        assert_eq!(recorder.ready.lock().unwrap().len(), 3);
        check_image(&pulled, &store);
    }
    let whole: u64 = pulled.layers.iter().map(|layer| layer.size).sum();
    assert!(
        proxy.bytes() <= whole + whole / 10,
        "{} of {whole}",
        proxy.bytes()
    );
}

#[tokio::test]
async fn servers_that_are_no_registries_get_a_sentence() {
    let page = Fake::start(|_| http("200 OK", &[("Content-Type", "text/html")], b"<html>hi"));
    let told = refused(&hasty(), request(&page.reference("x"))).await;
    assert!(told.contains("a web page instead of a manifest"), "{told}");

    for (body, why) in [
        (
            "{}",
            "invalid manifest: it has neither a config nor manifests",
        ),
        ("[]", "invalid manifest: "),
        ("oops", "invalid manifest: "),
    ] {
        let empty = Fake::start(move |_| http("200 OK", &[], body.as_bytes()));
        let told = refused(&hasty(), request(&empty.reference("x"))).await;
        let at = format!("127.0.0.1:{}", empty.port);
        let start = format!("cannot pull {at}/x:latest from http://{at}: {why}");
        assert!(told.starts_with(&start), "{told}");
    }

    let missing = Fake::start(|_| http("404 Not Found", &[], b"<html>no such page</html>"));
    let told = refused(&hasty(), request(&missing.reference("x"))).await;
    assert!(
        told.starts_with("error parsing HTTP 404 response body: "),
        "{told}"
    );

    let noise = Fake::start(|_| b"\x16\x03\x01\x02 no HTTP at all\r\n\r\n".to_vec());
    let told = refused(&hasty(), request(&noise.reference("x"))).await;
    let at = format!("127.0.0.1:{}", noise.port);
    let start = format!("Get \"http://{at}/v2/\": net/http: HTTP/1.x transport connection broken");
    assert!(told.starts_with(&start), "{told}");

    let unwell = Fake::start(|_| http("500 Internal Server Error", &[], b"oops"));
    let told = refused(&hasty(), request(&unwell.reference("x"))).await;
    assert_eq!(
        told,
        "received unexpected HTTP status: 500 Internal Server Error"
    );

    let huge = Fake::serve(|_, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'['; 65536]).is_ok() {}
    });
    let told = refused(&hasty(), request(&huge.reference("x"))).await;
    assert!(told.contains("is larger than"), "{told}");
}

#[tokio::test]
async fn a_registry_that_hangs_is_left() {
    let silent = Fake::serve(|_, stream| {
        // Holds the connection until the client gives up.
        let _ = std::io::Read::read(&mut &stream, &mut [0]);
    });
    let started = Instant::now();
    let told = refused(&impatient(), request(&silent.reference("x"))).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    let url = format!("http://127.0.0.1:{}/v2/", silent.port);
    assert_eq!(
        told,
        format!(
            "Get \"{url}\": net/http: request canceled (Client.Timeout exceeded while awaiting \
             headers)"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_dribbles_is_left_and_what_came_stays() {
    let image = OneImage::new();
    let digest = Digest::sha256(&image.layer);
    let fake = Fake::serve(move |seen, mut stream| {
        if let Some(body) = image.body(&seen.path) {
            let _ = stream.write_all(&http("200 OK", &[], &body));
            return;
        }
        let whole = http("200 OK", &[], &image.layer);
        let (much, rest) = whole.split_at(20_000);
        let _ = stream.write_all(much);
        for byte in rest {
            std::thread::sleep(Duration::from_millis(20));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let error = pull(&impatient(), &fake.reference("x"), &store)
        .await
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the registry is too slow: it sent ")
            && error.ends_with(" seconds, less than 65536"),
        "{error}"
    );
    // It is not asked again, and the next pull continues.
    let blobs = |path: &String| path.ends_with(&digest.to_string());
    assert_eq!(fake.paths().iter().filter(|path| blobs(path)).count(), 1);
    let partial = fs::metadata(temp.path().join("ingest").join(digest.hex())).unwrap();
    assert!(partial.len() > 19_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_dropped_gives_the_layer_to_one_that_waits() {
    let images = TwoImages::start(0);
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let start = || {
        let (store, recorder) = (store.clone(), Arc::new(Recorder::default()));
        let (request, told) = (request(&images.fake.reference("a")), Arc::clone(&recorder));
        let pulling = tokio::spawn(async move { hasty().pull(request, &store, told).await });
        (pulling, recorder)
    };
    let manifests = || {
        let paths = images.fake.paths();
        paths
            .iter()
            .filter(|path| path.contains("manifests"))
            .count()
    };
    let (first, recorder) = start();
    // The first layer is whole; the second does not come.
    while recorder.ready.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (second, _) = start();
    while manifests() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // One for the request that was given up, one for the one that follows it.
    images.let_go.send(()).unwrap();
    images.let_go.send(()).unwrap();
    let pulled = second.await.unwrap().unwrap();
    assert!(
        pulled
            .layers
            .iter()
            .all(|layer| store.contains(&layer.digest))
    );
    assert_eq!(names(&temp.path().join("ingest")), Vec::<String>::new());
    let shared = Digest::sha256(&images.shared).to_string();
    let fetched = images.fake.paths();
    assert_eq!(
        fetched
            .iter()
            .filter(|path| path.ends_with(&shared))
            .count(),
        1
    );
}

/// A registry of one image, whose layer is served by a function.
struct OneImage {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl OneImage {
    fn new() -> OneImage {
        let layer = noise(2, 50_000);
        let digest = Digest::sha256(&layer);
        let config = format!(
            "{{\"os\":\"linux\",\"architecture\":\"amd64\",\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{digest}\"]}}}}"
        )
        .into_bytes();
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
             \"config\":{{\"digest\":\"{}\",\"size\":{}}},\
             \"layers\":[{{\"digest\":\"{digest}\",\"size\":{}}}]}}",
            Digest::sha256(&config),
            config.len(),
            layer.len()
        );
        OneImage {
            manifest: manifest.into_bytes(),
            config,
            layer,
        }
    }

    /// The body for a path; `None` for the layer's.
    fn body(&self, path: &str) -> Option<Vec<u8>> {
        match path {
            "/v2/" => Some(b"{}".to_vec()),
            path if path.contains("/manifests/") => Some(self.manifest.clone()),
            path if path.ends_with(&Digest::sha256(&self.config).to_string()) => {
                Some(self.config.clone())
            }
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_are_not_what_was_promised_are_refused() {
    type Answer = fn(&OneImage) -> Vec<u8>;
    let cases: [(Answer, &str); 4] = [
        (
            |_| http("200 OK", &[("Content-Type", "text/html")], b"<html>Sign in"),
            "a web page instead of a layer from http://127.0.0.1:",
        ),
        (
            |image| {
                let mut other = image.layer.clone();
                other[40_000] ^= 1;
                http("200 OK", &[], &other)
            },
            "filesystem layer verification failed for digest sha256:",
        ),
        (
            |image| http("200 OK", &[], &[&image.layer[..], b"more"].concat()),
            "the answer is larger than 50000 bytes",
        ),
        (
            |image| http("200 OK", &[], &image.layer[..100]),
            "download failed after attempts=2: Get \"http://127.0.0.1:",
        ),
    ];
    for (answer, sentence) in cases {
        let image = OneImage::new();
        let fake = Fake::start(move |seen| match image.body(&seen.path) {
            Some(body) => http("200 OK", &[], &body),
            None => answer(&image),
        });
        let told = refused(&hasty(), request(&fake.reference("x"))).await;
        assert!(told.contains(sentence), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_without_ranges_is_survived() {
    let image = OneImage::new();
    let first = std::sync::atomic::AtomicBool::new(true);
    let fake = Fake::serve(move |seen, mut stream| {
        let _ = match image.body(&seen.path) {
            Some(body) => stream.write_all(&http("200 OK", &[], &body)),
            None => {
                let whole = http("200 OK", &[], &image.layer);
                let cut = first.swap(false, std::sync::atomic::Ordering::SeqCst);
                let end = if cut {
                    whole.len() - 10_000
                } else {
                    whole.len()
                };
                stream.write_all(&whole[..end])
            }
        };
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let (pulled, _) = pull(&hasty(), &fake.reference("x"), &store).await.unwrap();
    assert!(store.contains(&pulled.layers[0].digest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_fetched_and_credentials_stay_at_home() {
    let image = Arc::new(OneImage::new());
    let elsewhere = {
        let image = Arc::clone(&image);
        Fake::start(move |_| http("200 OK", &[], &image.layer))
    };
    let realm = Fake::start(|_| http("200 OK", &[], b"{\"token\":\"secret-token\"}"));
    let realm_url = format!("http://127.0.0.1:{}/token", realm.port);
    let blob_url = format!("http://127.0.0.1:{}/blob", elsewhere.port);
    let registry = Fake::start(move |seen| {
        if seen.header("authorization") != Some("Bearer secret-token") {
            let challenge = format!("Bearer realm=\"{realm_url}\",service=\"reg\"");
            return http("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
        match image.body(&seen.path) {
            Some(body) => http("200 OK", &[], &body),
            None => http("307 Temporary Redirect", &[("Location", &blob_url)], b""),
        }
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let credentials = Credentials {
        username: "user".to_owned(),
        password: "pass".to_owned(),
        ..Credentials::default()
    };
    let request = PullRequest {
        credentials: Some(credentials),
        ..request(&registry.reference("a/x"))
    };
    hasty()
        .pull(request, &store, Arc::new(Recorder::default()))
        .await
        .unwrap();
    assert_eq!(
        realm.paths(),
        ["/token?account=user&scope=repository%3Aa%2Fx%3Apull&service=reg"]
    );
    let asked = realm.seen.lock().unwrap()[0].clone();
    assert_eq!(asked.header("authorization"), Some("Basic dXNlcjpwYXNz"));
    let redirected = elsewhere.seen.lock().unwrap().clone();
    assert_eq!(redirected.len(), 1);
    assert_eq!(redirected[0].header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_asked_first_and_gets_no_credentials() {
    let image = OneImage::new();
    let mirror = Fake::start(move |seen| {
        let body = image.body(&seen.path);
        http("200 OK", &[], &body.unwrap_or_else(|| image.layer.clone()))
    });
    let client = Client::new(ClientOptions {
        mirrors: [(
            "docker.io".to_owned(),
            vec![format!("http://127.0.0.1:{}", mirror.port)],
        )]
        .into(),
        ..ClientOptions::default()
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let credentials = Credentials {
        registry_token: "token".to_owned(),
        ..Credentials::default()
    };
    let request = PullRequest {
        credentials: Some(credentials),
        ..request(&"debian".parse().unwrap())
    };
    let pulled = client
        .pull(request, &store, Arc::new(Recorder::default()))
        .await
        .unwrap();
    assert_eq!(pulled.reference.familiar(), "debian:latest");
    let seen = mirror.seen.lock().unwrap();
    assert!(
        seen.iter()
            .any(|s| s.path == "/v2/library/debian/manifests/latest")
    );
    assert!(seen.iter().all(|s| s.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_fails_in_the_middle_is_left_for_the_registry() {
    let image = Arc::new(OneImage::new());
    let (of_mirror, of_registry) = (Arc::clone(&image), Arc::clone(&image));
    let mirror = Fake::start(move |seen| match of_mirror.body(&seen.path) {
        Some(body) => http("200 OK", &[], &body),
        None => http("502 Bad Gateway", &[], b""),
    });
    let registry = Fake::start(move |seen| {
        if seen.header("authorization") != Some("Bearer token") && seen.path != "/v2/" {
            return http("401 Unauthorized", &[], b"");
        }
        let body = of_registry.body(&seen.path);
        http(
            "200 OK",
            &[],
            &body.unwrap_or_else(|| of_registry.layer.clone()),
        )
    });
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = down.local_addr().unwrap().port();
    drop(down);
    let mirrors = [nobody, mirror.port].map(|port| format!("http://127.0.0.1:{port}/cache"));
    let client = Client::new(ClientOptions {
        mirrors: [(format!("127.0.0.1:{}", registry.port), mirrors.to_vec())].into(),
        ..ClientOptions::default()
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let credentials = Credentials {
        registry_token: "token".to_owned(),
        ..Credentials::default()
    };
    let request = PullRequest {
        credentials: Some(credentials),
        ..request(&registry.reference("a/x"))
    };
    let pulled = client
        .pull(request, &store, Arc::new(Recorder::default()))
        .await
        .unwrap();
    assert!(store.contains(&pulled.layers[0].digest));
    let asked = mirror.seen.lock().unwrap().clone();
    assert!(
        asked
            .iter()
            .any(|seen| seen.path == "/v2/cache/a/x/manifests/latest")
    );
    assert!(
        asked
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    let asked = registry.paths();
    assert!(
        asked
            .iter()
            .all(|path| path == "/v2/" || path.starts_with("/v2/a/x/blobs/"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_in_the_middle_of_a_layer_is_renewed() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let image = OneImage::new();
    // Each token is good until the layer breaks; an identity token gives the next one.
    let valid = Arc::new(AtomicUsize::new(1));
    let given = Arc::clone(&valid);
    let realm = Fake::start(move |_| {
        let token = format!("{{\"access_token\":\"token-{}\"}}", given.load(SeqCst));
        http("200 OK", &[], token.as_bytes())
    });
    let challenge = format!(
        "Bearer realm=\"http://127.0.0.1:{}/token\",service=\"reg\",error=\"invalid_token\"",
        realm.port
    );
    let registry = Fake::serve(move |seen, mut stream| {
        let token = format!("Bearer token-{}", valid.load(SeqCst));
        let answer = match image.body(&seen.path) {
            _ if seen.header("authorization") != Some(&token) => {
                http("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"")
            }
            Some(body) => http("200 OK", &[], &body),
            None if valid.load(SeqCst) == 1 => {
                let whole = http("200 OK", &[], &image.layer);
                valid.store(2, SeqCst);
                whole[..whole.len() - 10_000].to_vec()
            }
            None => {
                assert_eq!(seen.header("range"), Some("bytes=40000-"));
                let range = format!("bytes 40000-49999/{}", image.layer.len());
                let headers = [("Content-Range", range.as_str())];
                http("206 Partial Content", &headers, &image.layer[40_000..])
            }
        };
        let _ = stream.write_all(&answer);
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let credentials = Credentials {
        identity_token: "long lived".to_owned(),
        ..Credentials::default()
    };
    let request = PullRequest {
        credentials: Some(credentials),
        ..request(&registry.reference("a/x"))
    };
    hasty()
        .pull(request, &store, Arc::new(Recorder::default()))
        .await
        .unwrap();
    let asked = realm.seen.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    for seen in asked {
        assert!(
            seen.head.starts_with("POST /token HTTP/1.1"),
            "{}",
            seen.head
        );
        assert_eq!(seen.header("authorization"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_registry_is_asked_again_when_it_says() {
    let image = OneImage::new();
    let busy = std::sync::atomic::AtomicU64::new(0);
    let registry = Fake::start(move |seen| {
        if seen.path == "/v2/" {
            return http("200 OK", &[], b"{}");
        }
        let before = busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if before.is_multiple_of(2) {
            return http("429 Too Many Requests", &[("Retry-After", "0")], b"");
        }
        let body = image.body(&seen.path);
        http("200 OK", &[], &body.unwrap_or_else(|| image.layer.clone()))
    });
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    pull(&hasty(), &registry.reference("x"), &store)
        .await
        .unwrap();
    // Nobody waits for hours, and a registry that says nothing is not asked again.
    let limit = "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"too many pulls\"}]}";
    for headers in [vec![("Retry-After", "21600")], vec![]] {
        let registry = Fake::start(move |seen| match seen.path.as_str() {
            "/v2/" => http("200 OK", &[], b"{}"),
            _ => http("429 Too Many Requests", &headers, limit.as_bytes()),
        });
        let told = refused(&hasty(), request(&registry.reference("x"))).await;
        assert_eq!(told, "toomanyrequests: too many pulls");
        assert_eq!(registry.paths().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_gives_an_identity_token_or_says_why_not() {
    let page = Fake::start(|_| http("200 OK", &[("Content-Type", "text/html")], b"<html>"));
    let wrong = "{\"details\":\"incorrect username or password\"}";
    let realm = Fake::start(move |seen| match seen.header("authorization") {
        Some("Basic dXNlcjpwdw==") => http(
            "200 OK",
            &[],
            b"{\"token\":\"t\",\"refresh_token\":\"long\"}",
        ),
        _ => http("401 Unauthorized", &[], wrong.as_bytes()),
    });
    let challenge = format!("Bearer realm=\"http://127.0.0.1:{}/token\"", realm.port);
    let bearer = Fake::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => http("200 OK", &[], b"{}"),
        _ => http("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b""),
    });
    let basic = Fake::start(|seen| match seen.header("authorization") {
        Some("Basic dXNlcjpwdw==") => http("200 OK", &[], b"{}"),
        _ => http(
            "401 Unauthorized",
            &[("WWW-Authenticate", "Basic realm=x")],
            b"",
        ),
    });
    let login = async |port: u16, password: &str| {
        let credentials = Credentials {
            username: "user".to_owned(),
            password: password.to_owned(),
            ..Credentials::default()
        };
        let registry = format!("127.0.0.1:{port}");
        let outcome = hasty().login(&registry, &credentials).await;
        outcome.map_err(|error| error.to_string())
    };
    assert_eq!(login(bearer.port, "pw").await.unwrap(), "long");
    assert_eq!(
        realm.paths(),
        ["/token?account=user&client_id=docker&offline_token=true"]
    );
    let told = login(bearer.port, "no").await.unwrap_err();
    let sentence = "/v2/\": unauthorized: incorrect username or password";
    assert!(told.ends_with(sentence), "{told}");
    assert_eq!(login(basic.port, "pw").await.unwrap(), "");
    let told = login(basic.port, "no").await.unwrap_err();
    let sentence = format!(
        "login attempt to http://127.0.0.1:{}/v2/ failed with status: 401 Unauthorized",
        basic.port
    );
    assert_eq!(told, sentence);
    let told = login(page.port, "pw").await.unwrap_err();
    assert!(told.contains("a web page instead of"), "{told}");
}

#[tokio::test]
async fn a_search_asks_the_registry_that_has_one() {
    let found = "{\"results\":[{\"name\":\"a/b\",\"star_count\":3,\"is_official\":true,\"description\":null},{\"name\":\"c\"}]}";
    let index = Fake::start(move |seen| match seen.path.as_str() {
        "/v1/search?q=two%20words&n=1" => http("200 OK", &[], found.as_bytes()),
        _ => http("404 Not Found", &[], b"404 page not found"),
    });
    let registry = format!("127.0.0.1:{}", index.port);
    let results = hasty()
        .search(&registry, "two words", 1, None)
        .await
        .unwrap();
    assert_eq!((results.len(), results[0].name.as_str()), (1, "a/b"));
    let error = hasty().search(&registry, "x", 1, None).await.unwrap_err();
    let told = format!("{registry} offers no search: 404 Not Found");
    assert_eq!(error.to_string(), told);
}

#[tokio::test]
async fn refusals_name_the_login() {
    let basic = Fake::start(|_| {
        http(
            "401 Unauthorized",
            &[("WWW-Authenticate", "Basic realm=\"x\"")],
            b"",
        )
    });
    let told = refused(&hasty(), request(&basic.reference("x"))).await;
    assert!(
        told.ends_with("/v2/x/manifests/latest\": no basic auth credentials"),
        "{told}"
    );
    let denied = Fake::start(|seen| {
        match seen.path.as_str() {
        "/v2/" => http("200 OK", &[], b"{}"),
        _ => http(
            "403 Forbidden",
            &[],
            b"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is denied\"}]}",
        ),
    }
    });
    let at = format!("127.0.0.1:{}", denied.port);
    assert_eq!(
        refused(&hasty(), request(&denied.reference("x"))).await,
        format!(
            "pull access denied for {at}/x, repository does not exist or may require 'docker \
             login': denied: requested access to the resource is denied"
        )
    );
    let circle = Fake::start(|_| http("302 Found", &[("Location", "/v2/x/manifests/latest")], b""));
    let told = refused(&hasty(), request(&circle.reference("x"))).await;
    assert!(told.ends_with("stopped after 10 redirects"), "{told}");
}

/// A registry of two images, `a` and `b`, that name the same first layer; `b` lies about its size.
/// The second layer of `a` comes only when the test lets it.
struct TwoImages {
    fake: Fake,
    shared: Vec<u8>,
    let_go: std::sync::mpsc::Sender<()>,
}

impl TwoImages {
    fn start(lie: i64) -> TwoImages {
        let (shared, own) = (noise(21, 50_000), noise(22, 50_000));
        let document = |layers: &[(&[u8], i64)]| {
            let digests: Vec<Digest> = layers.iter().map(|(b, _)| Digest::sha256(b)).collect();
            let ids: Vec<String> = digests.iter().map(|d| format!("\"{d}\"")).collect();
            let config = format!(
                "{{\"os\":\"linux\",\"architecture\":\"amd64\",\
                 \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
                ids.join(",")
            );
            let entries: Vec<String> = layers
                .iter()
                .zip(&digests)
                .map(|((bytes, lie), digest)| {
                    let size = bytes.len() as i64 + lie;
                    format!("{{\"digest\":\"{digest}\",\"size\":{size}}}")
                })
                .collect();
            let manifest = format!(
                "{{\"schemaVersion\":2,\
                 \"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
                 \"config\":{{\"digest\":\"{}\",\"size\":{}}},\"layers\":[{}]}}",
                Digest::sha256(config.as_bytes()),
                config.len(),
                entries.join(",")
            );
            (config, manifest)
        };
        let (a_config, a) = document(&[(&shared, 0), (&own, 0)]);
        let (b_config, b) = document(&[(&shared, lie)]);
        let longer = [&shared[..], &[b'!'; 10][..]].concat();
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let named = |path: &str, bytes: &[u8]| path.ends_with(&Digest::sha256(bytes).to_string());
        let first = shared.clone();
        let fake = Fake::start(move |seen| {
            let path = &seen.path[..];
            match path {
                "/v2/" => http("200 OK", &[], b"{}"),
                "/v2/a/manifests/latest" => http("200 OK", &[], a.as_bytes()),
                "/v2/b/manifests/latest" => http("200 OK", &[], b.as_bytes()),
                path if named(path, a_config.as_bytes()) => {
                    http("200 OK", &[], a_config.as_bytes())
                }
                path if named(path, b_config.as_bytes()) => {
                    http("200 OK", &[], b_config.as_bytes())
                }
                path if path.starts_with("/v2/b/") => match seen.header("range") {
                    Some(_) => http(
                        "206 Partial Content",
                        &[("Content-Range", "bytes 50000-50009/50010")],
                        &longer[50_000..],
                    ),
                    None => http("200 OK", &[], &longer[..(50_000 + lie) as usize]),
                },
                path if named(path, &first) => http("200 OK", &[], &first),
                _ => {
                    let _ = wait.lock().unwrap().recv();
                    http("200 OK", &[], &own)
                }
            }
        });
        TwoImages {
            fake,
            shared,
            let_go,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_waits_for_its_image_is_not_touched_by_another_pull() {
    for lie in [10, -10] {
        let images = TwoImages::start(lie);
        let temp = tempfile::tempdir().unwrap();
        let store = ContentStore::open(temp.path()).unwrap();
        let recorder = Arc::new(Recorder::default());
        let pulling = {
            let (store, recorder) = (store.clone(), Arc::clone(&recorder));
            let request = request(&images.fake.reference("a"));
            tokio::spawn(async move { hasty().pull(request, &store, recorder).await })
        };
        while recorder.ready.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let told = pull(&hasty(), &images.fake.reference("b"), &store).await;
        images.let_go.send(()).unwrap();
        pulling.await.unwrap().unwrap();
        let digest = Digest::sha256(&images.shared);
        assert_eq!(
            Digest::sha256(&store.read(&digest, 1 << 20).unwrap()),
            digest,
            "{lie}"
        );
        let error = told.map(|_| ()).unwrap_err();
        let promised = 50_000 + lie;
        assert_eq!(
            error.to_string(),
            format!("blob {digest} has 50000 bytes instead of {promised}")
        );
        // What came of `b` alone may wait for its next pull.
        let waiting = names(&temp.path().join("ingest"));
        assert!(!waiting.contains(&digest.hex()), "{waiting:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_layer_that_a_killed_pull_left_is_kept_from_one_that_lies_about_it() {
    for lie in [10, -10] {
        let images = TwoImages::start(lie);
        let temp = tempfile::tempdir().unwrap();
        let store = ContentStore::open(temp.path()).unwrap();
        let digest = Digest::sha256(&images.shared);
        let partial = temp.path().join("ingest").join(digest.hex());
        fs::write(&partial, &images.shared).unwrap();
        let told = pull(&hasty(), &images.fake.reference("b"), &store).await;
        let promised = 50_000 + lie;
        assert_eq!(
            told.map(|_| ()).unwrap_err().to_string(),
            format!("blob {digest} has 50000 bytes instead of {promised}")
        );
        assert_eq!(fs::read(&partial).unwrap(), images.shared);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_fails_gives_back_nothing_that_another_needs() {
    // What `b` has beside the shared layer is not what it says.
    let images = TwoImages::start(0);
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let recorder = Arc::new(Recorder::default());
    let pulling = {
        let (store, recorder) = (store.clone(), Arc::clone(&recorder));
        let request = request(&images.fake.reference("a"));
        tokio::spawn(async move { hasty().pull(request, &store, recorder).await })
    };
    while recorder.ready.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let broken = noise(23, 1000);
    let config = format!(
        "{{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{{\"type\":\"layers\",\
         \"diff_ids\":[\"{0}\",\"{0}\"]}}}}",
        Digest::sha256(b"")
    );
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{{\"digest\":\"{}\",\"size\":{}}},\
         \"layers\":[{{\"digest\":\"{}\",\"size\":50000}},{{\"digest\":\"{}\",\"size\":1000}}]}}",
        Digest::sha256(config.as_bytes()),
        config.len(),
        Digest::sha256(&images.shared),
        Digest::sha256(b"something else")
    );
    let shared = images.shared.clone();
    let liar = Fake::start(move |seen| {
        let named = |bytes: &[u8]| seen.path.ends_with(&Digest::sha256(bytes).to_string());
        let body = match &seen.path[..] {
            "/v2/" => b"{}",
            path if path.contains("/manifests/") => manifest.as_bytes(),
            _ if named(config.as_bytes()) => config.as_bytes(),
            _ if named(&shared) => &shared[..],
            _ => &broken[..],
        };
        http("200 OK", &[], body)
    });
    let told = pull(&hasty(), &liar.reference("c"), &store).await;
    let error = told.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, ImageError::DigestMismatch { .. }),
        "{error}"
    );
    images.let_go.send(()).unwrap();
    pulling.await.unwrap().unwrap();
    assert!(store.contains(&Digest::sha256(&images.shared)));
}

#[tokio::test]
async fn images_with_too_many_layers_are_refused() {
    let digest = Digest::sha256(b"");
    let layers = vec![format!("{{\"digest\":\"{digest}\",\"size\":0}}"); 129].join(",");
    let manifest =
        format!("{{\"config\":{{\"digest\":\"{digest}\",\"size\":0}},\"layers\":[{layers}]}}");
    let fake = Fake::start(move |_| http("200 OK", &[], manifest.as_bytes()));
    assert_eq!(
        refused(&hasty(), request(&fake.reference("x"))).await,
        "max depth exceeded: the image has 129 layers, at most 127 are possible"
    );
}

/// A file system of 1 MiB that no mount table shows and that is gone with its descriptor.
fn small_disk() -> std::os::fd::OwnedFd {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    rustix::mount::fsconfig_set_string(&context, "size", "1m").unwrap();
    rustix::mount::fsconfig_create(&context).unwrap();
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(&context, flags, MountAttrFlags::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_given_back() {
    use std::os::fd::AsRawFd;
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let registry = Registry::start(temp.path());
    registry.push(&oci(&layout), "app:v1", &[]);
    let disk = small_disk();
    let root = format!("/proc/self/fd/{}", disk.as_raw_fd());
    let store = ContentStore::open(Path::new(&root)).unwrap();
    let outcome = pull(&client(), &registry.reference("app:v1"), &store).await;
    let error = outcome.map(|_| ()).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(
        error.to_string().contains("No space left on device"),
        "{error}"
    );
    assert_eq!(store.list().unwrap(), []);
    // The space of the layer that did not fit is free again.
    fs::write(format!("{root}/file"), vec![1; 500_000]).unwrap();
}

/// A list of tags comes in pages; one that leads elsewhere, or has no end, is not followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_come_in_pages_of_the_same_registry() {
    let server = Fake::start(|seen| match seen.path.as_str() {
        "/v2/" => http("200 OK", &[], b"{}"),
        "/v2/pages/tags/list" => http(
            "200 OK",
            &[("Link", "</v2/pages/tags/list?last=b>; rel=\"next\"")],
            br#"{"name": "pages", "tags": ["a", "b"]}"#,
        ),
        "/v2/pages/tags/list?last=b" => http("200 OK", &[], br#"{"tags": ["c"]}"#),
        "/v2/empty/tags/list" => http("200 OK", &[], br#"{"name": "empty", "tags": null}"#),
        "/v2/away/tags/list" => http(
            "200 OK",
            &[("Link", "<http://192.0.2.1/v2/x>; rel=\"next\"")],
            br#"{"tags": ["a"]}"#,
        ),
        "/v2/bad/tags/list" => http("200 OK", &[], br#"{"tags": ["a b"]}"#),
        _ => {
            let tags: Vec<String> = (0..2000).map(|number| format!("\"{number}\"")).collect();
            let link = [("Link", "</v2/endless/tags/list>; rel=\"next\"")];
            let body = format!("{{\"tags\": [{}]}}", tags.join(","));
            http("200 OK", &link, body.as_bytes())
        }
    });
    let tags = async |name: &str| {
        let repository = server.reference(name);
        let found = client().tags(&repository, None).await;
        found.map(|all| {
            let tags = all.iter().map(|one| one.tag().unwrap().to_owned());
            tags.collect::<Vec<_>>()
        })
    };
    assert_eq!(tags("pages").await.unwrap(), ["a", "b", "c"]);
    assert_eq!(tags("empty").await.unwrap(), [""; 0]);
    for (name, words) in [
        ("away", "invalid location \"http://192.0.2.1/v2/x\""),
        ("bad", "sent no list of tags"),
        ("endless", "has more than 10000 tags"),
    ] {
        let error = tags(name).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
