//! WebSocket frames as a browser sends and takes them, without anything of the server's.

/// Appends a frame as browsers send them, masked.
pub fn put_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    out.push(0x80 | opcode);
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => out.push(0x80 | len),
        _ => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

/// Takes a whole frame of the server's off the front, if there is one.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second] = *bytes.first_chunk()?;
    assert!(
        first & 0xF0 == 0x80 && second < 0x80,
        "a whole frame, not masked"
    );
    let (header, len) = match second {
        126 => {
            let len = bytes.get(2..4)?;
            (4, usize::from(u16::from_be_bytes([len[0], len[1]])))
        }
        127 => panic!("no event is so long"),
        len => (2, usize::from(len)),
    };
    let payload = bytes.get(header..header + len)?.to_vec();
    bytes.drain(..header + len);
    Some((first & 0x0F, payload))
}
