//! A server that gives tokens for a registry, as docker's registries want them (RFC 6750, and docker's own words for what
//! a token allows).

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::command::run;
use crate::sandbox::Sandbox;

/// By this name the registry and the server know each other.
const SERVICE: &str = "registry-of-tests";
const ISSUER: &str = "testkit";
/// `user:pw`
const KNOWN: &str = "Basic dXNlcjpwdw==";
/// Stands for the password.
const IDENTITY: &str = "identity-of-user";

/// A token server at a port of a sandbox's loopback. `user` with the password `pw` may do anything, everybody may read
/// repositories whose names begin with `public/`. It goes with the sandbox's network.
pub struct TokenServer {
    port: u16,
    certificate: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Keys {
    key: PathBuf,
    /// In base 64, as the header of a token names it.
    certificate: String,
}

impl TokenServer {
    /// Starts one at 127.0.0.1:`port` with its key in `folder`.
    ///
    /// # Panics
    /// When openssl is missing or the port is taken.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, folder: &Path, port: u16) -> TokenServer {
        let (key, certificate) = (folder.join("token.key"), folder.join("token.pem"));
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=tokens", "-out"])
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key);
        run(openssl, b"").ok();
        let text = fs::read_to_string(&certificate).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('-'));
        let keys = Keys {
            key,
            certificate: lines.collect(),
        };
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener =
            sandbox.within_network(move || TcpListener::bind(("127.0.0.1", port)).unwrap());
        sandbox.network_thread({
            let seen = Arc::clone(&seen);
            move || {
                for client in listener.incoming() {
                    let Ok(client) = client else { return };
                    serve(&client, &keys, &seen);
                }
            }
        });
        TokenServer {
            port,
            certificate,
            seen,
        }
    }

    /// The section `auth` of a registry's configuration.
    pub fn configuration(&self) -> String {
        format!(
            "auth: {{token: {{realm: \"http://127.0.0.1:{}/token\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {}}}}}\n",
            self.port,
            self.certificate.display()
        )
    }

    /// The requests so far: method and path with query, or with what the form held.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(client: &TcpStream, keys: &Keys, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length = header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut form = vec![0; length];
    reader.read_exact(&mut form).ok()?;
    let form = String::from_utf8(form).ok()?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let fields = match method {
        "POST" => form.as_str(),
        _ => query,
    };
    seen.lock().unwrap().push(format!("{method} {fields}"));
    let fields: Vec<(String, String)> = fields
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), unescaped(value)))
        .collect();
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let known = match header("authorization") {
        Some(given) if given == KNOWN => Some(true),
        Some(_) => None,
        None if field("grant_type") == Some("refresh_token") => {
            (field("refresh_token") == Some(IDENTITY)).then_some(true)
        }
        None => Some(false),
    };
    let (status, body) = match known {
        None => {
            let body =
                json!({"errors": [{"code": "UNAUTHORIZED", "message": "wrong name or password"}]});
            ("401 Unauthorized", body)
        }
        Some(known) => {
            let scopes = fields.iter().filter(|(name, _)| name == "scope");
            let scopes: BTreeSet<&str> = scopes.flat_map(|(_, value)| value.split(' ')).collect();
            let token = token(keys, &scopes, known);
            let mut body = json!({"token": token, "access_token": token, "expires_in": 300});
            if known && field("offline_token") == Some("true") {
                body["refresh_token"] = IDENTITY.into();
            }
            ("200 OK", body)
        }
    };
    let body = body.to_string();
    let mut writer = client;
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    writer.write_all(answer.as_bytes()).ok()
}

/// A signed token (RFC 7519) for what somebody may do of what he asks for.
fn token(keys: &Keys, scopes: &BTreeSet<&str>, known: bool) -> String {
    let access: Vec<_> = scopes
        .iter()
        .filter_map(|scope| {
            let mut parts = scope.splitn(3, ':');
            let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
            let allowed =
                |action: &&str| known || (*action == "pull" && name.starts_with("public/"));
            let actions: Vec<_> = actions.split(',').filter(allowed).collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = now.as_secs();
    let claims = json!({
        "iss": ISSUER,
        "sub": if known { "user" } else { "" },
        "aud": SERVICE,
        "exp": seconds + 300,
        "nbf": seconds - 60,
        "iat": seconds,
        "jti": now.as_nanos().to_string(),
        "access": access,
    });
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [keys.certificate]});
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut openssl = Command::new("sh");
    // The signature is binary, which a text can not hold.
    let script = r#"openssl dgst -sha256 -sign "$0" | openssl base64 -A"#;
    openssl.args(["-c", script]).arg(&keys.key);
    let signature = run(openssl, signed.as_bytes()).ok().stdout;
    let signature = STANDARD.decode(signature.trim()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(match byte {
            b'+' => b' ',
            byte => code.unwrap_or(byte),
        });
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap()
}
