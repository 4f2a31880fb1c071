//! `manifest`: what names in registries point to, and names for several platforms. No engine is asked.

mod stored;
mod text;

use types::{Digest, Reference};

use crate::credentials;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::registries::{Access, Described, Document, Index, RegistryFault, RemoteImage};
use crate::session::Session;
use crate::verb::{Takes, Verb};
use stored::{Descriptor, Lists, Manifest, OCI_MANIFEST, Platform, parse};

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

const INSECURE: Flag = Flag::switch("insecure", "Allow communication with an insecure registry");

const fn verb(
    paths: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [&'static [Flag]],
    takes: Takes,
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths,
        usage,
        about,
        flags,
        interspersed: true,
        takes,
        run,
    }
}

pub(super) static INSPECT: Verb = verb(
    &["manifest inspect"],
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    "Display an image manifest, or manifest list",
    &[&[
        INSECURE,
        Flag::switch(
            "verbose",
            "Output additional info including layers and platform",
        )
        .letter('v'),
    ]],
    Takes::Between(1, 2),
    inspect,
);

pub(super) static CREATE: Verb = verb(
    &["manifest create"],
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    "Create a local manifest list for annotating and pushing to a registry",
    &[&[
        Flag::switch("amend", "Amend an existing manifest list").letter('a'),
        INSECURE,
    ]],
    Takes::AtLeast(2),
    create,
);

pub(super) static ANNOTATE: Verb = verb(
    &["manifest annotate"],
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    "Add additional information to a local image manifest",
    &[&[
        Flag::one("arch", "string", "Set architecture"),
        Flag::one("os", "string", "Set operating system"),
        Flag::list("os-features", "strings", "Set operating system feature"),
        Flag::one("os-version", "string", "Set operating system version"),
        Flag::one("variant", "string", "Set architecture variant"),
    ]],
    Takes::Exactly(2),
    annotate,
);

pub(super) static PUSH: Verb = verb(
    &["manifest push"],
    "[OPTIONS] MANIFEST_LIST",
    "Push a manifest list to a repository",
    &[&[
        Flag::switch("insecure", "Allow push to an insecure registry"),
        Flag::switch("purge", "Remove the local manifest list after push").letter('p'),
    ]],
    Takes::Exactly(1),
    push,
);

pub(super) static RM: Verb = verb(
    &["manifest rm"],
    "MANIFEST_LIST [MANIFEST_LIST...]",
    "Delete one or more manifest lists from local storage",
    &[],
    Takes::AtLeast(1),
    remove,
);

fn lists(session: &Session) -> Lists {
    Lists::of(session.config_folder())
}

fn missing(name: &Reference) -> Failure {
    Failure::Invalid(format!("No such manifest: {name}"))
}

fn access(session: &Session, parsed: &Parsed, name: &Reference) -> Access {
    Access {
        auth: credentials::find(session.config(), name.domain()),
        insecure: parsed.switch("insecure"),
    }
}

/// Asks a registry.
fn describe(session: &Session, parsed: &Parsed, name: &Reference) -> Result<Described, Failure> {
    let access = access(session, parsed, name);
    let told = |fault: RegistryFault| match fault.is_missing {
        true => Failure::Invalid(format!("no such manifest: {name}")),
        false => Failure::Invalid(fault.sentence),
    };
    session.registries().describe(name, &access).map_err(told)
}

