//! The lines of a file on which its rows begin.

/// Only where a row does not follow the one before by one line is there anything to keep.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    /// A row and its line; the rows up to the next entry follow one line each.
    jumps: Vec<(usize, u64)>,
}

impl Lines {
    /// Adds a row, which follows those that are there.
    pub fn push(&mut self, row: usize, line: u64) {
        if self.jumps.is_empty() || self.place(row) != line {
            self.jumps.push((row, line));
        }
    }

    /// The line of a row.
    pub fn place(&self, row: usize) -> u64 {
        let after = self.jumps.partition_point(|(first, _)| *first <= row);
        let (first, line) = self.jumps[after - 1];
        line + (row - first) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.jumps.is_empty()
    }

    /// Adds the lines of rows that follow `rows` others and `lines` other lines.
    pub fn append(&mut self, rows: usize, lines: u64, other: &Self) {
        for (row, line) in &other.jumps {
            self.push(rows + row, lines + line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_line_that_was_given() {
        let mut lines = Lines::default();
        let given = [2, 3, 4, 7, 8, 12];
        given.iter().enumerate().for_each(|(row, line)| lines.push(row, *line));
        let mut both = lines.clone();
        both.append(6, 12, &lines);
        assert!(given.iter().enumerate().all(|(row, line)| lines.place(row) == *line));
        assert!(given.iter().enumerate().all(|(row, line)| both.place(6 + row) == 12 + line));
        assert_eq!(lines.jumps.len(), 3);
    }
}
