//! WebSocket frames as a client sees them: where a server's frames begin and end, and the few frames
//! a client sends.

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// Finds the frames in what a server sent, however it was cut.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The beginning of a frame whose end has not come.
    cut_off: Vec<u8>,
}

impl Scanner {
    /// Calls `on_frame` with opcode and payload of each frame that `bytes` completes.
    ///
    /// # Errors
    /// A sentence where the bytes are no frames of a server to a client that agreed on no extension,
    /// and whatever `on_frame` returns.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on_frame: impl FnMut(u8, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        while !self.cut_off.is_empty() {
            // Takes no more than the cut-off frame still needs, and that in two steps at most: its
            // header, and then its payload.
            let needed = match frame_at(&self.cut_off)? {
                Extent::Known { header, payload } if self.cut_off.len() == header + payload => {
                    on_frame(self.cut_off[0] & 0x0F, &self.cut_off[header..])?;
                    self.cut_off.clear();
                    break;
                }
                Extent::Known { header, payload } => header + payload,
                Extent::Needs(length) => length,
            };
            let more = (needed - self.cut_off.len()).min(bytes.len());
            if more == 0 {
                return Ok(());
            }
            self.cut_off.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
        }
        while !bytes.is_empty() {
            match frame_at(bytes)? {
                Extent::Known { header, payload } if header + payload <= bytes.len() => {
                    on_frame(bytes[0] & 0x0F, &bytes[header..header + payload])?;
                    bytes = &bytes[header + payload..];
                }
                _ => {
                    self.cut_off.extend_from_slice(bytes);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Appends a client's frame with a short payload (at most 65,535 bytes).
///
/// The masking key is zero: that is a key like any other to a server, and costs no masking here.
pub fn put_client_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    if payload.len() < 126 {
        out.push(0x80 | payload.len() as u8);
    } else {
        debug_assert!(payload.len() <= 0xFFFF);
        out.push(0x80 | 126);
        out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

enum Extent {
    /// Bytes of header and payload.
    Known { header: usize, payload: usize },
    /// The header is cut off; it has at least so many bytes.
    Needs(usize),
}

fn frame_at(bytes: &[u8]) -> Result<Extent, String> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(Extent::Needs(2));
    };
    if first & 0xF0 != 0x80 {
        return Err(format!(
            "a frame begins with {first:#04x}: fragmented, or a reserved bit set"
        ));
    }
    if second & 0x80 != 0 {
        return Err("a frame from the server is masked".into());
    }
    Ok(match second {
        126 => match rest.first_chunk::<2>() {
            Some(&length) => Extent::Known {
                header: 4,
                payload: usize::from(u16::from_be_bytes(length)),
            },
            None => Extent::Needs(4),
        },
        127 => match rest.first_chunk::<8>() {
            Some(&length) => {
                let payload = usize::try_from(u64::from_be_bytes(length))
                    .ok()
                    .filter(|&payload| payload <= 64 << 20)
                    .ok_or("a frame announces more than 64 MiB")?;
                Extent::Known {
                    header: 10,
                    payload,
                }
            }
            None => Extent::Needs(10),
        },
        short => Extent::Known {
            header: 2,
            payload: usize::from(short),
        },
    })
}

/// Appends a server's frame, for tests.
#[cfg(test)]
pub fn put_server_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn scan<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<(u8, Vec<u8>)> {
        let mut scanner = Scanner::default();
        let mut seen = Vec::new();
        for piece in pieces {
            scanner
                .feed(piece, |opcode, payload| {
                    seen.push((opcode, payload.to_vec()));
                    Ok(())
                })
                .unwrap();
        }
        assert!(scanner.cut_off.is_empty());
        seen
    }

    #[test]
    fn lengths_of_all_three_forms() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut bytes = Vec::new();
            put_server_frame(TEXT, &payload, &mut bytes);
            put_server_frame(PING, b"p", &mut bytes);
            let expected = [(TEXT, payload), (PING, b"p".to_vec())];
            assert_eq!(scan([&bytes[..]]), expected);
            assert_eq!(scan(bytes.chunks(1)), expected);
        }
    }

    #[test]
    fn what_no_server_sends_is_an_error() {
        for bytes in [
            &[0x01, 0x00][..],
            &[0xC1, 0x00],
            &[0x81, 0x80],
            &[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(
                Scanner::default().feed(bytes, |_, _| Ok(())).is_err(),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn client_frames_are_masked_with_zero() {
        let mut out = Vec::new();
        put_client_frame(PONG, b"ab", &mut out);
        assert_eq!(out, [0x8A, 0x82, 0, 0, 0, 0, b'a', b'b']);
        out.clear();
        put_client_frame(TEXT, &[b'x'; 300], &mut out);
        assert_eq!(out[..8], [0x81, 0xFE, 1, 44, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_cut_finds_the_same_frames(
            payloads in prop::collection::vec((1u8..3, prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut bytes = Vec::new();
            for (opcode, payload) in &payloads {
                put_server_frame(*opcode, payload, &mut bytes);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(scan(pieces), payloads);
        }
    }
}
