//! Functions compiled by the system's C compiler, to compare with ours.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A C function `void name(const real *x, real *y, const real *c)`, and what it reads and writes.
#[derive(Debug)]
pub struct CFunction {
    /// The function's text.
    pub text: String,
    /// Its name.
    pub name: String,
    /// The values of `c`.
    pub constants: Vec<f32>,
    /// How many numbers it reads.
    pub inputs: usize,
    /// How many it writes.
    pub outputs: usize,
}

/// A program of such functions.
#[derive(Debug)]
pub struct Compiled {
    functions: Vec<CFunction>,
    folder: tempfile::TempDir,
}

/// Calls function `argv[1]` for each of `argv[2]` places: constants and inputs come from the file `in`,
/// array after array, and results go to `out`.
const MAIN: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    const int k = atoi(argv[1]), n = atoi(argv[2]);
    const int *size = sizes[k];
    float *all = malloc(sizeof(float) * ((size_t)n * (size[0] + size[1]) + size[2]));
    FILE *in = fopen(argv[3], "rb"), *out = fopen(argv[4], "wb");
    const size_t many = (size_t)n * size[0] + size[2];
    if (argc != 5 || !all || !in || !out || fread(all, sizeof(float), many, in) != many) return 1;
    float *x = all + size[2], *y = x + (size_t)n * size[0];
    for (int i = 0; i < n; i++) {
        float from[32], to[32];
        for (int j = 0; j < size[0]; j++) from[j] = x[(size_t)j * n + i];
        functions[k](from, to, all);
        for (int j = 0; j < size[1]; j++) y[(size_t)j * n + i] = to[j];
    }
    if (fwrite(y, sizeof(float), (size_t)n * size[1], out) != (size_t)n * size[1]) return 1;
    return fclose(out);
}
"#;

impl Compiled {
    /// Compiles `prelude` and functions by `cc`, or what the environment variable `CC` names; `None`,
    /// after saying so, where there is no compiler.
    ///
    /// # Panics
    /// Where the compiler refuses the text.
    pub fn new(prelude: &str, functions: Vec<CFunction>) -> Option<Self> {
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        if Command::new(&compiler).arg("--version").output().is_err() {
            // Past the test harness, which would swallow it.
            let said = format!("SKIPPED: no C compiler (`{compiler}`): formulas stay uncompared\n");
            std::io::stderr().write_all(said.as_bytes()).expect("standard error takes text");
            return None;
        }
        let compiled = Self { functions, folder: tempfile::tempdir().expect("a folder") };
        let mut text = prelude.to_owned();
        let list = |each: &dyn Fn(&CFunction) -> String| {
            compiled.functions.iter().map(each).collect::<Vec<_>>().join(", ")
        };
        compiled.functions.iter().for_each(|function| text += &function.text);
        let names = list(&|function| function.name.clone());
        let sizes = list(&|f| format!("{{{}, {}, {}}}", f.inputs, f.outputs, f.constants.len()));
        let tables = format!(
            "typedef void formula(const real *, real *, const real *);\n\
             static formula *const functions[] = {{{names}}};\n\
             static const int sizes[][3] = {{{sizes}}};\n"
        );
        text += &tables;
        text += MAIN;
        std::fs::write(compiled.path("all.c"), text).expect("the text is written");
        let done = Command::new(&compiler)
            .args(["-O2", "-ffp-contract=off", "-o"])
            .args([compiled.path("all"), compiled.path("all.c")])
            .arg("-lm")
            .output()
            .expect("the compiler starts");
        assert!(done.status.success(), "{compiler}: {}", String::from_utf8_lossy(&done.stderr));
        Some(compiled)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The results of function `which` at every place of its inputs, which are of one length.
    ///
    /// # Panics
    /// Where the program fails.
    pub fn run(&self, which: usize, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let function = &self.functions[which];
        assert_eq!(inputs.len(), function.inputs, "{}", function.name);
        let count = inputs[0].len();
        let numbers = function.constants.iter().chain(inputs.iter().flatten());
        let bytes: Vec<u8> = numbers.flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(self.path("in"), bytes).expect("inputs are written");
        let done = Command::new(self.path("all"))
            .args([which.to_string(), count.to_string()])
            .args([self.path("in"), self.path("out")])
            .status()
            .expect("the program starts");
        assert!(done.success(), "{}: {done}", function.name);
        let bytes = std::fs::read(self.path("out")).expect("results are read");
        let numbers: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        numbers.chunks(count).map(<[f32]>::to_vec).collect()
    }
}

/// A million or so numbers of all sizes and both signs, zeros and the smallest among them; the same
/// for the same `seed`.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let hash = |x: u32| {
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    };
    (0..count as u32)
        .map(|i| {
            let a = hash(i ^ seed.wrapping_mul(0x9e37_79b9));
            let b = hash(a ^ 0x5bd1_e995);
            match b % 64 {
                0 => 0.0,
                1 => f32::from_bits(a & 0x807f_ffff),
                _ => (a as f32 / 2.0_f32.powi(31) - 1.0) * 10.0_f32.powi(1 - (b >> 8) as i32 % 7),
            }
        })
        .collect()
}
