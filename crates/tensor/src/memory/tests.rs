//! The two copies of a buffer, with a second memory that counts what goes to it and comes back.

use std::sync::Arc;

use super::host::MAPPED;
use super::{ALIGNMENT, Buffer, Fetched};
use super::{DeviceMemory, Echo};
use crate::device::Device;

fn host(values: &[f32]) -> Buffer {
    let mut buffer = Buffer::uninit(size_of_val(values));
    buffer.as_slice_mut().copy_from_slice(values);
    buffer
}

/// A buffer that a kernel of the device wrote.
fn written_there(device: Device, echo: &Echo, values: &[f32]) -> Buffer {
    let mut buffer = Buffer::uninit(size_of_val(values));
    write_there(&mut buffer, device, echo, values);
    buffer
}

fn write_there(buffer: &mut Buffer, device: Device, echo: &Echo, values: &[f32]) {
    let address = buffer.on_mut(device).unwrap();
    echo.send(super::bytes_of(values), address);
    // A kernel's result is not a transfer.
    echo.forget_one_sent();
}

#[test]
fn a_freed_block_serves_the_next_request_of_its_size() {
    let size = 77_824;
    let first = Buffer::zeroed(size);
    let at = first.as_ptr::<u8>();
    drop(first);
    // Another test may take the block in between; one of a few tries meets it again.
    assert!((0..50).any(|_| Buffer::zeroed(size).as_ptr::<u8>() == at));
}

#[test]
fn large_blocks_are_aligned_and_writable() {
    let mut buffer = Buffer::zeroed(MAPPED + 100);
    assert_eq!(buffer.as_ptr::<u8>() as usize % ALIGNMENT, 0);
    let last = buffer.as_slice::<u8>().len() - 1;
    buffer.as_slice_mut::<u8>()[last] = 7;
    assert_eq!(buffer.as_slice::<u8>()[last], 7);
}

#[test]
fn a_new_buffer_lies_nowhere_and_its_first_writer_decides_where() {
    let (device, echo) = Echo::device();
    drop(Buffer::uninit(1 << 30));
    let there = written_there(device, echo, &[1.0, 2.0]);
    assert_eq!((echo.copies(), there.host.get().is_none()), ([0, 0], true));
    let here = host(&[1.0, 2.0]);
    assert_eq!((echo.copies(), here.device.get().is_none()), ([0, 0], true));
    assert!(here.on(Device::Cpu).is_none());
}

#[test]
fn each_copy_is_made_once() {
    let (device, echo) = Echo::device();
    let there = written_there(device, echo, &[1.0, 2.0]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(there.as_slice::<f32>(), [1.0, 2.0]));
        }
    });
    assert_eq!(echo.copies(), [0, 1]);
    let here = host(&[3.0, 4.0]);
    let address = here.on(device).unwrap();
    assert_eq!(here.on(device), Some(address));
    assert_eq!(echo.copies(), [1, 0]);
    let mut back = [0; 8];
    echo.fetch(address, &mut back);
    assert_eq!(back, *super::bytes_of(&[3.0_f32, 4.0]));
}

#[test]
fn a_write_drops_the_copy_that_falls_behind() {
    let (device, echo) = Echo::device();
    let mut buffer = host(&[1.0, 2.0]);
    buffer.on(device);
    buffer.as_slice_mut::<f32>()[0] = 5.0;
    assert!(buffer.device.get().is_none());
    buffer.on(device);
    assert_eq!(echo.copies(), [2, 0]);
    write_there(&mut buffer, device, echo, &[7.0, 8.0]);
    assert!(buffer.host.get().is_none());
    assert_eq!(buffer.as_slice::<f32>(), [7.0, 8.0]);
    assert_eq!(echo.copies(), [0, 1]);
}

#[test]
fn a_write_of_a_part_keeps_the_rest() {
    let (device, echo) = Echo::device();
    let mut buffer = written_there(device, echo, &[1.0, 2.0, 3.0]);
    buffer.as_slice_mut::<f32>()[1] = 9.0;
    assert_eq!(buffer.as_slice::<f32>(), [1.0, 9.0, 3.0]);
    buffer.on_mut(device);
    buffer.clear(8..12);
    assert_eq!((echo.copies(), buffer.host.get().is_none()), ([1, 1], true));
    assert_eq!(buffer.as_slice::<f32>(), [1.0, 9.0, 0.0]);
    buffer.as_slice_mut::<f32>()[0] = 4.0;
    buffer.clear(4..8);
    assert_eq!(buffer.as_slice::<f32>(), [4.0, 0.0, 0.0]);
    assert_eq!(echo.copies(), [0, 1]);
}

