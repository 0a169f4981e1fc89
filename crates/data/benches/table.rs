//! How fast tables are read: `cargo bench -p rappel-data --bench table -- FILE`, where
//! `bench/tables.py` writes a file and holds the times against polars'.
//!
//! Prints the median seconds of five.

use std::path::Path;
use std::time::Instant;

use rappel_data::{DataError, Table};

fn main() -> Result<(), DataError> {
    let Some(file) = std::env::args().skip(1).find(|arg| !arg.starts_with("--")) else {
        println!("no FILE: see bench/tables.py");
        return Ok(());
    };
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let table = Table::read(Path::new(&file))?;
        times.push(start.elapsed().as_secs_f64());
        assert!(table.rows() > 0, "a table has rows");
    }
    times.sort_by(f64::total_cmp);
    println!("{:.4}", times[2]);
    Ok(())
}
