//! From a request to its answer: version, route, handler, headers.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use api_types::texts;
use http::header::{CONNECTION, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::call::{Call, Context, Upload};
use crate::failure::Failure;
use crate::peer::Phase;
use crate::query::{Query, decode, encode_path};
use crate::reply::{Body, JSON, RAW_STREAM, Reply, whole};
use crate::route::{Answer, Route, find};
use crate::routes::ROUTES;
use crate::version::{Prefix, Version, split_prefix};

/// Names of the headers that every answer has.
const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");

/// Answers one request.
pub(crate) async fn dispatch(
    context: &Arc<Context>,
    phase: &Arc<Phase>,
    request: Request<Incoming>,
) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let found = refuse_web_pages(phase, &request).and_then(|()| match without_route(&request) {
        Some(response) => Ok(Target::Answered(response)),
        None => find_route(&request).map(Target::Route),
    });
    let reply = match found {
        Ok(Target::Answered(response)) => Reply::Http(response),
        Ok(Target::Route(found)) => {
            let route = found.route;
            phase.hijack(route.hijacks);
            let reply = guarded((route.handler)(found.call(
                context.clone(),
                phase.clone(),
                request,
            )))
            .await;
            reply.unwrap_or_else(|failure| Reply::Http(failed(&failure, route.hijacks)))
        }
        Err(failure) => Reply::Http(failed(&failure, false)),
    };
    match reply {
        Reply::Http(mut response) => {
            tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
            add_headers(&mut response, context);
            Reply::Http(response)
        }
        Reply::Hijack(hijack) => {
            tracing::debug!(%method, path, "becomes a stream");
            Reply::Hijack(hijack)
        }
    }
}

/// What a request comes to.
enum Target {
    /// A handler.
    Route(Found),
    /// An answer that needs none.
    Answered(Response<Body>),
}

/// What Docker's router answers by itself: where a path leads that is not clean, and, anywhere, that it may be asked
/// for.
fn without_route(request: &Request<Incoming>) -> Option<Response<Body>> {
    if let Some(location) = detour(request.uri()) {
        return Some(moved(location));
    }
    (request.method() == Method::OPTIONS).then(|| Response::new(Body::whole(Vec::new())))
}

/// Any page that a browser on this host shows may send requests to a port of loopback, and by a name that it lets
/// resolve to 127.0.0.1 read the answers, too. Browsers say so in headers that no other client of the API sends
/// (Fetch standard, "`Origin` header"; Fetch Metadata, section 2).
fn refuse_web_pages(phase: &Phase, request: &Request<Incoming>) -> Result<(), Failure> {
    let from_page = |name| request.headers().contains_key(name);
    if phase.over_tcp() && ["origin", "sec-fetch-site"].into_iter().any(from_page) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "requests of web pages are refused: this API gives its callers all rights on the host",
        ));
    }
    Ok(())
}

/// Where a path leads that has empty parts, `.` or `..`, with its query; `None` for all others.
///
/// Docker's router sends clients there before it looks for a route.
fn detour(uri: &http::Uri) -> Option<HeaderValue> {
    let path = uri.path();
    if !path.starts_with('/') || !(path.contains("//") || path.contains("/.") || path.contains('%'))
    {
        return None;
    }
    let path = decode(path, false)?;
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    if clean == path {
        return None;
    }
    let mut location = encode_path(&clean);
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::from_str(&location).ok()
}

fn moved(location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::whole(Vec::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Where a request goes.
struct Found {
    route: &'static Route,
    version: Version,
    captures: Vec<String>,
}

impl Found {
    fn call(self, context: Arc<Context>, phase: Arc<Phase>, request: Request<Incoming>) -> Call {
        let (head, body) = request.into_parts();
        Call {
            context,
            version: self.version,
            captures: self.captures,
            query: Query::parse(head.uri.query()),
            headers: head.headers,
            body: Upload::new(body, phase),
        }
    }
}

/// Finds the route of a request. As in Docker, a path that nothing serves is told before a version.
fn find_route(request: &Request<Incoming>) -> Result<Found, Failure> {
    let path = decode(request.uri().path(), false)
        .ok_or_else(|| Failure::bad_request("the request's path is not well encoded"))?;
    let (version, rest) = match split_prefix(&path) {
        Prefix::Spoken(version, rest) => (Ok(version), rest),
        Prefix::Refused(sentence, rest) => (Err(Failure::bad_request(sentence)), rest),
    };
    let (route, captures) = find(ROUTES, request.method(), rest)
        .ok_or_else(|| Failure::not_found(texts::PAGE_NOT_FOUND))?;
    let version = version?;
    if !route.spoken_by(version) {
        return Err(Failure::not_found(texts::PAGE_NOT_FOUND));
    }
    Ok(Found {
        route,
        version,
        captures,
    })
}

/// Runs a handler; its panic is the failure of this one request.
async fn guarded(mut answer: Answer) -> Result<Reply, Failure> {
    std::future::poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| Pin::new(&mut answer).poll(context))).unwrap_or_else(
            |_| {
                Poll::Ready(Err(Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal fault while answering",
                )))
            },
        )
    })
    .await
}

/// The answer of a failed request. Where a stream was expected, it is plain text and the connection ends, since more
/// of what the client sends is not HTTP.
fn failed(failure: &Failure, hijacks: bool) -> Response<Body> {
    match failure.status() {
        StatusCode::NOT_MODIFIED => {
            let mut response = Response::new(Body::whole(Vec::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        status if hijacks => {
            let mut response = whole(status, RAW_STREAM, format!("{}\r\n", failure.message()));
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        status => whole(status, JSON, failure.body()),
    }
}

fn add_headers(response: &mut Response<Body>, context: &Context) {
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static(texts::API_VERSION));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    headers.insert(http::header::SERVER, context.server.clone());
}

#[cfg(test)]
mod tests {
    use super::detour;

    #[test]
    fn paths_are_cleaned_as_docker_s_router_does() {
        let leads =
            |uri: &str| detour(&uri.parse().unwrap()).map(|to| to.to_str().unwrap().to_owned());
        for (uri, expected) in [
            ("//version", "/version"),
            ("/v1.44//version?a=b%22", "/v1.44/version?a=b%22"),
            ("/a/../version", "/version"),
            ("/./version", "/version"),
            ("/../..", "/"),
            ("/images//json/", "/images/json/"),
            (
                "/v1.44//images/a%20b%2F%2Fc/json?x=%22",
                "/v1.44/images/a%20b/c/json?x=%22",
            ),
            ("/images/%C3%A9//json", "/images/%C3%A9/json"),
        ] {
            assert_eq!(leads(uri).as_deref(), Some(expected), "{uri}");
        }
        for uri in [
            "/",
            "/version",
            "/images/json/",
            "/images/a%2Fb/json",
            "/containers/.hidden/json",
            "/images/a%20b/json?x=//",
            "*",
        ] {
            assert_eq!(leads(uri), None, "{uri}");
        }
    }
}
