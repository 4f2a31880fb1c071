//! The bench: the same work on Wharf, on Docker's daemon, on crun and on the floor, taken in turns
//! in one run.
//!
//! `wharf-bench [--full] [--quick] [ROW…]`: without names all rows; `--full` adds the long ones,
//! `--quick` takes fewer runs (to see whether a change helps, not to be quoted).

mod layout;
mod measure;
mod peers;
mod rows;
mod setup;

use std::process::Command;

use testkit::Kind;

use rows::Bench;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, path] = arguments.as_slice()
        && flag == "--rewrite"
    {
        rows::beside::rewrite(path);
    }
    if let [flag, command @ ..] = arguments.as_slice()
        && flag == "--peak"
    {
        rows::runtimes::peak(command);
    }
    if let [flag, map] = arguments.as_slice()
        && flag == "--layout"
    {
        return layout::print(map);
    }
    let mut flag = |name: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != name);
        arguments.len() < before
    };
    let (full, quick, alone) = (flag("--full"), flag("--quick"), flag("--no-docker"));
    tell_versions();
    let bench = Bench {
        wharf: setup::engine(Kind::Wharf),
        docker: (!alone && std::path::Path::new("/usr/sbin/dockerd").exists())
            .then(|| setup::engine(Kind::Dockerd)),
        bundle: setup::Bundle::new(),
        turns: if quick { 3 } else { 8 },
        quick,
    };
    for row in rows::ALL {
        let named = arguments.iter().any(|name| name == row.name);
        if named || (arguments.is_empty() && (full || !row.long)) {
            println!("\n== {}", row.name);
            (row.run)(&bench);
        }
    }
}

/// What is compared, and on what.
fn tell_versions() {
    let commands: [&[&str]; 7] = [
        &["uname", "-sr"],
        &["nproc"],
        &["docker", "--version"],
        &["/usr/sbin/dockerd", "--version"],
        &["containerd", "--version"],
        &["runc", "--version"],
        &["crun", "--version"],
    ];
    for command in commands {
        let output = Command::new(command[0]).args(&command[1..]).output();
        let text = match &output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) => "not installed".to_owned(),
        };
        println!(
            "{:32}{}",
            command.join(" "),
            text.lines().next().unwrap_or("")
        );
    }
    println!("{:32}{}", "wharf", testkit::Engine::program().display());
}
