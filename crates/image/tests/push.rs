//! Pushes to a real registry, and to one that behaves as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use fixture::server::http;
use fixture::{Recorder, Registry, content_digest, noise, oci, run, umoci_layout};
use image::manifest::media_type;
use image::registry::{Client, ClientOptions, PullRequest, PushRequest, Pushed};
use image::{ContentStore, Descriptor, ImageError, Layer, words};
use types::{Digest, Reference};

/// A request that came: method, path without its digest, bytes of its body that came.
type Came = (String, String, usize);

#[derive(Default)]
struct State {
    blobs: HashMap<String, Vec<u8>>,
    uploads: Vec<Vec<u8>>,
    manifests: HashMap<String, Vec<u8>>,
    came: Vec<Came>,
}

/// How the registry behaves.
#[derive(Default, Clone)]
struct Manner {
    /// `OCI-Chunk-Min-Length`.
    least: Option<usize>,
    /// It takes blobs as a whole only.
    whole: bool,
    /// Breaks the connection after so many bytes of each of the first bodies that are longer.
    breaks: Arc<Mutex<Vec<usize>>>,
    /// It forgets uploads that broke.
    forgets: bool,
    /// The repository that has everything, for mounts.
    mounts: bool,
    /// The answer to everything but greetings.
    refusal: Option<(&'static str, &'static str, &'static str)>,
}

struct Fake {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Fake {
    fn start(manner: Manner) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (manner, state) = (manner.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream.unwrap(), &manner, &state));
            }
        });
        Fake { port, state }
    }

    fn reference(&self, name: &str) -> Reference {
        let name = format!("127.0.0.1:{}/{name}", self.port);
        Reference::parse_normalized(&name).unwrap()
    }

    fn came(&self, method: &str) -> Vec<Came> {
        let state = self.state.lock().unwrap();
        let of = |came: &&Came| came.0 == method;
        state.came.iter().filter(of).cloned().collect()
    }
}

/// One request a connection.
fn serve(stream: &TcpStream, manner: &Manner, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    let limit = {
        let mut breaks = manner.breaks.lock().unwrap();
        match breaks.first() {
            Some(&first) if first < length => {
                breaks.remove(0);
                first
            }
            _ => length,
        }
    };
    let mut body = vec![0; limit];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut state = state.lock().unwrap();
    let came = (method.clone(), path.to_owned(), body.len());
    state.came.push(came);
    if limit < length {
        if let Some(id) = path.strip_prefix("/upload/") {
            let upload = &mut state.uploads[id.parse::<usize>().unwrap()];
            match manner.forgets {
                true => upload.clear(),
                false => upload.extend(&body),
            }
        }
        drop(state);
        let _ = stream.shutdown(Shutdown::Both);
        return None;
    }
    let answer = answer(manner, &mut state, (&method, path, query), &header, body);
    drop(state);
    let mut writer = stream;
    writer.write_all(&answer).ok()
}