fn inspect(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let verbose = parsed.switch("verbose");
    let text = match &parsed.args[..] {
        [list, name] => {
            let (name, list) = (parse(name)?, parse(list)?);
            let one = lists(session).one(&list, &name)?;
            shown(&one.ok_or_else(|| missing(&name))?, verbose)?
        }
        names => {
            let name = parse(names.first().map(String::as_str).unwrap_or_default())?;
            match lists(session).all(&name)? {
                Some(list) => shown_list(&name, &list, verbose)?,
                None => {
                    let found = describe(session, parsed, &name)?;
                    let all = found.images.iter().map(|image| {
                        // Docker's name of a part has the tag, too.
                        let name = match found.is_index && name.digest().is_none() {
                            true => format!("{name}@{}", image.manifest.digest),
                            false if found.is_index => {
                                name.with_digest(image.manifest.digest).to_string()
                            }
                            false => name.to_string(),
                        };
                        Manifest::of(&name, image)
                    });
                    let all = all.collect::<Result<Vec<_>, _>>()?;
                    match (&all[..], found.is_index) {
                        ([one], false) => shown(one, verbose)?,
                        _ => shown_list(&name, &all, verbose)?,
                    }
                }
            }
        }
    };
    println!("{text}");
    Ok(0)
}

fn shown(manifest: &Manifest, verbose: bool) -> Result<String, Failure> {
    if verbose {
        return Ok(text::indent(&manifest.json(), "\t"));
    }
    let document = manifest.document()?;
    Ok(text::indent(
        &String::from_utf8_lossy(&document.bytes),
        "\t",
    ))
}

fn shown_list(name: &Reference, list: &[Manifest], verbose: bool) -> Result<String, Failure> {
    if verbose {
        let all: Vec<_> = list.iter().map(Manifest::json).collect();
        return Ok(text::indent(&format!("[{}]", all.join(",")), "\t"));
    }
    let document = index(name, list)?;
    Ok(String::from_utf8_lossy(&document.bytes).into_owned())
}

/// The index of these images; all must be in its registry.
fn index(name: &Reference, list: &[Manifest]) -> Result<Document, Failure> {
    /// In docker's order.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        media_type: &'a str,
        size: u64,
        digest: Digest,
        platform: Platform,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        schema_version: u32,
        media_type: &'a str,
        manifests: Vec<Entry<'a>>,
    }
    let mut manifests = Vec::new();
    for one in list {
        let (own, other) = (one.name()?, name.domain());
        if own.domain() != other {
            return Err(Failure::Invalid(format!(
                "cannot use source images from a different registry than the target image: {} != {other}",
                own.domain()
            )));
        }
        let Descriptor {
            media_type,
            digest,
            size,
            platform,
        } = &one.descriptor;
        manifests.push(Entry {
            media_type,
            size: *size,
            digest: *digest,
            platform: platform.clone().unwrap_or_default(),
        });
    }
    let media_type = match manifests.first() {
        Some(first) if first.media_type == OCI_MANIFEST => OCI_INDEX,
        _ => DOCKER_LIST,
    };
    let list = List {
        schema_version: 2,
        media_type,
        manifests,
    };
    let json = serde_json::to_string(&list).unwrap_or_default();
    let bytes = text::indent(&text::without_markup(&json), "   ").into_bytes();
    Ok(Document {
        media_type: media_type.to_owned(),
        digest: Digest::sha256(&bytes),
        bytes,
    })
}

fn create(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (list, names) = match parsed.args.split_first() {
        Some((list, names)) => (parse_of_list(list)?, names),
        None => return Ok(1),
    };
    let lists = lists(session);
    if lists.all(&list)?.is_some() && !parsed.switch("amend") {
        return Err(Failure::Invalid(
            "refusing to amend an existing manifest list with no --amend flag".to_owned(),
        ));
    }
    for name in names {
        let name = parse(name)?;
        let manifest = match lists.one(&list, &name)? {
            Some(known) => known,
            None => {
                let found = describe(session, parsed, &name)?;
                match &found.images[..] {
                    [one] if !found.is_index => Manifest::of(&name.to_string(), one)?,
                    _ => return Err(Failure::Invalid(format!("{name} is a manifest list"))),
                }
            }
        };
        lists.keep(&list, &name, &manifest)?;
    }
    println!("Created manifest list {list}");
    Ok(0)
}

fn parse_of_list(list: &str) -> Result<Reference, Failure> {
    parse(list).map_err(|error| {
        Failure::Invalid(format!(
            "error parsing name for manifest list {list}: {error}"
        ))
    })
}

