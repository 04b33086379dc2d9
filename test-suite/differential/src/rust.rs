//! Programs in Rust that call through function pointers, trait objects, closures and futures.

use crate::random::Random;
use std::fmt::{self, Write};

const ROUNDS: usize = 4000;

/// Types of both conventions; `prelude.rs` makes and folds them.
const VALUES: [&str; 16] = [
    "bool", "i8", "u16", "i32", "u64", "u128", "f32", "f64", "Small", "Mixed", "Floats", "Pair", "Memory",
    "Large", "Aligned", "Owner",
];

/// Types that only Rust's convention passes.
const ONLY_IN_RUST: [&str; 11] = [
    "()",
    "char",
    "&'static str",
    "[u8; 3]",
    "[u32; 8]",
    "(u32, f64)",
    "Option<u64>",
    "Option<Box<u32>>",
    "Result<u32, String>",
    "Vec<u8>",
    "Choice",
];

const PICKS: usize = 5;

/// The program of this seed.
pub fn generate(seed: u64) -> String {
    let mut generator = Generator {
        random: Random::new(seed),
        text: include_str!("prelude.rs").to_owned(),
        sites: Vec::new(),
    };
    generator.program().expect("a String takes everything");
    generator.text
}

struct Generator {
    random: Random,
    text: String,
    /// Functions with a site each, `fn(round: usize, hash: u64) -> u64`.
    sites: Vec<String>,
}

/// What functions take and give that can be called from the same site.
struct Family {
    /// `extern "C-unwind"`, or nothing.
    convention: &'static str,
    result: &'static str,
    parameters: Vec<&'static str>,
    panics: bool,
}

impl Family {
    fn declared_parameters(&self) -> String {
        self.parameters
            .iter()
            .enumerate()
            .fold("mut hash: u64".into(), |all, (at, of)| format!("{all}, p{at}: {of}"))
    }

    fn types(&self) -> String {
        self.parameters.iter().fold("u64".into(), |all, of| format!("{all}, {of}"))
    }

    fn made_arguments(&self) -> String {
        (0..self.parameters.len())
            .fold("hash".into(), |all, at| format!("{all}, Value::make(mix(hash, {at}))"))
    }
}

impl Generator {
    fn program(&mut self) -> fmt::Result {
        for family in 0..4 + self.random.below(4) {
            self.pointers(family)?;
            self.objects(family)?;
        }
        self.closures()?;
        self.futures()?;
        self.site("formatted(std::hint::black_box(&FORMAT)[0], hash)", false)?;
        writeln!(
            self.text,
            "fn main() {{\n    std::panic::set_hook(Box::new(|_| ()));\n    let mut hash = 1;"
        )?;
        writeln!(self.text, "    for round in 0..{ROUNDS} {{")?;
        for site in &self.sites {
            writeln!(self.text, "        hash = mix({site}(round, hash), ENDED.get());")?;
        }
        writeln!(self.text, "        if round % 500 == 499 {{ println!(\"{{hash:x}}\"); }}\n    }}\n}}")
    }

