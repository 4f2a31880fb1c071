//! A connection through a proxy to somebody else (`CONNECT`, RFC 9110, section 9.3.6).

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use super::error::TransportFault;
use super::proxy::Proxy;
use super::transport::{Stream, USER_AGENT, broken};
use super::url::Origin;

/// Asks the proxy at the other end of `stream` for a connection to `origin`. The caller bounds
/// the time.
pub(super) async fn open(
    stream: Stream,
    proxy: &Proxy,
    origin: &Origin,
) -> Result<Stream, TransportFault> {
    let broken = |error: hyper::Error| broken(&error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(broken)?;
    // It ends with the sender, or with what the connection becomes.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxy's connection ended");
        }
    });
    let answer = sender
        .send_request(request(proxy, origin)?)
        .await
        .map_err(broken)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(TransportFault::ProxyRefused { status });
    }
    let through = hyper::upgrade::on(answer).await.map_err(broken)?;
    Ok(Box::new(TokioIo::new(through)))
}

fn request(proxy: &Proxy, origin: &Origin) -> Result<Request<Empty<Bytes>>, TransportFault> {
    let target = origin.address();
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&target)
        .header(header::HOST, &target)
        .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))
        .body(Empty::new())
        .map_err(|_| TransportFault::Location(target.clone()))?;
    if let Some(authorization) = &proxy.authorization {
        let headers = request.headers_mut();
        headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    Ok(request)
}
