//! Decisions on counts, and the pace of rests.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use relpoline::layout::record::WAYS;
use relpoline::policy::{Decision, Pace, Refusal, Seen, decide};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Calls, placed, reachable. A record counts up to its limit, which has 31 bits.
    seen: [(u32, bool, bool); WAYS],
    known: u8,
    others: u32,
    rests: u8,
    rested_at: u64,
    now: Vec<u64>,
}

fuzz_target!(|input: Input| {
    let seen = input.seen.iter().enumerate().map(|(way, &(calls, placed, reachable))| Seen {
        way: way as u8,
        calls,
        placed,
        reachable,
    });
    let seen: Vec<Seen> = seen.take(usize::from(input.known) % (WAYS + 1)).collect();
    // The targets are sorted in place.
    match decide(&mut seen.clone(), input.others) {
        Decision::Promote { ways, count } => {
            let ways: Vec<usize> = ways[..count].iter().map(|&way| way.into()).collect();
            assert!(!ways.is_empty());
            for (place, &way) in ways.iter().enumerate() {
                assert!(seen[way].reachable && !seen[way].placed && seen[way].calls > 0);
                let hotter = ways[..place]
                    .iter()
                    .all(|&before| before != way && seen[before].calls >= seen[way].calls);
                assert!(hotter, "{ways:?} of {seen:?}");
            }
        }
        Decision::Quiet { because } => {
            assert!(matches!(because, Refusal::None | Refusal::OutOfReach));
            assert!(because == Refusal::None || seen.iter().any(|target| !target.reachable));
        }
        Decision::Wait => {
            let calls = seen.iter().any(|target| target.calls > 0) || input.others > 0;
            assert!(!calls || seen.iter().any(|target| target.placed));
        }
    }

    let mut pace = Pace { rests: input.rests % 15, rested_at: input.rested_at };
    for now in input.now {
        assert!(pace.rest(now) > 0);
    }
});
