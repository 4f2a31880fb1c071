//! What this program does as a container's program.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => println!("isolated"),
        ["echo", rest @ ..] => println!("{}", rest.join(" ")),
        ["both"] => {
            println!("out");
            eprintln!("err");
        }
        ["exit", code] => return ExitCode::from(code.parse::<u8>().unwrap_or(1)),
        ["nap", milliseconds, code] => {
            std::thread::sleep(Duration::from_millis(milliseconds.parse().unwrap_or(0)));
            return ExitCode::from(code.parse::<u8>().unwrap_or(1));
        }
        ["sleep"] => std::thread::sleep(Duration::from_secs(3600)),
        ["ticks"] => loop {
            println!("tick");
            std::thread::sleep(Duration::from_millis(50));
        },
        ["cat"] => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .expect("read standard input");
            std::io::stdout()
                .write_all(&text)
                .expect("write standard output");
        }
        ["read", path] => match std::fs::read_to_string(path) {
            Ok(text) => print!("{text}"),
            Err(error) => {
                println!("{error}");
                return ExitCode::from(1);
            }
        },
        ["write", path, text] => {
            if let Err(error) = std::fs::write(path, text) {
                println!("{error}");
                return ExitCode::from(1);
            }
        }
        ["list", path] => {
            let mut names: Vec<_> = std::fs::read_dir(path)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.file_name().into_string().unwrap_or_default())
                .collect();
            names.sort();
            println!("{}", names.join(" "));
        }
        ["env", name] => println!("{}", std::env::var(name).unwrap_or_default()),
        ["cwd"] => println!(
            "{}",
            std::env::current_dir()
                .map(|path| path.display().to_string())
                .unwrap_or_default()
        ),
        ["listen", port] => {
            let listener = std::net::TcpListener::bind(format!("0.0.0.0:{port}")).expect("listen");
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(b"served\n");
            }
        }
        other => {
            eprintln!("unknown: {other:?}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
