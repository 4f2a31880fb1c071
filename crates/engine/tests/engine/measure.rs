//! Not a test: tells where the time of a `run --rm` on the bridge goes, start by start, 25 ms apart.
//! `cargo test --test engine measure 200`.

use std::time::{Duration, Instant};

use engine::{Engine, WaitCondition};

use crate::kit::{self, Roots, request};

pub(crate) fn main(arguments: &[String]) {
    let rounds: usize = arguments
        .first()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    kit::own_namespaces();
    kit::run(async move {
        let roots = Roots::new();
        let mut config = roots.config();
        config.bridge = None;
        let engine = Engine::open(config).await.expect("open");
        let mut times: [Vec<Duration>; 4] = Default::default();
        for _ in 0..rounds {
            let mut request = request(&["exit", "0"]);
            request.host_config.network_mode = "bridge".to_owned();
            request.host_config.auto_remove = true;
            let begun = Instant::now();
            let id = engine.create(None, request, None).await.expect("create").id;
            let wait = engine
                .wait(&id, WaitCondition::Removed)
                .await
                .expect("wait");
            let created = Instant::now();
            engine.start(&id, None).await.expect("start");
            let started = Instant::now();
            wait.await.expect("the end");
            let ended = Instant::now();
            for (list, time) in times.iter_mut().zip([
                created - begun,
                started - created,
                ended - started,
                ended - begun,
            ]) {
                list.push(time);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        for (what, mut list) in ["create", "start", "end", "all"].into_iter().zip(times) {
            list.sort();
            let at = |part: usize| list[(list.len() * part / 100).min(list.len() - 1)].as_micros();
            println!(
                "{what:8} median {:6} us   p10 {:6}   p95 {:6}",
                at(50),
                at(10),
                at(95)
            );
        }
        kit::clean_up(engine).await;
    });
}
