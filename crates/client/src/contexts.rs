//! Contexts as docker's client keeps them: `contexts/meta/ID/meta.json` in the folder of its configuration, and
//! certificates at `contexts/tls/ID/ENDPOINT/FILE`; ID is the SHA-256 of the name. Each client reads the other's.

mod archive;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::failure::plain;
use crate::file;
use crate::host::DEFAULT_CONTEXT;
use crate::secure::Trust;

pub(crate) use archive::{pack, unpack};

/// The endpoint that is an engine's; a context may have others, of other programs.
pub(crate) const DOCKER: &str = "docker";
/// More contexts than this, or files of one, are not looked at.
const MOST: usize = 4096;

/// One context: docker's document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Context(Value);

impl Context {
    /// A context without an engine.
    pub(crate) fn new(name: &str) -> Self {
        Context(json!({"Name": name, "Metadata": {}, "Endpoints": {}}))
    }

    /// The document of a file.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(text) {
            Ok(document @ Value::Object(_)) => Ok(Context(document)),
            Ok(_) => Err("it is no JSON object".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.0["Name"].as_str().unwrap_or_default()
    }

    /// The same under another name.
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.0["Name"] = name.into();
        self
    }

    /// What somebody wrote about it.
    pub(crate) fn description(&self) -> &str {
        self.0["Metadata"]["Description"]
            .as_str()
            .unwrap_or_default()
    }

    /// Says something about it.
    pub(crate) fn describe(&mut self, text: &str) {
        self.object("Metadata")
            .insert("Description".to_owned(), text.into());
    }

    /// The address of its engine; empty when it names none.
    pub(crate) fn host(&self) -> &str {
        self.0["Endpoints"][DOCKER]["Host"]
            .as_str()
            .unwrap_or_default()
    }

    /// Gives it an engine.
    pub(crate) fn set_engine(&mut self, host: &str, skip_verification: bool) {
        let mut endpoint = Map::new();
        if !host.is_empty() {
            endpoint.insert("Host".to_owned(), host.into());
        }
        endpoint.insert("SkipTLSVerify".to_owned(), skip_verification.into());
        self.object("Endpoints")
            .insert(DOCKER.to_owned(), endpoint.into());
    }

    /// Whom to trust at its engine, and who we are there; nothing when connections are not encrypted.
    pub(crate) fn trust(&self, secrets: &Secrets) -> Option<Trust> {
        let file = |wanted: &str| {
            let found = secrets
                .iter()
                .find(|(endpoint, name, _)| endpoint == DOCKER && name == wanted);
            found.map(|(_, _, content)| content.clone())
        };
        let anyone = self.0["Endpoints"][DOCKER]["SkipTLSVerify"] == true;
        let has_some = secrets.iter().any(|(endpoint, _, _)| endpoint == DOCKER);
        (anyone || has_some).then(|| Trust {
            authorities: file("ca.pem"),
            identity: file("cert.pem").zip(file("key.pem")),
            anyone,
        })
    }

    /// Name, metadata and endpoints.
    pub(crate) fn document(&self) -> &Value {
        &self.0
    }

    fn object(&mut self, name: &str) -> &mut Map<String, Value> {
        let field = &mut self.0[name];
        if !field.is_object() {
            *field = json!({});
        }
        match field {
            Value::Object(map) => map,
            _ => unreachable!("it was made one"),
        }
    }
}

/// Certificates and keys of a context: endpoint, file, content.
pub(crate) type Secrets = Vec<(String, String, Vec<u8>)>;

/// All contexts of one configuration.
pub(crate) struct Contexts {
    folder: PathBuf,
}

