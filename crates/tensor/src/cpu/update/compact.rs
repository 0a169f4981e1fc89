//! Some rows of a table side by side: what a walk over them alone needs.

use super::{StateArena, StateKind};
use crate::cpu::parallel::{Shared, for_pieces};
use crate::dtype::DType;
use crate::memory::{bytes_of, bytes_of_mut};
use crate::params::Arenas;
use crate::with_float;

/// Bytes that one task moves.
const PIECE_BYTES: usize = 1 << 16;

/// A table's rows within an arena.
#[derive(Debug, Clone, Copy)]
pub struct TableRows<'a> {
    /// Where the table begins.
    pub start: usize,
    /// Elements of a row.
    pub width: usize,
    /// Some of its rows, each once.
    pub rows: &'a [u32],
}

impl TableRows<'_> {
    fn len(&self) -> usize {
        self.rows.len() * self.width
    }

    /// Calls `each` with every row's bytes in an arena of elements of `size` bytes, and where they lie side by side.
    fn each(&self, size: usize, each: impl Fn(usize, usize, usize) + Sync + Send) {
        let row = self.width * size;
        let rows = (PIECE_BYTES / row.max(1)).max(1);
        for_pieces(self.rows.len(), rows, |range| {
            for at in range {
                each(self.start * size + self.rows[at] as usize * row, at * row, row);
            }
        });
    }

    fn copied(&self, size: usize, from: &[u8], to: &mut [u8]) {
        let to = Shared::new(to);
        self.each(size, |there, here, len| {
            // SAFETY: each row is written once, side by side.
            unsafe { to.slice(here..here + len) }.copy_from_slice(&from[there..there + len]);
        });
    }

    fn put(&self, size: usize, from: &[u8], to: &mut [u8]) {
        let end = |row: &u32| (self.start + (*row as usize + 1) * self.width) * size;
        assert!(self.rows.iter().all(|row| end(row) <= to.len()), "rows leave the arena");
        assert!(self.rows.is_sorted_by(|a, b| a < b), "rows are in order, each once");
        let to = Shared::new(to);
        self.each(size, |there, here, len| {
            // SAFETY: rows lie within the arena and apart, as was checked.
            unsafe { to.slice(there..there + len) }.copy_from_slice(&from[here..here + len]);
        });
    }
}

impl StateArena {
    /// Some rows of a table that is stored in this arena.
    ///
    /// # Panics
    /// Where the arena holds codes of eight bits, which share their scales beyond rows.
    pub fn gathered(&self, table: TableRows<'_>) -> Self {
        let mut rows = Self::zeros(table.len(), self.kind());
        let dtype = stored(self.kind());
        with_float!(dtype, "state", T => {
            let to = bytes_of_mut(rows.as_slice_mut::<T>());
            table.copied(dtype.size(), bytes_of(self.as_slice::<T>()), to);
        });
        rows
    }

    /// Puts rows that were [`gathered`](Self::gathered) back.
    ///
    /// # Panics
    /// As there, and where the rows are not in order.
    pub fn put_rows(&mut self, table: TableRows<'_>, rows: &Self) {
        let dtype = stored(self.kind());
        with_float!(dtype, "state", T => {
            let from = bytes_of(rows.as_slice::<T>());
            table.put(dtype.size(), from, bytes_of_mut(self.as_slice_mut::<T>()));
        });
    }

    /// Some rows of a table of parameters of type `dtype`.
    pub fn of_parameters(arenas: &mut Arenas<'_>, dtype: DType, table: TableRows<'_>) -> Self {
        let mut rows = Self::zeros(table.len(), StateKind::Number(dtype));
        with_float!(dtype, "parameters", T => {
            let to = bytes_of_mut(rows.as_slice_mut::<T>());
            table.copied(dtype.size(), bytes_of::<T>(arenas.all()), to);
        });
        rows
    }

    /// Puts rows that were taken by [`of_parameters`](Self::of_parameters) back.
    ///
    /// # Panics
    /// Where the rows are not in order.
    pub fn put_parameters(&self, arenas: &mut Arenas<'_>, table: TableRows<'_>) {
        let dtype = stored(self.kind());
        with_float!(dtype, "parameters", T => {
            let from = bytes_of(self.as_slice::<T>());
            table.put(dtype.size(), from, bytes_of_mut::<T>(arenas.all()));
        });
    }
}

fn stored(kind: StateKind) -> DType {
    match kind {
        StateKind::Number(dtype) => dtype,
        StateKind::Master => DType::F32,
        StateKind::Block8 { .. } => panic!("rows of state in eight bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_and_come_back() {
        let mut arena = StateArena::zeros(100, StateKind::Number(DType::F32));
        let values = arena.as_slice_mut::<f32>();
        values.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
        let table = TableRows { start: 10, width: 3, rows: &[0, 2, 29] };
        let mut rows = arena.gathered(table);
        let expected = [10.0, 11.0, 12.0, 16.0, 17.0, 18.0, 97.0, 98.0, 99.0];
        assert_eq!(rows.as_slice::<f32>()[..9], expected);
        rows.as_slice_mut::<f32>()[..9].iter_mut().for_each(|x| *x = -*x);
        arena.put_rows(table, &rows);
        let changed = arena.as_slice::<f32>().iter().filter(|x| **x < 0.0).count();
        assert_eq!(
            (changed, arena.as_slice::<f32>()[17], arena.as_slice::<f32>()[13]),
            (9, -17.0, 13.0)
        );
    }
}
