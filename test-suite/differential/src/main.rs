//! Differential testing: generated programs full of indirect calls do the same with and without relpolines, at every
//! optimisation level. `ci/differential` calls it.

mod c_like;
mod compare;
mod csmith;
mod random;
mod rust;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use compare::{Compilers, Outcome, Subject, Sums};
use random::Random;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(name = "relpoline-differential", version, about, args_override_self = true)]
struct Arguments {
    /// Where programs are put. Those that differ stay there.
    #[arg(long)]
    dir: PathBuf,
    /// How many programs csmith makes.
    #[arg(long)]
    programs: usize,
    /// How many of C, of C++ and of Rust the generators of this test suite make.
    #[arg(long)]
    generated: usize,
    /// The first program's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many are compared at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// csmith.
    #[arg(long, default_value = "csmith")]
    csmith: String,
    /// Where csmith's headers are.
    #[arg(long, default_value = "/usr/include/csmith")]
    csmith_headers: String,
    /// Plain clang; clang++ has the same name with ++.
    #[arg(long)]
    clang: String,
    /// relpoline-clang; relpoline-clang++ has the same name with ++.
    #[arg(long)]
    relpoline_clang: String,
    /// Plain rustc.
    #[arg(long, default_value = "rustc")]
    rustc: String,
    /// relpoline-rustc.
    #[arg(long)]
    relpoline_rustc: String,
}

/// Where programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Csmith,
    C,
    Cxx,
    Rust,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Csmith, Self::C, Self::Cxx, Self::Rust];

    fn title(self) -> &'static str {
        match self {
            Self::Csmith => "csmith",
            Self::C => "C",
            Self::Cxx => "C++",
            Self::Rust => "Rust",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Csmith | Self::C => "c",
            Self::Cxx => "cpp",
            Self::Rust => "rs",
        }
    }

    fn compilers(self, arguments: &Arguments) -> Compilers {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let clang = |name: &str, plus: &str| {
            // clang-22, clang++-22
            let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
            let file = file.replacen("clang", &format!("clang{plus}"), 1);
            let name = if folder.is_empty() { file } else { format!("{folder}/{file}") };
            let mut command = words(&[&name, "-w"]);
            if self == Self::Csmith {
                // csmith converts numbers that are too large to integers, which each of LLVM's instruction selectors
                // does in its own way.
                let strange = ["-Wno-incompatible-pointer-types", "-fno-strict-float-cast-overflow"];
                command.extend(words(&[strange[0], strange[1], "-I", &arguments.csmith_headers]));
            }
            command
        };
        if self == Self::Rust {
            return Compilers {
                plain: words(&[&arguments.rustc, "--edition=2024"]),
                relpoline: words(&[&arguments.relpoline_rustc, &arguments.rustc, "--edition=2024"]),
            };
        }
        let plus = if self == Self::Cxx { "++" } else { "" };
        Compilers { plain: clang(&arguments.clang, plus), relpoline: clang(&arguments.relpoline_clang, plus) }
    }

    /// Options that change how calls are made. One set is used for each program, at all levels.
    fn variations(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Csmith => &[&[]],
            Self::C | Self::Cxx => &[
                &[],
                &["-fno-pie", "-no-pie"],
                &["-fno-plt"],
                &["-flto", "-fuse-ld=lld"],
                &["-flto=thin", "-fuse-ld=lld"],
                &["-fno-omit-frame-pointer", "-fPIC"],
                &["-static"],
                &["-mavx2"],
                &["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-g"],
                &["-fstack-protector-all"],
            ],
            Self::Rust => &[
                &[],
                &["-Ccodegen-units=1"],
                &["-Clto=fat"],
                &["-Clto=thin"],
                &["-Crelocation-model=static"],
                &["-Cprefer-dynamic", "-Crpath"],
                &["-Cdebug-assertions", "-g"],
            ],
        }
    }

    fn arguments(self, seed: u64, level: &str) -> Vec<String> {
        let option = if self == Self::Rust { "-Copt-level=" } else { "-O" };
        let variation = Random::new(seed).one(self.variations());
        [format!("{option}{level}")]
            .into_iter()
            .chain(variation.iter().map(|&word| word.to_owned()))
            .collect()
    }
}

