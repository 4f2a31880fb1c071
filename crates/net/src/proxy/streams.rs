//! TCP: connections are taken, and carried to the container byte by byte.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::budget::Budget;
use super::{PIECE, Target};

/// How long a container may take to accept. One that is not there is told of after three seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may come from a side before it is asked whether it still lives.
const SILENCE: Duration = Duration::from_secs(300);
/// Before more connections are taken when no descriptor was left.
const PAUSE: Duration = Duration::from_millis(100);

/// Descriptors of one connection: both its sides.
const DESCRIPTORS: u32 = 2;

thread_local! {
    /// One for all connections: what is read is written before the next one reads.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// Takes connections until the door is closed, which ends those that were taken.
pub(super) async fn accept(
    listener: TcpListener,
    target: Arc<Target>,
    port: u16,
    budget: Arc<Budget>,
) {
    let mut under_way = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = under_way.join_next(), if !under_way.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((client, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Who comes next waits in the kernel's queue.
        let share = loop {
            tokio::select! {
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                share = budget.take(DESCRIPTORS) => break share,
            }
        };
        let Some(share) = share else { return };
        let target = Arc::clone(&target);
        under_way.spawn(async move {
            carry(client, &target, port).await;
            drop(share);
        });
    }
}

/// Carries one connection to its end.
async fn carry(client: TcpStream, target: &Target, port: u16) {
    let Some(address) = target.with(port) else {
        return reset(&client);
    };
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
    let Ok(Ok(server)) = connected else {
        return reset(&client);
    };
    let prepared = prepare(&client).and_then(|()| prepare(&server));
    let carried = match prepared {
        Ok(()) => tokio::try_join!(pump(&client, &server), pump(&server, &client)).map(drop),
        Err(error) => Err(error),
    };
    if carried.is_err() {
        // As one side broke off, so does the other: what was cut short is not to look complete.
        reset(&client);
        reset(&server);
    }
}

/// What is read is sent at once, and a peer that is gone without a word is found out.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    Ok(())
}

/// Has the connection end by a reset once it is dropped.
fn reset(stream: &TcpStream) {
    // Else it ends as it can.
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// What one read came to.
enum Step {
    /// Everything was passed on, or there was nothing.
    On,
    /// The other side has yet to take this.
    Rest(Vec<u8>),
    /// No more comes.
    End,
}

/// Carries one direction until its end, which is passed on; the other direction may go on.
async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        from.readable().await?;
        match BUFFER.with_borrow_mut(|buffer| step(from, to, buffer))? {
            Step::On => {}
            Step::Rest(rest) => write_all(to, &rest).await?,
            Step::End => {
                return match shutdown(to, Shutdown::Write) {
                    // It has gone already, as the other direction will tell.
                    Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
        }
    }
}

fn step(from: &TcpStream, to: &TcpStream, buffer: &mut [u8]) -> io::Result<Step> {
    let length = match from.try_read(buffer) {
        Ok(0) => return Ok(Step::End),
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::On),
        Err(error) => return Err(error),
    };
    let data = buffer.get(..length).unwrap_or_default();
    match to.try_write(data) {
        Ok(written) if written == length => Ok(Step::On),
        Ok(written) => Ok(Step::Rest(data.get(written..).unwrap_or_default().to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Rest(data.to_vec())),
        Err(error) => Err(error),
    }
}

async fn write_all(to: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
