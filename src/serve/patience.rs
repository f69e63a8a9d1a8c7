//! A connection that ends if its client takes too long to take what is sent.
//!
//! The time follows from the size: a client that takes a byte now and then would hold a large
//! answer in memory for ever.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For anything.
    pub least: Duration,
    /// And for its bytes: as many each second.
    pub bytes_per_second: u64,
}

impl Patience {
    /// How long it may take until it has taken more than these bytes.
    fn time(&self, bytes: u64) -> Duration {
        self.least + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

/// A connection with a limit on how long its client may take.
pub struct Patient {
    stream: TcpStream,
    patience: Patience,
    /// Since when the client has not taken all that there is, and the bytes it has taken since.
    waits: Option<(Instant, u64)>,
    /// When it is given up.
    until: Pin<Box<Sleep>>,
}

impl Patient {
    /// Limits the writes of a connection.
    pub fn new(stream: TcpStream, patience: Patience) -> Patient {
        let until = Box::pin(tokio::time::sleep(patience.least));
        Patient { stream, patience, waits: None, until }
    }

    /// Takes note of the outcome of a write.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let (Some((_, taken)), Ok(bytes)) = (&mut self.waits, &written) {
                *taken += *bytes as u64;
            }
            return Poll::Ready(written);
        }
        let (since, taken) = *self.waits.get_or_insert((Instant::now(), 0));
        let until = since + self.patience.time(taken);
        if self.until.deadline() != until {
            self.until.as_mut().reset(until);
        }
        ready!(self.until.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The library of HTTP flushes when all that there is has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waits = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::Read;
    use std::thread;
    use tokio::net::TcpListener;

    /// Sends 16 MiB to a client that takes so many bytes every 5 ms.
    async fn send(patience: Patience, taken: usize) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
        // It stays connected.
        let _held = client.try_clone()?;
        let mut stream = Patient::new(listener.accept().await?.0, patience);
        thread::spawn(move || {
            let mut bytes = vec![0; taken];
            while taken > 0 && client.read(&mut bytes).is_ok_and(|read| read > 0) {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let (bytes, mut sent) = (vec![0; 16 << 20], 0);
        let sending = async {
            while sent < bytes.len() {
                let rest = &bytes[sent..];
                sent += poll_fn(|context| Pin::new(&mut stream).poll_write(context, rest)).await?;
            }
            poll_fn(|context| Pin::new(&mut stream).poll_flush(context)).await
        };
        let sent = tokio::time::timeout(Duration::from_secs(20), sending).await;
        sent.map_err(|_| io::Error::other("it is neither sent nor given up"))?
    }

    fn sent(least_ms: u64, bytes_per_second: u64, taken: usize) -> Result<(), ErrorKind> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let patience = Patience { least: Duration::from_millis(least_ms), bytes_per_second };
        runtime.block_on(send(patience, taken)).map_err(|error| error.kind())
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        assert_eq!(sent(50, 1 << 20, 0), Err(ErrorKind::TimedOut));
    }

    #[test]
    fn a_client_that_takes_a_little_all_the_time_is_given_up_too() {
        assert_eq!(sent(300, 1 << 30, 32 << 10), Err(ErrorKind::TimedOut));
    }

    #[test]
    fn a_client_that_takes_enough_is_sent_all_of_it() {
        assert_eq!(sent(3_000, 64 << 10, 1 << 20), Ok(()));
    }

    #[test]
    fn the_time_follows_from_the_size() {
        let patience = Patience { least: Duration::from_secs(30), bytes_per_second: 1 << 15 };
        assert_eq!(patience.time(0), Duration::from_secs(30));
        assert_eq!(patience.time(8 << 20), Duration::from_secs(30 + 256));
    }
}
