//! A site table and the code that it leads to: six offsets of two bytes (text, data, table: start and end), and the
//! memory that they are in. Whatever the table says, nothing outside of the image's text and data is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline::layout::{Cell, Entry, STUB_SIZE};
use relpoline::site::{Image, Index};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::Range;
use std::sync::atomic::Ordering;

unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const u8, length: usize);
}

/// Memory in which AddressSanitizer refuses every access but those to the image.
struct Memory {
    start: *mut u8,
    layout: Layout,
}

impl Memory {
    /// # Panics
    /// When the ranges lie outside of `bytes`.
    fn new(bytes: &[u8], accessible: &[Range<usize>]) -> Self {
        let layout = Layout::from_size_align(bytes.len().max(1), 16).unwrap();
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: new memory of that size.
        unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        let mut ranges = accessible.to_vec();
        ranges.sort_by_key(|range| range.start);
        ranges.push(bytes.len()..bytes.len());
        let mut end = 0;
        for range in ranges {
            if end < range.start {
                // SAFETY: within the memory; nothing but what is tested looks at it.
                unsafe { __asan_poison_memory_region(start.add(end), range.start - end) };
            }
            end = end.max(range.end);
        }
        Self { start, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

fn offsets(header: &[u8; 12]) -> [usize; 6] {
    std::array::from_fn(|index| usize::from(u16::from_le_bytes([header[2 * index], header[2 * index + 1]])))
}

fuzz_target!(|input: &[u8]| {
    let Some((header, bytes)) = input.split_first_chunk() else { return };
    let [text, text_end, data, data_end, table, table_end] = offsets(header);
    let ranges = [text..text_end, data..data_end, table..table_end];
    let rows = table_end.saturating_sub(table) / size_of::<Entry>();
    if ranges.iter().any(|range| range.is_empty() || range.end > bytes.len())
        || table % align_of::<Entry>() != 0
    {
        return;
    }
    let memory = Memory::new(bytes, &ranges);
    let base = memory.start as usize;
    let at = |range: Range<usize>| base + range.start..base + range.end;
    // SAFETY: aligned, and within the memory, which outlives the image.
    let entries = unsafe { std::slice::from_raw_parts((base + table) as *const Entry, rows) };
    let image = Image { base, text: at(text..text_end), data: at(data..data_end), constants: at(data..data_end), entries };
    let mut index = Index::new();
    for site in image.sites() {
        image.file(&site);
        let copies = index.copies(&image, site.cell()).unwrap().count();
        assert_eq!(copies, image.sites().filter(|copy| copy.cell() == site.cell()).count());
        if image.check(&site).is_err() {
            continue;
        }
        let inside =
            |start: usize, length: usize| image.text.start <= start && start + length <= image.text.end;
        assert!(inside(site.stub_cold(), STUB_SIZE));
        // SAFETY: the cell lies in the data and is aligned: that is what was checked.
        let cell = unsafe { &*(site.cell() as *const Cell) };
        cell.hot.load(Ordering::Relaxed);
        cell.gate.load(Ordering::Relaxed);
        if let Ok(branch) = image.hot_branch(&site, site.emitted_hot_target()) {
            assert!(inside(branch, 5), "the branch at {branch:#x} is not all in {:#x?}", image.text);
        }
    }
});
