//! relpoline report.

mod common;

use common::{CLANG, Files, RELPOLINE};

const TEMPLATE: &str = r#"
#include <cstdio>
template <typename T> __attribute__((noinline)) T call(T (*function)(T), T x) { return function(x) + 1; }
static int twice(int x) { return 2 * x; }
static int thrice(int x) { return 3 * x; }
static int (*volatile functions[2])(int) = {twice, thrice};
int main() {
    int sum = 0;
    for (int i = 0; i < 10000; i++) sum += call(functions[i % 2], i);
    std::printf("%d\n", sum);
}
"#;

#[test]
fn statistics_become_a_page() {
    let files = Files::new(&[("a.cpp", TEMPLATE)]);
    files.run(format!("{CLANG}++"), "-O2 -g a.cpp -o a").in_silence();
    let mut run = common::command(files.path("a"));
    run.env("RELPOLINE_OPTIONS", "stats=stats.json");
    files.run_with(run, "").in_silence();
    let page = files.run(RELPOLINE, "report stats.json").in_silence().stdout;
    assert!(page.starts_with("<!DOCTYPE html>") && page.matches("<svg").count() == 3, "{page}");
    // Demangled, and escaped.
    for expected in ["call&lt;int&gt;(", "a.cpp:3", "polymorphic", "twice", "thrice"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    files.run(RELPOLINE, "report stats.json -o page.html").in_silence();
    assert_eq!(std::fs::read_to_string(files.path("page.html")).unwrap(), page);
}

#[test]
fn what_is_no_statistics_is_refused() {
    let files = Files::new(&[
        ("text", "dear diary"),
        ("new", r#"{"version":2,"sites":[]}"#),
        ("half", r#"{"version":1,"pid":1,"mode":"on","totals":{}}"#),
    ]);
    for (name, parts) in [
        ("nothing", ["cannot read nothing", "No such file"]),
        ("text", ["text holds no statistics; run a program with RELPOLINE_OPTIONS=stats=FILE to", "line 1"]),
        ("new", ["new holds statistics of version 2, expected 1", "use the 'relpoline'"]),
        ("half", ["half holds no statistics", "missing field"]),
    ] {
        files.run(RELPOLINE, &format!("report {name}")).fails_with(2, &parts);
    }
    files
        .run(RELPOLINE, "report /dev/zero")
        .fails_with(2, &["cannot read /dev/zero", "neither a regular file nor"]);
    files.write("empty", EMPTY);
    let pipe = files.script("pipe", "(sleep 0.1; cat empty) | $1 report /dev/stdin");
    let page = files.run(pipe, RELPOLINE).in_silence().stdout;
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    files.run("mkfifo", "fifo").in_silence();
    files.run(RELPOLINE, "report fifo").fails_with(2, &["cannot read fifo", "nobody writes to it"]);
    files.run(RELPOLINE, "report empty").in_silence();
}

#[test]
fn what_is_read_is_not_written_over() {
    let files = Files::new(&[("stats.json", EMPTY)]);
    files.run("ln", "-s stats.json link").in_silence();
    for output in ["stats.json", "./stats.json", "link"] {
        let line = format!("report stats.json -o {output}");
        files.run(RELPOLINE, &line).fails_with(2, &["is what is read, expected another file", "--output"]);
    }
    assert_eq!(std::fs::read_to_string(files.path("stats.json")).unwrap(), EMPTY);
    files.run(RELPOLINE, "report stats.json -o page.html").in_silence();
    files.run(RELPOLINE, "report stats.json -o page.html").in_silence();
}

#[test]
fn names_may_be_anything_and_numbers_large() {
    let site = serde_json::json!({"address": "0x1", "offset": "0x1", "object": "/a/\u{1b}[31mred", "function": "f\0\u{1b}",
        "file": "a\u{7}.c", "line": 3, "state": "learning\u{1b}", "calls": u64::MAX, "counting": true,
        "failure": "why\u{1b}", "targets": [{"address": "0x2", "function": "\u{9b}", "count": 1, "patched": true}]});
    let mut stats: serde_json::Value = serde_json::from_str(EMPTY).unwrap();
    stats["mode"] = "on\u{1b}".into();
    stats["sites"] = vec![site.clone(), site].into();
    let files = Files::new(&[("stats.json", &stats.to_string())]);
    let page = files.run(RELPOLINE, "report stats.json").in_silence().stdout;
    let wrong = page.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(wrong, None, "{page}");
    assert!(page.contains("Relpolines of \u{fffd}[31mred") && page.contains("f\u{fffd}\u{fffd}"), "{page}");
    assert!(page.contains("<dd>18,446,744,073,709,551,615</dd>"), "{page}");
}

#[test]
fn of_many_sites_the_busiest_are_listed() {
    let site = |number: u64| {
        serde_json::json!({"address": format!("{number:#x}"), "offset": "0x1", "object": "/a", "function": null,
            "file": null, "line": 0, "state": "learning", "calls": number, "counting": true, "failure": null,
            "targets": []})
    };
    let mut stats: serde_json::Value = serde_json::from_str(EMPTY).unwrap();
    stats["sites"] = (1..=20_000).map(site).collect::<Vec<_>>().into();
    let files = Files::new(&[("stats.json", &stats.to_string())]);
    let page = files.run(RELPOLINE, "report stats.json").in_silence().stdout;
    assert!(page.len() < 1_000_000, "{}", page.len());
    for (number, is_listed) in [(20_000, true), (19_001, true), (19_000, false)] {
        assert_eq!(page.contains(&format!("{number:#x}<")), is_listed, "{number}");
    }
    for expected in ["20,000 sites that ran", "The first 1,000 are listed, and 19,000 left out"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

/// Of a program none of whose sites has run.
const EMPTY: &str = r#"{"version":1,"pid":1,"mode":"on","totals":{"sites":0,"executed":0,"monomorphic":0,"polymorphic":0,
"megamorphic":0,"learning":0,"off":0,"patches":0,"relearns":0,"failures":0},"sites":[]}"#;
