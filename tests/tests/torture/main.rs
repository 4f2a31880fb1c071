//! The long runs: a kill before every state-changing call, and kills at random.
//!
//! `make torture` runs them; `make test` runs the same cases in wider steps (`e2e/killed.rs`).

mod random;
mod strike;

use strike::strike;

#[test]
fn create_is_killed_before_each_call() {
    strike(&strike::CREATE, 1, 1);
}

#[test]
fn start_is_killed_before_each_call() {
    strike(&strike::BEGIN, 1, 1);
}

#[test]
fn connect_is_killed_before_each_call() {
    strike(&strike::CONNECTION, 1, 1);
}

#[test]
fn stop_is_killed_before_each_call() {
    strike(&strike::END, 1, 1);
}

#[test]
fn remove_is_killed_before_each_call() {
    strike(&strike::REMOVAL, 1, 1);
}

#[test]
fn load_is_killed_before_each_call() {
    strike(&strike::LOAD, 1, 1);
}

#[test]
fn pull_is_killed_before_each_call() {
    strike(&strike::PULL, 1, 1);
}

#[test]
fn remove_of_an_image_is_killed_before_each_call() {
    strike(&strike::UNTAG, 1, 1);
}

#[test]
fn killed_two_hundred_times_at_random() {
    random::kill_at_random(200, 450.0);
}

#[test]
fn a_passing_container_is_killed_before_each_call() {
    strike(&strike::PASS, 1, 1);
}
