//! The wire between the two processes: messages with bytes and descriptors beside them.
//!
//! Blocking, with a time limit on every read and write. A message is its head (lengths, number of
//! descriptors), which carries the descriptors, then the message by `postcard`, then the bytes. A call
//! that is interrupted is made again: one with a time limit is also by SIGSTOP and SIGCONT (signal(7)),
//! which says nothing about the peer.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::{Buf, BufMut};
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PATIENCE;

/// The most descriptors beside one message; the kernel takes 253.
pub const FILES_MAX: usize = 200;
/// The longest hello, in bytes.
const LINE_MAX: usize = 64 * 1024;
const HEAD: usize = 16;

/// One end.
#[derive(Debug)]
pub struct Link(UnixStream);

/// A message as it came.
pub struct Received<T> {
    /// The message.
    pub message: T,
    /// The bytes beside it.
    pub body: Vec<u8>,
    /// The descriptors beside it.
    pub files: Vec<OwnedFd>,
}

impl Link {
    /// An end on a connected socket.
    ///
    /// # Errors
    /// If the socket's time limits cannot be set.
    pub fn new(stream: UnixStream) -> io::Result<Link> {
        stream.set_nonblocking(false)?;
        let link = Link(stream);
        link.wait_at_most(PATIENCE)?;
        Ok(link)
    }

    /// Sets how long a read or a write may take.
    ///
    /// # Errors
    /// If the socket's time limits cannot be set.
    pub fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.set_write_timeout(Some(patience))
    }

    /// The same end, for another thread; only one of them may speak at a time.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Link> {
        self.0.try_clone().map(Link)
    }

    /// Sends a line of JSON.
    ///
    /// # Errors
    /// If the other side does not take it.
    pub fn send_line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }

    /// Receives one. Nothing may follow it before it is answered.
    ///
    /// # Errors
    /// If none comes, or it is something else.
    pub fn receive_line<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut line = Vec::new();
        let mut chunk = [0; 4096];
        while !line.ends_with(b"\n") {
            match self.0.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => line.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if line.len() > LINE_MAX {
                return Err(io::Error::other("its first line is too long"));
            }
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// Sends a message with these bytes and descriptors, at most [`FILES_MAX`], beside it.
    ///
    /// # Errors
    /// If the other side does not take it in time.
    pub fn send(
        &mut self,
        message: &impl Serialize,
        body: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let message = postcard::to_stdvec(message).map_err(io::Error::other)?;
        let mut head = [0; HEAD];
        let mut out = &mut head[..];
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        out.put_u32_le(length);
        out.put_u32_le(files.len() as u32);
        out.put_u64_le(body.len() as u64);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let parts = [IoSlice::new(&head)];
        let sent = retry_on_intr(|| sendmsg(&self.0, &parts, &mut beside, SendFlags::NOSIGNAL))?;
        self.0.write_all(&head[sent..])?;
        self.0.write_all(&message)?;
        self.0.write_all(body)
    }

    /// Receives a message.
    ///
    /// # Errors
    /// If none comes in time, or it is something else.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Received<T>> {
        let mut head = [0; HEAD];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut head)];
        let got = retry_on_intr(|| recvmsg(&self.0, &mut parts, &mut beside, flags))?;
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut files = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        self.0.read_exact(&mut head[got.bytes..])?;
        let mut head = &head[..];
        let length = head.get_u32_le();
        let file_count = head.get_u32_le() as usize;
        let body_length = head.get_u64_le();
        if files.len() != file_count {
            // The process may have no room for so many.
            let fault = format!("{} of {file_count} descriptors came", files.len());
            return Err(io::Error::other(fault));
        }
        let message = self.read_bytes(length.into())?;
        let body = self.read_bytes(body_length)?;
        Ok(Received {
            message: postcard::from_bytes(&message).map_err(io::Error::other)?,
            body,
            files,
        })
    }

    /// Grows with what comes, not with what is announced.
    fn read_bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Link, Link) {
        let (a, b) = UnixStream::pair().unwrap();
        (Link::new(a).unwrap(), Link::new(b).unwrap())
    }

    #[test]
    fn messages_come_with_what_is_beside_them() {
        let (mut a, mut b) = pair();
        a.send_line(&("hello", 1)).unwrap();
        assert_eq!(
            b.receive_line::<(String, u32)>().unwrap(),
            ("hello".to_owned(), 1)
        );
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"through a descriptor").unwrap();
        let body = vec![7; 3_000_000];
        let sender = std::thread::spawn(move || {
            let files = vec![file.as_fd(); FILES_MAX];
            a.send(&"one", &body, &files).unwrap();
            a.send(&"two", b"", &[]).unwrap();
        });
        let one = b.receive::<String>().unwrap();
        assert_eq!((one.message.as_str(), one.body.len()), ("one", 3_000_000));
        assert_eq!(one.files.len(), FILES_MAX);
        let file = File::from(one.files.into_iter().next().unwrap());
        let mut text = [0; 20];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut text, 0).unwrap();
        assert_eq!(&text, b"through a descriptor");
        assert_eq!(b.receive::<String>().unwrap().message, "two");
        sender.join().unwrap();
        assert!(b.receive::<String>().is_err(), "the other end is gone");
    }

    #[test]
    fn nonsense_is_an_error() {
        let (mut a, mut b) = pair();
        a.0.write_all(&[0xFF; HEAD]).unwrap();
        drop(a);
        assert!(b.receive::<String>().is_err());
        let (mut a, mut b) = pair();
        a.0.write_all(b"hello\n").unwrap();
        assert!(b.receive_line::<u32>().is_err());
    }
}
