//! Streams of async-std, whose writing half can be closed.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_std::io::Write;
use liminal_driver::asynchronous::Halves;

/// What can be shut down in one direction.
pub(crate) trait HalfClose {
    fn close_writing(&self) -> io::Result<()>;
}

impl HalfClose for async_std::net::TcpStream {
    fn close_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl HalfClose for async_std::os::unix::net::UnixStream {
    fn close_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// The halves of a stream. Closing a stream of async-std only flushes it, and the peer would learn of the
/// end when the last clone is dropped.
pub(crate) fn halves<S>(stream: S) -> Halves
where
    S: async_std::io::Read + Write + HalfClose + Clone + Send + Unpin + 'static,
{
    (Box::pin(stream.clone()), Box::pin(Closing(stream)))
}

struct Closing<S>(S);

impl<S: Write + HalfClose + Unpin> Write for Closing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.close_writing())
    }
}