fn answer(
    manner: &Manner,
    state: &mut State,
    (method, path, query): (&str, &str, &str),
    header: &dyn Fn(&str) -> Option<String>,
    body: Vec<u8>,
) -> Vec<u8> {
    let digest = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("digest="))
        .map(|digest| digest.replace("%3A", ":"));
    let upload = path.strip_prefix("/upload/");
    let upload = upload.map(|id| id.parse::<usize>().unwrap());
    if path == "/v2/" {
        return http("200 OK", &[], b"{}");
    }
    if let Some((status, kind, body)) = manner.refusal {
        return http(status, &[("Content-Type", kind)], body.as_bytes());
    }
    match (method, upload) {
        ("HEAD", _) => {
            let digest = path.rsplit('/').next().unwrap();
            match state.blobs.contains_key(digest) {
                true => http("200 OK", &[], b""),
                false => http("404 Not Found", &[], b""),
            }
        }
        ("POST", _) if query.contains("mount=") && manner.mounts => http("201 Created", &[], b""),
        ("POST", _) => {
            state.uploads.push(Vec::new());
            let location = format!("/upload/{}", state.uploads.len() - 1);
            let least = manner.least.unwrap_or(0).to_string();
            let mut headers = vec![("Location", location.as_str())];
            if manner.least.is_some() {
                headers.push(("OCI-Chunk-Min-Length", &least));
            }
            http("202 Accepted", &headers, b"")
        }
        ("GET", Some(id)) if manner.forgets && state.uploads[id].is_empty() => http(
            "404 Not Found",
            &[],
            b"{\"errors\":[{\"code\":\"BLOB_UPLOAD_UNKNOWN\"}]}",
        ),
        ("GET", Some(id)) => {
            let last = state.uploads[id].len().saturating_sub(1);
            let range = format!("0-{last}");
            http(
                "204 No Content",
                &[("Range", &range), ("Location", path)],
                b"",
            )
        }
        ("PATCH", Some(_)) if manner.whole => http("405 Method Not Allowed", &[], b"no"),
        ("PATCH", Some(id)) => {
            let range = header("content-range").unwrap();
            let first: usize = range.split('-').next().unwrap().parse().unwrap();
            if first != state.uploads[id].len() {
                return http("416 Range Not Satisfiable", &[], b"");
            }
            state.uploads[id].extend(&body);
            let range = format!("0-{}", state.uploads[id].len() - 1);
            http(
                "202 Accepted",
                &[("Range", &range), ("Location", path)],
                b"",
            )
        }
        ("PUT", Some(id)) => {
            let mut content = std::mem::take(&mut state.uploads[id]);
            content.extend(body);
            let digest = digest.unwrap();
            if Digest::sha256(&content).to_string() != digest {
                let told = b"{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"no\"}]}";
                return http("400 Bad Request", &[], told);
            }
            state.blobs.insert(digest, content);
            http("201 Created", &[], b"")
        }
        ("PUT", None) => {
            state.manifests.insert(path.to_owned(), body);
            http("201 Created", &[], b"")
        }
        _ => http("404 Not Found", &[], b""),
    }
}

/// An image of these layers in a store, as `load` keeps it.
fn image(store: &ContentStore, layers: &[Vec<u8>]) -> (Descriptor, Vec<Layer>) {
    let add = |bytes: &[u8]| {
        let staged = store.stage(bytes).unwrap();
        store.commit(vec![staged]).unwrap();
        (Digest::sha256(bytes), bytes.len() as u64)
    };
    let descriptor = |kind: &str, (digest, size): (Digest, u64)| Descriptor {
        media_type: kind.to_owned(),
        digest,
        size,
        annotations: Default::default(),
        platform: None,
    };
    let layers: Vec<Descriptor> = layers
        .iter()
        .map(|layer| descriptor(media_type::OCI_LAYER, add(layer)))
        .collect();
    let ids: Vec<String> = layers.iter().map(|l| format!("\"{}\"", l.digest)).collect();
    let config = format!(
        "{{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{{\"type\":\"layers\",\
         \"diff_ids\":[{}]}}}}",
        ids.join(",")
    );
    let manifest = image::manifest::Manifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: descriptor(media_type::OCI_CONFIG, add(config.as_bytes())),
        layers: layers.clone(),
    };
    let bytes = manifest.to_json().unwrap();
    let found = descriptor(media_type::OCI_MANIFEST, add(&bytes));
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    (found, manifest.layers_with(&diff_ids).unwrap())
}

async fn push(
    store: &ContentStore,
    reference: &Reference,
    (manifest, layers): &(Descriptor, Vec<Layer>),
    change: impl FnOnce(&mut PushRequest),
) -> (Result<Pushed, ImageError>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let mut request = PushRequest {
        reference: reference.clone(),
        credentials: None,
        manifest: manifest.clone(),
        layers: layers.clone(),
        mounts: HashMap::new(),
        pack: false,
    };
    change(&mut request);
    let client = Client::new(ClientOptions {
        attempts: 3,
        ..ClientOptions::default()
    });
    let pushed = client.push(request, store, recorder.clone()).await;
    (pushed, recorder)
}

