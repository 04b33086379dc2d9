//! Text for files and people, without the formatting of `core`, which calls through pointers.

use crate::port::{Port, System};
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// Buffered output.
pub struct Out {
    output: <System as Port>::Output,
    buffer: [MaybeUninit<u8>; 1024],
    used: usize,
    error: i32,
}

impl Out {
    /// Output to `output`.
    pub const fn new(output: <System as Port>::Output) -> Self {
        Self { output, buffer: [MaybeUninit::uninit(); 1024], used: 0, error: 0 }
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if self.used == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.used].write(byte);
            self.used += 1;
        }
        self
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Writes a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.bytes(decimal(number, &mut [0; 20]))
    }

    /// Writes a number with the digits 0 to f.
    pub fn hex(&mut self, number: u64) -> &mut Self {
        let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.bytes(&[b"0123456789abcdef"[(number >> (digit * 4) & 15) as usize]]);
        }
        self
    }

    /// Writes an address as a JSON string, `"0x…"`.
    pub fn address(&mut self, address: u64) -> &mut Self {
        self.text("\"0x").hex(address).text("\"")
    }

    /// Writes a JSON string, or `null`.
    pub fn string(&mut self, text: Option<&[u8]>) -> &mut Self {
        let Some(text) = text else { return self.text("null") };
        self.text("\"");
        for chunk in text.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                match byte {
                    b'"' => self.text("\\\""),
                    b'\\' => self.text("\\\\"),
                    0..0x20 => {
                        let hex = b"0123456789abcdef";
                        let (high, low) = (hex[(byte >> 4) as usize], hex[(byte & 15) as usize]);
                        self.text("\\u00").bytes(&[high, low])
                    }
                    _ => self.bytes(&[byte]),
                };
            }
            if !chunk.invalid().is_empty() {
                self.text("\u{fffd}");
            }
        }
        self.text("\"")
    }

    /// What has not been flushed yet.
    pub fn written(&self) -> &[u8] {
        // SAFETY: `bytes` has written what comes before `used`.
        unsafe { core::slice::from_raw_parts(self.buffer.as_ptr().cast(), self.used) }
    }

    fn flush(&mut self) {
        if self.error == 0 {
            self.error = System::write(self.output, self.written()).err().unwrap_or(0);
        }
        self.used = 0;
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The first error that writing met.
    pub fn finish(&mut self) -> Result<(), i32> {
        self.flush();
        if self.error == 0 { Ok(()) } else { Err(self.error) }
    }
}

/// The digits of a number.
pub fn decimal(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

/// `path`, from `directory` on if it is relative, with `%p` replaced by the process id and each suffix added behind a `.`,
/// as a C string in `room`. `None` when it does not fit.
pub fn expand_path<'a>(
    directory: &[u8],
    path: &[u8],
    pid: u32,
    suffixes: &[&[u8]],
    room: &'a mut [u8],
) -> Option<&'a CStr> {
    let mut used = 0;
    let mut put = |bytes: &[u8]| -> Option<()> {
        for &byte in bytes {
            *room.get_mut(used)? = byte;
            used += 1;
        }
        Some(())
    };
    if !directory.is_empty() && !path.starts_with(b"/") {
        put(directory)?;
        put(b"/")?;
    }
    let mut rest = path;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"%p") {
        put(&rest[..at])?;
        put(decimal(pid.into(), &mut [0; 20]))?;
        rest = &rest[at + 2..];
    }
    put(rest)?;
    for suffix in suffixes {
        put(b".")?;
        put(suffix)?;
    }
    put(b"\0")?;
    CStr::from_bytes_until_nul(room).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_is_put_into_the_path() {
        let mut buffer = [0u8; 32];
        assert_eq!(expand_path(b"/d", b"/tmp/%p.%x", 407, &[], &mut buffer), Some(c"/tmp/407.%x"));
        assert_eq!(expand_path(b"", b"a", 1, &[b"libx.so", b"7"], &mut buffer), Some(c"a.libx.so.7"));
        assert_eq!(expand_path(b"/%p", b"%p", 1, &[], &mut buffer), Some(c"/%p/1"));
        assert_eq!(expand_path(b"", b"/tmp/long", 1, &[], &mut [0u8; 4]), None);
    }

    #[test]
    fn output_is_json() {
        let mut out = Out::new(-1);
        out.string(Some(b"a\"\\\n\xffz"))
            .text(" ")
            .address(0)
            .text(" ")
            .address(0xabc)
            .text(" ")
            .number(1200);
        assert_eq!(out.written(), "\"a\\\"\\\\\\u000a\u{fffd}z\" \"0x0\" \"0xabc\" 1200".as_bytes());
    }
}