#[test]
fn blocks_of_a_device_come_back_to_its_pool() {
    let (device, echo) = Echo::device();
    let first = written_there(device, echo, &[0.0; 100]);
    let address = first.on(device);
    assert!(echo.used() >= 400);
    drop(first);
    assert_eq!(echo.used(), 0);
    let second = written_there(device, echo, &[0.0; 99]);
    assert_eq!(second.on(device), address);
}

/// An arena of three numbers, and windows on the first and the others.
fn windows(arena: Buffer) -> (Arc<Buffer>, [Buffer; 2]) {
    let arena = Arc::new(arena);
    // SAFETY: the windows lie apart, and the tests write one place at a time.
    let windows = [0..4, 4..12].map(|range| unsafe { Buffer::window(&arena, range) });
    (arena, windows)
}

#[test]
fn windows_lie_where_their_arena_does() {
    let (device, echo) = Echo::device();
    let (arena, [one, two]) = windows(written_there(device, echo, &[1.0, 2.0, 3.0]));
    let start = arena.on(device).unwrap();
    assert_eq!([one.on(device), two.on(device)], [Some(start), Some(start + 4)]);
    assert_eq!(echo.copies(), [0, 0]);
    assert_eq!((two.as_slice::<f32>(), two.as_slice::<f32>()), (&[2.0, 3.0][..], &[2.0, 3.0][..]));
    assert_eq!((echo.copies(), arena.host.get().is_none()), ([0, 1], true));

    let (arena, [one, mut two]) = windows(host(&[1.0, 2.0, 3.0]));
    assert_eq!(one.as_ptr::<f32>(), arena.as_ptr());
    two.as_slice_mut::<f32>()[0] = 5.0;
    assert_eq!(arena.as_slice::<f32>(), [1.0, 5.0, 3.0]);
    assert!(Fetched::part(&arena, 0..12).is_none());
    assert_eq!(echo.copies(), [0, 0]);
}

#[test]
fn a_part_of_a_devices_arena_is_fetched_changed_and_sent_back() {
    let (device, echo) = Echo::device();
    let (arena, [mut one, mut two]) = windows(written_there(device, echo, &[1.0, 2.0, 3.0]));
    assert_eq!(two.as_slice::<f32>(), [2.0, 3.0]);
    let mut part = Fetched::part(&arena, 4..12).unwrap();
    part.as_slice_mut::<f32>()[1] = 7.0;
    drop(part);
    assert_eq!(echo.copies(), [1, 2]);
    one.forget_copies();
    two.forget_copies();
    assert_eq!((one.as_slice::<f32>(), two.as_slice::<f32>()), (&[1.0][..], &[2.0, 7.0][..]));
}

#[test]
fn a_window_sent_elsewhere_forgets_its_copy_when_its_arena_opens() {
    let (device, echo) = Echo::device();
    let (_arena, [mut one, _]) = windows(host(&[1.0, 2.0, 3.0]));
    one.on(device);
    one.as_slice_mut::<f32>()[0] = 4.0;
    let address = one.on(device).unwrap();
    let mut there = [0; 4];
    echo.fetch(address, &mut there);
    assert_eq!((f32::from_le_bytes(there), echo.copies()), (4.0, [2, 1]));
    one.forget_copies();
    assert_eq!(echo.used(), 0);
}

#[test]
#[should_panic(expected = "changed there")]
fn a_window_of_a_devices_arena_is_not_written_on_the_host() {
    let (device, echo) = Echo::device();
    let (_arena, [mut one, _]) = windows(written_there(device, echo, &[1.0, 2.0, 3.0]));
    one.as_slice_mut::<f32>()[0] = 4.0;
}

#[test]
fn a_buffer_is_small() {
    // Every tensor that is computed makes one and moves it: larger ones are moved by a call.
    assert!(size_of::<Buffer>() <= 96, "{}", size_of::<Buffer>());
}