fn store(folder: &Path) -> ContentStore {
    ContentStore::open(folder).unwrap()
}

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_layers_are_sent_in_one_piece_and_once() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let (one, two) = (noise(1, MIB), noise(2, 1000));
    let image = image(&store, &[one.clone(), two.clone(), one.clone()]);
    let fake = Fake::start(Manner::default());
    let name = fake.reference("a/x:1");
    let (pushed, recorder) = push(&store, &name, &image, |_| ()).await;
    assert_eq!(pushed.unwrap().manifest, image.0);
    {
        let state = fake.state.lock().unwrap();
        let has = |bytes: &[u8]| state.blobs.contains_key(&Digest::sha256(bytes).to_string());
        assert!(has(&one) && has(&two));
        assert_eq!(state.blobs.len(), 3);
        let manifest = &state.manifests["/v2/a/x/manifests/1"];
        assert_eq!(Digest::sha256(manifest), image.0.digest);
    }
    assert!(fake.came("PATCH").is_empty());
    assert_eq!(
        recorder.words(&Digest::sha256(&two).short()),
        [words::PREPARING, words::PUSHING, words::PUSHED]
    );
    // Again, and from another repository.
    let (again, recorder) = push(&store, &name, &image, |_| ()).await;
    again.unwrap();
    assert_eq!(
        recorder.words(&Digest::sha256(&one).short()),
        [words::PREPARING, words::LAYER_ALREADY_EXISTS]
    );
    assert_eq!(fake.came("POST").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_are_mounted_where_the_registry_has_them() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let layer = noise(1, 1000);
    let image = image(&store, std::slice::from_ref(&layer));
    let digest = Digest::sha256(&layer);
    for (mounts, told) in [(true, "Mounted from b/y"), (false, words::PUSHED)] {
        let fake = Fake::start(Manner {
            mounts,
            ..Manner::default()
        });
        let (pushed, recorder) = push(&store, &fake.reference("a/x:1"), &image, |request| {
            request.mounts = [(digest, vec!["b/y".to_owned()])].into();
        })
        .await;
        pushed.unwrap();
        assert_eq!(recorder.words(&digest.short()).last().unwrap(), told);
        // What is not mounted is sent with the answer to that question.
        assert_eq!(fake.came("POST").len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_layers_come_in_the_pieces_that_the_registry_wants() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let image = image(&store, &[noise(1, 70 * MIB)]);
    for (manner, pieces) in [
        (Manner::default(), vec![32 * MIB, 32 * MIB, 6 * MIB]),
        (
            Manner {
                least: Some(40 * MIB),
                ..Manner::default()
            },
            vec![40 * MIB, 30 * MIB],
        ),
        (
            Manner {
                whole: true,
                ..Manner::default()
            },
            vec![],
        ),
    ] {
        let whole = manner.whole;
        let fake = Fake::start(manner);
        let (pushed, _) = push(&store, &fake.reference("x:1"), &image, |_| ()).await;
        pushed.unwrap();
        let sizes: Vec<usize> = fake.came("PATCH").iter().map(|came| came.2).collect();
        let puts: HashSet<usize> = fake.came("PUT").iter().map(|came| came.2).collect();
        match whole {
            true => assert!(puts.contains(&(70 * MIB))),
            false => assert_eq!(sizes, pieces),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_goes_on_where_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let size = 40 * MIB;
    let image = image(&store, &[noise(1, size)]);
    for forgets in [false, true] {
        let fake = Fake::start(Manner {
            breaks: Arc::new(Mutex::new(vec![20 * MIB, 5 * MIB])),
            forgets,
            ..Manner::default()
        });
        let (pushed, _) = push(&store, &fake.reference("x:1"), &image, |_| ()).await;
        pushed.unwrap();
        let came: usize = fake.came("PATCH").iter().map(|came| came.2).sum();
        match forgets {
            false => assert_eq!(came, size, "no byte twice"),
            true => assert!(came > size, "all of it anew"),
        }
    }
    // One piece as well.
    let small = noise(3, 8 * MIB);
    let image = self::image(&store, &[small]);
    let fake = Fake::start(Manner {
        breaks: Arc::new(Mutex::new(vec![6 * MIB])),
        ..Manner::default()
    });
    let (pushed, _) = push(&store, &fake.reference("x:1"), &image, |_| ()).await;
    pushed.unwrap();
    let rest: Vec<usize> = fake.came("PATCH").iter().map(|came| came.2).collect();
    assert_eq!(rest, [2 * MIB]);
    // Nobody tries for ever.
    let fake = Fake::start(Manner {
        breaks: Arc::new(Mutex::new(vec![1000; 100])),
        forgets: true,
        ..Manner::default()
    });
    let (pushed, _) = push(&store, &fake.reference("x:1"), &image, |_| ()).await;
    let told = pushed.unwrap_err().to_string();
    assert!(
        told.starts_with("upload failed after attempts=3: "),
        "{told}"
    );
}

#[tokio::test]
async fn refusals_are_the_registry_s_words() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let image = image(&store, &[noise(1, 1000)]);
    let denied = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is denied\"}]}";
    for (refusal, told) in [
        (
            ("403 Forbidden", "application/json", denied),
            "denied: requested access to the resource is denied",
        ),
        (
            ("401 Unauthorized", "text/plain", ""),
            "unauthorized: authentication required",
        ),
        (
            ("200 OK", "text/html", "<html>hello</html>"),
            "error parsing HTTP 200 response body: ",
        ),
        (
            ("500 Internal Server Error", "text/plain", ""),
            "received unexpected HTTP status: 500",
        ),
    ] {
        let fake = Fake::start(Manner {
            refusal: Some(refusal),
            ..Manner::default()
        });
        let (pushed, _) = push(&store, &fake.reference("x:1"), &image, |_| ()).await;
        let error = pushed.unwrap_err().to_string();
        assert!(error.contains(told), "{error:?} instead of {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_registry_gets_what_others_read() {
    let temp = tempfile::tempdir().unwrap();
    let registry = Registry::start(temp.path());
    // Plain layers are packed, always to the same, and what came packed stays as it is.
    let folder = temp.path().join("tar");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), noise(5, 300_000)).unwrap();
    let archive = temp.path().join("layer.tar");
    let archive = archive.to_str().unwrap();
    run(
        "tar",
        &["-C", folder.to_str().unwrap(), "-cf", archive, "."],
    );
    let layer = std::fs::read(archive).unwrap();
    let store = store(&temp.path().join("store"));
    let image = image(&store, std::slice::from_ref(&layer));
    let name = registry.reference("made:1");
    let (pushed, _) = push(&store, &name, &image, |request| request.pack = true).await;
    let pushed = pushed.unwrap();
    assert_eq!(pushed.layers[0].media_type, media_type::OCI_LAYER_GZIP);
    assert_ne!(pushed.manifest.digest, image.0.digest);
    assert_eq!(pushed.staged.len(), 2);
    let (again, recorder) = push(&store, &name, &image, |request| request.pack = true).await;
    assert_eq!(again.unwrap().manifest, pushed.manifest);
    let id = Digest::sha256(&layer).short();
    assert_eq!(
        recorder.words(&id),
        [words::PREPARING, words::LAYER_ALREADY_EXISTS]
    );
    let target = temp.path().join("copy");
    let from = format!("docker://{name}");
    let to = format!("dir:{}", target.display());
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "-q",
            "--src-tls-verify=false",
            &from,
            &to,
        ],
    );

    let layout = umoci_layout(temp.path());
    registry.push(
        &oci(&layout),
        "app:zstd",
        &["--dest-compress-format", "zstd"],
    );
    let pulled = Client::new(ClientOptions::default())
        .pull(
            PullRequest {
                reference: registry.reference("app:zstd"),
                platform: None,
                credentials: None,
            },
            &store,
            Arc::new(Recorder::default()),
        )
        .await
        .unwrap();
    let image = (pulled.manifest_descriptor.clone(), pulled.layers.clone());
    let name = registry.reference("other:1");
    let mounts = pulled.layers.iter();
    let mounts = mounts.map(|layer| (layer.digest, vec!["app".to_owned()]));
    let (pushed, recorder) = push(&store, &name, &image, |request| {
        (request.pack, request.mounts) = (true, mounts.collect());
    })
    .await;
    let pushed = pushed.unwrap();
    assert_eq!(pushed.manifest.digest, pulled.manifest_descriptor.digest);
    assert!(pushed.staged.is_empty());
    for layer in &pulled.layers {
        let told = recorder.words(&layer.diff_id.short());
        assert_eq!(told.last().unwrap(), "Mounted from app");
        assert_eq!(
            content_digest(store.blob(&layer.digest).unwrap()),
            layer.diff_id
        );
    }
}
