//! NumPy's format for an array.

use std::io::{self, Write};

/// Writes rows of `width` numbers as NumPy's `.npy`, float32 `[rows, width]`, which `numpy.load` reads.
///
/// ```
/// let mut file = Vec::new();
/// rappel_data::write_npy(&mut file, 2, &[1.0, 2.0])?;
/// assert_eq!(file.len(), 128 + 8);
/// assert!(file.starts_with(b"\x93NUMPY\x01\x00"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of `out`.
///
/// # Panics
/// Where `numbers` are no whole rows.
#[track_caller]
pub fn write_npy(out: &mut dyn Write, width: usize, numbers: &[f32]) -> io::Result<()> {
    assert!(width > 0 && numbers.len().is_multiple_of(width), "write_npy: rows of {width}");
    let rows = numbers.len() / width;
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // Magic, version and length are 10 bytes; numbers begin at a multiple of 64.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', length - header.len() - 1).chain(['\n']));
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&(length as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    out.write_all(&bytes)
}
