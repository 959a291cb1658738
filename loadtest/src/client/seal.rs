//! A connection's TLS: what it says is sealed, and what it reads unsealed.

use std::io::{self, BufRead, ErrorKind, Write};

use rustls::ClientConnection;

use crate::server::Target;

/// The client's end of one TLS connection.
pub struct Seal(Box<ClientConnection>);

impl Seal {
    /// For a connection to `target`, if TLS is spoken there.
    ///
    /// # Errors
    /// Where the client cannot begin.
    pub fn new(target: &Target) -> Result<Option<Self>, String> {
        let Some(tls) = &target.tls else {
            return Ok(None);
        };
        let made = ClientConnection::new(tls.config.clone(), tls.name.clone());
        made.map(|client| Some(Self(Box::new(client))))
            .map_err(|error| format!("TLS cannot begin: {error}"))
    }

    /// Takes what is to be said, whole, and writes as far as the socket takes it.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn write(&mut self, plain: &mut Vec<u8>, socket: &mut impl Write) -> io::Result<()> {
        if !plain.is_empty() {
            self.0.writer().write_all(plain)?;
            *plain = Vec::new();
        }
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the bytes that were read hold.
    ///
    /// # Errors
    /// Where they are no good, or the server shows no good certificate.
    pub fn read(&mut self, mut sealed: &[u8]) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        while !sealed.is_empty() {
            let taken = self.0.read_tls(&mut sealed);
            taken.map_err(|error| format!("TLS failed: {error}"))?;
            let processed = self.0.process_new_packets();
            processed.map_err(|error| format!("TLS failed: {error}"))?;
            let mut reader = self.0.reader();
            // No more for now, or for ever: the socket's end will tell.
            while let Ok(part @ [_, ..]) = reader.fill_buf() {
                plain.extend_from_slice(part);
                let length = part.len();
                reader.consume(length);
            }
        }
        Ok(plain)
    }
}
