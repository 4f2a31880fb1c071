//! The OCI runtime command alone: what the one program is under this name.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(oci::main(std::env::args_os().collect()))
}
