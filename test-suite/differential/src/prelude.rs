// Values of every class that Rust's and C's calling conventions know: how each is made of a number, and made a number
// again.
#![allow(warnings)]

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

fn mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0x9e3779b97f4a7c15);
    hash ^ (hash >> 29)
}

/// Which of `count` targets a site calls in this round.
fn pick(kind: usize, round: usize, count: usize) -> usize {
    match kind {
        0 => 0,
        1 => round / 1300 % count,
        2 => round % count,
        3 => if round % 11 != 0 { 0 } else { round / 11 % count },
        _ => (mix(round as u64, kind as u64) >> 40) as usize % count,
    }
}

trait Value {
    fn make(n: u64) -> Self;
    fn fold(self) -> u64;
}

macro_rules! value {
    ($($type:ty: |$n:ident| $make:expr, |$v:ident| $fold:expr;)*) => {$(
        impl Value for $type {
            fn make($n: u64) -> Self { $make }
            fn fold(self) -> u64 { let $v = self; $fold }
        }
    )*};
}

#[repr(C)] #[derive(Clone, Copy)] struct Small { a: i16, b: u8, c: i32 }
#[repr(C)] #[derive(Clone, Copy)] struct Mixed { a: i64, b: f64 }
#[repr(C)] #[derive(Clone, Copy)] struct Floats { a: f32, b: f32, c: f32 }
#[repr(C)] #[derive(Clone, Copy)] struct Pair { a: i64, b: i64 }
#[repr(C)] #[derive(Clone, Copy)] struct Memory { a: u64, b: f64, c: u64 }
#[repr(C)] #[derive(Clone, Copy)] struct Large { a: [u8; 100] }
#[repr(C, align(64))] #[derive(Clone, Copy)] struct Aligned { a: u32 }

/// Ends visibly.
struct Owner(u64);

thread_local!(static ENDED: Cell<u64> = const { Cell::new(0) });

impl Drop for Owner {
    fn drop(&mut self) {
        ENDED.set(mix(ENDED.get(), self.0));
    }
}

#[derive(Clone, Copy)] enum Choice { None, Word(u64), Both(u32, f32), Many([u16; 9]) }

value! {
    (): |_n| (), |_v| 1;
    bool: |n| n & 1 == 1, |v| v as u64;
    i8: |n| n as i8, |v| v as u64;
    u16: |n| n as u16, |v| v as u64;
    i32: |n| n as i32, |v| v as u64;
    u64: |n| n, |v| v;
    u128: |n| (n as u128) << 60 | n as u128 * 3, |v| (v >> 64) as u64 ^ v as u64;
    char: |n| char::from_u32(n as u32 % 0xd800).unwrap(), |v| v as u64;
    f32: |n| n as f32, |v| v.to_bits() as u64;
    f64: |n| n as f64, |v| v.to_bits();
    &'static str: |n| &"a text to point into, as long as that"[n as usize % 32..], |v| v.len() as u64;
    [u8; 3]: |n| [n as u8, (n >> 8) as u8, 5], |v| v.iter().fold(0, |sum, &b| mix(sum, b as u64));
    [u32; 8]: |n| [n as u32; 8], |v| v.iter().fold(0, |sum, &b| mix(sum, b as u64));
    (u32, f64): |n| (n as u32, n as f64), |v| mix(v.0 as u64, v.1.to_bits());
    Option<u64>: |n| (n % 3 != 0).then_some(n), |v| v.unwrap_or(7);
    Option<Box<u32>>: |n| (n % 3 != 0).then(|| Box::new(n as u32)), |v| v.map_or(7, |b| *b as u64);
    Result<u32, String>: |n| if n % 3 != 0 { Ok(n as u32) } else { Err(n.to_string()) },
        |v| v.map_or_else(|text| text.len() as u64, |b| b as u64);
    Vec<u8>: |n| vec![n as u8; n as usize % 9], |v| v.iter().fold(0, |sum, &b| mix(sum, b as u64));
    Choice: |n| match n % 4 {
            0 => Choice::None,
            1 => Choice::Word(n),
            2 => Choice::Both(n as u32, n as f32),
            _ => Choice::Many([n as u16; 9]),
        },
        |v| match v {
            Choice::None => 0,
            Choice::Word(n) => n,
            Choice::Both(a, b) => mix(a as u64, b.to_bits() as u64),
            Choice::Many(all) => all.iter().fold(0, |sum, &b| mix(sum, b as u64)),
        };
    Small: |n| Small { a: n as i16, b: (n >> 16) as u8, c: (n >> 20) as i32 },
        |v| mix(mix(v.a as u64, v.b as u64), v.c as u64);
    Mixed: |n| Mixed { a: n as i64, b: n as f64 }, |v| mix(v.a as u64, v.b.to_bits());
    Floats: |n| Floats { a: n as f32, b: (n >> 20) as f32, c: (n >> 40) as f32 },
        |v| mix(mix(v.a.to_bits() as u64, v.b.to_bits() as u64), v.c.to_bits() as u64);
    Pair: |n| Pair { a: n as i64, b: !n as i64 }, |v| mix(v.a as u64, v.b as u64);
    Memory: |n| Memory { a: n, b: n as f64, c: n >> 1 }, |v| mix(mix(v.a, v.b.to_bits()), v.c);
    Large: |n| Large { a: [n as u8; 100] }, |v| v.a.iter().fold(0, |sum, &b| mix(sum, b as u64));
    Aligned: |n| Aligned { a: n as u32 }, |v| mix(v.a as u64, &raw const v as u64 % 64);
    Owner: |n| Owner(n), |v| v.0;
}

/// A future that is pending once, and then what it was made of.
struct Later(u64, bool);

impl Future for Later {
    type Output = u64;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if self.1 { return Poll::Ready(self.0); }
        self.1 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls until it is ready.
fn wait(mut future: Pin<Box<dyn Future<Output = u64>>>) -> u64 {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) { return value; }
    }
}

unsafe extern "C" { fn snprintf(buffer: *mut c_char, size: usize, format: *const c_char, ...) -> c_int; }

/// Takes variadic arguments, from a table that could hold others.
static FORMAT: [unsafe extern "C" fn(*mut c_char, usize, *const c_char, ...) -> c_int; 1] = [snprintf];

fn formatted(function: unsafe extern "C" fn(*mut c_char, usize, *const c_char, ...) -> c_int, n: u64) -> u64 {
    let mut buffer = [0u8; 99];
    // SAFETY: the buffer is as long as is said, and the arguments are what the format asks for.
    let length = unsafe {
        function(buffer.as_mut_ptr().cast(), buffer.len(), c"%d %.3f %s %llx".as_ptr(), n as c_int, n as f64,
            c"text".as_ptr(), n)
    };
    buffer[..length as usize].iter().fold(0, |sum, &b| mix(sum, b as u64))
}