impl Contexts {
    /// Those of a folder of configuration.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Contexts {
            folder: folder.join("contexts"),
        }
    }

    /// Where a context's document is.
    pub(crate) fn meta_folder(&self, name: &str) -> PathBuf {
        self.folder.join("meta").join(id(name))
    }

    /// Where a context's certificates are.
    pub(crate) fn tls_folder(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(id(name))
    }

    /// The context of a name.
    ///
    /// # Errors
    /// Docker's sentence for one that is not there or can not be read.
    pub(crate) fn find(&self, name: &str) -> Result<Context, String> {
        let path = self.meta_folder(name).join("meta.json");
        let failed = |why: String| format!("context {name:?}: {why}");
        let text = file::content(&path).map_err(|error| {
            let missing = match error.kind() {
                io::ErrorKind::NotFound => "context not found: ",
                _ => "",
            };
            failed(format!(
                "{missing}open {}: {}",
                path.display(),
                plain(&error)
            ))
        })?;
        Context::read(&text).map_err(|why| failed(format!("parsing {}: {why}", path.display())))
    }

    /// Whether there is a context of that name.
    pub(crate) fn is_there(&self, name: &str) -> bool {
        self.meta_folder(name).join("meta.json").exists()
    }

    /// Every context, in no order.
    ///
    /// # Errors
    /// One that can not be read, or that there are too many.
    pub(crate) fn all(&self) -> Result<Vec<Context>, String> {
        let mut found = Vec::new();
        for folder in names(&self.folder.join("meta"))? {
            let path = self.folder.join("meta").join(folder).join("meta.json");
            let failed = |why: String| format!("failed to read metadata: {why}");
            let text = file::content_if_there(&path)
                .map_err(|error| failed(format!("open {}: {}", path.display(), plain(&error))))?;
            if path.exists() {
                let context = Context::read(&text)
                    .map_err(|why| failed(format!("parsing {}: {why}", path.display())))?;
                found.push(context);
            }
        }
        Ok(found)
    }

    /// Writes a context's document.
    ///
    /// # Errors
    /// Why it could not be written; then the one before still is.
    pub(crate) fn write(&self, context: &Context) -> Result<(), String> {
        let folder = self.meta_folder(context.name());
        fs::create_dir_all(&folder)
            .and_then(|()| {
                let text = context.document().to_string();
                file::replace(&folder.join("meta.json"), text.as_bytes(), 0o644)
            })
            .map_err(|error| format!("cannot write {}: {}", folder.display(), plain(&error)))
    }

    /// Puts certificates in place of those that a context has for its engine, or for all endpoints.
    ///
    /// # Errors
    /// Why they could not be written.
    pub(crate) fn write_secrets(
        &self,
        name: &str,
        endpoint: Option<&str>,
        secrets: &Secrets,
    ) -> Result<(), String> {
        let folder = self.tls_folder(name);
        let failed =
            |error: io::Error| format!("cannot write {}: {}", folder.display(), plain(&error));
        let old = endpoint.map_or(folder.clone(), |endpoint| folder.join(endpoint));
        remove_folder(&old).map_err(failed)?;
        for (endpoint, name, content) in secrets {
            let folder = folder.join(endpoint);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .and_then(|()| file::replace(&folder.join(name), content, 0o600))
                .map_err(failed)?;
        }
        // A context without certificates has no folder for them.
        if secrets.is_empty() {
            let _ = fs::remove_dir(&folder);
        }
        Ok(())
    }

    /// The names of a context's certificates, by endpoint.
    ///
    /// # Errors
    /// That they can not be listed.
    pub(crate) fn secret_names(&self, name: &str) -> Result<Vec<(String, Vec<String>)>, String> {
        let folder = self.tls_folder(name);
        let endpoints = names(&folder)?.into_iter();
        endpoints
            .map(|endpoint| {
                let files = names(&folder.join(&endpoint))?;
                Ok((endpoint, files))
            })
            .collect()
    }

    /// A context's certificates.
    ///
    /// # Errors
    /// One that can not be read.
    pub(crate) fn secrets(&self, name: &str) -> Result<Secrets, String> {
        let mut found = Vec::new();
        for (endpoint, files) in self.secret_names(name)? {
            for file in files {
                let path = self.tls_folder(name).join(&endpoint).join(&file);
                let content = file::content(&path)
                    .map_err(|error| format!("open {}: {}", path.display(), plain(&error)))?;
                found.push((endpoint.clone(), file, content));
            }
        }
        Ok(found)
    }

    /// Removes a context.
    ///
    /// # Errors
    /// What could not be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), String> {
        for folder in [self.meta_folder(name), self.tls_folder(name)] {
            remove_folder(&folder).map_err(|error| {
                format!("cannot remove {}: {}", folder.display(), plain(&error))
            })?;
        }
        Ok(())
    }
}

