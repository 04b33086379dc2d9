//! Indirect calls as Rust makes them: trait objects, closures, function pointers of several conventions,
//! unwinding through them. Prints what happened, in order, so that two builds can be compared.

use std::any::Any;
use std::cell::Cell;
use std::fmt::{Debug, Display, Write};
use std::future::Future;
use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

// Says when it is dropped.
struct Noisy(&'static str);
impl Drop for Noisy {
    fn drop(&mut self) {
        print!("-{} ", self.0);
    }
}

// ---- Trait objects --------------------------------------------------------------------------------------

trait Named {
    fn name(&self) -> String;
}
trait Shape: Named + Any {
    fn area(&self) -> f64;
    fn scale(&mut self, by: f64) -> (f64, u128, Option<Box<dyn Shape>>);
    fn consume(self: Box<Self>) -> [u64; 9];
    fn or_default(&self, fallback: i128) -> i128 {
        fallback - 1
    }
}
struct Square(f64, #[expect(dead_code)] Noisy);
struct Circle(f64, #[expect(dead_code)] Noisy);
impl Named for Square {
    fn name(&self) -> String {
        "square".into()
    }
}
impl Named for Circle {
    fn name(&self) -> String {
        format!("circle of {}", self.0)
    }
}
impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
    fn scale(&mut self, by: f64) -> (f64, u128, Option<Box<dyn Shape>>) {
        self.0 *= by;
        (by, u128::MAX / self.0 as u128, Some(Box::new(Circle(by, Noisy("inner")))))
    }
    fn consume(self: Box<Self>) -> [u64; 9] {
        [self.0 as u64; 9]
    }
}
impl Shape for Circle {
    fn area(&self) -> f64 {
        3.0 * self.0 * self.0
    }
    fn scale(&mut self, by: f64) -> (f64, u128, Option<Box<dyn Shape>>) {
        self.0 += by;
        (self.0, 7, None)
    }
    fn consume(self: Box<Self>) -> [u64; 9] {
        std::array::from_fn(|i| i as u64 + self.0 as u64)
    }
    fn or_default(&self, fallback: i128) -> i128 {
        fallback * 1_000_000_007
    }
}

fn shapes() {
    let mut all: Vec<Box<dyn Shape>> = Vec::new();
    for i in 0..6 {
        if i % 3 == 0 {
            all.push(Box::new(Circle(i as f64, Noisy("circle"))));
        } else {
            all.push(Box::new(Square(i as f64, Noisy("square"))));
        }
    }
    for shape in &mut all {
        let (by, wide, made) = shape.scale(2.0);
        let named: &dyn Named = &**shape;
        println!("{} {} {by} {wide} {:?} {}", named.name(), shape.area(), made.map(|m| m.area()), shape.or_default(5));
    }
    println!("{:?}", all.pop().unwrap().consume());
    println!("{:?}", all.remove(0).consume());
    let any: &dyn Any = &*all[0];
    println!("{}", any.is::<Square>());
}

// ---- Function pointers ----------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Large {
    a: f64,
    b: [i64; 6],
}
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Pair(f32, i32);

extern "C" fn by_c(a: Large, b: Pair, c: u8, d: f64, e: i128) -> Large {
    Large { a: a.a + d + b.0 as f64, b: a.b.map(|x| x + c as i64 + b.1 as i64 + e as i64) }
}
fn by_rust(a: &str, b: &[u32], c: Large, d: bool, e: char) -> Result<(String, u128), Box<dyn Debug>> {
    if d { Ok((format!("{a}{e}{}", c.a), b.iter().map(|&x| x as u128).sum::<u128>() << 70)) } else { Err(Box::new(c)) }
}
extern "sysv64" fn by_sysv(a: i64, b: f32) -> i64 {
    a + b as i64
}
extern "win64" fn by_win(a: i64, b: f32, c: i64, d: i64, e: i64) -> i64 {
    a + b as i64 + c * 10 + d * 100 + e * 1000
}
unsafe extern "C" {
    fn snprintf(out: *mut std::ffi::c_char, size: usize, format: *const std::ffi::c_char, ...) -> i32;
}
#[track_caller]
fn tracked(x: u32) -> u32 {
    x + std::panic::Location::caller().line().min(1)
}
#[cfg(target_arch = "x86_64")]
fn vector(a: std::arch::x86_64::__m128i, b: [f32; 4]) -> [f32; 4] {
    // SAFETY: SSE2 is part of x86-64.
    let x: [i32; 4] = unsafe { std::mem::transmute(a) };
    std::array::from_fn(|i| b[i] * x[i] as f32)
}

fn pointers() {
    let large = Large { a: 1.5, b: [1, 2, 3, 4, 5, 6] };
    let c: extern "C" fn(Large, Pair, u8, f64, i128) -> Large = black_box(by_c);
    println!("{:?}", c(large, Pair(0.5, 7), 9, 2.25, 1 << 5));
    let rust: fn(&str, &[u32], Large, bool, char) -> Result<(String, u128), Box<dyn Debug>> = black_box(by_rust);
    println!("{:?} {:?}", rust("text", &[1, 2, 3], large, true, 'ß'), rust("", &[], large, false, 'x'));
    let sysv: extern "sysv64" fn(i64, f32) -> i64 = black_box(by_sysv);
    let win: extern "win64" fn(i64, f32, i64, i64, i64) -> i64 = black_box(by_win);
    println!("{} {}", sysv(1, 2.5), win(1, 2.5, 3, 4, 5));
    let print: unsafe extern "C" fn(*mut std::ffi::c_char, usize, *const std::ffi::c_char, ...) -> i32 =
        black_box(snprintf);
    let mut text = [0u8; 64];
    // SAFETY: the arguments are what the format names.
    let length = unsafe {
        print(text.as_mut_ptr().cast(), 64, c"%d %g %s %d %d %d %d".as_ptr(), 1, 2.5f64, c"three".as_ptr(), 4, 5, 6, 7)
    };
    println!("{length} {}", String::from_utf8_lossy(&text[..length as usize]));
    let location: fn(u32) -> u32 = black_box(tracked);
    println!("{}", location(1));
    let simd: fn(std::arch::x86_64::__m128i, [f32; 4]) -> [f32; 4] = black_box(vector);
    // SAFETY: SSE2 is part of x86-64.
    println!("{:?}", simd(unsafe { std::mem::transmute([1i32, 2, 3, 4]) }, [0.5, 1.5, 2.5, 3.5]));
}

// ---- Closures -------------------------------------------------------------------------------------------

fn compose(functions: &[Box<dyn Fn(i64) -> i64>]) -> impl Fn(i64) -> i64 + '_ {
    move |x| functions.iter().fold(x, |x, function| function(x))
}
fn visit(tree: &[(u8, Vec<u8>)], see: &mut dyn FnMut(u8, &dyn Display)) {
    for (node, children) in tree {
        see(*node, node);
        children.iter().for_each(|child| see(*child, &format_args!("<{child}>")));
    }
}
fn closures() {
    let offset = black_box(5);
    let functions: Vec<Box<dyn Fn(i64) -> i64>> =
        vec![Box::new(move |x| x + offset), Box::new(|x| x * 3), Box::new(move |x| x - offset), Box::new(i64::abs)];
    let composed = compose(&functions);
    println!("{}", (-20..20).map(composed).fold(0i64, |sum, x| sum.wrapping_mul(31) + x));
    let (mut total, mut text) = (0u32, String::new());
    visit(&[(1, vec![2, 3]), (4, vec![]), (5, vec![6])], &mut |value, shown| {
        total += value as u32;
        write!(text, "{shown},").unwrap();
    });
    println!("{total} {text}");
    let once: Vec<Box<dyn FnOnce() -> Noisy>> = vec![Box::new(|| Noisy("once")), Box::new(|| Noisy("twice"))];
    println!("{}", once.into_iter().map(|f| f().0.len()).sum::<usize>());
    let mut order: Vec<i32> = (0..40).map(|i| i * 7919 % 101).collect();
    let by: &dyn Fn(&i32, &i32) -> std::cmp::Ordering = black_box(&|a: &i32, b: &i32| b.cmp(a));
    order.sort_by(by);
    println!("{order:?}");
    let handle = std::thread::spawn(Box::new(move || offset * 2) as Box<dyn FnOnce() -> i64 + Send>);
    println!("{}", handle.join().unwrap());
}

