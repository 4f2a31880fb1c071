//! /etc/passwd and /etc/group of a container: the wanted user, the extra groups, and the two files, each behind a zero.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut parts = text.splitn(4, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (user, groups, passwd, group) = (next(), next(), next(), next());
    let groups: Vec<String> = groups.split(',').map(str::to_owned).collect();
    let _ = runtime::users::resolve(user, &groups, passwd, group);
});