    fn value(&mut self, only_c: bool) -> &'static str {
        let at = self.random.below(VALUES.len() + if only_c { 0 } else { ONLY_IN_RUST.len() });
        VALUES.get(at).or_else(|| ONLY_IN_RUST.get(at - VALUES.len())).expect("an index below the sum")
    }

    fn some_family(&mut self, may_be_c: bool) -> Family {
        let c = may_be_c && self.random.below(3) == 0;
        let result = self.value(c);
        let parameters = (0..self.random.below(9)).map(|_| self.value(c)).collect();
        let convention = if c { "extern \"C-unwind\" " } else { "" };
        Family { convention, result, parameters, panics: self.random.below(3) == 0 }
    }

    fn body(&mut self, family: &Family) -> fmt::Result {
        writeln!(self.text, " {{\n    hash = mix(hash, {});", self.random.number() >> 33)?;
        for at in 0..family.parameters.len() {
            writeln!(self.text, "    hash = mix(hash, p{at}.fold());")?;
        }
        if family.panics {
            writeln!(self.text, "    if hash % 7 == 0 {{ panic_any(hash); }}")?;
        }
        writeln!(self.text, "    Value::make(hash)\n}}")
    }

    /// A function whose one site is in the expression `call`, of `round` and `hash`.
    fn site(&mut self, call: &str, panics: bool) -> fmt::Result {
        let name = format!("site{}", self.sites.len());
        writeln!(self.text, "#[inline(never)]\nfn {name}(round: usize, hash: u64) -> u64 {{")?;
        if panics {
            writeln!(
                self.text,
                "    let guarded = || {{ let _guard = Owner(hash); {call}.fold() }};\n    \
                 let value = catch_unwind(AssertUnwindSafe(guarded)).unwrap_or_else(|thrown| *thrown.downcast().unwrap());"
            )?;
        } else {
            writeln!(self.text, "    let value = {call}.fold();")?;
        }
        writeln!(self.text, "    mix(hash, value)\n}}")?;
        self.sites.push(name);
        Ok(())
    }

    /// Functions in a table.
    fn pointers(&mut self, number: usize) -> fmt::Result {
        let family = self.some_family(true);
        let count = 1 + self.random.below(9);
        for target in 0..count {
            let parameters = family.declared_parameters();
            write!(
                self.text,
                "{}fn f{number}_{target}({parameters}) -> {}",
                family.convention, family.result
            )?;
            self.body(&family)?;
        }
        let names: Vec<_> = (0..count).map(|target| format!("f{number}_{target}")).collect();
        writeln!(
            self.text,
            "static TABLE{number}: [{}fn({}) -> {}; {count}] = [{}];",
            family.convention,
            family.types(),
            family.result,
            names.join(", ")
        )?;
        for _ in 0..1 + self.random.below(3) {
            let pick = self.random.below(PICKS);
            let table = format!("std::hint::black_box(&TABLE{number})");
            let call = format!("{table}[pick({pick}, round, {count})]({})", family.made_arguments());
            self.site(&call, family.panics)?;
        }
        Ok(())
    }

    /// Types with a trait, behind `dyn`, that have fields or none.
    fn objects(&mut self, number: usize) -> fmt::Result {
        let family = self.some_family(false);
        let parameters = family.declared_parameters();
        let result = family.result;
        writeln!(
            self.text,
            "trait Trait{number} {{\n    fn work(&self, {}) -> {result};",
            parameters.replace("mut hash", "hash")
        )?;
        writeln!(
            self.text,
            "    fn inherited(&self, hash: u64) -> u64 {{ self.number() ^ hash }}\n    fn number(&self) -> u64;\n}}"
        )?;
        let count = 1 + self.random.below(9);
        for class in 0..count {
            let field = self.value(false);
            writeln!(self.text, "struct Type{number}_{class}({field}, Owner);")?;
            writeln!(self.text, "impl Trait{number} for Type{number}_{class} {{")?;
            writeln!(self.text, "fn number(&self) -> u64 {{ self.1.0 + {class} }}")?;
            write!(self.text, "fn work(&self, {parameters}) -> {result}")?;
            self.body(&family)?;
            writeln!(self.text, "}}")?;
        }
        let cases: Vec<_> = (0..count)
            .map(|class| {
                format!("{class} => Box::new(Type{number}_{class}(Value::make({class}), Owner({class})))")
            })
            .collect();
        writeln!(
            self.text,
            "fn make{number}(which: usize) -> Box<dyn Trait{number}> {{ match which {{ {}, _ => unreachable!() }} }}",
            cases.join(", ")
        )?;
        writeln!(
            self.text,
            "thread_local!(static OBJECTS{number}: Vec<Box<dyn Trait{number}>> = (0..{count}).map(make{number}).collect());"
        )?;
        let pick = format!("pick({}, round, {count})", self.random.below(PICKS));
        let arguments = family.made_arguments();
        self.site(&format!("OBJECTS{number}.with(|all| all[{pick}].work({arguments}))"), family.panics)?;
        self.site(&format!("OBJECTS{number}.with(|all| all[{pick}].inherited(hash))"), false)?;
        // Made, called and dropped.
        self.site(&format!("make{number}({pick}).work({arguments})"), family.panics)
    }

    fn closures(&mut self) -> fmt::Result {
        let family = self.some_family(false);
        let count = 1 + self.random.below(6);
        let (types, result) = (family.types(), family.result);
        writeln!(
            self.text,
            "fn closure(which: usize) -> Box<dyn FnOnce({types}) -> {result}> {{ match which {{"
        )?;
        let mut kinds = String::new();
        for lambda in 0..count {
            let capture = self.value(false);
            write!(
                self.text,
                "{lambda} => {{ let captured: {capture} = Value::make({lambda}); Box::new(move |"
            )?;
            write!(self.text, "{}| {{ hash = mix(hash, captured.fold());", family.declared_parameters())?;
            self.body(&family)?;
            writeln!(self.text, "}}) }}")?;
            write!(
                kinds,
                "{lambda} => {{ let mut count = 0; Box::new(move |hash| {{ count += {lambda}; hash ^ count }}) }}"
            )?;
        }
        writeln!(self.text, "_ => unreachable!() }} }}")?;
        writeln!(
            self.text,
            "fn counter(which: usize) -> Box<dyn FnMut(u64) -> u64> {{ match which {{ {kinds} _ => unreachable!() }} }}"
        )?;
        writeln!(
            self.text,
            "thread_local!(static COUNTERS: std::cell::RefCell<Vec<Box<dyn FnMut(u64) -> u64>>> = \
             std::cell::RefCell::new((0..{count}).map(counter).collect()));"
        )?;
        let pick = format!("pick({}, round, {count})", self.random.below(PICKS));
        self.site(&format!("closure({pick})({})", family.made_arguments()), family.panics)?;
        self.site(&format!("COUNTERS.with_borrow_mut(|all| all[{pick}](hash))"), false)
    }

    fn futures(&mut self) -> fmt::Result {
        let count = 2 + self.random.below(5);
        writeln!(
            self.text,
            "fn future(which: usize, hash: u64) -> Pin<Box<dyn Future<Output = u64>>> {{ match which {{"
        )?;
        writeln!(self.text, "0 => Box::pin(Later(hash, false)),")?;
        for number in 1..count {
            let kept = self.value(false);
            writeln!(
                self.text,
                "{number} => Box::pin(async move {{ let kept: {kept} = Value::make(hash); let inner: Pin<Box<dyn Future<Output = u64>>> = \
                 future({}, hash + {number}); mix(inner.await, kept.fold()) }}),",
                number - 1
            )?;
        }
        writeln!(self.text, "_ => unreachable!() }} }}")?;
        let pick = self.random.below(PICKS);
        self.site(&format!("wait(future(pick({pick}, round, {count}), hash))"), false)
    }
}