// ---- Unwinding ------------------------------------------------------------------------------------------

trait Risky {
    fn attempt(&self, noisy: Noisy, depth: u32) -> u64;
}
struct Fails(u32);
impl Risky for Fails {
    fn attempt(&self, _noisy: Noisy, depth: u32) -> u64 {
        let _guard = Noisy("callee");
        if depth == self.0 {
            panic::panic_any(depth);
        }
        u64::from(depth)
    }
}
fn descend(risky: &dyn Risky, depth: u32) -> u64 {
    let _first = Noisy("first");
    let result = risky.attempt(Noisy("argument"), depth);
    let _second = Noisy("second");
    if depth == 0 { result } else { result + descend(risky, depth - 1) }
}
fn unwinding() {
    for fail_at in [9, 2, 0] {
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let _outer = Noisy("outer");
            descend(black_box(&Fails(fail_at)), 3)
        }));
        match result {
            Ok(sum) => println!("sum {sum}"),
            Err(payload) => println!("failed at {}", payload.downcast_ref::<u32>().unwrap()),
        }
    }
    thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
    let nested: &dyn Fn() = black_box(&|| {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        let inner: &dyn Fn() = black_box(&|| panic::panic_any("inner"));
        let _ = panic::catch_unwind(AssertUnwindSafe(inner)).inspect_err(|_| print!("caught inner "));
        panic::panic_any("outer");
    });
    println!("{}", panic::catch_unwind(AssertUnwindSafe(nested)).unwrap_err().downcast_ref::<&str>().unwrap());
    DEPTH.with(|depth| println!("{}", depth.get()));
}

// ---- Futures --------------------------------------------------------------------------------------------

struct Later(u32);
impl Future for Later {
    type Output = u32;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        if self.0 == 0 {
            return Poll::Ready(11);
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
fn futures() {
    let boxed: Pin<Box<dyn Future<Output = u32>>> = Box::pin(async {
        let inner: Pin<Box<dyn Future<Output = u32>>> = Box::pin(Later(3));
        inner.await + Later(2).await
    });
    let mut future = boxed;
    let mut polls = 0;
    let value = loop {
        polls += 1;
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break value;
        }
    };
    println!("{value} after {polls} polls");
}

fn main() {
    panic::set_hook(Box::new(|_| print!("panic ")));
    for _ in 0..3 {
        shapes();
        pointers();
        closures();
        unwinding();
        futures();
    }
}
