//! Links on the engine's own bridge as names of a container, and their end.

use testkit::{Engine, Finished};

type Client = fn(&Engine, &[&str]) -> Finished;
const CLIENTS: [Client; 2] = [Engine::d, Engine::w];

#[test]
fn a_link_is_a_further_name_until_it_is_removed() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in CLIENTS {
            let run = ["run", "-d", "--name"];
            let sleep = ["busybox", "sleep", "600"];
            client(engine, &[&run[..], &["db"], &sleep].concat()).ok();
            let links = ["--link", "db:data", "--link", "db"];
            client(engine, &[&run[..], &["web"], &links, &sleep].concat()).ok();
            let all = ["ps", "--no-trunc", "--format", "{{.Names}}"];
            assert_eq!(
                client(engine, &all).ok().stdout,
                "web\ndb,web/data,web/db\n"
            );
            let short = ["ps", "--format", "{{.Names}}"];
            assert_eq!(client(engine, &short).ok().stdout, "web\ndb\n");
            let named = ["inspect", "-f", "{{.Name}}", "web/data"];
            assert_eq!(client(engine, &named).ok().text(), "/db");
            client(engine, &["exec", "web/db", "true"]).ok();
            let hosts = || {
                client(engine, &["exec", "web", "cat", "/etc/hosts"])
                    .ok()
                    .stdout
            };
            assert!(hosts().contains("\tdata "), "{}", hosts());
            let removed = client(engine, &["rm", "--link", "/web/data"]).ok();
            assert_eq!(removed.text(), "/web/data");
            assert!(!hosts().contains("\tdata "), "{}", hosts());
            assert!(
                hosts().contains("\tdb "),
                "the other one stays: {}",
                hosts()
            );
            assert_eq!(client(engine, &all).ok().stdout, "web\ndb,web/db\n");
            let links = ["inspect", "-f", "{{.HostConfig.Links}}", "web"];
            assert_eq!(client(engine, &links).ok().text(), "[/db:/web/db]");
            for (name, sentence) in [
                ("web/data", "No such container: web/data"),
                ("db", "cannot remove the default link name of the container"),
            ] {
                let refused = client(engine, &["rm", "--link", name]).fails_with(1);
                assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
            }
            // It is gone for further starts and for the next daemon, too.
            engine.kill_daemon();
            engine.start_daemon();
            client(engine, &["restart", "-t", "0", "web"]).ok();
            assert!(!hosts().contains("\tdata "), "{}", hosts());
            // By the other name the container itself goes.
            client(engine, &["rm", "-f", "web/db"]).ok();
            assert_eq!(client(engine, &all).ok().stdout, "web\n");
            client(engine, &["rm", "-f", "web"]).ok();
        }
    });
}