/// What Go runs on, which is what docker takes for a list.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64"]),
];

fn annotate(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let [list_name, image_name] = &parsed.args[..] else {
        return Ok(1);
    };
    let named = |name: &str, what: &str| {
        parse(name).map_err(|error| {
            Failure::Invalid(format!(
                "annotate: error parsing name for {what} {name}: {error}"
            ))
        })
    };
    let (list, image) = (
        named(list_name, "manifest list")?,
        named(image_name, "manifest")?,
    );
    let lists = lists(session);
    let mut manifest = lists.one(&list, &image)?.ok_or_else(|| {
        Failure::Invalid(format!(
            "manifest for image {image_name} does not exist in {list_name}"
        ))
    })?;
    let mut platform = manifest.descriptor.platform.take().unwrap_or_default();
    let given = |flag: &str| parsed.one(flag).filter(|text| !text.is_empty());
    for (flag, place) in [
        ("os", &mut platform.os),
        ("arch", &mut platform.architecture),
        ("variant", &mut platform.variant),
        ("os-version", &mut platform.os_version),
    ] {
        if let Some(text) = given(flag) {
            *place = text.to_owned();
        }
    }
    for feature in parsed
        .list("os-features")
        .iter()
        .flat_map(|text| text.split(','))
    {
        if !feature.is_empty() && !platform.os_features.iter().any(|known| known == feature) {
            platform.os_features.push(feature.to_owned());
        }
    }
    let is_known = PLATFORMS
        .iter()
        .any(|(os, all)| *os == platform.os && all.contains(&platform.architecture.as_str()));
    if !is_known {
        return Err(Failure::Invalid(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            given("os").unwrap_or_default(),
            given("arch").unwrap_or_default()
        )));
    }
    manifest.descriptor.platform = Some(platform);
    lists.keep(&list, &image, &manifest)?;
    Ok(0)
}

fn push(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = parse(parsed.args.first().map(String::as_str).unwrap_or_default())?;
    let lists = lists(session);
    let list = lists.all(&name)?.ok_or_else(|| missing(&name))?;
    if list.is_empty() {
        return Err(Failure::Invalid(format!("{name} not found")));
    }
    let has_platform = |one: &&Manifest| {
        let platform = one.descriptor.platform.as_ref();
        platform.is_some_and(|one| !one.os.is_empty() && !one.architecture.is_empty())
    };
    if let Some(other) = list.iter().find(|one| !has_platform(one)) {
        return Err(Failure::Invalid(format!(
            "manifest {} must have an OS and Architecture to be pushed to a registry",
            other.name()?
        )));
    }
    let document = index(&name, &list)?;
    let mut images = Vec::new();
    for one in &list {
        let own = one.name()?;
        if own.name() != name.name() {
            let image = RemoteImage {
                platform: None,
                manifest: one.document()?,
                config: Vec::new(),
                blobs: one.blobs()?,
            };
            images.push((own, image));
        }
    }
    let told: String = images
        .iter()
        .map(|(_, image)| {
            let digest = image.manifest.digest;
            let reference = name.without_tag().with_digest(digest);
            format!("Pushed ref {reference} with digest: {digest}\n")
        })
        .collect();
    let digest = document.digest;
    let index = Index {
        name: name.clone(),
        images,
        document,
    };
    let access = access(session, parsed, &name);
    let sent = session.registries().push_index(&index, &access);
    sent.map_err(|fault| Failure::Invalid(fault.sentence))?;
    println!("{told}{digest}");
    if parsed.switch("purge") {
        lists.forget(&name)?;
    }
    Ok(0)
}

fn remove(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let lists = lists(session);
    super::each::for_each(&parsed.args, |name| {
        let name = parse(name)?;
        match lists.all(&name)? {
            Some(_) => lists.forget(&name),
            None => Err(missing(&name)),
        }
    })
}
