//! The one program: picks its role from how it was called, and nothing else.

mod registries;

use std::env;
use std::process::ExitCode;

/// What the build script found out.
const BUILD: client::Build = client::Build {
    commit: env!("WHARF_COMMIT"),
    time: env!("WHARF_BUILD_TIME"),
};

/// Roles that a link to the program stands in for.
const DAEMON_NAMES: [&str; 2] = ["wharfd", "dockerd"];
const RUNTIME_NAME: &str = "wharf-runtime";

#[cfg(short_start)]
sys::short_start!(role);

fn main() -> ExitCode {
    ExitCode::from(role())
}

/// Plays the role and gives the exit status.
fn role() -> u8 {
    let mut args = env::args_os();
    let name = args.next().unwrap_or_default();
    let name = std::path::Path::new(&name)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("wharf")
        .to_owned();
    let first = env::args_os().nth(1);
    if name == RUNTIME_NAME {
        return oci::main(env::args_os().collect());
    }
    match first.as_ref().and_then(|first| first.to_str()) {
        Some("daemon") => daemon::main(text(args.skip(1)), BUILD),
        Some("launcher") => u8::from(shim::launcher::main() != ExitCode::SUCCESS),
        Some("runtime") => oci::main(
            [RUNTIME_NAME.into()]
                .into_iter()
                .chain(args.skip(1))
                .collect(),
        ),
        Some("isolation") => isolation::main(),
        Some("net") => net::main(),
        _ if DAEMON_NAMES.contains(&name.as_str()) => daemon::main(text(args), BUILD),
        _ => client::main(
            args.collect(),
            client::Outside {
                build: BUILD,
                registries: &registries::Clients,
            },
        ),
    }
}

/// Arguments of the daemon are text; what is not UTF-8 can not be a flag and is refused as typed.
fn text(args: impl Iterator<Item = std::ffi::OsString>) -> Vec<String> {
    args.map(|arg| arg.to_string_lossy().into_owned()).collect()
}
