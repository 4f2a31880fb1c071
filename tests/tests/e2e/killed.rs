//! The daemon is killed in the middle of its work: the cases of `torture`, in wider steps.

#[path = "../torture/random.rs"]
mod random;
#[path = "../torture/strike.rs"]
mod strike;

use strike::strike;

#[test]
fn create_killed_in_steps() {
    strike(&strike::CREATE, 3, 7);
}

#[test]
fn start_killed_in_steps() {
    strike(&strike::BEGIN, 5, 7);
}

#[test]
fn connect_killed_in_steps() {
    strike(&strike::CONNECTION, 2, 7);
}

#[test]
fn stop_killed_in_steps() {
    strike(&strike::END, 1, 7);
}

#[test]
fn remove_killed_in_steps() {
    strike(&strike::REMOVAL, 2, 7);
}

#[test]
fn load_killed_in_steps() {
    strike(&strike::LOAD, 4, 7);
}

#[test]
fn pull_killed_in_steps() {
    strike(&strike::PULL, 6, 7);
}

#[test]
fn remove_of_an_image_killed_in_steps() {
    strike(&strike::UNTAG, 1, 7);
}

#[test]
fn killed_ten_times_at_random() {
    // Other tests run beside this one.
    random::kill_at_random(10, 200.0);
}

#[test]
fn a_passing_container_killed_in_steps() {
    strike(&strike::PASS, 3, 7);
}
