//! A site table that does not belong to the code, be it by accident or by intent, never makes a wrong call,
//! never stops the program, and is reported.

use object::{Object, ObjectSection};
use relpoline_tests::Program;
use std::fs;

const ENTRY: usize = 20;

/// The table's place in the file.
fn table(program: &Program) -> (Vec<u8>, std::ops::Range<usize>) {
    let bytes = fs::read(program.path()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let (start, size) = file.section_by_name("relpoline_sites").unwrap().file_range().unwrap();
    let range = start as usize..(start + size) as usize;
    assert!(range.len() >= 256 * ENTRY, "{range:?}");
    (bytes, range)
}

/// Runs the program with the table that `damage` leaves, and returns the number of failures it reported.
fn run_damaged(program: &Program, original: &[u8], damage: impl FnOnce(&mut [u8])) -> u64 {
    let mut bytes = original.to_vec();
    damage(&mut bytes);
    fs::write(program.path(), bytes).unwrap();
    let run = program.run::<&str>(&[]).unwrap();
    assert_eq!(run.stdout(), "ok\n");
    run.total("failures")
}

/// A reference keeps its meaning when its row moves: it is relative to the field.
fn swap(table: &mut [u8], one: usize, other: usize, field: usize) {
    let (a, b) = (one * ENTRY + field, other * ENTRY + field);
    let read = |table: &[u8], at: usize| i32::from_le_bytes(table[at..at + 4].try_into().unwrap());
    let (x, y) = (read(table, a) + a as i32, read(table, b) + b as i32);
    table[a..a + 4].copy_from_slice(&(y - a as i32).to_le_bytes());
    table[b..b + 4].copy_from_slice(&(x - b as i32).to_le_bytes());
}

#[test]
fn a_damaged_table_is_refused() {
    for form in [&["-O2"][..], &["-O2", "--relpoline-form=stub"]] {
        let program = Program::build("plain.c", form).unwrap();
        let (original, range) = table(&program);
        assert_eq!(run_damaged(&program, &original, |_| {}), 0, "an intact table is accepted");

        // Rows mixed up: compares, cells and stubs of neighbours.
        for field in [0, 4, 8] {
            let failures = run_damaged(&program, &original, |bytes| {
                let table = &mut bytes[range.clone()];
                (0..256).step_by(2).for_each(|row| swap(table, row, row + 1, field));
            });
            assert!(failures >= 250, "field {field}: {failures} failures");
        }
        // Another version.
        let failures = run_damaged(&program, &original, |bytes| {
            bytes[range.clone()].chunks_mut(ENTRY).for_each(|row| row[19] ^= 0x10);
        });
        assert_eq!(failures, 256);
        // All of it gone.
        for byte in [0, 0xff, 0x7f] {
            let failures = run_damaged(&program, &original, |bytes| bytes[range.clone()].fill(byte));
            assert_eq!(failures, 256, "filled with {byte:#x}");
        }
        // Noise, reproducible.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..40 {
            run_damaged(&program, &original, |bytes| {
                for _ in 0..64 {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    bytes[range.start + state as usize % range.len()] = (state >> 32) as u8;
                }
            });
        }
    }
}

#[test]
fn code_that_is_not_what_was_emitted_is_refused() {
    let program = Program::build("plain.c", &["-O2"]).unwrap();
    let (original, _) = table(&program);
    // A breakpoint on every hot compare: its first byte differs, so the compare is not the one of the table.
    let compare = [0x4c, 0x3b, 0x15];
    let file = object::File::parse(&*original).unwrap();
    let (start, size) = file.section_by_name(".text").unwrap().file_range().unwrap();
    let text = &original[start as usize..(start + size) as usize];
    let found = text.windows(3).filter(|window| *window == compare).count();
    assert!(found >= 256, "{found} compares");
    let failures = run_damaged(&program, &original, |bytes| {
        // `cmp` with its operands exchanged does the same, and is not what the pass emits.
        let text = &mut bytes[start as usize..(start + size) as usize];
        for at in 0..text.len() - 3 {
            if text[at..at + 3] == compare {
                text[at + 1] = 0x39;
            }
        }
    });
    assert_eq!(failures, 256);
}

#[test]
fn a_table_that_is_cut_short_is_reported_and_nothing_is_patched() {
    let dir = tempfile::tempdir().unwrap();
    let stray = dir.path().join("stray.s");
    // Six bytes too many: the last entry has no end.
    fs::write(&stray, ".section relpoline_sites,\"a\",@progbits\n.byte 1,2,3,4,5,6\n.section .note.GNU-stack,\"\",@progbits\n").unwrap();
    let program = Program::build("plain.c", &["-O2", stray.to_str().unwrap()]).unwrap();
    let output = program.try_run::<&str>("", &[]).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"ok\n");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.starts_with("relpoline: error: the site table"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn statistics_that_cannot_be_written_are_reported_and_change_nothing() {
    let program = Program::build("plain.c", &["-O2"]).unwrap();
    let output = program.try_run::<&str>("stats=/nonexistent/folder/stats.json", &[]).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"ok\n");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("/nonexistent/folder/stats.json: no such directory"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}
