//! Which handler answers a request.

use std::future::Future;
use std::pin::Pin;

use http::Method;

use crate::call::Call;
use crate::failure::Failure;
use crate::reply::Reply;
use crate::version::{NEWEST, OLDEST, Version};

/// What a handler returns.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// A handler.
pub(crate) type Handler = fn(Call) -> Answer;

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Verb> {
        Some(match *method {
            Method::GET => Verb::Get,
            Method::HEAD => Verb::Head,
            Method::POST => Verb::Post,
            Method::PUT => Verb::Put,
            Method::DELETE => Verb::Delete,
            _ => return None,
        })
    }
}

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    /// The method.
    pub(crate) verb: Verb,
    /// The path: literal parts, `{name}` for one open part, `{name...}` for one or more.
    pub(crate) pattern: &'static str,
    /// The version that brought it.
    pub(crate) first: Version,
    /// The last version that has it.
    pub(crate) last: Version,
    /// Whether the connection may become a stream.
    pub(crate) hijacks: bool,
    /// Who answers.
    pub(crate) handler: Handler,
}

impl Route {
    /// A route that every version has.
    pub(crate) const fn new(verb: Verb, pattern: &'static str, handler: Handler) -> Route {
        Route {
            verb,
            pattern,
            first: OLDEST,
            last: NEWEST,
            hijacks: false,
            handler,
        }
    }

    /// The same, from a version on.
    pub(crate) const fn since(self, minor: u16) -> Route {
        Route {
            first: Version(minor),
            ..self
        }
    }

    /// The same, whose connection may become a stream.
    pub(crate) const fn hijacking(self) -> Route {
        Route {
            hijacks: true,
            ..self
        }
    }

    /// Whether a version has this route.
    pub(crate) fn spoken_by(&self, version: Version) -> bool {
        self.first <= version && version <= self.last
    }
}

/// Finds the first route for a method and a decoded path, with what it leaves open.
pub(crate) fn find(
    routes: &'static [Route],
    method: &Method,
    path: &str,
) -> Option<(&'static Route, Vec<String>)> {
    let verb = Verb::of(method)?;
    let head = path.get(1..)?.split('/').next()?;
    routes
        .iter()
        .filter(|route| route.verb == verb && route.pattern[1..].starts_with(head))
        .find_map(|route| Some((route, captures(route.pattern, path)?)))
}

/// Matches a path against a pattern.
fn captures(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut wanted = pattern.split('/');
    let mut given: Vec<&str> = path.split('/').collect();
    given.reverse();
    while let Some(part) = wanted.next() {
        if part.ends_with("...}") {
            let after = wanted.clone().count();
            let taken = given.len().checked_sub(after).filter(|&count| count > 0)?;
            let name: Vec<&str> = given.drain(after..).rev().collect();
            debug_assert_eq!(name.len(), taken);
            found.push(name.join("/"));
        } else {
            let here = given.pop()?;
            match part.starts_with('{') {
                true => found.push(here.to_owned()),
                false if part == here => {}
                false => return None,
            }
        }
    }
    let complete = given.is_empty() && found.iter().all(|name| !name.is_empty());
    complete.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_matched_and_open_ones_captured() {
        assert_eq!(captures("/info", "/info"), Some(vec![]));
        assert_eq!(captures("/info", "/info/"), None);
        assert_eq!(
            captures("/containers/{id}/json", "/containers/web/json"),
            Some(vec!["web".into()])
        );
        assert_eq!(
            captures("/containers/{id}/json", "/containers/web/a/json"),
            None
        );
        assert_eq!(captures("/containers/{id}/json", "/containers//json"), None);
        assert_eq!(captures("/containers/{id}", "/containers/web/json"), None);
    }

    #[test]
    fn names_of_images_may_have_slashes() {
        let name = |path| captures("/images/{name...}/json", path).map(|mut found| found.remove(0));
        assert_eq!(name("/images/debian/json"), Some("debian".into()));
        assert_eq!(
            name("/images/localhost:5000/a/b:c/json"),
            Some("localhost:5000/a/b:c".into())
        );
        assert_eq!(name("/images/json"), None);
        assert_eq!(name("/images//json"), None);
        assert_eq!(
            captures("/images/{name...}", "/images/a/b"),
            Some(vec!["a/b".into()])
        );
        assert_eq!(captures("/images/{name...}", "/images"), None);
    }
}