const LEVELS: [&str; 4] = ["0", "1", "2", "3"];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.dir)?;
    println!(
        "{:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "", "programs", "same", "different", "skipped", "patches", "unpatched"
    );
    let mut good = true;
    for kind in Kind::ALL {
        let count = if kind == Kind::Csmith { arguments.programs } else { arguments.generated };
        if count == 0 {
            continue;
        }
        let sums = compare_all(&arguments, kind, count)?;
        let [same, different, skipped, patches, unpatched] =
            [&sums.same, &sums.different, &sums.skipped, &sums.patches, &sums.unpatched]
                .map(|sum| sum.load(Ordering::Relaxed));
        println!(
            "{:>8} {count:>10} {same:>10} {different:>10} {skipped:>10} {patches:>10} {unpatched:>10}",
            kind.title()
        );
        // What is never patched, or never compared, proves nothing.
        good &= different == 0 && patches > 0;
    }
    if !good {
        bail!("programs differ, or nothing was compared; see {}", arguments.dir.display());
    }
    Ok(())
}

/// Compares `count` programs of a kind at all levels.
fn compare_all(arguments: &Arguments, kind: Kind, count: usize) -> Result<Sums> {
    let compilers = kind.compilers(arguments);
    let sums = Sums::default();
    let left = AtomicUsize::new(count);
    let seeds = Mutex::new(arguments.seed..);
    let shown = Mutex::new(Instant::now());
    let work = || -> Result<()> {
        loop {
            let take = |left: usize| left.checked_sub(1);
            let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else {
                return Ok(());
            };
            loop {
                let (seed, text) = next_program(arguments, kind, &seeds)?;
                if compare_one(arguments, kind, &compilers, seed, &text, &sums)? {
                    break;
                }
                ensure!(
                    sums.skipped.load(Ordering::Relaxed) < 10 + count,
                    "hardly any program can be compared"
                );
            }
            let mut shown = shown.lock().unwrap();
            if shown.elapsed() > Duration::from_secs(15) {
                *shown = Instant::now();
                println!("{}: {} to go", kind.title(), number - 1);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })?;
    Ok(sums)
}

/// The next program that is worth its while, with its seed.
fn next_program(
    arguments: &Arguments,
    kind: Kind,
    seeds: &Mutex<impl Iterator<Item = u64>>,
) -> Result<(u64, String)> {
    loop {
        let seed = seeds.lock().unwrap().next().expect("there is always another seed");
        let text = match kind {
            Kind::Csmith => csmith::generate(&arguments.csmith, &arguments.dir, seed)?,
            Kind::C => Some(c_like::generate(seed, false)),
            Kind::Cxx => Some(c_like::generate(seed, true)),
            Kind::Rust => Some(rust::generate(seed)),
        };
        if let Some(text) = text {
            return Ok((seed, text));
        }
    }
}

/// Compares a program at all levels. Returns whether that can be done.
fn compare_one(
    arguments: &Arguments,
    kind: Kind,
    compilers: &Compilers,
    seed: u64,
    text: &str,
    sums: &Sums,
) -> Result<bool> {
    let name = format!("{}-{seed}", kind.title().to_lowercase());
    let source = arguments.dir.join(format!("{name}.{}", kind.extension()));
    fs::write(&source, text)?;
    let mut keep = false;
    for level in LEVELS {
        let subject = Subject {
            name: format!("{name}-{level}"),
            source: source.clone(),
            compilers,
            arguments: kind.arguments(seed, level),
        };
        let outcome = subject.compare()?;
        sums.add(&outcome);
        match outcome {
            Outcome::Same(_) => {}
            Outcome::Skipped => {
                fs::remove_file(&source)?;
                return Ok(false);
            }
            Outcome::Different(how) => {
                println!("{} {}: {how}", source.display(), subject.arguments.join(" "));
                keep = true;
            }
        }
    }
    if !keep {
        fs::remove_file(&source)?;
    }
    Ok(true)
}
