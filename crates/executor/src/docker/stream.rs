//! The stream of a container's output: frames of standard output and standard error, taken apart.

use std::io::{self, Read, Write};

/// Bytes passed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// Passes on every frame until the stream ends. A reader that is gone does not end it: the process would wait for ever.
pub(super) fn pass_on(from: &mut dyn Read, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<()> {
    let mut head = [0_u8; 8];
    let mut piece = vec![0_u8; PIECE_BYTES];
    loop {
        match read_head(from, &mut head)? {
            0 => return Ok(()),
            8 => {}
            _ => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the output is cut short")),
        }
        let mut left = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let to: &mut dyn Write = if head[0] == 2 { stderr } else { stdout };
        while left > 0 {
            let room = left.min(piece.len());
            from.read_exact(&mut piece[..room])?;
            let _ = to.write_all(&piece[..room]);
            left -= room;
        }
        let _ = to.flush();
    }
}

/// How many bytes of a head there were before the end.
fn read_head(from: &mut dyn Read, head: &mut [u8; 8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < head.len() {
        match from.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind, 0, 0, 0], (content.len() as u32).to_be_bytes().as_slice(), content].concat()
    }

    #[test]
    fn both_streams_arrive_where_they_belong() {
        let big = vec![b'x'; PIECE_BYTES + 7];
        let bytes = [frame(1, b"out"), frame(2, b"err"), frame(1, b""), frame(1, &big)].concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        pass_on(&mut bytes.as_slice(), &mut out, &mut err).unwrap();
        assert_eq!((out, err), ([b"out".to_vec(), big].concat(), b"err".to_vec()));
    }

    #[test]
    fn an_end_within_a_frame_is_an_error() {
        let whole = frame(1, b"hello");
        for cut in [3, 8, 10] {
            assert!(pass_on(&mut &whole[..cut], &mut Vec::new(), &mut Vec::new()).is_err(), "{cut}");
        }
    }
}