/// Removes a folder that may be missing.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What is in a folder, by name; nothing when there is none.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |why: String| format!("open {}: {why}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| failed(plain(&error)))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(plain(&error)))?;
        found.push(entry.file_name().to_string_lossy().into_owned());
        if found.len() > MOST {
            return Err(failed(format!("it holds more than {MOST} entries")));
        }
    }
    found.sort();
    Ok(found)
}

fn id(name: &str) -> String {
    types::Digest::sha256(name.as_bytes()).hex().to_owned()
}

/// Whether a context may be made under a name.
///
/// # Errors
/// Docker's words why not.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("context name cannot be empty".to_owned());
    }
    if name == DEFAULT_CONTEXT {
        return Err(format!("{name:?} is a reserved context name"));
    }
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let goes_on = letters.all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c));
    if starts && goes_on && name.len() > 1 {
        return Ok(());
    }
    Err(format!(
        "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_docker_s_byte_for_byte_and_keeps_what_others_put_in_it() {
        let temp = tempfile::tempdir().unwrap();
        let all = Contexts::in_folder(temp.path());
        let mut context = Context::new("far");
        context.describe("a far one");
        context.set_engine("tcp://1.2.3.4:2375", false);
        all.write(&context).unwrap();
        let path = temp.path().join(
            "contexts/meta/512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868/meta.json",
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{"Name":"far","Metadata":{"Description":"a far one"},"Endpoints":{"docker":{"Host":"tcp://1.2.3.4:2375","SkipTLSVerify":false}}}"#
        );
        fs::write(
            &path,
            r#"{"Name":"far","Metadata":{"Mine":1},"Endpoints":{"kubernetes":{"x":2}}}"#,
        )
        .unwrap();
        let mut context = all.find("far").unwrap();
        assert_eq!((context.host(), context.description()), ("", ""));
        context.describe("d");
        context.set_engine("", true);
        all.write(&context).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{"Name":"far","Metadata":{"Mine":1,"Description":"d"},"Endpoints":{"kubernetes":{"x":2},"docker":{"SkipTLSVerify":true}}}"#
        );
        fs::write(&path, "[]").unwrap();
        assert!(all.find("far").unwrap_err().contains("parsing"));
        assert!(all.all().is_err());
        all.remove("far").unwrap();
        assert!(all.find("far").unwrap_err().contains("context not found"));
        assert_eq!(all.all().unwrap(), []);
    }

    #[test]
    fn certificates_are_replaced_as_a_whole() {
        let temp = tempfile::tempdir().unwrap();
        let all = Contexts::in_folder(temp.path());
        let secret = |name: &str| (DOCKER.to_owned(), name.to_owned(), b"x".to_vec());
        let both = vec![secret("ca.pem"), secret("key.pem")];
        all.write_secrets("far", Some(DOCKER), &both).unwrap();
        assert_eq!(all.secrets("far").unwrap(), both);
        let one = vec![secret("cert.pem")];
        all.write_secrets("far", Some(DOCKER), &one).unwrap();
        assert_eq!(all.secrets("far").unwrap(), one);
        all.write_secrets("far", Some(DOCKER), &Vec::new()).unwrap();
        assert!(!all.tls_folder("far").exists());
    }

    #[test]
    fn names_are_docker_s() {
        for name in ["ab", "a1", "9_.+-"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a", "default", "-ab", "a b", "a/b", "äb"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
