// Trait objects and boxed closures: handlers of three kinds, called through one `dyn FnMut`.
//
//     relpoline-rustc --edition 2024 -O -g events.rs -o events
//     RELPOLINE_OPTIONS=stats=events.json ./events
//     cat events.json
//
// In events.json the site in deliver is "polymorphic", the one in count_all "monomorphic". With cargo, the
// same is `RUSTC_WRAPPER=relpoline-rustc cargo build --release`.
use std::cell::Cell;
use std::rc::Rc;

trait Source {
    fn next(&mut self) -> Option<u64>;
}

struct Counter(u64);

impl Source for Counter {
    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.checked_sub(1)?;
        Some(self.0)
    }
}

struct Empty;

impl Source for Empty {
    fn next(&mut self) -> Option<u64> {
        None
    }
}

#[inline(never)]
fn count_all(source: &mut dyn Source) -> u64 {
    let mut sum = 0;
    while let Some(value) = source.next() {
        sum += value;
    }
    sum
}

#[inline(never)]
fn deliver(handlers: &mut [Box<dyn FnMut(u64)>], events: u64) {
    let count = handlers.len() as u64;
    for event in 0..events {
        handlers[(event % count) as usize](event);
    }
}

fn main() {
    let sum = Rc::new(Cell::new(0));
    let (even, odd, most) = (sum.clone(), sum.clone(), sum.clone());
    let mut handlers: Vec<Box<dyn FnMut(u64)>> = vec![
        Box::new(move |event| even.set(even.get() + event)),
        Box::new(move |event| odd.set(odd.get() ^ event)),
        Box::new(move |event| most.set(most.get().max(event))),
    ];
    deliver(&mut handlers, 100_000);
    println!("handlers {}", sum.get());
    // Two implementations, so that the compiler cannot know which one is meant.
    let sources: [Box<dyn Source>; 2] = [Box::new(Counter(50_000)), Box::new(Empty)];
    let counted: u64 = sources.into_iter().map(|mut source| count_all(&mut *source)).sum();
    println!("sources {counted}");
}
