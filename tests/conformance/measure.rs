//! What each runtime costs: run by hand, on a quiet machine, for the table in docs/PERFORMANCE.md.
//!
//! `cargo test --test conformance measure -- --ignored --nocapture --test-threads=1`

use std::time::Instant;

use orchestrator::clock::Timestamp;
use tokio::sync::watch;

use crate::world::{ANSWER, Kind, World, executes, says, serve};

const ROUNDS: usize = 7;

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn measure() {
    eprintln!("runtime           commands  probe  first request  whole turn  request bytes (first, last)");
    for kind in [Kind::Exec, Kind::AppServer] {
        for commands in [0_usize, 1, 10] {
            let (mut probes, mut firsts, mut wholes, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), (0, 0));
            for _ in 0..ROUNDS {
                let replies = (0..commands).map(|n| executes(&format!("echo {n}"))).chain([says(ANSWER)]);
                let server = serve(replies);
                let Some(world) = World::new(kind, server.url()) else { return };
                let begun = Instant::now();
                world.probe().await.unwrap();
                probes.push(begun.elapsed().as_millis());
                let (at, begun) = (Timestamp::now(), Instant::now());
                world.run("go", None, &mut |_| {}, watch::channel(false).1).await.unwrap();
                wholes.push(begun.elapsed().as_millis());
                let asked = server.requests().into_iter().filter(|request| request.path.ends_with("/responses"));
                let asked: Vec<_> = asked.collect();
                firsts.push(u128::from(asked[0].at.millis() - at.millis()));
                let bytes = |at: usize| asked[at].body.to_string().len();
                sizes = (bytes(0), bytes(asked.len() - 1));
            }
            let name = kind.runtime().name();
            let (probe, first, whole) = (median(probes), median(firsts), median(wholes));
            eprintln!("{name:16}  {commands:8}  {probe:5}  {first:13}  {whole:10}  {}, {}", sizes.0, sizes.1);
        }
    }
}
